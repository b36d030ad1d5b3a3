//! A control group: what it has counted, who is in it, its end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::gauges::cgroup::{self, Tree};
use crate::process::group_members;

/// The trees that a job's groups can be in: the unified one, systemd's own bare one, and those of version 1's controllers.
pub(super) const TREES: [Tree; 5] =
    [Tree::Unified, Tree::Legacy("name=systemd"), Tree::Legacy("memory"), Tree::Legacy("cpu"), Tree::Legacy("pids")];

/// A group of one tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Group {
    /// The tree's controller; empty for the unified one.
    pub(super) tree: String,
    /// Its path as `/proc/PID/cgroup` has it.
    pub(super) path: String,
    /// Where it is seen.
    pub(super) dir: PathBuf,
}

/// What a group has counted since it was made. What is absent couldn't be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// How often the kernel killed one of its processes for memory.
    pub oom_kills: Option<u64>,
    /// The most memory that it ever had, page cache included.
    pub peak_bytes: Option<u64>,
    /// Processor time in user mode, of the living as of the dead.
    pub user_us: Option<u64>,
    /// Processor time in the kernel.
    pub sys_us: Option<u64>,
}

impl Counters {
    /// Each from here, or where that is absent from there.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            oom_kills: self.oom_kills.or(other.oom_kills),
            peak_bytes: self.peak_bytes.or(other.peak_bytes),
            user_us: self.user_us.or(other.user_us),
            sys_us: self.sys_us.or(other.sys_us),
        }
    }

    /// What came since `before`. A peak that didn't rise was another's.
    pub(super) fn since(self, before: Self) -> Self {
        let rise = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before.unwrap_or(0)));
        Self {
            oom_kills: rise(self.oom_kills, before.oom_kills),
            peak_bytes: self.peak_bytes.filter(|peak| Some(*peak) > before.peak_bytes),
            user_us: rise(self.user_us, before.user_us),
            sys_us: rise(self.sys_us, before.sys_us),
        }
    }
}

pub(super) fn tree_named(name: &str) -> Option<Tree> {
    TREES.into_iter().find(|tree| tree_name(*tree) == name)
}

pub(super) fn tree_name(tree: Tree) -> &'static str {
    match tree {
        Tree::Unified => "",
        Tree::Legacy(name) => name,
    }
}

impl Group {
    /// The group that process `pid` is in.
    pub(super) fn of(pid: i32, tree: Tree) -> Option<Self> {
        Self::at(tree, &cgroup::path_of(pid, tree)?)
    }

    pub(super) fn at(tree: Tree, path: &str) -> Option<Self> {
        let group = cgroup::at(tree, path).into_iter().next()?;
        Some(Self { tree: tree_name(tree).into(), path: group.path, dir: group.dir })
    }

    /// A group in this one.
    pub(super) fn child(&self, name: &str) -> Self {
        let path = format!("{}/{name}", self.path.trim_end_matches('/'));
        Self { tree: self.tree.clone(), path, dir: self.dir.join(name) }
    }

    /// The group around it, where that can be seen.
    pub(super) fn parent(&self) -> Option<Self> {
        let (parent, _) = self.path.rsplit_once('/').filter(|_| self.path != "/")?;
        Self::at(tree_named(&self.tree)?, if parent.is_empty() { "/" } else { parent })
    }

    pub(super) fn is_unified(&self) -> bool {
        self.tree.is_empty()
    }

    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Puts a process in.
    pub(super) fn take_in(&self, pid: i32) -> io::Result<()> {
        fs::write(self.dir.join("cgroup.procs"), pid.to_string())
    }

    pub(super) fn members(&self) -> Vec<i32> {
        group_members(&self.dir)
    }

    /// Whether anything lives in it; where the kernel counts, without a race.
    pub(super) fn populated(&self) -> bool {
        match fs::read_to_string(self.dir.join("cgroup.events")) {
            Ok(events) => keyed(&events, "populated") != Some(0),
            Err(_) => !self.members().is_empty(),
        }
    }

    pub(super) fn counters(&self) -> Counters {
        let text = |file: &str| fs::read_to_string(self.dir.join(file)).ok();
        let of = |file: &str, key: &str| keyed(&text(file)?, key);
        let number = |file: &str| text(file)?.trim().parse().ok();
        if self.is_unified() {
            Counters {
                oom_kills: of("memory.events", "oom_kill"),
                peak_bytes: number("memory.peak"),
                user_us: of("cpu.stat", "user_usec"),
                sys_us: of("cpu.stat", "system_usec"),
            }
        } else {
            Counters {
                oom_kills: of("memory.oom_control", "oom_kill"),
                peak_bytes: number("memory.max_usage_in_bytes"),
                ..Counters::default()
            }
        }
    }
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Removes a group with the empty ones in it; one that anything lives in stays.
pub(super) fn remove_empty(dir: &Path) {
    for inner in fs::read_dir(dir).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&inner.path());
        }
    }
    let _ = fs::remove_dir(dir);
}
