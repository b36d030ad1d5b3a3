//! What a process that sleeps for days gives back first, and what one that is in a hurry takes at once.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// As [`readable`](super::readable), for a wait that may take days: gives back first what of this program's memory the
/// kernel can bring back or nobody needs. Code and constants come back from the page cache, a page at a time; what lies below the stack's end and
/// at the heap's is garbage. A supervisor then holds a fraction of what its start has touched.
///
/// # Errors
/// As [`readable`](super::readable).
#[inline(never)]
pub fn readable_at_rest(fds: &[BorrowedFd<'_>], timeout_ms: i32) -> io::Result<Vec<bool>> {
    // All that has to be built is built before: each page of code that is used behind the release comes back with its
    // neighbours.
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    let timeout = PollTimeout::try_from(timeout_ms).map_err(io::Error::other)?;
    release(&spare_memory());
    match poll(&mut polled, timeout) {
        Ok(_) => Ok(polled.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
        Err(nix::errno::Errno::EINTR) => Ok(vec![false; fds.len()]),
        Err(error) => Err(error.into()),
    }
}

/// The same before a wait that is done otherwise.
pub fn give_back_memory() {
    release(&spare_memory());
}

/// The ranges of this process's memory whose pages nobody needs.
fn spare_memory() -> Vec<(usize, usize)> {
    // SAFETY: it takes an integer, and releases only what malloc has free.
    unsafe { libc::malloc_trim(0) };
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let spare = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [range, mode, offset, _, inode, ref name @ ..] = fields[..] else { return None };
        let (start, end) = range.split_once('-')?;
        let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        if name == ["[stack]"] {
            let here = (&raw const start).addr();
            // Frames grow downwards: two pages below this one nobody is.
            let unused = (here & !0xfff).checked_sub(0x2000)?;
            return (start..end).contains(&here).then(|| (start, unused.saturating_sub(start)));
        }
        // Only what can't have been written since it was mapped: code, and the constants before it. What the loader wrote
        // and then protected is readable as well, but not at the start of the file.
        let clean = mode == "r-xp" || (mode == "r--p" && offset.bytes().all(|b| b == b'0'));
        (clean && inode != "0").then(|| (start, end - start))
    };
    maps.lines().filter_map(spare).collect()
}

/// Gives the ranges of [`spare_memory`] back.
#[inline(never)]
fn release(ranges: &[(usize, usize)]) {
    for (start, length) in ranges {
        // SAFETY: either a private mapping of a file that was never writable here, whose pages come back from the file, or
        // the part of this thread's stack that lies pages below the frame that measured it, and further below this one's
        // caller: nothing there is live.
        unsafe { libc::madvise(*start as *mut libc::c_void, *length, libc::MADV_DONTNEED) };
    }
}

/// Has the kernel bring so much of the heap at once that is about to be used, where it can (Linux 5.14): page by page, as it
/// is first written, costs twice as much.
pub fn expect_to_use(bytes: usize) {
    const PAGE: usize = 4096;
    let room = Vec::<u8>::with_capacity(bytes);
    let start = room.as_ptr().addr().next_multiple_of(PAGE);
    let end = (room.as_ptr().addr() + bytes) & !(PAGE - 1);
    // SAFETY: whole pages of memory that is allocated here and holds nothing; what they hold isn't changed.
    unsafe { libc::madvise(start as *mut libc::c_void, end.saturating_sub(start), libc::MADV_POPULATE_WRITE) };
}
