//! Stopping a job and everything it started, whether its supervisor is well, slow, stopped or dead.
//!
//! A well supervisor does it itself: it is the parent of all of them, so that their being gone is certain. Where there is
//! none, whoever cancels takes the lock, sweeps, and writes the verdict.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::clock;
use crate::exit::{Exit, Failure};
use crate::isolation;
use crate::process::{Family, Handle, Here, Identity, Mark, Orphaned, Stat, Survivor, stop};
use crate::record::{CancelRequest, Evidence, Record, State, amend};
use crate::state_dir::{Lock, Observed, Place, RecordFile, StateDir, observe};
use crate::sys;

/// What a supervisor may need beyond the grace: to notice, to kill, to write.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two tries to take a lock that somebody holds.
const LOCK_RETRY_MS: i32 = 20;
/// A century.
const LONGEST_GRACE: Duration = Duration::from_secs(100 * 365 * 86_400);

/// How a cancel ended.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing of the job is alive, and its record says how it ended.
    Gone(State),
    /// These are alive.
    Survived(Vec<String>),
    /// What is known of it is gone; whether these were its own can't be told.
    Unproved(Vec<String>),
}

/// Stops the job.
///
/// # Errors
/// When the job is another host's or container's, or its record can't be used or written.
pub fn cancel(dir: &StateDir, job: &Observed, request: &CancelRequest, here: &Here) -> anyhow::Result<Outcome> {
    let id = &job.record.id;
    if matches!(job.place, Place::OtherHost | Place::OtherContainer) {
        let whose = job.note.as_deref().unwrap_or("it runs in another place");
        return Err(Failure::new(Exit::Broken, format!("cannot cancel job '{id}': {whose}"))
            .hint("cancel it where it runs")
            .into());
    }
    // A disk that is full must not keep a job alive: the signal alone does it, without the reason.
    let noted = dir.ask_to_cancel(id, request);
    // A supervisor that is replaced may have stopped all of them by then, on this very request.
    let mut asked = Asked {
        of_living: job.is_live()
            && match job.record.process() {
                Some(process) => is_the_jobs(dir, &job.record, process),
                // It would have run, had its supervisor been left alone.
                None => job.supervised,
            },
        orphans: Vec::new(),
    };
    let outcome = loop {
        match holder(dir, id, here, grace(request).saturating_add(PATIENCE))? {
            Held::Over(state) => break Outcome::Gone(state),
            Held::Ours(lock) => break take_over(dir, lock, request, here, &asked)?,
            Held::Supervised(supervisor) => match through_supervisor(dir, id, &supervisor, request, here)? {
                Some(outcome) => return Ok(outcome),
                None => asked.orphans = replace_supervisor(&supervisor, &job.record)?,
            },
        }
    };
    noted.or_else(|error| if matches!(outcome, Outcome::Gone(_)) { Ok(()) } else { Err(error) })?;
    Ok(outcome)
}

/// What was seen of the job before it was touched.
struct Asked {
    /// Its command lived when its end was asked for.
    of_living: bool,
    /// Children of a supervisor that had to be replaced.
    orphans: Vec<Identity>,
}

/// The supervisor behind a record's number, if it is one: a record may name anybody.
fn open_supervisor(supervisor: Identity, key: &str) -> io::Result<Option<Handle>> {
    let handle = Handle::open(supervisor)?;
    Ok(handle.filter(|_| Mark::of(supervisor.pid) == Mark::Supervisor(key.as_bytes().to_vec())))
}

fn grace(request: &CancelRequest) -> Duration {
    let grace = if request.signal == libc::SIGKILL { 0.0 } else { request.grace_s };
    Duration::try_from_secs_f64(grace).unwrap_or_default().min(LONGEST_GRACE)
}

/// Lets the supervisor do it; `None` when it doesn't within its time.
fn through_supervisor(
    dir: &StateDir,
    id: &str,
    supervisor: &Handle,
    request: &CancelRequest,
    here: &Here,
) -> anyhow::Result<Option<Outcome>> {
    let cannot = || format!("cannot signal the supervisor of job '{id}'");
    supervisor.signal(libc::SIGTERM).with_context(cannot)?;
    // One that was stopped by hand would sit on the verdict, and restart the job when it is continued.
    supervisor.signal(libc::SIGCONT).with_context(cannot)?;
    if !supervisor.ended_within(grace(request).saturating_add(PATIENCE))? {
        let record = dir.record(id).ok().flatten();
        let survivors = record.and_then(|record| record.evidence).map(|evidence| evidence.survivors).unwrap_or_default();
        return Ok((!survivors.is_empty()).then_some(Outcome::Survived(survivors)));
    }
    match observe(dir, id, here) {
        Ok(Some(job)) if job.state.is_terminal() && job.record.state.is_terminal() => {
            let group = place(dir, &job.record).and_then(|place| place.dir().map(Path::to_owned));
            let left = Family { key: job.record.key.clone(), supervisor: None, known: vec![], group };
            let stopped = stop(&|| left.members(), libc::SIGKILL, None, &mut Instant::now)?;
            // One that adopted the job is no parent of what it left behind before.
            let adopted = job.record.supervisor.is_some_and(|supervisor| supervisor.adopted);
            let unproved = if adopted { unproved(&job.record) } else { Vec::new() };
            Ok(Some(match (stopped.survivors.is_empty(), unproved.is_empty()) {
                (false, _) => survived(&stopped.survivors),
                (true, false) => Outcome::Unproved(unproved),
                (true, true) => Outcome::Gone(job.state),
            }))
        }
        // The launch was called off: there is no job, and there never was.
        Ok(None) => Ok(Some(Outcome::Gone(State::Cancelled))),
        _ => Ok(None),
    }
}

/// Ends a supervisor that doesn't answer. Its children are noted first: without it nobody knows whose they are.
fn replace_supervisor(supervisor: &Handle, record: &Record) -> anyhow::Result<Vec<Identity>> {
    let family = Family { key: record.key.clone(), supervisor: Some(supervisor.identity().pid), known: vec![], group: None };
    let members = family.members().iter().map(Stat::identity).collect();
    if supervisor.alive() {
        supervisor.signal(libc::SIGKILL)?;
        if !supervisor.ended_within(PATIENCE)? {
            anyhow::bail!("the supervisor of job '{}' (pid {}) can't be killed", record.id, supervisor.identity().pid);
        }
    }
    Ok(members)
}

/// With the lock in hand and no supervisor: sweeps, writes the verdict.
fn take_over(dir: &StateDir, lock: Lock, request: &CancelRequest, here: &Here, asked: &Asked) -> anyhow::Result<Outcome> {
    let id = &lock.id().to_owned();
    let bytes = dir.record_bytes(id)?.context("its record was removed")?;
    let record = crate::record::parse(id, &bytes)?;
    if record.state.is_terminal() {
        lock.remove(dir)?;
        return Ok(Outcome::Gone(record.state));
    }
    let same_boot = record.boot_id == here.boot_id && record.pid_ns == here.pid_ns;
    let known = record.process().filter(|process| same_boot && is_the_jobs(dir, &record, *process));
    let place = place(dir, &record).filter(|_| same_boot);
    let family = Family {
        key: record.key.clone(),
        supervisor: None,
        known: known.into_iter().chain(asked.orphans.iter().copied()).collect(),
        group: place.as_ref().and_then(|place| place.dir().map(Path::to_owned)),
    };
    let was_alive = same_boot && !family.members().is_empty();
    if was_alive {
        let began = Instant::now();
        let stopped = stop(&|| family.members(), request.signal, None, &mut || began + grace(request))?;
        if !stopped.survivors.is_empty() {
            return Ok(survived(&stopped.survivors));
        }
    }
    // Nobody leaves the job's own control group by what it does to its environment: that one is empty, or holds other jobs.
    let unproved = if same_boot && place.is_none() { unproved(&record) } else { Vec::new() };
    if let Some(place) = place {
        place.remove();
    }
    let state = if was_alive || (same_boot && asked.of_living) { State::Cancelled } else { State::Lost };
    let closed = amend(id, &bytes, |record| close(record, state, request, &unproved))?;
    RecordFile::new(dir, id).replace_bytes(&closed, true).with_context(|| format!("cannot write the record of job '{id}'"))?;
    dir.forget_environment(id);
    dir.note_ended(id);
    lock.remove(dir)?;
    Ok(if unproved.is_empty() { Outcome::Gone(state) } else { Outcome::Unproved(unproved) })
}

/// Processes that may be the job's, where no supervisor is their parent, and can't be told.
fn unproved(record: &Record) -> Vec<String> {
    let suspects = Family::suspects(&Orphaned {
        start_ticks: record.start_ticks.unwrap_or(u64::MAX),
        reaper: record.supervisor.map_or(1, |supervisor| supervisor.reaper),
        cgroup: record.cgroup.as_deref(),
    });
    suspects.iter().map(|p| format!("pid {} ({})", p.pid, p.comm)).collect()
}

/// The job's own control group. As with processes, one of another user than the record's owner is believed in no case.
fn place(dir: &StateDir, record: &Record) -> Option<isolation::Place> {
    let owner = |path: &Path| std::fs::symlink_metadata(path).map(|meta| meta.uid()).ok();
    let recorded = owner(&dir.path().join(format!("{}.json", record.id)))?;
    let place = isolation::Place::recorded(&record.isolation, record.cgroup.as_deref(), &record.key)?;
    let group = place.dir().and_then(owner);
    (recorded == 0 || group.is_none_or(|owner| owner == recorded)).then_some(place)
}

/// Who holds a job's lock.
enum Held {
    Ours(Lock),
    Supervised(Handle),
    /// Its holder closed the job.
    Over(State),
}

/// Takes the lock, or finds the supervisor that holds it, or sees the job closed by who holds it. A supervisor that was
/// started in an environment too small for its mark has none in its first moments, and of several that cancel an orphan one
/// does the work: both take moments.
fn holder(dir: &StateDir, id: &str, here: &Here, patience: Duration) -> anyhow::Result<Held> {
    let cannot = || format!("cannot take the lock of job '{id}'");
    let until = Instant::now() + patience;
    loop {
        if let Some(lock) = Lock::take(dir, id).with_context(cannot)? {
            return Ok(Held::Ours(lock));
        }
        match observe(dir, id, here) {
            Ok(Some(job)) if job.record.state.is_terminal() => return Ok(Held::Over(job.state)),
            Ok(None) => return Ok(Held::Over(State::Cancelled)),
            Ok(Some(job)) => {
                if let Some(supervisor) = job.record.supervisor.filter(|_| job.supervised)
                    && let Some(handle) = open_supervisor(supervisor.identity, &job.record.key)?
                {
                    return Ok(Held::Supervised(handle));
                }
            }
            Err(_) => {}
        }
        if Instant::now() >= until {
            return Err(Failure::new(Exit::NotNow, format!("{}: somebody holds it", cannot())).into());
        }
        sys::readable(&[], LOCK_RETRY_MS)?;
    }
}

/// Whether the process that a record names is the job's, by what the process itself shows: its key, or, where its
/// environment was cleaned, the job's log as its output. Anybody can write a number into a record, and one of another
/// user than the record's owner is believed in no case.
fn is_the_jobs(dir: &StateDir, record: &Record, process: Identity) -> bool {
    let owner = |path: PathBuf| std::fs::symlink_metadata(path).map(|meta| meta.uid());
    let recorded = owner(dir.path().join(format!("{}.json", record.id)));
    let Some(stat) = Stat::read(process.pid).filter(|stat| stat.identity() == process) else { return false };
    match Mark::of(process.pid) {
        Mark::Job(key) => key == record.key.as_bytes(),
        Mark::Supervisor(_) => false,
        Mark::None | Mark::Unreadable => {
            let runs_as = owner(format!("/proc/{}", process.pid).into());
            let may_be = matches!((recorded, runs_as), (Ok(recorded), Ok(runs)) if recorded == 0 || recorded == runs);
            may_be && stat.sid == stat.pid && writes_to(process.pid, record.log.as_os_str().as_ref())
        }
    }
}

/// Whether the process has this file as its standard output or error.
fn writes_to(pid: i32, log: &Path) -> bool {
    let file = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let outputs = [1, 2].map(|fd| PathBuf::from(format!("/proc/{pid}/fd/{fd}")));
    file(log).is_some_and(|log| outputs.iter().any(|output| file(output) == Some(log)))
}

fn close(record: &mut Record, state: State, request: &CancelRequest, unproved: &[String]) {
    let why = request.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let doubt = match unproved {
        [] => String::new(),
        unproved => format!("; whether these were its own can't be told: {}", unproved.join(", ")),
    };
    record.reason = Some(match state {
        State::Lost => format!("its supervisor was killed; how the command ended is not known{doubt}"),
        _ => format!("cancelled by {}{why}, without its supervisor{doubt}", request.by),
    });
    record.state = state;
    if state == State::Cancelled {
        record.ended = Some(clock::rfc3339(&clock::now()));
    }
    record.evidence = Some(Evidence { from: Some("cancel".into()), cancel: Some(request.clone()), ..Evidence::default() });
}

fn survived(survivors: &[Survivor]) -> Outcome {
    Outcome::Survived(survivors.iter().map(|s| format!("pid {} ({}): {}", s.identity.pid, s.comm, s.why)).collect())
}
