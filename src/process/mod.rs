//! Processes: who one is, whether it lives, and how it is signalled without ever hitting another.
//!
//! A bare pid names nothing: it is recycled. A process is its pid and its start time within one boot of one kernel's
//! pid namespace, and it is signalled through a pidfd that was checked after opening.

mod handle;
mod here;
mod stat;

pub use handle::Handle;
pub use here::Here;
pub use stat::{Stat, all};

use serde::{Deserialize, Serialize};

/// A process of this boot and pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Its number, which the kernel gives out again after its end.
    pub pid: i32,
    /// When it was started, in clock ticks since boot: `/proc/PID/stat`, field 22.
    pub start_ticks: u64,
}

impl Identity {
    /// The process that has this number now.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        Stat::read(pid).map(|stat| stat.identity())
    }

    /// This process itself.
    #[must_use]
    pub fn own() -> Self {
        let pid = crate::sys::pid();
        Self::of(pid).unwrap_or(Self { pid, start_ticks: 0 })
    }

    /// Whether it lives: a zombie doesn't.
    #[must_use]
    pub fn alive(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.identity() == self && !stat.is_dead())
    }
}
