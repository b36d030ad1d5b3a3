//! The one directory that the tools share: records, locks, logs' names, and nothing else.
//!
//! Everything is done relative to a descriptor that was opened once, and no symlink is followed where a file is made,
//! read or removed.
//!
//! ```text
//! ID.json     the record, replaced whole            ID.d/       what others add: cancel.json, progress.json
//! ID.lock     the proof of life, locked by the      .ended      a hint: ids in the order in which they ended
//!             supervisor                            .pruned/    the last id of a name whose records were removed
//!                                                   .queue/     a folder a queue: its slots, a ticket for each job in it
//! ```

mod claim;
mod ended;
mod file;
mod listing;
mod lock;
mod network;
mod record_file;
mod truth;

pub use claim::Claim;
pub use file::{create_new, read_file, replace_file};
pub use listing::Listing;
pub(crate) use listing::age;
pub use lock::{Lock, Probe};
pub use network::refuse_network;
pub use record_file::RecordFile;
pub use truth::{Observed, Place, observe};

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::record::{CancelRequest, Record, Unreadable, parse};

/// A job's environment, where it was to be kept; removed at its end.
const ENVIRONMENT: &str = "environ";

/// An open jobs directory.
#[derive(Debug)]
pub struct StateDir {
    dir: File,
    path: PathBuf,
}

impl StateDir {
    /// Opens a directory that is there.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let dir = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
        Ok(Self { dir, path: path.to_owned() })
    }

    /// Opens the directory, made 0700 with its parents where it is absent. A crash can lose an empty directory.
    ///
    /// # Errors
    /// As `mkdir(2)` and `open(2)`.
    pub fn open_or_make(path: &Path) -> io::Result<Self> {
        match Self::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(path)?;
                Self::open(path)
            }
            opened => opened,
        }
    }

    /// Takes a directory that is open already.
    #[must_use]
    pub const fn from_open(dir: File, path: PathBuf) -> Self {
        Self { dir, path }
    }

    /// The same directory through a descriptor of its own.
    ///
    /// # Errors
    /// As `dup(2)`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { dir: self.dir.try_clone()?, path: self.path.clone() })
    }

    /// As it was named, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself, for its lock.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.dir
    }

    /// The record of job `id` as it stands; `None` when there is none.
    ///
    /// # Errors
    /// Why the file can't be used.
    pub fn record(&self, id: &str) -> Result<Option<Record>, Unreadable> {
        self.record_bytes(id)?.map(|bytes| parse(id, &bytes)).transpose()
    }

    /// The same, unparsed.
    ///
    /// # Errors
    /// Why the file can't be read.
    pub fn record_bytes(&self, id: &str) -> Result<Option<Vec<u8>>, Unreadable> {
        read_file(self.as_fd(), &record_name(id)).map_err(|error| Unreadable::Io(error.to_string()))
    }

    /// What somebody asks of job `id`, if anybody does.
    #[must_use]
    pub fn cancel_request(&self, id: &str) -> Option<CancelRequest> {
        self.added(id, "cancel.json")
    }

    /// A file in `ID.d`; one that can't be read counts as not there, since a job may write anything into it.
    #[must_use]
    pub fn added<T: serde::de::DeserializeOwned>(&self, id: &str, name: &str) -> Option<T> {
        let beside = self.beside(id).ok()?;
        serde_json::from_slice(&read_file(beside.as_fd(), name).ok()??).ok()
    }

    /// Size and time of change of a file in `ID.d`: whether it is the same as before.
    #[must_use]
    pub fn added_stamp(&self, id: &str, name: &str) -> Option<(u64, i64, i64)> {
        let path = format!("{}/{name}", beside_name(id));
        let stat = nix::sys::stat::fstatat(self.as_fd(), path.as_str(), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some((u64::try_from(stat.st_size).unwrap_or_default(), stat.st_mtime, stat.st_mtime_nsec))
    }

    /// Asks for the job's end. Durable when it returns.
    ///
    /// # Errors
    /// As `mkdir(2)`, `write(2)`, `rename(2)`.
    pub fn ask_to_cancel(&self, id: &str, request: &CancelRequest) -> io::Result<()> {
        match mkdirat(self.as_fd(), beside_name(id).as_str(), Mode::S_IRWXU) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        replace_file(self.beside(id)?.as_fd(), "cancel.json", &crate::record::line(request))
    }

    /// Keeps an environment in `ID.d/environ`, as `/proc/PID/environ` has it, for the owner's eyes. Durable when it returns.
    ///
    /// # Errors
    /// As `mkdir(2)`, `write(2)`, `rename(2)`.
    pub fn keep_environment(&self, id: &str, variables: impl Iterator<Item = (OsString, OsString)>) -> io::Result<()> {
        match mkdirat(self.as_fd(), beside_name(id).as_str(), Mode::S_IRWXU) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let entry = |(name, value): (OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat();
        let bytes: Vec<u8> = variables.flat_map(entry).collect();
        replace_file(self.beside(id)?.as_fd(), ENVIRONMENT, &bytes)
    }

    /// The environment that was kept, if one was.
    ///
    /// # Errors
    /// As `open(2)` and `read(2)`.
    pub fn kept_environment(&self, id: &str) -> io::Result<Option<Vec<(OsString, OsString)>>> {
        let Ok(beside) = self.beside(id) else { return Ok(None) };
        let Some(bytes) = read_file(beside.as_fd(), ENVIRONMENT)? else { return Ok(None) };
        let entry = |entry: &[u8]| {
            let at = entry.iter().skip(1).position(|b| *b == b'=')? + 1;
            Some((OsString::from_vec(entry[..at].to_vec()), OsString::from_vec(entry[at + 1..].to_vec())))
        };
        Ok(Some(bytes.split(|b| *b == 0).filter_map(entry).collect()))
    }

    /// Removes it: no further run will need it.
    pub fn forget_environment(&self, id: &str) {
        if let Ok(beside) = self.beside(id) {
            let _ = file::remove(beside.as_fd(), ENVIRONMENT);
            // With anything else in it, it stays.
            let _ = unlinkat(self.as_fd(), beside_name(id).as_str(), UnlinkatFlags::RemoveDir);
        }
    }

    /// Takes the request back, with the folder where nothing else is in it: the job it was for was never started.
    pub(super) fn forget_request(&self, id: &str) {
        if let Ok(beside) = self.beside(id) {
            let _ = file::remove(beside.as_fd(), "cancel.json");
            let _ = file::remove(beside.as_fd(), ENVIRONMENT);
            let _ = unlinkat(self.as_fd(), beside_name(id).as_str(), UnlinkatFlags::RemoveDir);
        }
    }

    /// Opens `ID.d`.
    fn beside(&self, id: &str) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(File::from(openat(self.as_fd(), beside_name(id).as_str(), flags, Mode::empty())?))
    }

    /// Makes what was renamed or removed in the directory durable.
    ///
    /// # Errors
    /// As `fsync(2)`.
    pub fn sync(&self) -> io::Result<()> {
        self.dir.sync_all()
    }

    /// Whether the directory was removed: nothing can ever be written into it again.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        self.dir.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }
}

impl AsFd for StateDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

fn record_name(id: &str) -> String {
    format!("{id}.json")
}

fn lock_name(id: &str) -> String {
    format!("{id}.lock")
}

fn beside_name(id: &str) -> String {
    format!("{id}.d")
}
