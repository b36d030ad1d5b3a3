//! What follows a run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{NEVER, Outcome, span};
use crate::clock::brief;
use crate::record::{Policy, Restart, State};

/// Restarts after failures in a row, unless told otherwise.
const MAX_RESTARTS: u32 = 5;
/// The pause before a restart, unless told otherwise: the first and the longest.
const BACKOFF: (f64, f64) = (1.0, 300.0);

/// What a supervisor remembers from one run to the next; moments are those of the monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycle {
    /// The start of the first run: the ticks of `--every` count from it.
    pub first: Option<Duration>,
    /// The start of the present run.
    pub began: Duration,
    /// Pauses since the last success: the exponent of the backoff.
    pauses: u32,
    /// Restarts after failures since the last success or tick.
    restarts: u32,
    /// When runs failed, as far back as the breaker looks.
    failures: Vec<Duration>,
}

impl Cycle {
    /// Of a job that was accepted at `began`, or whose `first` run was started then.
    #[must_use]
    pub fn new(first: Option<Duration>, began: Duration) -> Self {
        Self { first, began, ..Self::default() }
    }
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the job's verdict, and why, where there is more to say than how the last run ended.
    Over(State, Option<String>),
    /// Another run.
    Again {
        /// When.
        at: Duration,
        /// Why then, for people.
        why: String,
        /// The run before counts as a failure.
        failed: bool,
        /// A restart, as against the next tick.
        restart: bool,
    },
}

/// Judges run number `n`, which ended so at `now`.
#[must_use]
pub fn judge(policy: &Policy, cycle: &mut Cycle, n: u32, outcome: Outcome, now: Duration) -> Next {
    let state = outcome.state();
    if outcome == Outcome::Cancelled {
        return Next::Over(state, None);
    }
    let not_now = outcome == Outcome::NotNow && policy.restart != Restart::Never;
    let failed = outcome != Outcome::Succeeded && !not_now;
    if let Some(why) = breaks(policy, cycle, failed, now) {
        return Next::Over(state, Some(why));
    }
    let (shortest, longest) = policy.backoff_s.unwrap_or(BACKOFF);
    if !failed && !not_now {
        (cycle.pauses, cycle.restarts) = (0, 0);
    } else if now.saturating_sub(cycle.began) > span(longest) {
        // It went well for a while: what broke it now has nothing to do with what broke it then.
        cycle.pauses = 0;
    }
    if policy.max_runs.is_some_and(|max| n >= max) {
        return Next::Over(state, None);
    }
    let wanted = match policy.restart {
        Restart::Never => false,
        Restart::OnFailure => failed || not_now,
        // Between two ticks there is nothing to do after a success.
        Restart::Always => failed || not_now || policy.every_s.is_none(),
    };
    let max = policy.max_restarts.unwrap_or(MAX_RESTARTS);
    let again = wanted && (!failed || cycle.restarts < max);
    let pause = span(shortest * 2_f64.powi(cycle.pauses.min(64).cast_signed())).min(span(longest));
    let tick = policy.every_s.map(|every| next_tick(cycle.first.unwrap_or(now), span(every), now));
    match tick {
        Some(tick) if !again || tick <= now + pause => {
            (cycle.pauses, cycle.restarts) = (0, 0);
            let every = brief(span(policy.every_s.unwrap_or_default()));
            Next::Again { at: tick, why: format!("every {every}"), failed, restart: false }
        }
        None if !again => Next::Over(state, (wanted && failed).then(|| format!("given up after {}", restarts(max)))),
        _ => {
            cycle.restarts += u32::from(failed);
            cycle.pauses += u32::from(failed || not_now);
            let of = if failed { format!(" {} of {max}", cycle.restarts) } else { String::new() };
            let what = if not_now { "asked to be run later" } else { "restart" };
            Next::Again { at: now + pause, why: format!("{what}{of} after {}", brief(pause)), failed, restart: true }
        }
    }
}

/// Notes a failure; says so when it was one too many for the breaker.
fn breaks(policy: &Policy, cycle: &mut Cycle, failed: bool, now: Duration) -> Option<String> {
    let breaker = policy.breaker.filter(|_| failed)?;
    let within = span(breaker.within_s);
    cycle.failures.retain(|at| now.saturating_sub(*at) < within);
    cycle.failures.push(now);
    let open = cycle.failures.len() >= usize::try_from(breaker.failures).unwrap_or(usize::MAX);
    open.then(|| format!("the circuit breaker is open: {} failures within {}", breaker.failures, brief(within)))
}

fn restarts(n: u32) -> String {
    if n == 1 { "1 restart".into() } else { format!("{n} restarts") }
}

/// The first tick of `--every` after `now`.
#[must_use]
pub fn tick_after(policy: &Policy, cycle: &Cycle, now: Duration) -> Duration {
    policy.every_s.map_or(now, |every| next_tick(cycle.first.unwrap_or(now), span(every), now))
}

/// The first tick after `now`; those that passed meanwhile are skipped.
fn next_tick(first: Duration, every: Duration, now: Duration) -> Duration {
    if every.is_zero() {
        return now;
    }
    let passed = now.saturating_sub(first).as_nanos() / every.as_nanos();
    let nanos = every.as_nanos().saturating_mul(passed + 1);
    first + u64::try_from(nanos).map_or(NEVER, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Breaker;

    fn seconds(s: f64) -> Duration {
        Duration::from_secs_f64(s)
    }

    fn pauses(policy: &Policy, outcome: Outcome, runs: u32) -> Vec<f64> {
        let mut cycle = Cycle::default();
        let again = |n| match judge(policy, &mut cycle, n, outcome, Duration::ZERO) {
            Next::Again { at, .. } => Some(at.as_secs_f64()),
            Next::Over(..) => None,
        };
        (1..=runs).map_while(again).collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_restarts_are_counted() {
        let mut policy = Policy { restart: Restart::OnFailure, backoff_s: Some((1.0, 5.0)), ..Policy::default() };
        assert_eq!(pauses(&policy, Outcome::Failed, 100), [1.0, 2.0, 4.0, 5.0, 5.0]);
        assert_eq!(pauses(&policy, Outcome::Succeeded, 100), [0.0; 0]);
        // 75 is no failure, and nothing counts it.
        assert_eq!(pauses(&policy, Outcome::NotNow, 20).len(), 20);
        policy.max_restarts = Some(0);
        assert_eq!(pauses(&policy, Outcome::Failed, 9), [0.0; 0]);
        let always = Policy { restart: Restart::Always, max_restarts: Some(1), ..Policy::default() };
        assert_eq!(pauses(&always, Outcome::Succeeded, 30), [1.0; 30]);
        assert_eq!(pauses(&always, Outcome::Failed, 30).len(), 1);
        assert_eq!(pauses(&Policy::default(), Outcome::NotNow, 9), [0.0; 0]);
    }

    #[test]
    fn the_last_word_says_why() {
        let policy = Policy { restart: Restart::Always, max_restarts: Some(0), ..Policy::default() };
        let over = judge(&policy, &mut Cycle::default(), 1, Outcome::TimedOut, Duration::ZERO);
        assert_eq!(over, Next::Over(State::TimedOut, Some("given up after 0 restarts".into())));
    }

    #[test]
    fn ticks_count_from_the_first_start_and_missed_ones_are_skipped() {
        let policy = Policy { every_s: Some(2.0), ..Policy::default() };
        let at = |end: f64| {
            let mut cycle = Cycle { first: Some(seconds(10.0)), began: seconds(10.0), ..Cycle::default() };
            match judge(&policy, &mut cycle, 1, Outcome::Failed, seconds(end)) {
                Next::Again { at, restart: false, .. } => at.as_secs_f64(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!([10.1, 11.9, 13.0, 20.5].map(at).map(seconds), [12.0, 12.0, 14.0, 22.0].map(seconds));
    }

    #[test]
    fn a_restart_comes_before_the_next_tick_or_not_at_all() {
        let policy = Policy {
            every_s: Some(10.0),
            restart: Restart::OnFailure,
            max_restarts: Some(2),
            backoff_s: Some((3.0, 60.0)),
            ..Policy::default()
        };
        let mut cycle = Cycle { first: Some(Duration::ZERO), ..Cycle::default() };
        let mut next = |now: f64| match judge(&policy, &mut cycle, 1, Outcome::Failed, seconds(now)) {
            Next::Again { at, restart, .. } => (at.as_secs_f64(), restart),
            Next::Over(..) => panic!(),
        };
        assert_eq!([next(1.0), next(4.1), next(11.0)], [(4.0, true), (10.0, false), (14.0, true)]);
    }

    proptest! {
        /// Whatever happens: never a run in the past, never two at one tick, never more failures within the time than allowed.
        #[test]
        fn runs_never_overlap_and_the_breaker_holds(
            every in prop::option::of(0.1..50.0_f64), restart in 0..3, max_restarts in 0..6_u32,
            backoff in (0.01..5.0_f64, 5.0..50.0_f64), breaker in prop::option::of((1..6_u32, 1.0..100.0_f64)),
            max_runs in prop::option::of(1..30_u32),
            runs in prop::collection::vec((0.0..30.0_f64, 0..4), 1..60),
        ) {
            let policy = Policy {
                every_s: every,
                restart: [Restart::Never, Restart::OnFailure, Restart::Always][usize::try_from(restart).unwrap()],
                max_restarts: Some(max_restarts),
                backoff_s: Some(backoff),
                breaker: breaker.map(|(failures, within_s)| Breaker { failures, within_s }),
                max_runs,
                ..Policy::default()
            };
            let mut cycle = Cycle { first: Some(seconds(5.0)), began: seconds(5.0), ..Cycle::default() };
            let (mut n, mut in_row, mut failures) = (0, 0, Vec::new());
            for (length, kind) in runs {
                n += 1;
                let outcome = [Outcome::Succeeded, Outcome::Failed, Outcome::NotNow, Outcome::TimedOut][usize::try_from(kind).unwrap()];
                let now = cycle.began + seconds(length);
                let failed = matches!(outcome, Outcome::Failed | Outcome::TimedOut)
                    || outcome == Outcome::NotNow && policy.restart == Restart::Never;
                if failed {
                    failures.push(now);
                }
                let next = judge(&policy, &mut cycle, n, outcome, now);
                if let Some((most, within)) = breaker {
                    let close = failures.iter().filter(|at| now.saturating_sub(**at).as_secs_f64() < within - 1e-6).count();
                    prop_assert!(!failed || close < most as usize || matches!(next, Next::Over(..)));
                }
                match next {
                    Next::Over(state, _) => {
                        prop_assert_eq!(state, outcome.state());
                        break;
                    }
                    Next::Again { at, restart, .. } => {
                        prop_assert!(at >= now && at <= now + seconds(60.0));
                        prop_assert!(max_runs.is_none_or(|max| n < max));
                        prop_assert!(restart || every.is_some());
                        in_row = if restart && failed { in_row + 1 } else if restart && outcome == Outcome::NotNow { in_row } else { 0 };
                        prop_assert!(in_row <= max_restarts);
                        cycle.began = at;
                    }
                }
            }
        }
    }
}
