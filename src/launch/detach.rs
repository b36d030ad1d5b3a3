//! The launcher's half: start the supervisor outside the caller's session and hear how it went.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{ForkResult, execve, setsid};

use super::talk::failure;
use super::{Answer, Spec, Talk};
use crate::exit::{Exit, Failure};
use crate::process::{Family, JOB_KEY, SUPERVISOR_MARK, stop};
use crate::record::Record;
use crate::state_dir::{Lock, RecordFile, StateDir};
use crate::sys;

/// How a supervisor is told what it is: `--supervisor=SPEC,TALK,DIR`, three descriptors.
const FLAG: &str = "--supervisor=";
/// How long a killed process may take to close its files: 5 s on a machine under load.
const LAST_BREATHS: u32 = 500;
const BREATH_MS: i32 = 10;

/// What a supervisor was started with.
#[derive(Debug)]
pub struct Stage {
    /// What is to be started.
    pub spec: Spec,
    /// To the launcher.
    pub talk: Talk,
    /// The jobs directory.
    pub dir: File,
}

impl Stage {
    /// Whether this program was started as a supervisor, told from its first argument.
    ///
    /// # Errors
    /// When somebody else than bgrun called it so.
    pub fn from_args(mut args: impl Iterator<Item = OsString>) -> Option<io::Result<Self>> {
        let first = args.nth(1)?;
        let numbers = first.as_bytes().strip_prefix(FLAG.as_bytes())?;
        let fds: Vec<RawFd> = String::from_utf8_lossy(numbers).split(',').filter_map(|n| n.parse().ok()).collect();
        let [spec, talk, dir] = fds[..] else { return Some(Err(io::ErrorKind::InvalidInput.into())) };
        Some(Self::from_descriptors(spec, talk, dir))
    }

    fn from_descriptors(spec: RawFd, talk: RawFd, dir: RawFd) -> io::Result<Self> {
        if [spec, talk, dir].iter().any(|fd| *fd <= libc::STDERR_FILENO) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        keep_only(&[spec, talk, dir])?;
        let (spec, talk, dir) = (sys::inherited(spec)?, sys::inherited(talk)?, sys::inherited(dir)?);
        for fd in [&talk, &dir] {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        Ok(Self { spec: serde_json::from_reader(io::BufReader::new(spec))?, talk: Talk::new(OwnedFd::from(talk)), dir })
    }
}

/// Closes every other descriptor above the standard three: a jobserver's pipes, a caller's locks, a terminal. Nothing that
/// owns one of those may be dropped afterwards.
pub(super) fn keep_only(fds: &[RawFd]) -> io::Result<()> {
    let mut kept = fds.to_vec();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        sys::close_range(first, fd - 1)?;
        first = fd + 1;
    }
    sys::close_range(first, RawFd::MAX)
}

/// Starts the job. When it returns the record, the command has been exec'd and the record is durable; on any failure no
/// record, no process and no log is left.
///
/// # Errors
/// A [`Failure`] with the code for the caller.
pub fn launch(spec: &Spec, dir: &StateDir) -> anyhow::Result<Record> {
    let mut talk = start_supervisor(spec, dir).map_err(|error| broken(format!("cannot start the supervisor: {error}")))?;
    let mut tried = None;
    loop {
        let answer = talk.hear().map_err(|error| broken(format!("cannot hear the supervisor: {error}")))?;
        match answer {
            Some(Answer::Trying(id, log)) => tried = Some((id, log)),
            // Should it be gone by now, the next answer says so.
            Some(Answer::Ready) => talk.go(),
            Some(Answer::Started(record)) => return Ok(*record),
            Some(Answer::Failed { code, message, hint }) => return Err(failure(code, message, hint).into()),
            None => {
                tidy_up(spec, dir, tried)?;
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
fn tidy_up(spec: &Spec, dir: &StateDir, tried: Option<(String, PathBuf)>) -> anyhow::Result<()> {
    let own_log = fs::remove_file(spec.log.unclaimed(&spec.key)).is_err();
    let Some((id, log)) = tried else { return Ok(()) };
    let Some(lock) = take_from_the_dying(dir, &id)? else { return Ok(()) };
    match dir.record(&id) {
        Ok(None) => {}
        Ok(Some(record)) if record.key == spec.key => {
            let family = Family { key: record.key.clone(), supervisor: None, known: record.process().into_iter().collect() };
            stop(&|| family.members(), libc::SIGKILL, None, &mut Instant::now)?;
        }
        // A lost job's, which it found the id to be taken by.
        Ok(Some(_)) | Err(_) => return Ok(()),
    }
    RecordFile::new(dir, &id).withdraw(true);
    if own_log {
        let _ = fs::remove_file(log);
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

fn start_supervisor(spec: &Spec, dir: &StateDir) -> io::Result<Talk> {
    let mut handed = File::from(memfd_create("bgrun-spec", MFdFlags::MFD_CLOEXEC)?);
    handed.write_all(&serde_json::to_vec(spec)?)?;
    handed.rewind()?;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;

    let numbers = format!("{FLAG}{},{},{}", handed.as_raw_fd(), theirs.as_raw_fd(), dir.file().as_raw_fd());
    let argv = [CString::new("bgrun")?, CString::new(numbers)?, CString::new(spec.name.as_str())?];
    let environment = supervisor_environment(&spec.key);

    // A signal that comes between fork and exec must find neither default nor handler.
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), Some(&mut before))?;
    let forked = sys::fork();
    if let Ok(ForkResult::Child) = forked {
        let refused = detach(&[handed.as_raw_fd(), theirs.as_raw_fd(), dir.file().as_raw_fd()], &argv, &environment);
        let failed = broken(format!("cannot start the supervisor: {refused}"));
        let _ = Talk::new(theirs).say(&Answer::from(&failed));
        std::process::exit(0);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    if let ForkResult::Parent { child } = forked? {
        // The first child ends at once: the supervisor is whoever's child orphans become here.
        let _ = nix::sys::wait::waitpid(child, None);
    }
    Ok(Talk::new(ours))
}

/// In the child: a session of its own, one more fork so that the supervisor never leads it, then this program again.
fn detach(keep: &[RawFd], argv: &[CString], environment: &[CString]) -> io::Error {
    let go = || -> io::Result<()> {
        setsid()?;
        if let ForkResult::Parent { .. } = sys::fork()? {
            sys::exit_now();
        }
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPIPE, Signal::SIGXFSZ, Signal::SIGTSTP] {
            sys::ignore(signal);
        }
        for fd in keep {
            sys::keep_on_exec(*fd)?;
        }
        execve(c"/proc/self/exe", argv, environment)?;
        Ok(())
    };
    go().err().unwrap_or_else(|| io::ErrorKind::Other.into())
}

/// The caller's environment with the supervisor's mark, and without that of the job it may be started in.
fn supervisor_environment(key: &str) -> Vec<CString> {
    let entry = |name: &OsStr, value: &OsStr| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok();
    let inherited = std::env::vars_os().filter(|(name, _)| name != JOB_KEY && name != SUPERVISOR_MARK);
    let mark = entry(SUPERVISOR_MARK.as_ref(), key.as_ref());
    mark.into_iter().chain(inherited.filter_map(|(name, value)| entry(&name, &value))).collect()
}
