//! The verdict: what ended the job, on what evidence, written however long the disk resists.

use std::os::fd::AsFd;
use std::time::Duration;

use super::watch::{Job, Reaping};
use crate::clock;
use crate::record::{CancelRequest, End, Evidence, State, Usage};
use crate::sys;

/// Between two tries to write; doubled up to the last.
const FIRST_RETRY_MS: i32 = 50;
const LAST_RETRY_MS: i32 = 30_000;

/// What the supervisor knows beside the status.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) cancelled: Option<CancelRequest>,
    pub(super) left_running: usize,
}

/// Writes the verdict, then removes the lock: a reader that finds the lock free finds the verdict.
pub(super) fn write(mut job: Job<'_>, reaping: &Reaping, ending: Ending) {
    fill_in(&mut job, reaping, ending);
    let mut tries = 0_u32;
    while let Err(error) = job.file.replace(&job.record) {
        if job.dir.is_gone() {
            return;
        }
        tries += 1;
        let evidence = job.record.evidence.get_or_insert_default();
        evidence.late = Some(format!("the verdict could not be written at first ({tries} tries): {error}"));
        let pause = FIRST_RETRY_MS.saturating_mul(1 << tries.min(10)).min(LAST_RETRY_MS);
        let _ = sys::readable(&[job.signals.as_fd()], pause);
        job.signals.drain();
    }
    job.dir.note_ended(&job.record.id);
    let _ = job.lock.remove(job.dir);
}

fn fill_in(job: &mut Job<'_>, reaping: &Reaping, ending: Ending) {
    let end = End::from_wait(reaping.status.unwrap_or_default());
    let oom_kills = machine_oom_kills().zip(reaping.oom_kills_before).map(|(now, before)| now.saturating_sub(before));
    let ended = clock::rfc3339(&clock::now());
    let seconds = |us: u64| Duration::from_micros(us).as_secs_f64();
    let usage = Usage {
        wall_s: (job.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
        user_s: seconds(reaping.user_us),
        sys_s: seconds(reaping.sys_us),
        max_rss_bytes: reaping.max_rss_bytes,
    };
    let record = &mut job.record;
    record.state = match (&ending.cancelled, end) {
        (Some(_), _) => State::Cancelled,
        (None, End::Code { code: 0 }) => State::Succeeded,
        (None, _) => State::Failed,
    };
    record.reason = reason(end, ending.cancelled.as_ref(), oom_kills);
    record.ended = Some(ended.clone());
    record.exit = Some(end);
    record.usage = usage;
    if let Some(run) = record.runs.last_mut() {
        run.ended = Some(ended);
        run.exit = Some(end);
        run.reason.clone_from(&record.reason);
        run.usage = usage;
    }
    record.evidence = Some(Evidence {
        from: Some("wait".into()),
        oom_kills_machine: oom_kills.filter(|n| *n > 0),
        left_running: u32::try_from(ending.left_running).ok(),
        cancel: ending.cancelled,
        ..Evidence::default()
    });
}

/// One line for people; nothing where a plain success or exit code says it all.
fn reason(end: End, cancelled: Option<&CancelRequest>, oom_kills: Option<u64>) -> Option<String> {
    if let Some(request) = cancelled {
        let why = request.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        return Some(format!("cancelled by {}{why}", request.by));
    }
    match (end, oom_kills) {
        (End::Signal { signal: libc::SIGKILL, .. }, Some(1..)) => {
            Some("killed by SIGKILL; the kernel killed something for memory meanwhile, perhaps this".into())
        }
        (End::Signal { .. }, _) => Some(format!("killed by {end}")),
        (End::Code { .. }, _) => None,
    }
}

/// How often the kernel has killed a process for memory since boot, anywhere on this machine.
pub(super) fn machine_oom_kills() -> Option<u64> {
    let vmstat = String::from_utf8(crate::process::proc_file("/proc/vmstat")?).ok()?;
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}
