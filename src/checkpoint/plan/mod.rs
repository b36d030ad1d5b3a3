//! Which checkpoints stay: a pure function of what there is, what was proved of it, the policy and the time.
//!
//! Keeping is a union of rules, each with its reason; only good checkpoints take a place in any of them. What no rule
//! keeps goes, unless something protects it. Limits take more, oldest first, and stop at the floor: the newest N good ones
//! of every series, and never fewer than one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::name::Key;
use super::scan::Nanos;
use super::verdict::Verdict;

pub mod calendar;
mod limits;
#[cfg(test)]
mod tests;

/// What orders a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The numbers in the names; nothing is removed where the times contradict them.
    #[default]
    Agreed,
    /// The numbers alone.
    Number,
    /// The times alone.
    Time,
}

/// Which end of a measurement is the good one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Best {
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// What to keep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The newest so many.
    pub last: Option<u64>,
    /// Every one whose step is a multiple of this.
    pub every: Option<u64>,
    /// The newest of each of the last so many hours, days, weeks, months that have any.
    pub periods: Vec<(calendar::Period, u64)>,
    /// Those at most this much older than the newest.
    pub within: Option<Duration>,
    /// The best so many, by a measurement.
    pub best: Option<(u64, String, Best)>,
    /// Bytes that all checkpoints together may take.
    pub max_size: Option<u64>,
    /// Bytes that must be free on the file system.
    pub min_free: Option<u64>,
    /// Whether broken ones go, where a newer good one exists.
    pub drop_broken: bool,
    /// What orders a series.
    pub order: Order,
}

/// What is known of one checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its series.
    pub series: &'a str,
    /// Its place in the series.
    pub key: &'a Key,
    /// When its content was written, by the file system.
    pub saved: Nanos,
    /// When it was saved: by its name where that says so, else as `saved`.
    pub when: Nanos,
    /// Bytes on disk.
    pub size: u64,
    /// What is believed of it.
    pub verdict: Verdict,
    /// Why it isn't good.
    pub why: &'a str,
    /// What protects it, whatever the policy.
    pub protected: Option<&'a str>,
    /// Why it is left alone for now: young, open, held.
    pub busy: Option<&'a str>,
    /// The measurement that `--keep-best` asks for; `None` when it isn't known, or no number.
    pub metric: Option<f64>,
}

/// What a plan is made of: ten thousand of them are asked where they are, since a list of their facts takes as long to
/// write as to judge.
pub trait Candidate {
    /// What is known of it.
    fn facts(&self) -> Facts<'_>;
}

/// What becomes of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A rule keeps it.
    Keep,
    /// It goes.
    Remove,
    /// No rule counts it, and it isn't touched.
    Leave,
}

/// A reason, for people. Most are the same for thousands of checkpoints.
pub type Reason = Cow<'static, str>;

/// Why nearly everything goes that goes.
const NO_RULE: &[Reason] = &[Cow::Borrowed("no rule keeps it")];

/// What becomes of one checkpoint, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Keep, remove or leave.
    pub action: Action,
    /// Every reason.
    pub reasons: Cow<'static, [Reason]>,
    /// It goes only because a limit asks for it.
    pub by_limit: bool,
}

/// The whole plan.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// One a checkpoint, in the order of the stock.
    pub decisions: Vec<Decision>,
    /// Series whose numbers and times disagree; nothing is removed then.
    pub conflicts: Vec<String>,
    /// Limits that can't be reached.
    pub short: Vec<String>,
}

impl Plan {
    /// The places of those that go, oldest first within a series.
    pub fn removals(&self) -> impl Iterator<Item = usize> {
        self.decisions.iter().enumerate().filter(|(_, decision)| decision.action == Action::Remove).map(|(at, _)| at)
    }
}

/// Makes the plan. `available` are the free bytes of the file system now.
#[must_use]
pub fn plan(stock: &[impl Candidate], policy: &Policy, zone: &jiff::tz::TimeZone, available: u64) -> Plan {
    let mut plan = Plan { decisions: stock.iter().map(|one| undecided(&one.facts())).collect(), ..Plan::default() };
    let mut series: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, one) in stock.iter().enumerate() {
        series.entry(one.facts().series).or_default().push(at);
    }
    let mut floors = Vec::new();
    let mut contradictions = Vec::new();
    for (name, members) in &mut series {
        members.sort_by(|a, b| later(&stock[*a].facts(), &stock[*b].facts(), policy.order));
        let good: Vec<usize> = members.iter().copied().filter(|at| stock[*at].facts().verdict == Verdict::Good).collect();
        keep(stock, &good, policy, zone, &mut plan.decisions);
        release(stock, members, &good, policy, &mut plan.decisions);
        if policy.order == Order::Agreed
            && let Some((older, newer)) = contradiction(stock, &good)
        {
            contradictions.push((
                good,
                format!(
                    "{name}: {} is older than {} by number, and newer by time",
                    stock[older].facts().name,
                    stock[newer].facts().name
                ),
            ));
        } else {
            floors.push(limits::Series { floor: floor(policy, good.len()), good });
        }
    }
    limits::apply(stock, policy, available, &floors, &mut plan);
    let removes = |at: &usize| plan.decisions[*at].action == Action::Remove;
    let limited = policy.max_size.is_some() || policy.min_free.is_some();
    let touched = |good: &[usize]| good.iter().any(removes) || (limited && !plan.short.is_empty());
    plan.conflicts = contradictions.iter().filter(|(good, _)| touched(good)).map(|(_, text)| text.clone()).collect();
    if !plan.conflicts.is_empty() {
        for decision in plan.decisions.iter_mut().filter(|decision| decision.action == Action::Remove) {
            *decision = leave("number and time disagree on the order");
        }
    }
    plan
}

fn undecided(fact: &Facts<'_>) -> Decision {
    if fact.verdict == Verdict::Good {
        return Decision { action: Action::Keep, reasons: Cow::default(), by_limit: false };
    }
    leave(format!("{}: {}", fact.verdict, fact.why))
}

fn leave(reason: impl Into<Reason>) -> Decision {
    Decision { action: Action::Leave, reasons: vec![reason.into()].into(), by_limit: false }
}

/// Newest first.
fn later(a: &Facts<'_>, b: &Facts<'_>, order: Order) -> std::cmp::Ordering {
    let by_key = b.key.cmp(a.key);
    let by_time = b.saved.cmp(&a.saved);
    let first = if order == Order::Time { by_time.then(by_key) } else { by_key.then(by_time) };
    first.then_with(|| b.name.cmp(a.name))
}

/// The good ones that no limit may take: the newest N, and always one.
fn floor(policy: &Policy, good: usize) -> usize {
    usize::try_from(policy.last.unwrap_or(1)).unwrap_or(usize::MAX).max(1).min(good)
}

/// Two good checkpoints, older and newer by number, whose times say the opposite.
fn contradiction(stock: &[impl Candidate], good: &[usize]) -> Option<(usize, usize)> {
    // Newest first, so nothing later in the list may have been saved after anything before it.
    let mut earliest = *good.first()?;
    for at in good.iter().copied() {
        if stock[at].facts().saved > stock[earliest].facts().saved && stock[at].facts().key != stock[earliest].facts().key {
            return Some((at, earliest));
        }
        if stock[at].facts().saved < stock[earliest].facts().saved {
            earliest = at;
        }
    }
    None
}

/// Gives every good one of a series its reasons to stay.
fn keep(stock: &[impl Candidate], good: &[usize], policy: &Policy, zone: &jiff::tz::TimeZone, decisions: &mut [Decision]) {
    let mut give = |at: usize, reason: Reason| decisions[at].reasons.to_mut().push(reason);
    let last = floor(policy, good.len());
    for (place, at) in good[..last].iter().enumerate() {
        give(*at, if place == 0 { "the newest good one".into() } else { format!("one of the last {last}").into() });
    }
    for at in good.iter().copied() {
        let fact = stock[at].facts();
        if let Some(why) = fact.protected {
            give(at, why.to_owned().into());
        }
        if let (Some(every), Some(step)) = (policy.every, fact.key.step())
            && every > 0
            && step % every == 0
        {
            give(at, format!("a multiple of {every}").into());
        }
    }
    if let (Some(within), Some(newest)) = (policy.within, good.iter().map(|at| stock[*at].facts().when).max()) {
        let within = i128::try_from(within.as_nanos()).unwrap_or(Nanos::MAX);
        for at in good.iter().copied().filter(|at| newest - stock[*at].facts().when <= within) {
            give(at, "recent enough".into());
        }
    }
    for (period, count) in &policy.periods {
        let mut seen = Vec::new();
        for at in good.iter().copied() {
            let bucket = period.of(stock[at].facts().when, zone);
            if !seen.contains(&bucket) && (seen.len() as u64) < *count {
                seen.push(bucket);
                give(at, format!("the newest of {period}").into());
            }
        }
    }
    if let Some((count, metric, best)) = &policy.best {
        let mut known: Vec<(f64, usize)> =
            good.iter().filter_map(|at| Some((stock[*at].facts().metric.filter(|m| !m.is_nan())?, *at))).collect();
        for at in good.iter().copied().filter(|at| known.iter().all(|(_, known)| known != at)) {
            give(at, format!("its {metric} isn't known").into());
        }
        known.sort_by(|(a, _), (b, _)| if *best == Best::Min { a.total_cmp(b) } else { b.total_cmp(a) });
        for (value, at) in known.into_iter().take(usize::try_from(*count).unwrap_or(usize::MAX)) {
            give(at, format!("among the best, {metric} {value}").into());
        }
    }
}

/// Lets go what nothing keeps.
fn release(stock: &[impl Candidate], members: &[usize], good: &[usize], policy: &Policy, decisions: &mut [Decision]) {
    for (place, at) in members.iter().copied().enumerate() {
        let fact = stock[at].facts();
        let goes = match fact.verdict {
            Verdict::Good => decisions[at].reasons.is_empty().then_some(Cow::Borrowed(NO_RULE)),
            Verdict::Broken if policy.drop_broken => {
                let newer = members[..place].iter().find(|newer| good.contains(newer));
                let name = |newer: &usize| stock[*newer].facts().name;
                newer.map(|newer| vec![format!("broken, and {} is newer and good: {}", name(newer), fact.why).into()].into())
            }
            _ => None,
        };
        let Some(reasons) = goes else { continue };
        decisions[at] = match fact.protected.or(fact.busy) {
            Some(why) => leave(why.to_owned()),
            None => Decision { action: Action::Remove, reasons, by_limit: false },
        };
    }
}
