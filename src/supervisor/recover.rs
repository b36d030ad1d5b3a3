//! A job whose supervisor was killed, or whose machine went down: adopted where its command lives, started again where it
//! asked for that, closed where nothing more will come.

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use nix::unistd::getppid;

use super::handover::{Kept, hand_over_with};
use super::start::{broken, prepare, unique_lock};
use super::verdict::{self, Run};
use super::watch::empty;
use super::{Job, live, started};
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::launch::{Answer, Spec, Talk, be_the_last_to_die};
use crate::policy::{Cycle, Next, span};
use crate::process::{Here, Identity};
use crate::queue;
use crate::record::{Record, State, Supervisor};
use crate::state_dir::{Lock, Observed, Place, StateDir};
use crate::sys;
use crate::text::shown;

/// What can be done for a job that has no supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Its command runs: watch over it again.
    Adopt,
    /// Its command doesn't run, and its policy asks for another run.
    StartAgain,
    /// Nothing more will come: the record is to say so.
    Close,
}

impl Remedy {
    /// For a job as it was observed; none where it has a supervisor, a verdict or another place.
    #[must_use]
    pub fn of(job: &Observed) -> Option<Self> {
        let ours = matches!(job.place, Place::Here | Place::EarlierBoot);
        if job.supervised || job.record.state.is_terminal() || !ours {
            return None;
        }
        Some(match job.state {
            State::Running => Self::Adopt,
            _ if job.record.policy.repeats() => Self::StartAgain,
            _ => Self::Close,
        })
    }
}

/// Applies the remedy, in a process of its own that is the job's supervisor from then on, and says over `talk` how the
/// record stands.
pub fn recover(seen: &Observed, remedy: Remedy, dir: &StateDir, mut talk: Talk) {
    let done = match remedy {
        Remedy::Close => close(seen, dir).map(|record| drop(talk.say(&Answer::Started(Box::new(record))))),
        Remedy::Adopt | Remedy::StartAgain => match take_over(seen, remedy, dir) {
            Ok((Some(job), inherited)) => {
                started(&job, talk);
                let _ = hand_over_with(inherited.into_iter(), &job);
                return live(job);
            }
            // The policy allows no further run.
            Ok((None, _)) => closed(seen, dir).map(|record| drop(talk.say(&Answer::Started(Box::new(record))))),
            Err(failure) => Err(failure),
        },
    };
    if let Err(failure) = done {
        let _ = talk.say(&Answer::from(&failure));
    }
    std::mem::forget(talk);
}

/// Takes the job's lock; its record is still the one that was seen then.
fn lock(seen: &Observed, dir: &StateDir) -> Result<Lock, Failure> {
    let id = &seen.record.id;
    let cannot = |error: &dyn std::fmt::Display| broken(format!("cannot recover job '{id}'"), error);
    prepare().map_err(|error| cannot(&error))?;
    let _ = be_the_last_to_die();
    let lock = Lock::take(dir, id).map_err(|error| cannot(&error))?;
    let same = dir.record_bytes(id).map_err(|why| cannot(&why))?.as_ref() == Some(&seen.stored);
    lock.filter(|_| same).ok_or_else(|| Failure::new(Exit::NotNow, format!("somebody else looks after job '{id}' by now")))
}

type Variables = Vec<(OsString, OsString)>;

/// Becomes the supervisor. Nothing is left to look after where the policy allows no further run: the job is closed then.
fn take_over<'a>(seen: &Observed, remedy: Remedy, dir: &'a StateDir) -> Result<(Option<Job<'a>>, Variables), Failure> {
    let mut record = seen.record.clone();
    let id = record.id.clone();
    let cannot = |error: &dyn std::fmt::Display| broken(format!("cannot recover job '{id}'"), error);
    let inherited = match dir.kept_environment(&id).map_err(|error| cannot(&error))? {
        Some(kept) => kept,
        None => std::env::vars_os().collect::<Variables>(),
    };
    let spec = Spec::of_record(&record, dir.path());
    let can = can_start(&spec, &inherited);
    let adopted = remedy == Remedy::Adopt;
    if let (false, Err(why)) = (adopted, &can) {
        return Err(cannot(why).hint("start it anew where all it needs is there"));
    }
    // Until the record says that this job lives: another `--unique` of its name sees it or is seen.
    let _unique = if adopted { None } else { unique_lock(&spec, dir)? };
    let lock = lock(seen, dir)?;
    let reaper = record.supervisor.filter(|_| adopted).map_or(getppid().as_raw(), |before| before.reaper);
    record.supervisor = Some(Supervisor { identity: Identity::own(), reaper, adopted });
    let now = clock::monotonic();
    let began = if adopted { now.saturating_sub(age(&record)) } else { now };
    let mut job = Job::new(dir, Kept::recovered(record, lock, Cycle::new(Some(began), began), spec));
    if adopted {
        let limit = can.as_ref().err().map(|why| format!("; it can't be started again: {why}")).unwrap_or_default();
        job.kept.record.reason = Some(format!("adopted after its supervisor was killed{limit}"));
        if can.is_err() {
            job.kept.spec = None;
        }
        job.file.replace(&job.kept.record).map_err(|error| cannot(&error))?;
        return Ok((Some(job), inherited));
    }
    if let Some(place) = &job.kept.record.policy.place {
        // Its slot was free for others since: it stands in line again.
        queue::leave(dir, place, &id);
    }
    let here = Here::look();
    (job.kept.record.boot_id, job.kept.record.pid_ns) = (here.boot_id, here.pid_ns);
    if job.kept.record.state == State::Running {
        let run = Run::unknown(seen.note.clone(), true);
        match verdict::judge(&mut job, &run) {
            Next::Over(_, why) => {
                verdict::conclude(job, run, why);
                return Ok((None, inherited));
            }
            Next::Again { at, why, failed, restart } => {
                if empty(&mut job) > 0 {
                    return Err(cannot(&"what it left behind can't be stopped"));
                }
                verdict::pause(&mut job, run, at, &why, failed && !restart);
                job.kept.due = Some(at);
            }
        }
    } else {
        job.kept.due = (job.kept.record.run > 0).then(|| now + to_the_tick(&job.kept.record));
        if let Some(due) = job.kept.due {
            job.kept.cycle.first = Some(due);
            job.kept.record.reason = Some(format!("recovered: next run at {}", clock::at(due)));
        }
    }
    job.file.replace(&job.kept.record).map_err(|error| cannot(&error))?;
    Ok((Some(job), inherited))
}

/// How long it is from now to the next tick, as the clock on the wall counts it: no other has seen both boots.
fn to_the_tick(record: &Record) -> Duration {
    let every = span(record.policy.every_s.unwrap_or_default());
    let began = record.started.as_deref().and_then(clock::parse);
    let passed = began.and_then(|began| Duration::try_from(clock::now().timestamp().duration_since(began)).ok());
    passed.map_or(Duration::ZERO, |passed| every.saturating_sub(passed))
}

/// Whether a further run has what it needs; else what it lacks.
fn can_start(spec: &Spec, inherited: &[(OsString, OsString)]) -> Result<(), String> {
    let there = |name: &&String| !inherited.iter().any(|(have, _)| have == name.as_str());
    if let Some(name) = spec.env_secret.iter().find(there) {
        return Err(format!("it needs the variable {} in its environment", shown(name)));
    }
    if spec.claimed {
        return Err("it held claims of resgate, which ended with its supervisor; put resgate inside the job".into());
    }
    match &spec.chdir {
        Some(cwd) => std::env::set_current_dir(&cwd.0).map_err(|error| format!("directory '{}': {error}", shown(&cwd.0))),
        None => Ok(()),
    }
}

/// Writes the verdict of a job of which nothing is left, and gives the record.
fn close(seen: &Observed, dir: &StateDir) -> Result<Record, Failure> {
    let lock = lock(seen, dir)?;
    let record = seen.record.clone();
    let ran = record.state == State::Running;
    let spec = Spec::of_record(&record, dir.path());
    let job = Job::new(dir, Kept::recovered(record, lock, Cycle::default(), spec));
    verdict::conclude(job, Run::unknown(seen.note.clone(), ran), None);
    closed(seen, dir)
}

fn closed(seen: &Observed, dir: &StateDir) -> Result<Record, Failure> {
    let id = &seen.record.id;
    let gone = || broken(format!("cannot close job '{id}'"), io::Error::from(io::ErrorKind::NotFound));
    dir.record(id).ok().flatten().ok_or_else(gone)
}

/// How long the command has run: its start is counted from boot, sleep included, and our clock doesn't count that.
fn age(record: &Record) -> Duration {
    clock::since_boot().saturating_sub(sys::ticks(record.start_ticks.unwrap_or(u64::MAX)))
}
