//! A directory of our own inside the stock, for what has no name yet. Its maker holds a lock on it for as long as it
//! lives, so that a rotation can tell what a killed process left.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, RenameFlags, renameat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;

use super::dir::{Dir, lock_result};

/// What such a directory is called.
pub const PREFIX: &str = ".ckpt-rotate.tmp.";

/// A temporary directory. Dropping it takes it away, unless it was given a name.
#[derive(Debug)]
pub struct Temporary<'a> {
    dir: &'a Dir,
    name: PathBuf,
    lock: File,
    named: bool,
}

impl<'a> Temporary<'a> {
    /// Makes one.
    ///
    /// # Errors
    /// When it can't be made or locked.
    pub fn new(dir: &'a Dir) -> io::Result<Self> {
        for n in 0_u32.. {
            let name = PathBuf::from(format!("{PREFIX}{}.{n}", crate::sys::pid()));
            match mkdirat(dir, &name, Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST) => continue,
                Err(error) => return Err(error.into()),
            }
            // A rotation may take it for a leftover until it is locked; then the next one is tried.
            let lock = match dir.open(&name, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if lock_result(fs2::FileExt::try_lock_exclusive(&lock))? && dir.stat(&name).is_ok() {
                return Ok(Self { dir, name, lock, named: false });
            }
        }
        Err(Errno::EEXIST.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Where it lies.
    #[must_use]
    pub const fn dir(&self) -> &Dir {
        self.dir
    }

    /// Its own descriptor.
    #[must_use]
    pub const fn handle(&self) -> &File {
        &self.lock
    }

    /// Gives the directory itself a name that isn't taken, durably.
    ///
    /// # Errors
    /// `EEXIST` when it is taken; the directory can then be tried under another. When only the sync fails, the name stands.
    pub fn publish(&mut self, name: &str) -> io::Result<()> {
        self.dir.rename_new(&self.name, name)?;
        self.named = true;
        self.dir.sync()
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.named {
            // What stays after a failure here is a leftover like a killed process's.
            let _ = super::trash::remove(self.dir, &self.name);
        }
    }
}

/// Replaces a small file of the directory. When `durable`, it survives a power cut once this returns; before, the old one
/// does.
///
/// # Errors
/// When it can't be written; the old file is then as it was.
pub fn replace_file(dir: &Dir, name: &str, bytes: &[u8], durable: bool) -> io::Result<()> {
    let temporary = Temporary::new(dir)?;
    let path = temporary.name().join("new");
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mut file = File::from(nix::fcntl::openat(dir, &path, flags, Mode::from_bits_truncate(0o644))?);
    file.write_all(bytes)?;
    if durable {
        file.sync_all()?;
    }
    renameat2(dir, &path, dir, name, RenameFlags::empty())?;
    if durable { dir.sync() } else { Ok(()) }
}

/// Makes a link, replacing whatever has its name in one step; durable once this returns.
///
/// # Errors
/// When it can't be made.
pub fn replace_link(dir: &Dir, name: &str, target: &str) -> io::Result<()> {
    let temporary = Temporary::new(dir)?;
    let path = temporary.name().join("link");
    symlinkat(target, dir, &path)?;
    renameat2(dir, &path, dir, name, RenameFlags::empty())?;
    dir.sync()
}
