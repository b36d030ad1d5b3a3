//! Who is in a control group.

use std::fs;
use std::path::Path;

/// The processes of the control group in this directory and of the groups in it, as far as this pid namespace has numbers
/// for them; none where there is no such group.
#[must_use]
pub fn group_members(dir: &Path) -> Vec<i32> {
    let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut members: Vec<i32> = procs.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect();
    for inner in fs::read_dir(dir).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            members.extend(group_members(&inner.path()));
        }
    }
    members
}
