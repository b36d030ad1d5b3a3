//! The system calls that neither std nor nix offers safely: the only room with `unsafe` in it.

mod beside;
mod direct;
mod door;
mod memory;
mod note;

pub use beside::{Berth, Beside, Memory, Orders, Step, orphan};
pub use direct::{default_signal, default_signals};
pub use door::before_all;
pub use memory::{expect_to_use, give_back_memory, readable_at_rest};
pub use note::SharedNote;

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

/// Sends a signal to the whole process group that the process behind a pidfd leads: all of it at once, so that no fork
/// escapes, and through the descriptor, so that no other group can be hit.
///
/// # Errors
/// `EINVAL` before Linux 6.9; `ESRCH` when it leads no group.
pub fn pidfd_signal_group(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    const PROCESS_GROUP: u32 = 1 << 2;
    let no_info = std::ptr::null::<()>();
    // SAFETY: an open descriptor, an integer, and no siginfo.
    checked(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, PROCESS_GROUP) }).map(drop)
}

/// Forks. The callers are single-threaded programs, or have one asleep, so the child may do what any process may.
///
/// # Errors
/// As `fork(2)`.
pub fn fork() -> nix::Result<ForkResult> {
    // SAFETY: no other thread exists whose locks could be held in the child.
    unsafe { nix::unistd::fork() }
}

/// The memory call that every NVIDIA driver has: total, free and used bytes. Newer ones have a second version, the only
/// one that the wrapper knows.
///
/// # Errors
/// As the driver has it, or that the library lacks this call too.
pub fn nvml_memory_v1(
    nvml: &nvml_wrapper::Nvml,
    device: &nvml_wrapper::Device<'_>,
) -> Result<(u64, u64, u64), nvml_wrapper::error::NvmlError> {
    let call = nvml_wrapper::error::nvml_sym(nvml.lib().nvmlDeviceGetMemoryInfo.as_ref())?;
    // SAFETY: three plain integers, for which zero is a value.
    let mut memory = unsafe { std::mem::zeroed() };
    // SAFETY: the handle lives as long as its library, and the pointer is to a live local of the call's own type.
    nvml_wrapper::error::nvml_try(unsafe { call(device.handle(), &raw mut memory) })?;
    Ok((memory.total, memory.free, memory.used))
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
    direct::set_ioprio(class, level).map_err(io::Error::from_raw_os_error)
}

/// Fills a buffer with random bytes, `getrandom(2)`.
///
/// # Errors
/// `ENOSYS` before Linux 3.17.
pub fn random(bytes: &mut [u8]) -> io::Result<()> {
    // SAFETY: a writable buffer and its length; up to 256 bytes are given whole.
    let given =
        checked(libc::c_long::try_from(unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) }).unwrap_or(-1))?;
    if usize::try_from(given).is_ok_and(|given| given == bytes.len()) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Shows others one entry, and nothing else, where `/proc/PID/environ` has this process's environment: cut where that is too
/// short for it. What the process itself sees of its environment is what it was.
pub fn show_as_environment(shown: &str) {
    // SAFETY: a process with one thread, so nobody reads or changes its environment meanwhile. The kernel has laid the entries
    // side by side in writable memory, each ended by a zero byte; those that lie so are replaced by copies that are never
    // freed, and only then overwritten, within the length that they had together.
    unsafe {
        let mut entry = libc::environ;
        if entry.is_null() || (*entry).is_null() {
            return;
        }
        let start: *mut u8 = (*entry).cast();
        let (mut length, mut entries) = (0, 0);
        while let Some(next) =
            std::ptr::NonNull::new(*entry.add(entries)).filter(|next| next.as_ptr().cast() == start.add(length))
        {
            length += std::ffi::CStr::from_ptr(next.as_ptr()).to_bytes_with_nul().len();
            entries += 1;
        }
        let copy = std::slice::from_raw_parts(start, length).to_vec().leak().as_mut_ptr();
        for _ in 0..entries {
            *entry = copy.add((*entry).cast::<u8>().offset_from_unsigned(start)).cast();
            entry = entry.add(1);
        }
        std::ptr::write_bytes(start, 0, length);
        std::ptr::copy_nonoverlapping(shown.as_ptr(), start, shown.len().min(length - 1));
    }
}

/// Ends this process without running anything of the program it was forked from.
pub fn exit_now() -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}

/// Lets a descriptor survive the next exec.
///
/// # Errors
/// `EBADF`.
pub fn keep_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: an integer; changes one flag of the descriptor.
    checked(libc::c_long::from(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })).map(drop)
}

/// Closes a descriptor at the next exec.
///
/// # Errors
/// `EBADF`.
pub fn close_on_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: an integer; changes one flag of the descriptor.
    checked(libc::c_long::from(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })).map(drop)
}

/// Closes every descriptor above the standard three but these: a caller's pipes and locks, a jobserver, a terminal.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    let mut kept = kept.to_vec();
    kept.sort_unstable();
    direct::close_between(&kept).map_err(io::Error::from_raw_os_error)
}

/// Takes ownership of a descriptor that this process was started with, by its number.
///
/// # Errors
/// `EBADF` when there is none of that number.
pub fn inherited(fd: RawFd) -> io::Result<File> {
    // SAFETY: asks only whether the descriptor is open.
    match checked(unsafe { libc::c_long::from(libc::fcntl(fd, libc::F_GETFD)) }) {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Err(error),
        _ => {}
    }
    // SAFETY: it is open, was named to this process by the one that started it, and is taken once.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Device and inode of an open descriptor, by its number; `None` when it isn't open.
#[must_use]
pub fn inode_of(fd: RawFd) -> Option<(u64, u64)> {
    // SAFETY: stat is plain integers, for which zero is a value.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: any number is allowed, and the pointer is to a live local of the right type.
    (unsafe { libc::fstat(fd, &raw mut stat) } == 0).then_some((stat.st_dev, stat.st_ino))
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

/// A span as `poll(2)` takes it: rounded up, and cut at 24 days.
#[must_use]
pub fn poll_ms(span: std::time::Duration) -> i32 {
    i32::try_from(span.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
}

/// Clock ticks of `/proc`, `sysconf(_SC_CLK_TCK)`, as time.
#[must_use]
pub fn ticks(ticks: u64) -> std::time::Duration {
    let a_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().and_then(|n| u64::try_from(n).ok());
    std::time::Duration::from_millis(ticks.saturating_mul(1000) / a_second.filter(|n| *n > 0).unwrap_or(100))
}

/// Lets time pass, to the millisecond, where a span is what is wanted and no event can end it.
pub fn pass(span: std::time::Duration) {
    let until = std::time::Instant::now() + span;
    loop {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let ms = poll_ms(left);
        if ms == 0 {
            return;
        }
        let _ = readable(&[], ms);
    }
}

/// This process's id as records hold it.
#[must_use]
pub fn pid() -> i32 {
    Pid::this().as_raw()
}

/// How many columns the terminal behind a descriptor has; `None` when it is none.
#[must_use]
pub fn terminal_columns(terminal: impl AsFd) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills the winsize behind a valid pointer.
    let asked = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (asked == 0).then_some(usize::from(size.ws_col))
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

/// An extended attribute of a file; `None` where it has none of that name, or that can't be read.
#[must_use]
pub fn attribute(path: &std::path::Path, name: &str) -> Option<Vec<u8>> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).ok()?;
    let name = std::ffi::CString::new(name).ok()?;
    let mut value = vec![0_u8; 256];
    // SAFETY: two strings that end with a zero byte, and a writable buffer with its length.
    let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    value.truncate(usize::try_from(length).ok()?);
    Some(value)
}
