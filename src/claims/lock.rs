//! Open-file-description locks, `fcntl_locking(2)`.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

fn whole_file() -> libc::flock {
    #[expect(clippy::cast_possible_truncation, reason = "constants of the kernel's that fit")]
    let (kind, from) = (libc::F_WRLCK as libc::c_short, libc::SEEK_SET as libc::c_short);
    libc::flock { l_type: kind, l_whence: from, l_start: 0, l_len: 0, l_pid: 0 }
}

/// Takes the lock; `false` when another holds it.
///
/// # Errors
/// `ENOLCK` where the file system knows no locks.
pub(super) fn take(file: &File) -> io::Result<bool> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file())) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether another holds the lock, without taking it.
///
/// # Errors
/// As for [`take`].
pub(super) fn is_held(file: &File) -> io::Result<bool> {
    let mut lock = whole_file();
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}
