//! Processes: who one is, whether it lives, and how it is signalled without ever hitting another.
//!
//! A bare pid names nothing: it is recycled. A process is its pid and its start time within one boot of one kernel's
//! pid namespace, and it is signalled through a pidfd that was checked after opening.

mod family;
mod group;
mod handle;
mod here;
mod look;
mod mark;
mod stat;
mod stop;

pub use family::{Family, Orphaned};
pub use group::group_members;
pub use handle::Handle;
pub use here::Here;
pub use mark::{JOB_KEY, Mark, SUPERVISOR_MARK};
pub use stat::{Stat, all};
pub use stop::{Stopped, Survivor, stop};

use std::io::Read;

use serde::{Deserialize, Serialize};

/// A process of this boot and pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Identity {
    /// Its number, which the kernel gives out again after its end.
    pub pid: i32,
    /// When it was started, in clock ticks since boot: `/proc/PID/stat`, field 22.
    pub start_ticks: u64,
}

/// A small file of `/proc`, in one read where std's buffers, which trust the size 0 that these files claim, take seven.
pub(crate) fn proc_file(path: &str) -> Option<Vec<u8>> {
    const PAGE: u64 = 4096;
    let mut bytes = Vec::with_capacity(4096);
    let file = std::fs::File::open(path).ok()?;
    // Limited, it isn't asked for its size. A longer file goes on.
    while (&file).take(PAGE).read_to_end(&mut bytes).ok()? as u64 == PAGE {}
    Some(bytes)
}

/// The signals that this process ignores, and what it executes would: bit 0 is signal 1. All of them where that can't be read.
#[must_use]
pub fn ignored_signals() -> u64 {
    let status = proc_file("/proc/self/status").and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(u64::MAX)
}

/// The control group of process `pid`: its path in the unified hierarchy, or in systemd's own where that one is bare.
#[must_use]
pub fn cgroup(pid: i32) -> Option<String> {
    let lines = String::from_utf8(proc_file(&format!("/proc/{pid}/cgroup"))?).ok()?;
    let path = |prefix: &str| lines.lines().find_map(|line| line.split_once(prefix).filter(|(n, _)| !n.contains(':')));
    let unified = path("::").map(|(_, path)| path);
    let systemd = path(":name=systemd:").map(|(_, path)| path);
    unified.filter(|path| *path != "/").or(systemd).or(unified).map(str::to_owned)
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
