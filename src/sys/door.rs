//! The way into a program that starts at once: a supervisor needs neither a handler for an overflowing stack nor what is
//! known of threads, which cost std's own runtime a look at all of the program's memory at each start.

use std::fs::File;
use std::os::fd::IntoRawFd;

/// Makes `$run`, which gives the code to end with, the whole program.
#[macro_export]
macro_rules! door {
    ($run:expr) => {
        // SAFETY: the C library calls the one `main` of the program once, and no other symbol has that name.
        #[unsafe(no_mangle)]
        extern "C" fn main() -> std::ffi::c_int {
            $crate::sys::before_all();
            std::ffi::c_int::from($run)
        }
    };
}

/// What std's runtime does for the rest of the program: the standard descriptors are open, so that no file is ever taken for
/// one of them, and a reader that is gone is an error and no death.
pub fn before_all() {
    super::ignore(nix::sys::signal::Signal::SIGPIPE);
    for fd in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        if super::inode_of(fd).is_none() {
            // The lowest number that is free: this one.
            let _ = File::options().read(true).write(true).open("/dev/null").map(IntoRawFd::into_raw_fd);
        }
    }
}
