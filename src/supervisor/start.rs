//! From a spec to a running command or an accepted job, or to nothing.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;

use nix::unistd::getppid;

use super::Job;
use super::handover::Kept;
use super::signals::Signals;
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::isolation::{self, Place};
use crate::launch::{Gated, LogFile, Means, Raised, Spec, Surroundings, Talk, ignored_after, job_environment};
use crate::policy::Cycle;
use crate::process::{Here, Identity};
use crate::queue::{self, Queue};
use crate::record::{Record, RunRecord, State, Supervisor, VERSION};
use crate::state_dir::{Claim, Lock, RecordFile, StateDir, observe};
use crate::sys::{self, Berth, Memory};
use crate::text::shown;

pub(super) fn broken(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Broken, format!("{what}: {error}"))
}

fn called_off() -> Failure {
    Failure::new(Exit::Broken, "the launch was called off")
}

/// Starts the job, or accepts it where its first run has to wait; a step that fails takes back the ones before.
pub(super) fn start<'a>(spec: &Spec, dir: &'a StateDir, talk: &mut Talk, ready: io::Result<Ready>) -> Result<Job<'a>, Failure> {
    let ready = ready.map_err(|error| broken("cannot prepare the supervisor", error))?;
    let raised = ready.raised?;
    if spec.oom_score_adj.is_some() {
        raised.set(spec.oom_score_adj)?;
    }
    if let Some(chdir) = &spec.chdir {
        std::env::set_current_dir(&chdir.0)
            .map_err(|error| broken(format!("cannot change to directory '{}'", shown(&chdir.0)), error))?;
    }
    let mut unique = unique_lock(spec, dir)?;
    let mut log = LogFile::new(spec)?;
    let created = clock::now();
    let trying = |id: &str| talk.note(id);
    let claim = Claim::new(dir, &spec.name, &clock::stamp(&created), trying, |id| log.claim(id))
        .map_err(|error| log.blame(error, |error| broken(format!("cannot claim an id in '{}'", shown(dir.path())), error)))?;
    let Claim { id, lock } = claim;
    let log_path = spec.log.file(&id);
    let log = log.file;
    let mut file = RecordFile::new(dir, &id);

    let environment = job_environment(ready.inherited, spec, &id, 1, &log_path);
    let around = talk.surroundings().ok().flatten().ok_or_else(called_off);
    let placed = around.and_then(|around| {
        let means = Means { berth: ready.berth, raised, ignored: ignored_after(around.ignored), memory: Memory::Shared };
        let gated =
            Gated::new(spec, &log, environment, means).map_err(|error| broken("cannot start the job's process", error))?;
        Ok((around, place(spec, &id, gated)?))
    });
    let (around, (place, gated)) = match placed {
        Ok(placed) => placed,
        Err(failure) => {
            let _ = fs::remove_file(&log_path);
            let _ = lock.remove(dir);
            return Err(failure);
        }
    };
    let abandon = |gated: Option<Gated>| gated.and_then(Gated::abandon);
    // Where the first run has to wait, this process has shown that it can have its place, and what it asks for.
    let (gated, early) = if spec.policy.waits() { (None, Some(gated)) } else { (Some(gated), None) };
    if let Some(refused) = abandon(early) {
        place.remove();
        let _ = fs::remove_file(&log_path);
        let _ = lock.remove(dir);
        return Err(refused.failure(&spec.cmd));
    }
    let Ready { signals, identity, .. } = ready;
    let Surroundings { here, user, cgroup, oom_kills, .. } = around;
    let mut record = Record {
        user,
        host: here.host,
        machine_id: here.machine_id,
        boot_id: here.boot_id,
        pid_ns: here.pid_ns,
        // By now the process between this one and its launcher is gone: the launcher, which waits for it, has spoken.
        supervisor: Some(Supervisor { identity, reaper: getppid().as_raw(), adopted: false }),
        ..accepted(spec, &id, &log_path, &created, &place)
    };
    if let Some(gated) = &gated {
        begin(&mut record, clock::rfc3339(&clock::now()));
        // Where a move was tried and came to nothing it may be anywhere.
        let cgroup = if place.attempted { crate::process::cgroup(gated.identity.pid) } else { cgroup };
        runs(&mut record, gated.identity, &place, cgroup);
    }
    if let Err(error) = file.publish(&record) {
        abandon(gated);
        place.remove();
        file.withdraw(error.kind() != ErrorKind::AlreadyExists);
        let _ = fs::remove_file(&log_path);
        let _ = lock.remove(dir);
        return Err(broken(format!("cannot write the record of job '{id}' in '{}'", shown(dir.path())), error));
    }
    let kept = if spec.recover_env { dir.keep_environment(&id, std::env::vars_os()) } else { Ok(()) };
    if let Err(error) = kept {
        abandon(gated);
        withdraw(dir, &record, lock);
        return Err(broken(format!("cannot keep the environment of job '{id}'"), error));
    }
    // From here on another `--unique` sees this job.
    drop(unique.take());
    // A cancel that came before the gate opens is heard: the command never runs.
    let now = clock::monotonic();
    let begun = gated.is_some();
    let opened = if agreed(talk, &signals) && dir.cancel_request(&id).is_none() {
        open(spec, dir, &record, gated)
    } else {
        abandon(gated);
        Err(called_off())
    };
    match opened {
        Ok(file) => {
            let further = !begun || spec.policy.repeats();
            let cycle = Cycle::new(begun.then_some(now), now);
            let spec = further.then(|| spec.clone());
            let kept = Kept { record, lock, cycle, place, spec, due: None, begun, oom_kills, recovered: false };
            Ok(Job { dir, kept, file, signals, heard: None })
        }
        Err(failure) => {
            withdraw(dir, &record, lock);
            place.remove();
            Err(failure)
        }
    }
}

/// Opens the gate of the first run, where it doesn't have to wait, and hears what comes of it. Gives the record with its room.
fn open<'a>(spec: &Spec, dir: &'a StateDir, record: &Record, gated: Option<Gated>) -> Result<RecordFile<'a>, Failure> {
    let behind = gated.map(Gated::open).transpose().map_err(|error| broken("cannot open the gate", error))?;
    join_queue(spec, dir, &record.id)?;
    if let Some(behind) = behind {
        behind.outcome().map_err(|refused| refused.failure(&spec.cmd))?;
    }
    Ok(RecordFile::with_room(dir, record))
}

/// Leaves the caller's control group, with a process that waits at its gate and is gone where that fails.
fn place(spec: &Spec, id: &str, gated: Gated) -> Result<(Place, Gated), Failure> {
    let run = u32::from(!spec.policy.waits());
    let job = isolation::Job { key: &spec.key, id, run, supervisor: sys::pid(), pid: gated.identity.pid };
    match isolation::enter(&spec.isolation, &job) {
        Ok(place) => Ok((place, gated)),
        // A process that was refused something is gone by now, and can't be taken in anywhere.
        Err(failure) => Err(gated.abandon().map_or(failure, |refused| refused.failure(&spec.cmd))),
    }
}

/// Stands in line before the launch is over, so that who is launched first is served first; a job that waits for something
/// else as well joins when that has come.
fn join_queue(spec: &Spec, dir: &StateDir, id: &str) -> Result<(), Failure> {
    match &spec.policy.place {
        Some(place) if !spec.policy.waits_first() => Queue::open_or_make(dir, &place.queue)
            .and_then(|queue| queue.join(id, place.priority))
            .map_err(|error| broken(format!("cannot join queue '{}'", place.queue), error)),
        _ => Ok(()),
    }
}

/// Takes back a published record: its command never ran.
pub(super) fn withdraw(dir: &StateDir, record: &Record, lock: Lock) {
    if let Some(place) = &record.policy.place {
        queue::leave(dir, place, &record.id);
    }
    RecordFile::new(dir, &record.id).withdraw(true);
    let _ = fs::remove_file(record.log.as_os_str());
    let _ = lock.remove(dir);
}

/// What a supervisor has done and looked up before it knows its job.
pub(super) struct Ready {
    signals: Signals,
    identity: Identity,
    /// Its caller's environment.
    inherited: Vec<(OsString, OsString)>,
    berth: Berth,
    /// Its score is what its job is to inherit.
    raised: Result<Raised, Failure>,
}

/// Does all that needs no order.
pub(super) fn ready() -> io::Result<Ready> {
    let signals = prepare()?;
    // The first look at the clock reads the time zone.
    let _ = clock::now();
    Ok(Ready {
        signals,
        identity: Identity::own(),
        inherited: std::env::vars_os().collect(),
        berth: Berth::new()?,
        raised: Raised::to(None),
    })
}

/// Becomes the parent of what its command leaves behind.
pub(super) fn prepare() -> io::Result<Signals> {
    nix::sys::prctl::set_child_subreaper(true)?;
    Signals::new()
}

/// Whether nobody has called the launch off: the launcher lives, and no SIGTERM came. One that dies later has launched.
fn agreed(talk: &Talk, signals: &Signals) -> bool {
    signals.drain().is_none() && sys::readable(&[talk.as_fd()], 0).is_ok_and(|hung_up| !hung_up[0])
}

/// With `--unique`: the directory's lock, from the look to the publication, so that of two only one finds no live job.
pub(super) fn unique_lock(spec: &Spec, dir: &StateDir) -> Result<Option<File>, Failure> {
    if !spec.unique {
        return Ok(None);
    }
    let cannot = |error: io::Error| broken(format!("cannot look for a live job in '{}'", shown(dir.path())), error);
    // A description of its own: unlocked when it is closed, whoever else holds the directory open.
    let locked = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&dir.as_fd()))).map_err(cannot)?;
    fs2::FileExt::lock_exclusive(&locked).map_err(cannot)?;
    let here = Here::look();
    let listing = dir.list().map_err(cannot)?;
    for id in crate::state_dir::Listing::of_name(&listing.locks, &spec.name) {
        let live = match observe(dir, id, &here) {
            Ok(Some(seen)) => seen.is_live(),
            // Being launched this instant; or a record that only a later version can judge.
            Ok(None) | Err(_) => dir.is_supervised(id).unwrap_or(true),
        };
        if live {
            return Err(Failure::new(Exit::NotNow, format!("a job named '{}' is live: {id}", spec.name)));
        }
    }
    Ok(Some(locked))
}

/// The record of a job that has no process yet.
fn accepted(spec: &Spec, id: &str, log: &std::path::Path, created: &jiff::Zoned, place: &Place) -> Record {
    Record {
        version: VERSION,
        id: id.to_owned(),
        name: spec.name.clone(),
        state: State::Queued,
        cmd: spec.cmd.clone(),
        cwd: std::env::current_dir().ok().map(crate::text::Text::from),
        env: spec.env.clone(),
        env_secret: spec.env_secret.clone(),
        log: log.into(),
        key: spec.key.clone(),
        parent: spec.parent.clone(),
        isolation: place.isolation.word().into(),
        cgroup: place.cgroup().map(str::to_owned),
        created: clock::rfc3339(created),
        reason: spec.policy.place.as_ref().filter(|_| !spec.policy.waits_first()).map(|place| queue::reason(&place.queue)),
        policy: spec.policy.clone(),
        settings: spec.settings(),
        ..Record::default()
    }
}

/// How many runs a record keeps.
const RUNS_KEPT: usize = 50;

/// Notes that the next run has this process; `cgroup` is where it is unless its place says otherwise.
pub(super) fn runs(record: &mut Record, process: Identity, place: &Place, cgroup: Option<String>) {
    record.state = State::Running;
    place.isolation.word().clone_into(&mut record.isolation);
    record.cgroup = place.cgroup().map(str::to_owned).or(cgroup);
    record.unit.clone_from(&place.unit);
    (record.pid, record.pgid, record.sid) = (Some(process.pid), Some(process.pid), Some(process.pid));
    record.start_ticks = Some(process.start_ticks);
}

/// Notes that the next run is begun, whatever becomes of it.
pub(super) fn begin(record: &mut Record, started: String) {
    record.started = Some(started.clone());
    record.reason = None;
    record.evidence = None;
    record.run += 1;
    record.runs.push(RunRecord { n: record.run, started: Some(started), ..RunRecord::default() });
    let surplus = record.runs.len().saturating_sub(RUNS_KEPT);
    record.runs.drain(..surplus);
}
