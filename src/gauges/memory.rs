//! How much memory there is and how much of it can still be had: on the machine, and in every control group around
//! this process that has a limit.
//!
//! A group's page cache counts as free, since the kernel drops it before it lets anything in the group die. sysinfo
//! looks at the outermost group only and counts the cache as used, so the groups are read here.

use sysinfo::MemoryRefreshKind;

use super::cgroup::{self, Group, Tree};
use super::{Gauge, keyed, not_understood, number, text, text_if_any};

/// The machine, or a group with a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// All there is, in bytes.
    pub total: u64,
    /// What can still be had, in bytes.
    pub available: u64,
    /// The group's tree and path as `/proc/PID/cgroup` has it; `None` is the machine.
    pub group: Option<(Tree, String)>,
    /// The file with the limit.
    pub source: String,
}

/// Version 1 writes "no limit" as the largest number of whole pages; nothing has an exbibyte.
const UNLIMITED: u64 = 1 << 60;

/// The machine first, then the groups, those with a limit only.
///
/// # Errors
/// When one of them can't be read.
pub fn levels() -> Gauge<Vec<Level>> {
    let mut levels = vec![machine()?];
    for tree in [Tree::Unified, Tree::Legacy("memory")] {
        for group in cgroup::own(tree)? {
            let level = if tree == Tree::Unified { unified(&group)? } else { legacy(&group)? };
            levels.extend(level.map(|(total, used, file)| Level {
                total,
                available: total.saturating_sub(used),
                source: group.dir.join(file).display().to_string(),
                group: Some((tree, group.path)),
            }));
        }
    }
    Ok(levels)
}

/// The machine itself.
///
/// # Errors
/// When `/proc/meminfo` can't be read.
pub(super) fn machine() -> Gauge<Level> {
    let path = "/proc/meminfo";
    text(path)?;
    let mut system = super::system()?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let (total, available) = (system.total_memory(), system.available_memory());
    if total == 0 {
        return Err(not_understood(path));
    }
    Ok(Level { total, available: available.min(total), group: None, source: path.into() })
}

type Limited = Option<(u64, u64, &'static str)>;

/// The tighter of `memory.max` and `memory.high`, past which a group is throttled to a crawl.
fn unified(group: &Group) -> Gauge<Limited> {
    let limits = [limit(group, "memory.max")?, limit(group, "memory.high")?];
    let Some((total, file)) = limits.into_iter().flatten().min() else { return Ok(None) };
    let current = needed(group, "memory.current")?;
    let stat = group.dir.join("memory.stat");
    let stat_text = text(&stat)?;
    let cache = ["inactive_file", "active_file"].map(|key| keyed(&stat_text, key).ok_or_else(|| not_understood(&stat)));
    let [inactive, active] = cache;
    let slab = keyed(&stat_text, "slab_reclaimable").unwrap_or(0);
    Ok(Some((total, current.saturating_sub(inactive? + active? + slab), file)))
}

fn legacy(group: &Group) -> Gauge<Limited> {
    let file = "memory.limit_in_bytes";
    let Some((total, file)) = limit(group, file)?.filter(|(total, _)| *total < UNLIMITED) else { return Ok(None) };
    let current = needed(group, "memory.usage_in_bytes")?;
    let stat = group.dir.join("memory.stat");
    let stat_text = text(&stat)?;
    let cache =
        ["total_inactive_file", "total_active_file"].map(|key| keyed(&stat_text, key).ok_or_else(|| not_understood(&stat)));
    let [inactive, active] = cache;
    Ok(Some((total, current.saturating_sub(inactive? + active?), file)))
}

/// A limit in bytes; `None` when there is none, or no such file, as in the outermost group.
fn limit(group: &Group, file: &'static str) -> Gauge<Option<(u64, &'static str)>> {
    let path = group.dir.join(file);
    match text_if_any(&path)? {
        Some(limit) if limit.trim() != "max" => Ok(Some((number(&limit, &path)?, file))),
        _ => Ok(None),
    }
}

fn needed(group: &Group, file: &str) -> Gauge<u64> {
    let path = group.dir.join(file);
    number(&text(&path)?, &path)
}
