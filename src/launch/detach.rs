//! The launcher's half: start the supervisor outside the caller's session and hear how it went.

use std::fs::{self, File};
use std::io;
use std::os::fd::RawFd;
use std::time::Instant;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use super::talk::failure;
use super::{Answer, Spec, Surroundings, Talk};
use crate::exit::{Exit, Failure};
use crate::process::{Family, SUPERVISOR_MARK, stop};
use crate::queue;
use crate::record::Record;
use crate::state_dir::{Lock, RecordFile, StateDir};
use crate::sys;

/// What a supervisor ignores: whatever a terminal, a full disk or a reader that is gone may send it.
const IGNORED: [Signal; 6] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPIPE, Signal::SIGXFSZ, Signal::SIGTSTP];

/// The signals that a supervisor ignores whose launcher ignored these.
#[must_use]
pub fn ignored_after(launchers: u64) -> u64 {
    IGNORED.iter().fold(launchers, |mask, signal| mask | 1 << (*signal as i32 - 1))
}

/// How long a killed process may take to close its files: 5 s on a machine under load.
const LAST_BREATHS: u32 = 500;
const BREATH_MS: i32 = 10;

/// A supervisor that has no job yet: it makes itself ready while its launcher finds out what it is to do. Dropped, it is
/// dismissed, and is gone by then.
#[derive(Debug)]
pub struct Standby {
    talk: Option<Talk>,
    key: String,
    claims: Vec<RawFd>,
}

impl Standby {
    /// Starts the supervisor of the job that is to have this key. `supervise` lives its life, in a process of its own, which
    /// ends when it returns.
    ///
    /// # Errors
    /// As [`start_supervisor`].
    pub fn new(key: String, claims: Vec<RawFd>, supervise: impl FnOnce(Talk)) -> io::Result<Self> {
        let talk = start_supervisor(&key, &claims, supervise)?;
        Ok(Self { talk: Some(talk), key, claims })
    }

    /// The key of its job.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The claims that it keeps for its job.
    #[must_use]
    pub fn claims(&self) -> &[RawFd] {
        &self.claims
    }

    /// Lets it start the job. When this returns the record, the command has been exec'd and the record is durable; on any
    /// failure no record, no process and no log is left.
    ///
    /// # Errors
    /// A [`Failure`] with the code for the caller.
    pub fn launch(mut self, spec: &Spec, dir: &StateDir) -> anyhow::Result<Record> {
        let mut talk = self.talk.take().ok_or_else(|| broken("no supervisor stands by".into()))?;
        let ordered = talk.order(spec, dir).and_then(|()| talk.say(&Surroundings::look()));
        // That it was killed is heard.
        if let Err(error) = ordered.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }) {
            talk.say_no_more();
            talk.wait_for_its_end();
            return Err(broken(format!("cannot give the supervisor its order: {error}")).into());
        }
        match talk.hear().map_err(|error| broken(format!("cannot hear the supervisor: {error}")))? {
            Some(Answer::Started(record)) => Ok(*record),
            Some(Answer::Failed { code, message, hint }) => {
                talk.wait_for_its_end();
                Err(failure(code, message, hint).into())
            }
            None => {
                tidy_up(spec, dir, talk.tried())?;
                Err(broken("the supervisor was killed while it started the job".into()).into())
            }
        }
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        if let Some(mut talk) = self.talk.take() {
            talk.say_no_more();
            talk.wait_for_its_end();
        }
    }
}

fn broken(message: String) -> Failure {
    Failure::new(Exit::Broken, message)
}

/// Removes what a supervisor left that was killed before it could say how the launch went: its gated child ends by
/// itself, a command that was exec'd in the same instant is killed with all it started.
fn tidy_up(spec: &Spec, dir: &StateDir, tried: Option<String>) -> anyhow::Result<()> {
    let own_log = fs::remove_file(spec.log.unclaimed(&spec.key)).is_err();
    let Some(id) = tried else { return Ok(()) };
    let Some(lock) = take_from_the_dying(dir, &id)? else { return Ok(()) };
    match dir.record(&id) {
        Ok(None) => {}
        Ok(Some(record)) if record.key == spec.key => {
            let family =
                Family { key: record.key.clone(), supervisor: None, known: record.process().into_iter().collect(), group: None };
            stop(&|| family.members(), libc::SIGKILL, None, &mut Instant::now)?;
        }
        // A lost job's, which it found the id to be taken by.
        Ok(Some(_)) | Err(_) => return Ok(()),
    }
    RecordFile::new(dir, &id).withdraw(true);
    crate::isolation::forget(&spec.isolation, &spec.key);
    if let Some(place) = &spec.policy.place {
        queue::leave(dir, place, &id);
    }
    if own_log {
        let _ = fs::remove_file(spec.log.file(&id));
    }
    Ok(lock.remove(dir)?)
}

/// The lock of a supervisor that was killed: it closes its files one by one, and the socket may go before the lock.
fn take_from_the_dying(dir: &StateDir, id: &str) -> io::Result<Option<Lock>> {
    for _ in 0..LAST_BREATHS {
        let held = dir.is_supervised(id)?;
        let taken = Lock::take(dir, id)?;
        if taken.is_some() || !held {
            return Ok(taken);
        }
        sys::readable(&[], BREATH_MS)?;
    }
    Ok(None)
}

/// Starts a supervisor of the job with this key, with nothing of the caller's but what it is to keep: `supervise` lives its
/// life in a process of its own, which ends when it returns.
///
/// # Errors
/// As `socketpair(2)`, `clone(2)` and `fork(2)`.
pub fn start_supervisor(key: &str, kept: &[RawFd], supervise: impl FnOnce(Talk)) -> io::Result<Talk> {
    let (ours, mut theirs) = Talk::pair()?;
    // A signal that comes before the child has a session of its own must neither end it nor be lost.
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before))?;
    let kept = [&[theirs.descriptor()], kept].concat();
    let born = sys::orphan(|| match leave_the_caller(key, &kept) {
        Ok(()) => supervise(theirs),
        Err(error) => drop(theirs.say(&Answer::from(&broken(format!("cannot start the supervisor: {error}"))))),
    });
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    born?;
    Ok(ours)
}

/// In the supervisor, which has a session of its own and doesn't lead it: none of the caller's files, and what it shows.
fn leave_the_caller(key: &str, kept: &[RawFd]) -> io::Result<()> {
    // Until it executes itself: whoever looks must not take it for a process of the job that it may be started in.
    sys::show_as_environment(&format!("{SUPERVISOR_MARK}={key}"));
    for signal in IGNORED {
        sys::ignore(signal);
    }
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    drop(null);
    sys::close_all_but(kept)
}
