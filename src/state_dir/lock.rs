//! `ID.lock`: the supervisor's proof of life, and the right to write the record.
//!
//! The lock is an open-file-description lock (`F_OFD_SETLK`, `fcntl_locking(2)`): the kernel drops it with the last copy of
//! the descriptor, whatever ends the process, and a reader can ask about it without taking it, so that no probe ever
//! makes the owner's own try fail.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::{Mode, fstatat};

use super::file::{create_new, remove};
use super::{StateDir, lock_name};

/// What a look at a lock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Its holder lives.
    Held,
    /// The file is there and nobody holds it.
    Free,
    /// There is no such file: the job ended in order, or never was.
    Absent,
}

/// A held lock. Dropping it lets it go and leaves the file; [`Lock::remove`] takes the file away first.
#[derive(Debug)]
pub struct Lock {
    file: File,
    id: String,
}

impl Lock {
    /// Makes the lock file of a new id and holds it; `None` when the id is taken.
    ///
    /// # Errors
    /// As `open(2)` and `fcntl(2)`.
    pub fn create(dir: &StateDir, id: &str) -> io::Result<Option<Self>> {
        let file = match create_new(dir.as_fd(), lock_name(id).as_str(), false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(error),
        };
        // Somebody who tidies up may have taken the unlocked file in the instant before.
        match set(&file).and_then(|held| Ok(held && is_at_its_name(dir, &file, id)?)) {
            Ok(own) => Ok(own.then(|| Self { file, id: id.to_owned() })),
            Err(error) => {
                let _ = remove(dir.as_fd(), &lock_name(id));
                Err(error)
            }
        }
    }

    /// Takes the lock of a job whose holder is gone; `None` when somebody holds it or there is no such file.
    ///
    /// # Errors
    /// As `open(2)` and `fcntl(2)`.
    pub fn take(dir: &StateDir, id: &str) -> io::Result<Option<Self>> {
        let Some(file) = open(dir, id, OFlag::O_RDWR)? else { return Ok(None) };
        // Two that take over could else hold locks on different files of one name.
        Ok((set(&file)? && is_at_its_name(dir, &file, id)?).then(|| Self { file, id: id.to_owned() }))
    }

    /// The lock of a program that executed itself: the same open file.
    #[must_use]
    pub fn resumed(file: File, id: &str) -> Self {
        Self { file, id: id.to_owned() }
    }

    /// Whose it is.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The file whose description holds the lock.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Removes the file and lets go: the job needs no supervisor any more.
    ///
    /// # Errors
    /// As `unlink(2)`; the lock is let go all the same.
    pub fn remove(self, dir: &StateDir) -> io::Result<()> {
        remove(dir.as_fd(), &lock_name(&self.id))
    }
}

/// Asks about the lock of job `id` without touching it; works on a read-only file system.
///
/// # Errors
/// As `open(2)` and `fcntl(2)`.
pub(super) fn probe(dir: &StateDir, id: &str) -> io::Result<Probe> {
    let Some(file) = open(dir, id, OFlag::O_RDONLY)? else { return Ok(Probe::Absent) };
    let mut asked = whole_file(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked))?;
    Ok(if i32::from(asked.l_type) == libc::F_UNLCK { Probe::Free } else { Probe::Held })
}

fn open(dir: &StateDir, id: &str, access: OFlag) -> io::Result<Option<File>> {
    let flags = access | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    match openat(dir.as_fd(), lock_name(id).as_str(), flags, Mode::empty()) {
        Ok(fd) => Ok(Some(File::from(fd))),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn set(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_at_its_name(dir: &StateDir, file: &File, id: &str) -> io::Result<bool> {
    let held = file.metadata()?;
    match fstatat(dir.as_fd(), lock_name(id).as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (held.dev(), held.ino())),
        Err(Errno::ENOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    let kind = libc::c_short::try_from(kind).unwrap_or_default();
    libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 }
}
