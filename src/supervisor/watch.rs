//! While the command runs: reap what ends, hear who wants it stopped.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::signals::{Sender, Signals};
use super::verdict::{Ending, machine_oom_kills, write};
use crate::clock;
use crate::process::{Family, Identity, Stopped, stop};
use crate::record::{CancelRequest, Evidence, Record};
use crate::state_dir::{Lock, RecordFile, StateDir};
use crate::sys::{self, Reaped};

const LISTEN_RETRY_MS: i32 = 100;
/// A century: later than that is never, and `Instant` can hold it.
const LONGEST_GRACE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A job whose command runs.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) dir: &'a StateDir,
    pub(super) record: Record,
    pub(super) file: RecordFile<'a>,
    pub(super) lock: Lock,
    pub(super) signals: Signals,
    pub(super) command: Identity,
    pub(super) began: Instant,
}

impl<'a> Job<'a> {
    pub(super) fn new(dir: &'a StateDir, record: Record, lock: Lock) -> Self {
        let signals = listen();
        let file = RecordFile::with_room(dir, &record);
        let command = record.process().unwrap_or(Identity { pid: 0, start_ticks: 0 });
        Self { dir, record, file, lock, signals, command, began: Instant::now() }
    }
}

/// The job has no other supervisor: a kernel short of memory for this is asked until it has some.
fn listen() -> Signals {
    loop {
        if let Ok(signals) = Signals::new() {
            return signals;
        }
        let _ = sys::readable(&[], LISTEN_RETRY_MS);
    }
}

/// What the reaped processes used so far, and how the command ended once it has.
#[derive(Debug, Default)]
pub(super) struct Reaping {
    pub(super) status: Option<i32>,
    pub(super) user_us: u64,
    pub(super) sys_us: u64,
    pub(super) max_rss_bytes: u64,
    /// The machine's counter when the command was started.
    pub(super) oom_kills_before: Option<u64>,
    /// No child is left at all.
    pub(super) alone: bool,
}

impl Reaping {
    /// Reaps whatever has ended.
    fn go_on(&mut self, command: i32) {
        loop {
            match sys::reap(-1) {
                Ok(Some(reaped)) => self.add(command, reaped),
                Ok(None) => return,
                Err(_) => {
                    self.alone = true;
                    return;
                }
            }
        }
    }

    fn add(&mut self, command: i32, reaped: Reaped) {
        self.user_us += reaped.user_us;
        self.sys_us += reaped.sys_us;
        self.max_rss_bytes = self.max_rss_bytes.max(reaped.max_rss_bytes);
        if reaped.pid == command {
            self.status = Some(reaped.status);
        }
    }
}

/// Watches the job to its end and writes the verdict.
pub(super) fn watch(mut job: Job<'_>) {
    let mut reaping = Reaping { oom_kills_before: machine_oom_kills(), ..Reaping::default() };
    let mut stopping: Option<CancelRequest> = None;
    let mut fresh = true;
    let family = Family { key: job.record.key.clone(), supervisor: Some(sys::pid()), known: vec![job.command] };
    loop {
        // What has ended is seen before what is asked: a job is cancelled only where the request came first.
        reaping.go_on(job.command.pid);
        if reaping.status.is_some() && (stopping.is_none() || family.members().is_empty()) {
            let left_running = if reaping.alone { 0 } else { family.members().len() };
            return write(job, &reaping, Ending { cancelled: stopping, left_running });
        }
        if std::mem::take(&mut fresh) {
            sys::give_back_code();
        }
        if sys::readable(&[job.signals.as_fd()], -1).is_err() {
            continue;
        }
        if let Some(sender) = job.signals.drain() {
            reaping.go_on(job.command.pid);
            if reaping.status.is_some() && stopping.is_none() {
                continue;
            }
            stopping = Some(stop_all(&mut job, &family, sender));
        }
    }
}

/// Stops everything of the job as asked. Who survives is noted in the record, and the job goes on being watched.
fn stop_all(job: &mut Job<'_>, family: &Family, sender: Sender) -> CancelRequest {
    let began = Instant::now();
    let mut request = asked(job, sender);
    let signal = request.signal;
    let mut deadline = || {
        if let Some(sender) = job.signals.drain() {
            // Asked again, perhaps with less patience.
            request = asked(job, sender);
        }
        let grace = if request.signal == libc::SIGKILL { 0.0 } else { request.grace_s };
        began + Duration::try_from_secs_f64(grace).unwrap_or_default().min(LONGEST_GRACE)
    };
    let done = stop(&|| family.members(), signal, Some(job.signals.as_fd()), &mut deadline);
    if let Ok(done) = done {
        note_survivors(job, &done, &request);
    }
    request
}

/// What `cancel.json` says, or, from somebody who only sent SIGTERM, the job's own policy.
fn asked(job: &Job<'_>, sender: Sender) -> CancelRequest {
    job.dir.cancel_request(&job.record.id).unwrap_or_else(|| CancelRequest {
        signal: libc::SIGTERM,
        grace_s: job.record.policy.grace_s,
        by: format!("{} (pid {})", crate::user::name(sender.uid), sender.pid),
        reason: Some("SIGTERM sent to the supervisor".into()),
        at: clock::rfc3339(&clock::now()),
    })
}

fn note_survivors(job: &mut Job<'_>, done: &Stopped, request: &CancelRequest) {
    if done.survivors.is_empty() {
        return;
    }
    let named: Vec<String> = done.survivors.iter().map(|s| format!("pid {} ({}): {}", s.identity.pid, s.comm, s.why)).collect();
    job.record.reason = Some(format!("could not be stopped: {}", named.join("; ")));
    job.record.evidence = Some(Evidence { survivors: named, cancel: Some(request.clone()), ..Evidence::default() });
    // Should it fail, bgcancel finds them by itself.
    let _ = job.file.replace(&job.record);
}
