//! System calls made without the C library, for a process whose `errno` would be another's ([`Beside`](super::Beside)): none
//! of these touches memory but what it is given.

use std::os::fd::RawFd;

use syscalls::{Sysno, syscall6};

/// Makes one. The callers, all in this room, give each call what it takes: integers, and pointers to live memory.
pub(super) fn call(number: Sysno, args: [usize; 6]) -> Result<usize, i32> {
    // SAFETY: as the callers promise.
    unsafe { syscall6(number, args[0], args[1], args[2], args[3], args[4], args[5]) }.map_err(syscalls::Errno::into_raw)
}

pub(super) const fn fd(fd: RawFd) -> usize {
    fd.cast_unsigned() as usize
}

pub(super) const fn integer(value: i32) -> usize {
    (value as isize).cast_unsigned()
}

const SIGNALS: i32 = 64;
const SET_BYTES: usize = 8;
/// The kernel's `struct sigaction` is four words at most, and no word of `SIG_DFL` is set; nor is one of an empty mask.
const NONE: [usize; 4] = [0; 4];

/// Gives these signals their default disposition, bit 0 is signal 1, and unblocks all, as a command expects to be started:
/// Rust's own runtime ignores SIGPIPE, and what a caller ignored (`nohup`) is inherited over exec. A handler isn't.
pub fn default_signals(signals: u64) {
    (1..=SIGNALS).filter(|signal| signals >> (signal - 1) & 1 == 1).for_each(default_signal);
    let _ = call(Sysno::rt_sigprocmask, [integer(libc::SIG_SETMASK), NONE.as_ptr().expose_provenance(), 0, SET_BYTES, 0, 0]);
}

/// Gives one signal its default disposition: the C library's `signal` would refuse the two that it keeps for itself, which a
/// caller may have ignored all the same. SIGKILL and SIGSTOP refuse.
pub fn default_signal(signal: i32) {
    let _ = call(Sysno::rt_sigaction, [integer(signal), NONE.as_ptr().expose_provenance(), 0, SET_BYTES, 0, 0]);
}

/// Closes every descriptor above the standard three but these, which are in order. The callers are between a fork or an exec
/// and their work: no value in them owns what is closed here.
pub(super) fn close_between(kept: &[RawFd]) -> Result<(), i32> {
    let mut first = 3;
    for kept in kept.iter().copied().chain([RawFd::MAX]) {
        if first < kept {
            call(Sysno::close_range, [fd(first), fd(kept - 1), 0, 0, 0, 0])?;
        }
        first = kept.saturating_add(1);
    }
    Ok(())
}

/// Adds to this process's nice value.
pub(super) fn add_nice(by: i32) -> Result<(), i32> {
    // The call itself gives 20 less the value, so that no value is negative.
    const MOST: i32 = 20;
    let which = integer(libc::PRIO_PROCESS.cast_signed());
    let given = call(Sysno::getpriority, [which, 0, 0, 0, 0, 0])?;
    let now = i32::try_from(given).map_or(0, |given| MOST - given);
    call(Sysno::setpriority, [which, 0, integer(now.saturating_add(by)), 0, 0, 0]).map(drop)
}

/// Sets this process's I/O class and level, `ioprio_set(2)`: class 1 realtime, 2 best-effort, 3 idle.
pub(super) fn set_ioprio(class: u8, level: u8) -> Result<(), i32> {
    const WHO_PROCESS: usize = 1;
    const CLASS_SHIFT: usize = 13;
    let value = (usize::from(class) << CLASS_SHIFT) | usize::from(level);
    call(Sysno::ioprio_set, [WHO_PROCESS, 0, value, 0, 0, 0]).map(drop)
}
