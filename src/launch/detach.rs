//! The launcher's half: start the supervisor outside the caller's session and hear how it went.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{ForkResult, setsid};

use super::talk::failure;
use super::{Answer, Spec, Talk};
use crate::exit::{Exit, Failure};
use crate::process::{Family, stop};
use crate::record::Record;
use crate::state_dir::{Lock, RecordFile, StateDir};
use crate::sys;

/// Starts the job. When it returns the record, the command has been exec'd and the record is durable; on any failure no
/// record, no process and no log is left. `supervise` lives the supervisor's life in a process of its own, which ends
/// when it returns.
///
/// # Errors
/// A [`Failure`] with the code for the caller.
pub fn launch(spec: &Spec, dir: &StateDir, supervise: impl FnOnce(&Spec, &StateDir, Talk)) -> anyhow::Result<Record> {
    let started = start_supervisor(dir, |talk| supervise(spec, dir, talk));
    let mut talk = started.map_err(|error| broken(format!("cannot start the supervisor: {error}")))?;
    let mut claimed = None;
    loop {
        let answer = talk.hear().map_err(|error| broken(format!("cannot hear the supervisor: {error}")))?;
        match answer {
            Some(Answer::Claimed(id, log)) => claimed = Some((id, log)),
            // Should it be gone by now, the next answer says so.
            Some(Answer::Ready) => drop(talk.go()),
            Some(Answer::Started(record)) => return Ok(*record),
            Some(Answer::Failed { code, message, hint }) => return Err(failure(code, message, hint).into()),
            None => {
                if let Some((id, log)) = claimed {
                    tidy_up(dir, &id, &log)?;
                }
                return Err(broken("the supervisor was killed while it started the job".into()).into());
            }
        }
    }
}

fn broken(message: String) -> Failure {
    Failure::new(Exit::Broken, message)
}

/// Removes what a supervisor left that was killed before it could say how the launch went: its gated child ends by
/// itself, a command that was exec'd in the same instant is killed with all it started.
fn tidy_up(dir: &StateDir, id: &str, log: &std::path::Path) -> anyhow::Result<()> {
    let Some(lock) = Lock::take(dir, id)? else { return Ok(()) };
    if let Ok(Some(record)) = dir.record(id) {
        let family = Family { key: record.key.clone(), supervisor: None, known: record.process().into_iter().collect() };
        stop(&|| family.members(), libc::SIGKILL, None, &mut Instant::now)?;
    }
    RecordFile::new(dir, id).withdraw(true);
    let _ = fs::remove_file(log);
    Ok(lock.remove(dir)?)
}

fn start_supervisor(dir: &StateDir, supervise: impl FnOnce(Talk)) -> io::Result<Talk> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    // A signal that comes before the child has a session of its own must neither end it nor be lost.
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before))?;
    let forked = sys::fork();
    if let Ok(ForkResult::Child) = forked {
        drop(ours);
        let kept = [theirs.as_raw_fd(), dir.file().as_raw_fd()];
        let mut talk = Talk::new(theirs);
        match leave_the_caller(kept) {
            Ok(()) => supervise(talk),
            Err(error) => drop(talk.say(&Answer::from(&broken(format!("cannot start the supervisor: {error}"))))),
        }
        sys::exit_now();
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    forked?;
    // The first child has ended by the time that the supervisor answers; nobody needs its status.
    Ok(Talk::new(ours))
}

/// In the child: a session of its own, one more fork so that it never leads it, and none of the caller's files. Its
/// parent from here on is whoever inherits orphans here.
fn leave_the_caller(kept: [RawFd; 2]) -> io::Result<()> {
    setsid()?;
    if let ForkResult::Parent { .. } = sys::fork()? {
        sys::exit_now();
    }
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPIPE, Signal::SIGXFSZ, Signal::SIGTSTP] {
        sys::ignore(signal);
    }
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    drop(null);
    sys::close_all_but(&kept)
}
