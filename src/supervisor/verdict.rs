//! The verdict: how a run ended, on what evidence, what follows, and the record of it, written however long the disk
//! resists.

use std::os::fd::AsFd;
use std::time::Duration;

use super::signals::Sender;
use super::watch::{Reaping, Stopping, empty};
use super::{Job, hooks};
use crate::clock;
use crate::exit::Failure;
use crate::isolation::{Counters, killed_for_memory, machine_oom_kills};
use crate::policy::{self, Next, Outcome, Why};
use crate::process::Stat;
use crate::queue;
use crate::record::{CancelRequest, End, Evidence, State, Usage};
use crate::sys;

/// Between two tries to write; doubled up to the last.
const FIRST_RETRY_MS: i32 = 50;
const LAST_RETRY_MS: i32 = 30_000;
/// The kernel kills first and writes its line then.
const LOG_PATIENCE: Duration = Duration::from_millis(200);
/// `EX_TEMPFAIL`: not now.
const NOT_NOW: u8 = 75;

/// How a run ended and what is known of it.
#[derive(Debug)]
pub(super) struct Run {
    outcome: Outcome,
    end: Option<End>,
    usage: Usage,
    reason: Option<String>,
    evidence: Evidence,
    left_running: usize,
    /// When, where that was seen.
    ended: Option<String>,
    /// It is one, and not only the end of a wait.
    ran: bool,
}

impl Run {
    fn none(outcome: Outcome, reason: String, ran: bool) -> Self {
        let (usage, evidence, ended) = (Usage::default(), Evidence::default(), Some(clock::rfc3339(&clock::now())));
        Self { outcome, end: None, usage, reason: Some(reason), evidence, left_running: 0, ended, ran }
    }

    /// The command couldn't be executed, or was not to be any more.
    pub(super) fn refused(job: &Job<'_>, failure: &Failure) -> Self {
        match job.dir.cancel_request(&job.kept.record.id) {
            Some(request) => Self { ran: true, ..Self::cancelled(request) },
            None => Self::none(Outcome::CannotRun, failure.message.clone(), true),
        }
    }

    /// Its supervisor was killed, or the machine went down, while it ran or waited.
    pub(super) fn unknown(why: Option<String>, ran: bool) -> Self {
        let why = why.unwrap_or_else(|| "its supervisor was killed".into());
        let mut run = Self::none(Outcome::Unknown, why, ran);
        run.evidence.from = Some("recovery".into());
        run.ended = None;
        run
    }

    /// The request that ended it, where one did.
    pub(super) const fn request(&self) -> Option<&CancelRequest> {
        self.evidence.cancel.as_ref()
    }

    /// No run at all: the job was cancelled while it waited.
    pub(super) fn cancelled(request: CancelRequest) -> Self {
        let mut run = Self::none(Outcome::Cancelled, by(&request), false);
        run.evidence.cancel = Some(request);
        run
    }
}

/// What `cancel.json` says, or, from somebody who only sent SIGTERM, the job's own policy.
pub(super) fn asked(job: &Job<'_>, sender: Sender) -> CancelRequest {
    let record = &job.kept.record;
    job.dir.cancel_request(&record.id).unwrap_or_else(|| CancelRequest {
        signal: libc::SIGTERM,
        grace_s: record.policy.grace_s,
        by: format!("{} (pid {})", crate::user::name(sender.uid), sender.pid),
        reason: Some(if is_a_manager(sender) { GOING_DOWN } else { "SIGTERM sent to the supervisor" }.into()),
        at: clock::rfc3339(&clock::now()),
    })
}

/// What a manager that ends everything means by its SIGTERM.
const GOING_DOWN: &str = "the machine goes down";

/// Whether a signal comes from who ends all processes at a shutdown: pid 1, a user's systemd, or somebody outside of this
/// container.
fn is_a_manager(sender: Sender) -> bool {
    let stat = i32::try_from(sender.pid).ok().and_then(Stat::read);
    sender.pid <= 1 || stat.is_some_and(|stat| stat.ppid == 1 && stat.comm == "systemd")
}

/// Whether this ends the run and not the job: the machine goes down, and there are runs to come when it is up again.
pub(super) fn leaves(job: &Job<'_>, request: Option<&CancelRequest>) -> bool {
    let going_down = request.is_some_and(|request| request.reason.as_deref() == Some(GOING_DOWN));
    // What somebody wrote into a request is a reason for people and nothing else.
    going_down && job.kept.record.policy.repeats() && job.dir.cancel_request(&job.kept.record.id).is_none()
}

/// Leaves the job to `--recover`: no verdict, and nobody who holds its lock.
pub(super) fn leave(mut job: Job<'_>, run: Option<Run>) {
    if let Some(run) = run {
        note(&mut job, run, None);
    }
    leave_queue(&job);
    let record = &mut job.kept.record;
    record.state = if record.run == 0 { State::Queued } else { State::Waiting };
    (record.pid, record.pgid, record.sid, record.start_ticks) = (None, None, None, None);
    record.reason = Some(format!("stopped because {GOING_DOWN}; bgrun --recover goes on with it"));
    record.evidence = None;
    let _ = job.file.replace(record);
    job.kept.place.remove();
}

/// What is to be said of a run that was watched to its end.
pub(super) fn ended(job: &Job<'_>, reaping: &Reaping, stopping: Option<Stopping>, left_running: usize) -> Run {
    let end = reaping.status.map(End::from_wait);
    let oom_kills = machine_oom_kills().zip(reaping.oom_kills_before).map(|(now, before)| now.saturating_sub(before));
    let mut memory = Memory::of(job, oom_kills);
    if let (None, Some(end)) = (&stopping, end) {
        memory.prove(job, end, wall(job));
    }
    let seconds = |us: u64| Duration::from_micros(us).as_secs_f64();
    let usage = Usage {
        wall_s: (wall(job).as_secs_f64() * 1000.0).round() / 1000.0,
        user_s: seconds(reaping.user_us.max(memory.counters.user_us.unwrap_or(0))),
        sys_s: seconds(reaping.sys_us.max(memory.counters.sys_us.unwrap_or(0))),
        max_rss_bytes: reaping.max_rss_bytes,
        memory_peak_bytes: memory.counters.peak_bytes,
    };
    let policy = &job.kept.record.policy;
    let outcome = match (stopping.as_ref().map(|stopping| stopping.why), end) {
        (Some(Why::Cancel), _) => Outcome::Cancelled,
        (Some(Why::Limit), _) => Outcome::TimedOut,
        (Some(Why::Silence), _) => Outcome::Stuck,
        (None, None) => Outcome::Unknown,
        (None, Some(End::Code { code: 0 })) => Outcome::Succeeded,
        (None, Some(End::Code { code: NOT_NOW })) => Outcome::NotNow,
        (None, Some(_)) if memory.proved => Outcome::OomKilled,
        (None, Some(_)) => Outcome::Failed,
    };
    let span = |s: Option<f64>| clock::brief(policy::span(s.unwrap_or_default()));
    let reason = match outcome {
        Outcome::Cancelled => stopping.as_ref().and_then(|stopping| stopping.request.as_ref()).map(by),
        Outcome::TimedOut => Some(format!("timed out after {}", span(policy.timeout_s))),
        Outcome::Stuck => Some(format!("stuck: silent and idle for {}", span(policy.watchdog.map(|dog| dog.after_s)))),
        Outcome::Unknown => Some("it ended after its supervisor was killed: its exit status is not known".into()),
        _ => end.and_then(|end| killed(end, &memory)),
    };
    let evidence = Evidence {
        from: Some(if end.is_some() { "wait" } else { "recovery" }.into()),
        oom_kills_machine: oom_kills.filter(|n| *n > 0),
        cancel: stopping.and_then(|stopping| stopping.request),
        ..memory.evidence()
    };
    let ended = Some(clock::rfc3339(&clock::now()));
    Run { outcome, end, usage, reason, evidence, left_running, ended, ran: true }
}

fn wall(job: &Job<'_>) -> Duration {
    clock::monotonic().saturating_sub(job.kept.cycle.began)
}

/// What is known of kills for memory.
struct Memory {
    /// The command's end was one.
    proved: bool,
    /// How many there were on this machine meanwhile.
    machine: Option<u64>,
    counters: Counters,
    max: Option<u64>,
    /// The kernel's own line.
    line: Option<String>,
}

impl Memory {
    fn of(job: &Job<'_>, machine: Option<u64>) -> Self {
        let place = &job.kept.place;
        Self { proved: false, machine, counters: place.counters(), max: place.memory_max, line: None }
    }

    /// How many of the job's own processes were killed.
    fn own(&self) -> u64 {
        self.counters.oom_kills.unwrap_or(0)
    }

    /// A SIGKILL is the kernel's for memory where the job's own group counts one, or the kernel's log names the command. The
    /// log is read only where the machine has killed something.
    fn prove(&mut self, job: &Job<'_>, end: End, wall: Duration) {
        if matches!(end, End::Signal { signal: libc::SIGKILL, .. }) && (self.own() > 0 || self.machine != Some(0)) {
            let command = job.kept.record.pid.unwrap_or(0);
            self.line = killed_for_memory(command, wall, LOG_PATIENCE);
            self.proved = self.own() > 0 || self.line.is_some();
        }
    }

    fn evidence(self) -> Evidence {
        let own = self.own() > 0;
        let of_memory = |bytes: Option<u64>| bytes.filter(|_| own || self.proved);
        Evidence {
            oom_kills: self.counters.oom_kills.filter(|_| own),
            memory_peak_bytes: of_memory(self.counters.peak_bytes),
            memory_max_bytes: of_memory(self.max),
            kernel_log: self.line,
            ..Evidence::default()
        }
    }
}

/// What follows this run.
pub(super) fn judge(job: &mut Job<'_>, run: &Run) -> Next {
    let record = &job.kept.record;
    policy::judge(&record.policy, &mut job.kept.cycle, record.run, run.outcome, clock::monotonic())
}

/// Notes in the record how the run ended.
fn note(job: &mut Job<'_>, run: Run, outlook: Option<&str>) -> Option<String> {
    let record = &mut job.kept.record;
    if run.ran {
        record.usage = record.usage.plus(run.usage);
        record.exit = run.end;
        if let Some(last) = record.runs.last_mut() {
            last.ended.clone_from(&run.ended);
            last.exit = run.end;
            last.reason.clone_from(&run.reason);
            last.usage = run.usage;
        }
    }
    record.reason = match (run.reason, outlook) {
        (Some(reason), Some(outlook)) => Some(format!("{reason}; {outlook}")),
        (reason, outlook) => reason.or_else(|| outlook.map(str::to_owned)),
    };
    let before = record.evidence.take().unwrap_or_default();
    record.evidence = Some(Evidence { hooks: before.hooks, survivors: before.survivors, ..run.evidence });
    run.ended
}

/// Between two runs: says when the next one is, and tells who wants to hear of one that `failed` for good.
pub(super) fn pause(job: &mut Job<'_>, run: Run, at: Duration, why: &str, failed: bool) {
    let stuck = run.outcome == Outcome::Stuck;
    note(job, run, Some(&format!("{why}: next run at {}", clock::at(at))));
    let record = &mut job.kept.record;
    record.state = State::Waiting;
    (record.pid, record.pgid, record.sid, record.start_ticks) = (None, None, None, None);
    // Should it fail, the next one that is written says it.
    let _ = job.file.replace(record);
    if tell(job, false, failed, stuck) {
        let _ = job.file.replace(&job.kept.record);
    }
}

/// The job is over: no run follows.
pub(super) fn conclude(mut job: Job<'_>, run: Run, why: Option<String>) {
    let (outcome, mut left_running) = (run.outcome, run.left_running);
    if left_running > 0 && job.kept.record.policy.place.is_some() {
        // The next of its queue is to find the room that it was promised.
        left_running = empty(&mut job);
    }
    let ended = note(&mut job, run, why.as_deref());
    if let Some(evidence) = &mut job.kept.record.evidence {
        evidence.left_running = evidence.from.is_some().then(|| u32::try_from(left_running).unwrap_or(u32::MAX));
    }
    close(job, outcome.state(), ended, outcome == Outcome::Stuck);
}

/// The job is over before it began: what it waited for can't come.
pub(super) fn skip(mut job: Job<'_>, why: String) {
    job.kept.record.reason = Some(why);
    let ended = clock::rfc3339(&clock::now());
    close(job, State::Skipped, Some(ended), false);
}

/// Writes the verdict, tells who wants to hear of it, then removes the lock: a reader that finds the lock free finds the
/// verdict.
fn close(mut job: Job<'_>, state: State, ended: Option<String>, stuck: bool) {
    job.kept.record.state = state;
    job.kept.record.ended = ended;
    if !write(&mut job) {
        job.kept.place.remove();
        return;
    }
    leave_queue(&job);
    // With the job its promises end.
    for claim in job.kept.spec.take().map(|spec| spec.claims).unwrap_or_default() {
        drop(sys::inherited(claim));
    }
    let failed = !matches!(state, State::Succeeded | State::Cancelled);
    if tell(&mut job, true, failed, stuck) {
        let _ = job.file.replace(&job.kept.record);
    }
    job.dir.forget_environment(&job.kept.record.id);
    job.dir.note_ended(&job.kept.record.id);
    let _ = job.kept.lock.remove(job.dir);
    job.kept.place.remove();
}

/// Writes the record; `false` when its directory is gone.
fn write(job: &mut Job<'_>) -> bool {
    let mut tries = 0_u32;
    while let Err(error) = job.file.replace(&job.kept.record) {
        if job.dir.is_gone() {
            return false;
        }
        tries += 1;
        // A full disk keeps nobody else waiting.
        leave_queue(job);
        let evidence = job.kept.record.evidence.get_or_insert_default();
        evidence.late = Some(format!("the verdict could not be written at first ({tries} tries): {error}"));
        let pause = FIRST_RETRY_MS.saturating_mul(1 << tries.min(10)).min(LAST_RETRY_MS);
        let _ = sys::readable(&[job.signals.as_fd()], pause);
        job.signals.drain();
    }
    true
}

fn leave_queue(job: &Job<'_>) {
    if let Some(place) = &job.kept.record.policy.place {
        queue::leave(job.dir, place, &job.kept.record.id);
    }
}

/// Runs the commands that are to hear of this; says whether the record has anything new to say.
fn tell(job: &mut Job<'_>, over: bool, failed: bool, stuck: bool) -> bool {
    let policy = &job.kept.record.policy;
    let asked =
        [("--on-stuck", &policy.on_stuck, stuck), ("--on-fail", &policy.on_fail, failed), ("--on-end", &policy.on_end, over)];
    let due = asked.into_iter().filter_map(|(option, command, due)| Some((option, command.clone().filter(|_| due)?)));
    let due: Vec<_> = due.collect();
    let said: Vec<String> = due.iter().map(|(option, command)| hooks::run(job, option, command)).collect();
    let new = !said.is_empty();
    job.kept.record.evidence.get_or_insert_default().hooks.extend(said);
    new
}

/// One line for people; nothing where a plain success or exit code says it all.
fn killed(end: End, memory: &Memory) -> Option<String> {
    let of = memory.max.map(|max| format!(" at its limit of {}", crate::size::shown(max))).unwrap_or_default();
    match end {
        _ if memory.proved => Some(format!("killed by the kernel for memory{of}")),
        End::Code { code: 1.. } if memory.own() > 0 => Some(format!(
            "the kernel killed {} of its processes for memory{of}; the command itself ended with {end}",
            memory.own()
        )),
        End::Signal { signal: libc::SIGKILL, .. } if memory.machine > Some(0) => {
            Some("killed by SIGKILL; the kernel killed something for memory meanwhile, perhaps this".into())
        }
        End::Signal { .. } => Some(format!("killed by {end}")),
        End::Code { .. } => None,
    }
}

fn by(request: &CancelRequest) -> String {
    let why = request.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("cancelled by {}{why}", request.by)
}
