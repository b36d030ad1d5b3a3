//! Whether a checkpoint is in use: open in some process, held by a lock, or still young.
//!
//! A lease is asked for and given back at once: the kernel refuses it while somebody has the file open. An opener who
//! comes in that moment waits microseconds, or is told EAGAIN if it asked not to wait; SIGIO, which the kernel sends us
//! then, must be ignored by the program.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::dir::{Dir, lock_result};
use super::scan::Unit;
use super::tree::Tree;

/// Whether somebody has a file open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Nobody on this machine.
    Free,
    /// Somebody.
    Open,
    /// It can't be told: another user's file, or a file system without leases.
    Unknown,
}

/// Whether anybody else has the file open for writing.
#[must_use]
pub fn being_written(file: &File) -> Use {
    asked(file, libc::F_RDLCK)
}

/// Whether anybody else has the file open at all.
#[must_use]
pub fn being_used(file: &File) -> Use {
    asked(file, libc::F_WRLCK)
}

fn asked(file: &File, kind: i32) -> Use {
    match crate::sys::set_lease(file.as_fd(), kind) {
        Ok(()) => {
            let _ = crate::sys::set_lease(file.as_fd(), libc::F_UNLCK);
            Use::Free
        }
        Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => Use::Open,
        Err(_) => Use::Unknown,
    }
}

/// The first file of a checkpoint that somebody else has open. The lock's own descriptors are asked themselves: any other
/// would see them as somebody's.
#[must_use]
pub fn open_file(dir: &Dir, tree: &Tree, lock: &UnitLock) -> Option<PathBuf> {
    let open = |path: &PathBuf| match lock.0.iter().find(|(name, _)| path.as_os_str() == name.as_str()) {
        Some((_, file)) => being_used(file) == Use::Open,
        None => dir.open(path, OFlag::O_RDONLY).is_ok_and(|file| being_used(&file) == Use::Open),
    };
    tree.files.iter().map(|node| &node.path).find(|path| open(path)).cloned()
}

/// Locks on every member of a checkpoint; they go with this value.
#[derive(Debug)]
pub struct UnitLock(Vec<(String, File)>);

impl UnitLock {
    /// The descriptors that carry the locks.
    #[must_use]
    pub fn into_files(self) -> Vec<File> {
        self.0.into_iter().map(|(_, file)| file).collect()
    }
}

/// Locks a checkpoint for removal; `None` when somebody holds it.
///
/// # Errors
/// When a member can't be opened.
pub fn try_lock(dir: &Dir, unit: &Unit) -> io::Result<Option<UnitLock>> {
    lock(dir, unit, fs2::FileExt::try_lock_exclusive)
}

/// Holds a checkpoint against removal; `None` when it is being removed.
///
/// # Errors
/// When a member can't be opened.
pub fn try_hold(dir: &Dir, unit: &Unit) -> io::Result<Option<UnitLock>> {
    lock(dir, unit, fs2::FileExt::try_lock_shared)
}

fn lock(dir: &Dir, unit: &Unit, take: impl Fn(&File) -> io::Result<()>) -> io::Result<Option<UnitLock>> {
    let mut locks = Vec::new();
    for member in &unit.members {
        let file = dir.open(&member.name, OFlag::O_RDONLY)?;
        if !lock_result(take(&file))? {
            return Ok(None);
        }
        locks.push((member.name.clone(), file));
    }
    Ok(Some(UnitLock(locks)))
}
