//! The system calls that neither std nor nix offers safely: the only room with `unsafe` in it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::unistd::{ForkResult, Pid};

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Opens a descriptor that stands for process `pid`, `pidfd_open(2)`; close-on-exec, readable when it has ended.
///
/// # Errors
/// `ESRCH` when there is no such process.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: two integers in, a new descriptor or an error out.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(RawFd::try_from(fd).map_err(io::Error::other)?) })
}

/// Sends a signal to the process behind a pidfd; 0 only asks whether it could be sent.
///
/// # Errors
/// `ESRCH` when it has ended and was reaped, `EPERM` when it is another user's.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: an open descriptor, an integer, and no siginfo.
    checked(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<()>(), 0) }).map(drop)
}

/// Forks. The callers are single-threaded programs, so the child may do what any process may.
///
/// # Errors
/// As `fork(2)`.
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: no other thread exists whose locks could be held in the child.
    unsafe { nix::unistd::fork() }
}

/// What `wait4(2)` says of a child that ended.
#[derive(Clone, Copy, Debug)]
pub struct Reaped {
    /// The child.
    pub pid: i32,
    /// Its raw status.
    pub status: i32,
    /// User and system time of it and of what it reaped, in microseconds.
    pub user_us: u64,
    /// System time, in microseconds.
    pub sys_us: u64,
    /// The largest resident set among them, in bytes.
    pub max_rss_bytes: u64,
}

/// Reaps a child that has ended (`pid` -1: any), without waiting; `None` when none has.
///
/// # Errors
/// `ECHILD` when there is no child.
pub fn reap(pid: i32) -> io::Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: rusage is plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live locals of the right type.
    let pid = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) };
    let us = |t: libc::timeval| u64::try_from(t.tv_sec * 1_000_000 + t.tv_usec).unwrap_or(0);
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(Reaped {
            pid,
            status,
            user_us: us(usage.ru_utime),
            sys_us: us(usage.ru_stime),
            max_rss_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        })),
    }
}

/// Sets this process's I/O class and level, `ioprio_set(2)`: class 1 realtime, 2 best-effort, 3 idle.
///
/// # Errors
/// `EPERM` where the class needs a privilege.
pub fn ioprio_set(class: u8, level: u8) -> io::Result<()> {
    const WHO_PROCESS: i32 = 1;
    const CLASS_SHIFT: i32 = 13;
    let value = (i32::from(class) << CLASS_SHIFT) | i32::from(level);
    // SAFETY: three integers.
    checked(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, value) }).map(drop)
}

/// Closes every descriptor from `first` to `last`, both included.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: the caller owns no value whose descriptor lies in the range; see `launch::inherited`.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Takes ownership of a descriptor that this process was started with, by its number.
///
/// # Errors
/// `EBADF` when there is none of that number.
pub fn inherited(fd: RawFd) -> io::Result<File> {
    // SAFETY: asks only whether the descriptor is open.
    checked(unsafe { libc::c_long::from(libc::fcntl(fd, libc::F_GETFD)) })?;
    // SAFETY: it is open, was named to this process by the one that started it, and is taken once.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Gives every signal its default disposition and unblocks all, as a command expects to be started: Rust's own
/// runtime ignores SIGPIPE, and what a caller ignored (`nohup`) is inherited over exec.
pub fn default_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is no handler, so no code of ours can run in a signal's context. SIGKILL and SIGSTOP refuse.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Ignores a signal; the disposition survives exec.
pub fn ignore(signal: nix::sys::signal::Signal) {
    // SAFETY: SIG_IGN is no handler.
    unsafe { libc::signal(signal as i32, libc::SIG_IGN) };
}

/// Waits at most `timeout_ms` (-1: for ever) until one of the descriptors is readable; says which are.
///
/// # Errors
/// As `poll(2)`; an interrupting signal counts as nothing readable.
pub fn readable(fds: &[BorrowedFd<'_>], timeout_ms: i32) -> io::Result<Vec<bool>> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    let timeout = PollTimeout::try_from(timeout_ms).map_err(io::Error::other)?;
    match poll(&mut polled, timeout) {
        Ok(_) => Ok(polled.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
        Err(nix::errno::Errno::EINTR) => Ok(vec![false; fds.len()]),
        Err(error) => Err(error.into()),
    }
}

/// This process's id as records hold it.
#[must_use]
pub fn pid() -> i32 {
    Pid::this().as_raw()
}

/// Asks for a lease on an open file, `F_SETLEASE`: a read lease is refused (`EAGAIN`) while somebody has the file open
/// for writing, a write lease while anybody else has it open at all.
///
/// # Errors
/// `EAGAIN` as above; `EACCES` on another user's file; `EINVAL` where the file system has no leases.
pub fn set_lease(file: BorrowedFd<'_>, kind: i32) -> io::Result<()> {
    // SAFETY: an open descriptor and two integers.
    checked(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) }.into()).map(drop)
}

/// Makes `to` share the blocks of `from`, where the file system can; copies nothing.
///
/// # Errors
/// `EOPNOTSUPP`, `EXDEV`, `EINVAL` or `ENOTTY` where it can't.
pub fn reflink(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: two open descriptors; the kernel checks the rest.
    checked(unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONE, from.as_raw_fd()) }.into()).map(drop)
}
