//! The launcher's half: start the supervisor outside the caller's session and hear how it went.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use super::talk::failure;
use super::{Answer, Spec, Talk};
use crate::exit::{Exit, Failure};
use crate::process::{Family, SUPERVISOR_MARK, stop};
use crate::queue;
use crate::record::Record;
use crate::state_dir::{Lock, RecordFile, StateDir};
use crate::sys;

/// How long a killed process may take to close its files: 5 s on a machine under load.
const LAST_BREATHS: u32 = 500;
const BREATH_MS: i32 = 10;

/// Starts the job. When it returns the record, the command has been exec'd and the record is durable; on any failure no
/// record, no process and no log is left. `supervise` lives the supervisor's life in a process of its own, which ends
/// when it returns.
///
/// # Errors
/// A [`Failure`] with the code for the caller.
pub fn launch(spec: &Spec, dir: &StateDir, supervise: impl FnOnce(&Spec, &StateDir, Talk)) -> anyhow::Result<Record> {
    let started = start_supervisor(dir, &spec.key, &spec.claims, |talk| supervise(spec, dir, talk));
    let mut talk = started.map_err(|error| broken(format!("cannot start the supervisor: {error}")))?;
    match talk.hear().map_err(|error| broken(format!("cannot hear the supervisor: {error}")))? {
        Some(Answer::Started(record)) => Ok(*record),
        Some(Answer::Failed { code, message, hint }) => {
            // Its end closes the socket: nothing is left, that process included.
            while talk.hear().is_ok_and(|answer| answer.is_some()) {}
            Err(failure(code, message, hint).into())
        }
        None => {
            tidy_up(spec, dir, talk.tried())?;
            Err(broken("the supervisor was killed while it started the job".into()).into())
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

/// Starts a supervisor of the job with this key, with nothing of the caller's but the directory and the claims: `supervise`
/// lives its life in a process of its own, which ends when it returns.
///
/// # Errors
/// As `socketpair(2)`, `clone(2)` and `fork(2)`.
pub fn start_supervisor(dir: &StateDir, key: &str, claims: &[RawFd], supervise: impl FnOnce(Talk)) -> io::Result<Talk> {
    let (ours, mut theirs) = Talk::pair()?;
    // A signal that comes before the child has a session of its own must neither end it nor be lost.
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before))?;
    let kept = [&theirs.descriptors(), &[dir.file().as_raw_fd()][..], claims].concat();
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
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPIPE, Signal::SIGXFSZ, Signal::SIGTSTP] {
        sys::ignore(signal);
    }
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    drop(null);
    sys::close_all_but(kept)
}
