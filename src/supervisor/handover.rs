//! The supervisor executes itself: same process, same children and locks, clean memory and its own mark. It does so at the
//! start of each run, so that a thousand runs need no more memory than one.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::execve;
use serde::{Deserialize, Serialize};

use super::Job;
use crate::isolation::Place;
use crate::launch::Spec;
use crate::policy::Cycle;
use crate::process::{JOB_KEY, SUPERVISOR_MARK};
use crate::record::Record;
use crate::state_dir::{Lock, StateDir};
use crate::sys;
use crate::text::as_text;

/// How the program is told that it is a supervisor: `--supervisor=MEMFD`.
const FLAG: &str = "--supervisor=";

/// What a supervisor knows of its job.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) record: Record,
    pub(super) lock: Lock,
    pub(super) cycle: Cycle,
    /// That of the present run, or of the last one.
    pub(super) place: Place,
    /// Only while a further run may come.
    pub(super) spec: Option<Spec>,
    /// When that is, where it is a moment that is waited for.
    pub(super) due: Option<Duration>,
    /// The present run is this process's own, and was begun before it executed itself.
    pub(super) begun: bool,
    /// How often the kernel had killed for memory when the present run began.
    pub(super) oom_kills: Option<u64>,
    /// The record was begun by another supervisor.
    pub(super) recovered: bool,
}

impl Kept {
    /// Of a job that had another supervisor before.
    pub(super) fn recovered(record: Record, lock: Lock, cycle: Cycle, spec: Spec) -> Self {
        let mut place = Place::recorded(&record.isolation, record.cgroup.as_deref(), &record.key).unwrap_or_default();
        place.memory_max = spec.isolation.limits.memory_max;
        Self { record, lock, cycle, place, spec: Some(spec), due: None, begun: false, oom_kills: None, recovered: true }
    }
}

/// What a supervisor goes on with after its exec.
#[derive(Debug)]
pub struct Stage {
    pub(super) dir: StateDir,
    pub(super) kept: Kept,
    /// The room that is set aside for the verdict.
    pub(super) spare: Option<File>,
}

#[derive(Serialize, Deserialize)]
struct Handed {
    record: Record,
    #[serde(with = "as_text")]
    path: PathBuf,
    dir: RawFd,
    lock: RawFd,
    spare: Option<RawFd>,
    cycle: Cycle,
    place: Place,
    spec: Option<Spec>,
    due: Option<Duration>,
    begun: bool,
    oom_kills: Option<u64>,
    recovered: bool,
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
        let lock = Lock::resumed(taken(handed.lock)?, &handed.record.id);
        Ok(Self {
            dir: StateDir::from_open(taken(handed.dir)?, handed.path),
            spare: handed.spare.map(taken).transpose()?,
            kept: Kept {
                record: handed.record,
                lock,
                cycle: handed.cycle,
                place: handed.place,
                spec: handed.spec,
                due: handed.due,
                begun: handed.begun,
                oom_kills: handed.oom_kills,
                recovered: handed.recovered,
            },
        })
    }
}

/// Executes the program again. It comes back only where that fails; everything goes on in this memory then.
pub(super) fn hand_over(job: &Job<'_>) -> io::Error {
    hand_over_with(std::env::vars_os(), job)
}

/// The same with another environment, which every further run inherits.
pub(super) fn hand_over_with(inherited: impl Iterator<Item = (OsString, OsString)>, job: &Job<'_>) -> io::Error {
    let Job { dir, kept, file, .. } = job;
    let go = || -> io::Result<()> {
        let handed = Handed {
            record: kept.record.clone(),
            path: dir.path().to_owned(),
            dir: number(dir.file()),
            lock: number(kept.lock.file()),
            spare: file.spare().map(number),
            cycle: kept.cycle.clone(),
            place: kept.place.clone(),
            spec: kept.spec.clone(),
            due: kept.due,
            begun: kept.begun,
            oom_kills: kept.oom_kills,
            recovered: kept.recovered,
        };
        let mut memory = File::from(memfd_create("bgrun", MFdFlags::empty())?);
        memory.write_all(&serde_json::to_vec(&handed)?)?;
        memory.rewind()?;
        let flag = format!("{FLAG}{}", memory.as_raw_fd());
        let argv = [CString::new("bgrun")?, CString::new(flag)?, CString::new(kept.record.id.as_str())?];
        let environment = environment(inherited, &kept.record.key);
        // Last of all: what stays open over an exec would be a hook's as well, and a hook that holds the lock is taken for us.
        let open = [Some(handed.dir), Some(handed.lock), handed.spare].into_iter().flatten();
        open.clone().try_for_each(sys::keep_on_exec)?;
        let refused = execve(c"/proc/self/exe", &argv, &environment);
        open.for_each(|fd| drop(sys::close_on_exec(fd)));
        Ok(refused.map(drop)?)
    };
    go().err().unwrap_or_else(|| io::ErrorKind::Other.into())
}

fn number(fd: impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}

fn taken(fd: RawFd) -> io::Result<File> {
    let file = sys::inherited(fd)?;
    // It can't fail on an open descriptor, and a running job is worth more than its being closed one day.
    let _ = fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    Ok(file)
}

/// The caller's environment with the supervisor's mark, and without that of the job it may be started in.
fn environment(inherited: impl Iterator<Item = (OsString, OsString)>, key: &str) -> Vec<CString> {
    let entry = |name: &OsStr, value: &OsStr| CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok();
    let inherited = inherited.filter(|(name, _)| name != JOB_KEY && name != SUPERVISOR_MARK);
    let mark = entry(SUPERVISOR_MARK.as_ref(), key.as_ref());
    mark.into_iter().chain(inherited.filter_map(|(name, value)| entry(&name, &value))).collect()
}
