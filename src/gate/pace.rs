//! When a waiting call looks again.

use std::time::{Duration, Instant};

/// The interval, up to a tenth longer or shorter: calls that cron started in the same second must not look in the same
/// second for ever. `random` is any number.
#[must_use]
pub fn jittered(interval: Duration, random: u32) -> Duration {
    let share = f64::from(random) / f64::from(u32::MAX);
    interval.mul_f64(0.9 + 0.2 * share)
}

/// Waiting until the gate has been open for a while.
#[derive(Debug)]
pub struct Steady {
    wanted: Duration,
    open_since: Option<Instant>,
}

impl Steady {
    /// Open for `wanted` without a break; zero: at once.
    #[must_use]
    pub const fn new(wanted: Duration) -> Self {
        Self { wanted, open_since: None }
    }

    /// Whether an open gate at `now` would be open for long enough.
    #[must_use]
    pub fn is_ripe(&self, now: Instant) -> bool {
        self.wanted.is_zero() || self.open_since.is_some_and(|since| now.saturating_duration_since(since) >= self.wanted)
    }

    /// What a look at `now` saw.
    pub fn saw(&mut self, open: bool, now: Instant) {
        self.open_since = if open { Some(self.open_since.unwrap_or(now)) } else { None };
    }

    /// How long until the next look while the gate is open: a few looks within the time, the last one at its end. `None`
    /// while it isn't.
    #[must_use]
    pub fn next(&self, now: Instant, interval: Duration) -> Option<Duration> {
        let left = self.wanted.saturating_sub(now.saturating_duration_since(self.open_since?));
        Some(left.min(interval).min((self.wanted / 5).max(Duration::from_secs(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steady_is_broken_by_one_closed_look() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut steady = Steady::new(Duration::from_secs(30));
        steady.saw(true, at(0));
        assert!(!steady.is_ripe(at(29)) && steady.is_ripe(at(30)));
        assert_eq!(steady.next(at(29), Duration::from_secs(60)), Some(Duration::from_secs(1)));
        steady.saw(false, at(20));
        assert_eq!(steady.next(at(20), Duration::from_secs(60)), None);
        steady.saw(true, at(25));
        assert!(!steady.is_ripe(at(30)) && steady.is_ripe(at(55)));
    }

    #[test]
    fn without_steady_the_first_open_look_counts() {
        assert!(Steady::new(Duration::ZERO).is_ripe(Instant::now()));
    }

    proptest! {
        #[test]
        fn jitter_stays_within_a_tenth(ms in 1_u64..1_000_000, random in any::<u32>()) {
            let interval = Duration::from_millis(ms);
            let jittered = jittered(interval, random);
            prop_assert!(jittered >= interval.mul_f64(0.899) && jittered <= interval.mul_f64(1.101));
        }
    }
}
