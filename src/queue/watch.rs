//! What happens in a queue's folder, as far as somebody who waits in it has to look again.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::Queue;
use super::slots::SLOTS;

/// Notices of a folder. Where the kernel grants none, a user's are all in use, there is nothing to wait for.
#[derive(Debug)]
pub struct Watch(Option<Inotify>);

impl Watch {
    /// Watches nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok())
    }

    /// Watches this queue from now on, and forgets what came before: a look follows. One that is watched already, costs
    /// nothing.
    pub fn begin(&mut self, queue: &Queue<'_>) {
        let what = AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        let path = format!("/proc/self/fd/{}", queue.folder.as_raw_fd());
        self.0.take_if(|inotify| inotify.add_watch(path.as_str(), what).is_err());
        let _ = self.changed();
    }

    /// Readable when something has happened.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd)
    }

    /// Whether something has happened since it was asked last that can let anybody in: somebody left, or the slots were
    /// changed. That somebody came or got a slot changes nothing for the others.
    #[must_use]
    pub fn changed(&self) -> bool {
        let Some(inotify) = &self.0 else { return false };
        let mut changed = false;
        while let Ok(events) = inotify.read_events() {
            changed |= events.iter().any(|event| {
                let left = AddWatchFlags::IN_DELETE
                    | AddWatchFlags::IN_DELETE_SELF
                    | AddWatchFlags::IN_MOVE_SELF
                    | AddWatchFlags::IN_IGNORED
                    | AddWatchFlags::IN_Q_OVERFLOW;
                event.mask.intersects(left) || event.name.as_ref().is_some_and(|name| name == SLOTS)
            });
        }
        changed
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}
