//! The two signals that a supervisor listens to, through a descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// SIGCHLD and SIGTERM, waiting to be read.
#[derive(Debug)]
pub(super) struct Signals(SignalFd);

/// Who sent a SIGTERM.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) pid: u32,
    pub(super) uid: u32,
}

impl Signals {
    /// Blocks the two and lets everything else through; the launcher has ignored what must not end us.
    pub(super) fn new() -> io::Result<Self> {
        // Ignored, as a caller may have left it, it would let the kernel reap the command and throw its status away.
        crate::sys::default_signal(libc::SIGCHLD);
        let mut listened = SigSet::empty();
        listened.add(Signal::SIGCHLD);
        listened.add(Signal::SIGTERM);
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&listened), None)?;
        Ok(Self(SignalFd::with_flags(&listened, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Reads all that came; gives the last sender of a SIGTERM among them.
    pub(super) fn drain(&self) -> Option<Sender> {
        let mut sender = None;
        while let Ok(Some(info)) = self.0.read_signal() {
            if info.ssi_signo == Signal::SIGTERM as u32 {
                sender = Some(Sender { pid: info.ssi_pid, uid: info.ssi_uid });
            }
        }
        sender
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
