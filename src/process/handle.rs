//! A process held by a descriptor: what is done to it is done to it or to nobody.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::{Identity, Stat};
use crate::sys;

/// An open, checked process.
#[derive(Debug)]
pub struct Handle {
    identity: Identity,
    pidfd: OwnedFd,
}

impl Handle {
    /// Opens the process and checks, after opening, that it is the one meant: from then on its number can't be
    /// given to another behind our back. `None` when it is gone, a zombie or another one.
    ///
    /// # Errors
    /// What `pidfd_open(2)` refuses other than a process that isn't there.
    pub fn open(identity: Identity) -> io::Result<Option<Self>> {
        let pidfd = match sys::pidfd_open(identity.pid) {
            Ok(pidfd) => pidfd,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(identity.alive().then_some(Self { identity, pidfd }))
    }

    /// Whom it holds.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Sends a signal; `false` when the process is gone.
    ///
    /// # Errors
    /// `EPERM`: it belongs to another user.
    pub fn signal(&self, signal: i32) -> io::Result<bool> {
        match sys::pidfd_send_signal(self.pidfd.as_fd(), signal) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether it still lives; a zombie doesn't.
    #[must_use]
    pub fn alive(&self) -> bool {
        Stat::read(self.identity.pid).is_some_and(|stat| stat.identity() == self.identity && !stat.is_dead())
    }

    /// Waits for its end, at most `limit`; says whether it came.
    ///
    /// # Errors
    /// As `poll(2)`.
    pub fn ended_within(&self, limit: Duration) -> io::Result<bool> {
        let ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        Ok(sys::readable(&[self.as_fd()], ms)?[0])
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}
