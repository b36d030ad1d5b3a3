//! Files in an open directory: read whole, replaced whole, made once.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;

use nix::NixPath;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// No record is near this size; a file that is was not written by us.
const LARGEST: u64 = 64 << 20;

/// Reads a regular file; `None` when it isn't there.
///
/// # Errors
/// As `open(2)` and `read(2)`; a symlink, a device or a file of more than 64 MiB is refused.
pub fn read_file(dir: BorrowedFd<'_>, name: &str) -> io::Result<Option<Vec<u8>>> {
    // Without O_NONBLOCK, a FIFO under a record's name would hang every reader.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut file = match openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(nix::errno::Errno::ENOENT) => return Ok(None),
        Err(nix::errno::Errno::ELOOP) => return Err(io::Error::other("it is a symbolic link")),
        Err(error) => return Err(error.into()),
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if meta.len() > LARGEST {
        return Err(io::Error::new(ErrorKind::FileTooLarge, "it is larger than 64 MiB"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1);
    file.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Makes a file that wasn't there, 0600, for writing.
///
/// # Errors
/// `EEXIST` when anything has that name, a dangling symlink included.
pub fn create_new(dir: BorrowedFd<'_>, name: &(impl NixPath + ?Sized), append: bool) -> io::Result<File> {
    let mode = if append { OFlag::O_WRONLY | OFlag::O_APPEND } else { OFlag::O_RDWR };
    let flags = mode | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(File::from(openat(dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?))
}

/// Replaces a file whole. When it returns the new one is durable; a crash before that leaves the old one, and perhaps
/// a temporary `.NAME.PID` that means nothing.
///
/// # Errors
/// As `open(2)`, `write(2)`, `fdatasync(2)`, `rename(2)`; the old file stands then.
pub fn replace_file(dir: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!(".{name}.{}", crate::sys::pid());
    remove(dir, &temporary)?;
    let written = create_new(dir, temporary.as_str(), false).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_data()?;
        renameat(dir, temporary.as_str(), dir, name)?;
        Ok(())
    });
    if written.is_err() {
        let _ = remove(dir, &temporary);
    }
    written?;
    Ok(nix::unistd::fsync(dir)?)
}

/// Removes a file; that it isn't there is fine.
///
/// # Errors
/// As `unlink(2)`.
pub(super) fn remove(dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(nix::errno::Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
