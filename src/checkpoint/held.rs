//! Whether a checkpoint is in use: open in some process, held by a lock, or still young.
//!
//! A lease is asked for and given back at once: the kernel refuses it while somebody has the file open. An opener who
//! comes in that moment waits microseconds, or is told EAGAIN if it asked not to wait; SIGIO, which the kernel sends us
//! then, must be ignored by the program.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::dir::{Dir, lock_result};
use super::listing::Name;
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

/// The first file of a checkpoint that somebody else has open. Our lock's descriptors are asked themselves: any other
/// would see them as somebody's.
#[must_use]
pub fn open_file(dir: &Dir, tree: &Tree, lock: Option<&UnitLock>) -> Option<PathBuf> {
    let locked = |path: &PathBuf| lock?.0.iter().find(|(name, _)| path.as_os_str() == &**name);
    let open = |path: &PathBuf| match locked(path) {
        Some((_, file)) => being_used(file) == Use::Open,
        None => dir.open(path, OFlag::O_RDONLY).is_ok_and(|file| being_used(&file) == Use::Open),
    };
    tree.files.iter().map(|node| &node.path).find(|path| open(path)).cloned()
}

/// Locks on every member of a checkpoint; they go with this value.
#[derive(Debug)]
pub struct UnitLock(Vec<(Name, File)>);

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

/// The inodes in the directory that somebody holds a lock on, asked without taking any: for the moment that a lock is
/// tried it would turn others away.
///
/// A forecast: a lock whose taker died and left it to its children isn't listed inside a container, and none is where the
/// kernel keeps no list. A removal rests on [`try_lock`].
///
/// # Errors
/// When the kernel's lists can't be read.
pub fn locked(dir: &Dir) -> io::Result<BTreeSet<u64>> {
    let locks = match fs::read_to_string("/proc/locks") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        locks => locks?,
    };
    let device = device(dir)?;
    Ok(locks.lines().filter_map(|line| flocked(line, &device)).collect())
}

/// The inode of `1: FLOCK  ADVISORY  READ  4711 fe:00:1234 0 EOF`, if it is of that device. Who only waits has an arrow in
/// front.
fn flocked(line: &str, device: &str) -> Option<u64> {
    let mut fields = line.split_whitespace().skip(1);
    let kind = fields.next()?;
    let (of, inode) = fields.nth(3)?.rsplit_once(':')?;
    (kind == "FLOCK" && of == device).then(|| inode.parse().ok())?
}

/// The device as the list of locks has it: that of the mount, which on Btrfs is another than `stat(2)` says.
fn device(dir: &Dir) -> io::Result<String> {
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", dir.as_fd().as_raw_fd()))?;
    let mount = about.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim);
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mut fields = mounts.lines().map(str::split_whitespace).filter(|fields| fields.clone().next() == mount);
    let numbers = fields.next().and_then(|mut fields| fields.nth(2)?.split_once(':'));
    let parsed = numbers.and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
    let (major, minor) = parsed.ok_or_else(|| io::Error::other("its mount isn't in /proc/self/mountinfo"))?;
    Ok(format!("{major:02x}:{minor:02x}"))
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

#[cfg(test)]
mod tests {
    use super::flocked;

    #[test]
    fn a_lock_is_found_by_its_line() {
        let of = |line| flocked(line, "fe:00");
        assert_eq!(of("1: FLOCK  ADVISORY  READ  4711 fe:00:1234 0 EOF"), Some(1234));
        assert_eq!(of("1: FLOCK  ADVISORY  WRITE 4711 fe:01:1234 0 EOF"), None, "another device");
        assert_eq!(of("1: POSIX  ADVISORY  WRITE 4711 fe:00:1234 0 EOF"), None, "another kind");
        assert_eq!(of("1: -> FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF"), None, "who waits holds nothing");
        assert_eq!(of(""), None);
    }
}
