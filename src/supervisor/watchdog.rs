//! Whether a run that lives is stuck: no output, no progress and no work for so long. It looks four times in that long.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::Job;
use super::watch::Reaping;
use crate::policy::span;
use crate::process::{Family, Stat};
use crate::record;

/// The share of one core from which a process tree is at work.
const AT_WORK: f64 = 0.01;

/// What of a run changes while it does anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Traces {
    log: Option<(u64, i64, i64)>,
    progress: Option<(u64, i64, i64)>,
}

/// Looks at a run now and then.
#[derive(Debug)]
pub(super) struct Watchdog {
    policy: record::Watchdog,
    seen: Traces,
    cpu: Duration,
    looked: Duration,
    /// When it last showed a sign of life.
    alive: Duration,
}

impl Watchdog {
    pub(super) fn new(policy: record::Watchdog, now: Duration) -> Self {
        Self { policy, seen: Traces::default(), cpu: Duration::ZERO, looked: now, alive: now }
    }

    fn after(&self) -> Duration {
        span(self.policy.after_s)
    }

    /// When it looks next.
    pub(super) fn next(&self) -> Duration {
        self.looked + self.after() / 4
    }

    /// Looks, if it is time to; says whether the run is stuck.
    pub(super) fn bark(&mut self, job: &Job<'_>, family: &Family, reaping: &Reaping, now: Duration) -> bool {
        if now < self.next() {
            return false;
        }
        let seen = Traces::of(job);
        let mut works = seen != self.seen;
        if !self.policy.any_cpu {
            let cpu = worked(family, reaping);
            let share = cpu.saturating_sub(self.cpu).as_secs_f64() / now.saturating_sub(self.looked).as_secs_f64();
            works |= share >= AT_WORK;
            self.cpu = cpu;
        }
        (self.seen, self.looked) = (seen, now);
        if works {
            self.alive = now;
        }
        now.saturating_sub(self.alive) >= self.after()
    }
}

impl Traces {
    fn of(job: &Job<'_>) -> Self {
        let log = std::fs::symlink_metadata(job.kept.record.log.as_os_str()).ok();
        Self {
            log: log.map(|meta| (meta.size(), meta.mtime(), meta.mtime_nsec())),
            progress: job.dir.added_stamp(&job.kept.record.id, "progress.json"),
        }
    }
}

/// Processor time of all that lives and of all that was reaped, by the supervisor or by its own parents.
fn worked(family: &Family, reaping: &Reaping) -> Duration {
    let ticks: u64 = family.members().iter().map(|process: &Stat| process.cpu_ticks + process.children_ticks).sum();
    let alive = crate::sys::ticks(ticks);
    alive + Duration::from_micros(reaping.user_us + reaping.sys_us)
}
