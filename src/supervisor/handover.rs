//! The supervisor executes itself: same process, same children and locks, clean memory and its own mark.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::execve;
use serde::{Deserialize, Serialize};

use super::start::Opened;
use crate::launch::{Report, Talk};
use crate::process::{JOB_KEY, SUPERVISOR_MARK};
use crate::record::Record;
use crate::state_dir::{Lock, StateDir};
use crate::sys;

/// How the program is told that it is a supervisor: `--supervisor=MEMFD`.
const FLAG: &str = "--supervisor=";

/// What a supervisor goes on with after its exec.
#[derive(Debug)]
pub struct Stage {
    pub(super) dir: StateDir,
    pub(super) talk: Talk,
    pub(super) opened: Opened,
}

#[derive(Serialize, Deserialize)]
struct Handed {
    record: Record,
    path: PathBuf,
    dir: RawFd,
    talk: RawFd,
    lock: RawFd,
    report: RawFd,
}

impl Stage {
    /// Whether this program was executed by a supervisor, told from its first argument.
    ///
    /// # Errors
    /// When somebody else called it so.
    pub fn from_args(mut args: impl Iterator<Item = OsString>) -> Option<io::Result<Self>> {
        let first = args.nth(1)?;
        let number = first.to_str()?.strip_prefix(FLAG)?;
        let number = number.parse().ok().filter(|fd| *fd > libc::STDERR_FILENO).ok_or(io::ErrorKind::InvalidInput.into());
        Some(number.and_then(Self::from_memory))
    }

    fn from_memory(fd: RawFd) -> io::Result<Self> {
        let handed: Handed = serde_json::from_reader(BufReader::new(sys::inherited(fd)?))?;
        let [dir, talk, lock, report] = [handed.dir, handed.talk, handed.lock, handed.report].map(taken);
        let lock = Lock::resumed(lock?, &handed.record.id);
        Ok(Self {
            dir: StateDir::from_open(dir?, handed.path),
            talk: Talk::new(OwnedFd::from(talk?)),
            opened: Opened { record: handed.record, lock, report: Report(report?) },
        })
    }

    /// Executes the program again. It comes back only where that fails; everything goes on in this memory then.
    pub(super) fn hand_over(&self) -> io::Error {
        let go = || -> io::Result<()> {
            let Opened { record, lock, report } = &self.opened;
            let handed = Handed {
                record: record.clone(),
                path: self.dir.path().to_owned(),
                dir: kept(self.dir.file())?,
                talk: kept(&self.talk)?,
                lock: kept(lock.file())?,
                report: kept(&report.0)?,
            };
            let mut memory = File::from(memfd_create("bgrun", MFdFlags::empty())?);
            memory.write_all(&serde_json::to_vec(&handed)?)?;
            memory.rewind()?;
            let flag = format!("{FLAG}{}", memory.as_raw_fd());
            let argv = [CString::new("bgrun")?, CString::new(flag)?, CString::new(record.id.as_str())?];
            execve(c"/proc/self/exe", &argv, &environment(&record.key))?;
            Ok(())
        };
        go().err().unwrap_or_else(|| io::ErrorKind::Other.into())
    }
}

fn kept(fd: impl std::os::fd::AsFd) -> io::Result<RawFd> {
    let fd = fd.as_fd().as_raw_fd();
    sys::keep_on_exec(fd)?;
    Ok(fd)
}

fn taken(fd: RawFd) -> io::Result<File> {
    let file = sys::inherited(fd)?;
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(file)
}

/// The caller's environment with the supervisor's mark, and without that of the job it may be started in.
fn environment(key: &str) -> Vec<CString> {
    let entry = |name: &OsStr, value: &OsStr| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok();
    let inherited = std::env::vars_os().filter(|(name, _)| name != JOB_KEY && name != SUPERVISOR_MARK);
    let mark = entry(SUPERVISOR_MARK.as_ref(), key.as_ref());
    mark.into_iter().chain(inherited.filter_map(|(name, value)| entry(&name, &value))).collect()
}
