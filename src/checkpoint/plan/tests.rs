//! The rules, over every series that anybody could have.

use std::sync::LazyLock;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::calendar::Period;
use super::*;

const VERDICTS: [Verdict; 5] = [Verdict::Good, Verdict::Broken, Verdict::Suspect, Verdict::Unfinished, Verdict::Unread];

/// What facts point at: names and places in a series.
static NUMBERS: LazyLock<Vec<(String, Key)>> =
    LazyLock::new(|| (0..64).map(|n| (n.to_string(), Key { last: Some(n), ..Key::default() })).collect());

impl Candidate for Facts<'_> {
    fn facts(&self) -> Facts<'_> {
        *self
    }
}

fn any_facts() -> impl Strategy<Value = Vec<Facts<'static>>> {
    let one = (
        0..3_usize,
        0..40_usize,
        0..60_i64,
        0..1000_u64,
        prop_oneof![4 => Just(0_usize), 1 => 1..5_usize],
        proptest::option::weighted(0.15, Just("pinned")),
        proptest::option::weighted(0.15, Just("young")),
        proptest::option::weighted(0.7, prop_oneof![any::<f64>(), Just(f64::NAN), Just(1.0)]),
    );
    proptest::collection::vec(one, 0..24).prop_map(|all| {
        let fact = |(at, (series, step, saved, size, verdict, protected, busy, metric)): (
            usize,
            (usize, usize, i64, _, usize, _, _, _),
        )| {
            Facts {
                name: &NUMBERS[at].0,
                series: ["a", "b", "c"][series],
                key: &NUMBERS[step].1,
                saved: i128::from(saved) * 3_600_000_000_000,
                when: i128::from(saved) * 3_600_000_000_000,
                size,
                verdict: VERDICTS[verdict],
                why: "",
                protected,
                busy,
                metric,
            }
        };
        all.into_iter().enumerate().map(fact).collect()
    })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let some = |range| proptest::option::weighted(0.4, range);
    (
        (some(1..6_u64), some(1..9_u64), some(1..4_u64), some(1..4_u64), some(1..30_u64)),
        (some(1..4_u64), any::<bool>(), some(1..4000_u64), some(1..4000_u64), any::<bool>(), 0..3_usize),
    )
        .prop_map(|((last, every, hours, weeks, within), (best, min, max_size, min_free, drop_broken, order))| Policy {
            last,
            every,
            periods: [(Period::Hour, hours), (Period::Week, weeks)].into_iter().filter_map(|(p, n)| Some((p, n?))).collect(),
            within: within.map(|hours| Duration::from_secs(hours * 3600)),
            best: best.map(|count| (count, "loss".to_owned(), if min { Best::Min } else { Best::Max })),
            max_size,
            min_free,
            drop_broken,
            order: [Order::Agreed, Order::Number, Order::Time][order],
        })
}

fn planned(facts: &[Facts<'_>], policy: &Policy) -> Plan {
    plan(facts, policy, &TimeZone::UTC, 1000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Rules 2 and 3: the newest N good ones of each series stay, whatever else is asked.
    #[test]
    fn the_newest_good_ones_stay(facts in any_facts(), policy in any_policy()) {
        let plan = planned(&facts, &policy);
        for series in ["a", "b", "c"] {
            let mut good: Vec<usize> = (0..facts.len()).filter(|at| facts[*at].series == series && facts[*at].verdict == Verdict::Good).collect();
            good.sort_by(|a, b| later(&facts[*a], &facts[*b], policy.order));
            let wanted = usize::try_from(policy.last.unwrap_or(1)).unwrap().min(good.len());
            let stays = |at: &usize| plan.decisions[*at].action != Action::Remove;
            prop_assert!(good.iter().take(wanted).all(stays));
            prop_assert!(good.iter().filter(|at| stays(at)).count() >= wanted);
        }
    }

    /// Rules 3, 5 and 8: what isn't proved good goes only when broken ones were given up and a newer good one stays;
    /// what is protected or in use never goes.
    #[test]
    fn the_unproved_and_the_protected_stay(facts in any_facts(), policy in any_policy()) {
        let plan = planned(&facts, &policy);
        for at in plan.removals() {
            let fact = &facts[at];
            prop_assert!(fact.protected.is_none() && fact.busy.is_none());
            if fact.verdict != Verdict::Good {
                prop_assert_eq!(fact.verdict, Verdict::Broken);
                prop_assert!(policy.drop_broken);
                let covered = facts.iter().enumerate().any(|(other, newer)| {
                    newer.series == fact.series
                        && newer.verdict == Verdict::Good
                        && plan.decisions[other].action != Action::Remove
                        && later(newer, fact, policy.order).is_lt()
                });
                prop_assert!(covered, "a newer good one stays");
            }
        }
    }

    /// Rule 10: where the times contradict the numbers of a series that would lose something, nothing goes at all.
    #[test]
    fn nothing_goes_where_number_and_time_disagree(facts in any_facts(), policy in any_policy()) {
        let plan = planned(&facts, &policy);
        if !plan.conflicts.is_empty() {
            prop_assert_eq!(plan.removals().count(), 0);
        }
        if policy.order == Order::Agreed {
            for at in plan.removals().filter(|at| facts[*at].verdict == Verdict::Good) {
                let contradicts = |other: &Facts<'_>| {
                    other.series == facts[at].series && other.verdict == Verdict::Good && other.key > facts[at].key && other.saved < facts[at].saved
                };
                prop_assert!(!facts.iter().any(contradicts));
            }
        }
    }

    /// A plan is a union: asking for more never keeps less.
    #[test]
    fn more_rules_keep_more(facts in any_facts(), policy in any_policy(), every in 1..9_u64) {
        let policy = Policy { max_size: None, min_free: None, order: Order::Number, every: None, ..policy };
        let more = Policy { every: Some(every), ..policy.clone() };
        let (less, more) = (planned(&facts, &policy), planned(&facts, &more));
        for (less, more) in less.decisions.iter().zip(&more.decisions) {
            prop_assert!(!(less.action == Action::Keep && more.action == Action::Remove));
        }
    }

    /// Each decision is explained, and a limit that isn't reached is said.
    #[test]
    fn everything_is_said(facts in any_facts(), policy in any_policy()) {
        let plan = planned(&facts, &policy);
        prop_assert!(plan.decisions.iter().all(|decision| !decision.reasons.is_empty()));
        let left: u64 = (0..facts.len()).filter(|at| plan.decisions[*at].action != Action::Remove).map(|at| facts[at].size).sum();
        if policy.max_size.is_some_and(|max| left > max) {
            prop_assert!(!plan.short.is_empty() || !plan.conflicts.is_empty());
        }
    }

    /// The same again changes nothing: a rotation converges.
    #[test]
    fn a_second_run_has_nothing_to_do(facts in any_facts(), policy in any_policy()) {
        let policy = Policy { min_free: None, ..policy };
        let first = planned(&facts, &policy);
        let left: Vec<Facts<'_>> = facts.iter().enumerate().filter(|(at, _)| first.decisions[*at].action != Action::Remove).map(|(_, fact)| *fact).collect();
        prop_assert_eq!(planned(&left, &policy).removals().count(), 0);
    }
}

fn fact(step: usize, saved: i128) -> Facts<'static> {
    let (name, key) = &NUMBERS[step];
    Facts {
        name,
        series: "s",
        key,
        saved,
        when: saved,
        size: 10,
        verdict: Verdict::Good,
        why: "",
        protected: None,
        busy: None,
        metric: None,
    }
}

fn removed(facts: &[Facts<'_>], policy: &Policy) -> Vec<String> {
    let plan = planned(facts, policy);
    plan.removals().map(|at| facts[at].name.to_owned()).collect()
}

#[test]
fn an_unproved_newest_takes_no_place() {
    let mut facts: Vec<Facts<'_>> = (1..=4).map(|n| fact(n, n as i128)).collect();
    facts[3].verdict = Verdict::Broken;
    facts[2].verdict = Verdict::Suspect;
    assert_eq!(removed(&facts, &Policy { last: Some(1), ..Policy::default() }), ["1"]);
    assert_eq!(removed(&facts, &Policy { last: Some(1), drop_broken: true, ..Policy::default() }), ["1"]);
    assert!(removed(&facts, &Policy { last: Some(2), ..Policy::default() }).is_empty());
}

#[test]
fn not_a_number_is_never_best() {
    let mut facts: Vec<Facts<'_>> = (1..=4).map(|n| fact(n, n as i128)).collect();
    for (fact, metric) in facts.iter_mut().zip([0.5, f64::NAN, 0.1, 0.9]) {
        fact.metric = Some(metric);
    }
    let policy = Policy { last: Some(1), best: Some((1, "loss".to_owned(), Best::Min)), ..Policy::default() };
    assert_eq!(removed(&facts, &policy), ["1"]);
}

#[test]
fn limits_stop_at_the_floor() {
    let facts: Vec<Facts<'_>> = (1..=6).map(|n| fact(n, n as i128)).collect();
    let policy = Policy { last: Some(2), every: Some(1), max_size: Some(5), ..Policy::default() };
    assert_eq!(removed(&facts, &policy), ["1", "2", "3", "4"]);
    assert_eq!(planned(&facts, &policy).short.len(), 1);
}

#[test]
fn periods_keep_the_newest_of_each() {
    const DAY: i128 = 86_400_000_000_000;
    let facts: Vec<Facts<'_>> = (0..8).map(|n| fact(n, n as i128 * DAY / 2 + DAY / 4)).collect();
    let policy = Policy { periods: vec![(Period::Day, 3)], ..Policy::default() };
    assert_eq!(removed(&facts, &policy), ["0", "1", "2", "4", "6"]);
}
