//! While the command runs: reap what ends, hear who wants it stopped, keep its limits.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::Job;
use super::signals::Sender;
use super::verdict::{Run, asked, ended};
use super::watchdog::Watchdog;
use crate::clock;
use crate::isolation::machine_oom_kills;
use crate::policy::{Action, Event, NEVER, Phase, Why, span, step};
use crate::process::{Family, Handle, Identity, Stopped, stop};
use crate::record::{CancelRequest, Evidence};
use crate::sys::{self, Reaped};

/// What the reaped processes used so far, and how the command ended once it has.
#[derive(Debug, Default)]
pub(super) struct Reaping {
    pub(super) status: Option<i32>,
    /// The command has ended, whether or not its status came to this process.
    pub(super) over: bool,
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
            self.over = true;
        }
    }
}

/// After an event so much time passes before memory is given back: one wakeup for a thousand events.
const SETTLED: Duration = Duration::from_secs(1);

/// What a supervisor's memory is like when it is about to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// Nobody will need it for a while.
    Spare,
    /// Something has just happened, and more may follow.
    InUse,
}

impl Memory {
    /// Sleeps until a descriptor is readable (`true`), or for so long.
    fn wait(self, fds: &[BorrowedFd<'_>], pause: Option<Duration>) -> std::io::Result<bool> {
        let ready = match self {
            Self::Spare => sys::readable_at_rest(fds, pause.map_or(-1, sys::poll_ms)),
            Self::InUse => sys::readable(fds, sys::poll_ms(pause.map_or(SETTLED, |pause| pause.min(SETTLED)))),
        };
        ready.map(|ready| ready.contains(&true))
    }
}

/// Why a run is being stopped.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) why: Why,
    /// Who asked for the job's end, where somebody did.
    pub(super) request: Option<CancelRequest>,
}

/// The moments at which a run is to hear of its limit.
struct Limits {
    warn: Option<Duration>,
    limit: Option<Duration>,
}

impl Limits {
    fn of(job: &Job<'_>) -> Self {
        let policy = &job.kept.record.policy;
        let limit = policy.timeout_s.map(|limit| job.kept.cycle.began + span(limit));
        let warn = limit.zip(policy.warn).map(|(limit, warn)| limit.saturating_sub(span(warn.before_s)));
        Self { warn, limit }
    }

    /// The event whose moment has come; each comes once.
    fn due(&mut self, now: Duration) -> Option<Event> {
        let passed = |moment: &mut Option<Duration>| moment.take_if(|at| *at <= now).is_some();
        if passed(&mut self.warn) {
            return Some(Event::Warn);
        }
        passed(&mut self.limit).then_some(Event::Limit)
    }

    fn next(&self) -> Option<Duration> {
        self.warn.or(self.limit)
    }
}

/// Watches a run to its end.
pub(super) fn watch(job: &mut Job<'_>) -> Run {
    watch_with(job, false)
}

/// Watches a run that another supervisor started: its end is seen, and its status goes to whoever inherited it.
pub(super) fn watch_adopted(job: &mut Job<'_>) -> Run {
    watch_with(job, true)
}

fn watch_with(job: &mut Job<'_>, adopted: bool) -> Run {
    let command = job.kept.record.process().unwrap_or(Identity { pid: 0, start_ticks: 0 });
    // Of a child that ended SIGCHLD tells.
    let other = if adopted { Handle::open(command).ok().flatten() } else { None };
    let oom_kills_before = job.kept.oom_kills.take().or_else(machine_oom_kills);
    let mut reaping = Reaping { oom_kills_before, ..Reaping::default() };
    let mut stopping: Option<Stopping> = None;
    let mut limits = Limits::of(job);
    if adopted {
        // Its first supervisor has said it.
        limits.warn.take_if(|at| *at <= clock::monotonic());
    }
    let mut dog = job.kept.record.policy.watchdog.map(|policy| Watchdog::new(policy, clock::monotonic()));
    let mut memory = Memory::Spare;
    let family = Family {
        key: job.kept.record.key.clone(),
        supervisor: Some(sys::pid()),
        known: vec![command],
        group: job.kept.place.dir().map(Into::into),
    };
    loop {
        // What has ended is seen before what is asked: a job is cancelled only where the request came first.
        reaping.go_on(command.pid);
        if adopted {
            reaping.over = other.as_ref().is_none_or(|handle| !handle.alive());
            reaping.alone = false;
        }
        if reaping.over && (stopping.is_none() || family.members().is_empty()) {
            let left_running = if reaping.alone { 0 } else { family.members().len() };
            return ended(job, &reaping, stopping, left_running);
        }
        let alarms = stopping.is_none();
        let moments = [limits.next(), dog.as_ref().map(Watchdog::next)].into_iter().flatten().filter(|_| alarms).min();
        // The end of those that another supervisor has left behind is told by nobody.
        let look_again = (adopted && stopping.is_some()).then(|| clock::monotonic() + SETTLED);
        let moment = moments.or(look_again);
        let pause = moment.map(|at| at.saturating_sub(clock::monotonic()));
        let other = other.iter().filter(|_| !reaping.over).map(AsFd::as_fd);
        let fds: Vec<_> = std::iter::once(job.signals.as_fd()).chain(other).collect();
        let Ok(ready) = memory.wait(&fds, pause) else { continue };
        memory = if ready { Memory::InUse } else { Memory::Spare };
        let sender = job.signals.drain();
        reaping.go_on(command.pid);
        if reaping.over && stopping.is_none() {
            // Too late for this run, and in time for the next.
            job.heard = sender.or(job.heard);
            continue;
        }
        let phase = if stopping.is_some() { Phase::Stopping } else { Phase::Running };
        let now = clock::monotonic();
        let event = match sender {
            Some(_) => Some(Event::Cancel),
            None => limits.due(now).or_else(|| dog.as_mut()?.bark(job, &family, &reaping, now).then_some(Event::Silence)),
        };
        match event.map(|event| step(phase, event)) {
            Some(Action::Stop(why)) => {
                let request = stop_all(job, &family, sender).or(stopping.and_then(|before| before.request));
                stopping = Some(Stopping { why: if request.is_some() { Why::Cancel } else { why }, request });
            }
            Some(Action::Warn) => warn(job, command),
            _ => {}
        }
    }
}

/// Sends the warning signal to the command itself: its children may know nothing of it.
fn warn(job: &Job<'_>, command: Identity) {
    if let (Some(warn), Ok(Some(handle))) = (job.kept.record.policy.warn, Handle::open(command)) {
        let _ = handle.signal(warn.signal);
    }
}

/// Stops everything of the run, as its policy has it or as somebody asked. Who survives is noted in the record, and the
/// job goes on being watched.
fn stop_all(job: &mut Job<'_>, family: &Family, sender: Option<Sender>) -> Option<CancelRequest> {
    let began = Instant::now();
    let mut request = sender.map(|sender| asked(job, sender));
    let signal = request.as_ref().map_or(libc::SIGTERM, |request| request.signal);
    let mut deadline = || {
        if let Some(sender) = job.signals.drain() {
            // Asked again, perhaps with less patience.
            request = Some(asked(job, sender));
        }
        let grace = match &request {
            Some(request) if request.signal == libc::SIGKILL => 0.0,
            Some(request) => request.grace_s,
            None => job.kept.record.policy.grace_s,
        };
        began + span(grace).min(NEVER)
    };
    let mut done = stop(&|| family.members(), signal, Some(job.signals.as_fd()), &mut deadline);
    // What forks faster than it is found: the kernel kills the whole group at once.
    let outrun = done.as_ref().is_ok_and(|done| !done.survivors.is_empty());
    if outrun && job.kept.place.kill(&job.kept.record.key).is_ok_and(|killed| killed) {
        done = stop(&|| family.members(), libc::SIGKILL, None, &mut Instant::now);
    }
    if let Ok(done) = done {
        note_survivors(job, &done, request.as_ref());
    }
    request
}

fn note_survivors(job: &mut Job<'_>, done: &Stopped, request: Option<&CancelRequest>) {
    if done.survivors.is_empty() {
        return;
    }
    let named: Vec<String> = done.survivors.iter().map(|s| format!("pid {} ({}): {}", s.identity.pid, s.comm, s.why)).collect();
    let record = &mut job.kept.record;
    record.reason = Some(format!("could not be stopped: {}", named.join("; ")));
    record.evidence = Some(Evidence { survivors: named, cancel: request.cloned(), ..Evidence::default() });
    // Should it fail, bgcancel finds them by itself.
    let _ = job.file.replace(record);
}

/// Empties what a run has left behind, before another one begins or its place is given away; says how many
/// couldn't be stopped.
pub(super) fn empty(job: &mut Job<'_>) -> usize {
    let family = Family {
        key: job.kept.record.key.clone(),
        supervisor: Some(sys::pid()),
        known: Vec::new(),
        group: job.kept.place.dir().map(Into::into),
    };
    if !family.members().is_empty() {
        let (began, mut heard) = (Instant::now(), None);
        let mut deadline = || {
            heard = job.signals.drain().or(heard);
            let grace = heard.map_or(job.kept.record.policy.grace_s, |sender| asked(job, sender).grace_s);
            began + span(grace)
        };
        let done = stop(&|| family.members(), libc::SIGTERM, Some(job.signals.as_fd()), &mut deadline);
        job.heard = heard.or(job.heard);
        if let Ok(done) = done {
            note_survivors(job, &done, None);
        }
    }
    family.members().len()
}
