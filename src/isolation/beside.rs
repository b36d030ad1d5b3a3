//! Control groups beside the caller's: `bgrun-KEY/supervisor` and `bgrun-KEY/runN`, in the unified tree or, for limits that
//! only version 1 has, in those of its controllers.
//!
//! Never below the caller's own group, which may end as a whole, and never where systemd hasn't delegated: it would
//! remove, or be confused by, what it finds there. No process ever stands in a group that has others in it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::group::{Group, remove_empty};
use super::limits::Limit;
use super::{Isolation, Job, Limits, Place};
use crate::gauges::cgroup::{self, Tree};
use crate::process::group_members;
use crate::sys;

/// The sweep of another launch may remove a group that is new and still empty.
const TRIES: usize = 10;

const SUPERVISOR: &str = "supervisor";
const SYSTEMD: &str = "/run/systemd/system";

/// How the group is named that holds those of a job.
pub(super) fn home_name(key: &str) -> String {
    format!("bgrun-{}", super::short(key))
}

/// Whether a path's last components are a run's group of the job with this key.
pub(super) fn is_runs(path: &str, key: &str) -> bool {
    let mut parts = path.rsplit('/');
    parts.next().is_some_and(is_run) && parts.next() == Some(home_name(key).as_str())
}

fn is_run(name: &str) -> bool {
    name.strip_prefix("run").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn is_home(name: &str) -> bool {
    name.strip_prefix("bgrun-").is_some_and(|key| key.len() == super::SHORT && key.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Groups of the unified tree. `needed`: some limit or the caller needs this controller.
pub(super) fn unified(limits: &Limits, job: &Job<'_>, memory: bool) -> Result<Place, String> {
    let parent = parent(Tree::Unified)?;
    let asked = limits.asked();
    let needed = asked.iter().map(|limit| limit.controller).chain(memory.then_some("memory"));
    let there = fs::read_to_string(parent.dir.join("cgroup.controllers")).unwrap_or_default();
    if let Some(lacking) = needed.clone().find(|needed| !has(&there, needed)) {
        return Err(format!("the control group '{}' has no {lacking} controller", parent.path));
    }
    let needed: Vec<&str> = needed.collect();
    enter(Isolation::Cgroup, &[parent], limits, job, |home| {
        for controller in ["memory", "cpu", "pids"] {
            let wanted = needed.contains(&controller) || (controller == "memory" && has(&there, "memory"));
            let around = home.parent().ok_or("its parent can't be seen")?;
            let enabled = if wanted { enable(&around, controller).and_then(|()| enable(home, controller)) } else { Ok(()) };
            if needed.contains(&controller) {
                enabled.map_err(|error| format!("cannot enable the {controller} controller: {error}"))?;
            }
        }
        Ok(())
    })
}

/// Groups of version 1, one for each controller that a limit needs.
pub(super) fn legacy(limits: &Limits, job: &Job<'_>) -> Result<Place, String> {
    let mut parents: Vec<Group> = Vec::new();
    for limit in limits.asked() {
        if parents.iter().all(|parent| parent.tree != limit.controller) {
            parents.push(parent(Tree::Legacy(limit.controller))?);
        }
    }
    enter(Isolation::CgroupV1, &parents, limits, job, |_| Ok(()))
}

/// Makes the groups, sets the limits, moves both processes; or leaves nothing behind.
fn enter(
    isolation: Isolation,
    parents: &[Group],
    limits: &Limits,
    job: &Job<'_>,
    prepare: impl Fn(&Group) -> Result<(), String>,
) -> Result<Place, String> {
    let homes: Vec<Group> = parents.iter().map(|parent| parent.child(&home_name(job.key))).collect();
    let origins: Vec<Group> =
        homes.iter().filter_map(|home| Group::of(sys::pid(), super::group::tree_named(&home.tree)?)).collect();
    let groups: Vec<Group> = homes.iter().map(|home| home.child(&format!("run{}", job.run))).collect();
    for parent in parents {
        sweep(&parent.dir);
    }
    let asked = limits.asked();
    let place = Place { isolation, unit: None, groups, homes, origins, ..Place::default() };
    for tries in 1.. {
        match fill(&place, &asked, job, &prepare) {
            Ok(()) => break,
            Err(Stopped::Swept) if tries < TRIES => {}
            Err(stopped) => {
                for (origin, pid) in place.origins.iter().flat_map(|origin| [(origin, job.pid), (origin, job.supervisor)]) {
                    let _ = origin.take_in(pid);
                }
                place.remove_groups();
                let why = if let Stopped::For(why) = stopped { why } else { "its groups are removed time and again".into() };
                return Err(why);
            }
        }
    }
    Ok(place)
}

enum Stopped {
    Swept,
    For(String),
}

fn fill(place: &Place, asked: &[Limit], job: &Job<'_>, prepare: impl Fn(&Group) -> Result<(), String>) -> Result<(), Stopped> {
    let cannot = |what: &str, group: &Group| {
        let what = format!("cannot {what} the control group '{}'", group.path);
        move |error: io::Error| match error.kind() {
            ErrorKind::NotFound => Stopped::Swept,
            _ => Stopped::For(format!("{what}: {error}")),
        }
    };
    let in_systemd = |text: String| Stopped::For(text);
    for (home, group) in place.homes.iter().zip(&place.groups) {
        make(&home.dir).map_err(cannot("make", home))?;
        let supervisor = home.child(SUPERVISOR);
        make(&supervisor.dir).map_err(cannot("make", &supervisor))?;
        supervisor.take_in(job.supervisor).map_err(cannot("enter", &supervisor))?;
        prepare(home).map_err(in_systemd)?;
        make(&group.dir).map_err(cannot("make", group))?;
        for limit in asked.iter().filter(|limit| home.is_unified() || limit.controller == home.tree) {
            limit.write(&group.dir, home.is_unified()).map_err(in_systemd)?;
        }
        group.take_in(job.pid).map_err(cannot("enter", group))?;
        if Group::of(job.pid, super::group::tree_named(&home.tree).unwrap_or(Tree::Unified)).as_ref() != Some(group) {
            return Err(Stopped::For(format!("the control group '{}' did not take the job in", group.path)));
        }
    }
    Ok(())
}

fn make(dir: &Path) -> io::Result<()> {
    fs::create_dir(dir).or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
}

fn has(list: &str, controller: &str) -> bool {
    list.split_whitespace().any(|word| word == controller)
}

fn enable(group: &Group, controller: &str) -> io::Result<()> {
    let file = group.dir.join("cgroup.subtree_control");
    if has(&fs::read_to_string(&file)?, controller) {
        return Ok(());
    }
    fs::write(file, format!("+{controller}"))
}

/// The group in which a job's own is to be made: that around the caller's, or the root where the caller is in none.
fn parent(tree: Tree) -> Result<Group, String> {
    let none = || "there is no such tree of control groups here".to_owned();
    let path = cgroup::path_of(sys::pid(), tree).ok_or_else(none)?;
    let own = Group::at(tree, &path).ok_or_else(none)?;
    let parent = match own.parent() {
        // Of a job's own groups those of the next stand beside; they are no callers'.
        Some(home) if is_home(home.name()) && (own.name() == SUPERVISOR || is_run(own.name())) => home.parent(),
        Some(parent) => Some(parent),
        None if is_real_root(&own) => Some(own),
        None => None,
    };
    let parent = parent.ok_or("the caller's is the outermost control group of its namespace, and none can stand beside it")?;
    if Path::new(SYSTEMD).exists() && !is_delegated(&parent) {
        return Err(format!("the control group '{}' is systemd's, and not delegated", parent.path));
    }
    Ok(parent)
}

/// The root of a namespace looks like the root, but has what only other groups have; or, in version 1, the reverse.
fn is_real_root(group: &Group) -> bool {
    if group.is_unified() { !group.dir.join("cgroup.type").exists() } else { group.dir.join("release_agent").exists() }
}

/// Whether systemd has left this group to others: the unit that it belongs to says so.
fn is_delegated(group: &Group) -> bool {
    let unit = |name: &str| [".slice", ".service", ".scope"].iter().any(|kind| name.ends_with(kind));
    let mut group = Some(group.clone());
    while let Some(here) = group.filter(|here| here.path != "/") {
        if ["user.delegate", "trusted.delegate"].iter().any(|name| sys::attribute(&here.dir, name).as_deref() == Some(b"1")) {
            // What a user's manager was given is that manager's.
            return !here.name().starts_with("user@");
        }
        if unit(here.name()) {
            return false;
        }
        group = here.parent();
    }
    false
}

/// Removes the empty groups of the job with this key.
pub(super) fn forget(key: &str) {
    for parent in super::group::TREES.into_iter().filter_map(|tree| parent(tree).ok()) {
        remove_empty(&parent.dir.join(home_name(key)));
    }
}

/// Removes the empty groups of jobs whose supervisors were killed: while one lives, it is in them.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_home) && group_members(&entry.path()).is_empty() {
            remove_empty(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runs_group_is_told_by_its_name_and_its_jobs_key() {
        let key = "0123456789abcdef0123456789abcdef";
        assert!(is_runs("/a/bgrun-0123456789abcdef/run12", key));
        for other in ["/", "/a", "/bgrun-0123456789abcdef", "/bgrun-0123456789abcdef/supervisor", "/bgrun-ffffffffffffffff/run1"]
        {
            assert!(!is_runs(other, key), "{other}");
        }
    }
}
