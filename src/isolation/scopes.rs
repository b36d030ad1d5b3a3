//! Units of systemd: a slice for each job, in it a scope for the supervisor and one for each run.
//!
//! The supervisor's scope keeps the slice alive. What the kernel counted for a run is still told by the slice when the
//! run's scope, empty, has been collected (RACES 14).

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::group::{Counters, Group};
use super::limits::Limit;
use super::manager::{Manager, Refused, Unit};
use super::wire::{Properties, Value};
use super::{Isolation, Job, Place, Wish};
use crate::gauges::cgroup::{self, Tree};
use crate::process::{Handle, Identity};

const BOOTED: &str = "/run/systemd/system";
/// A killed process goes at once, unless the machine is at its limits.
const END_LIMIT: Duration = Duration::from_secs(5);
const LINGER: &str = "/var/lib/systemd/linger";

/// Whether systemd runs here at all: one system call.
pub(super) fn is_up() -> bool {
    Path::new(BOOTED).exists()
}

/// Whether the manager outlives the caller's session. A user's own does only where linger is on; a caller that is in a
/// system service has no session (RACES 18).
pub(super) fn outlives_the_session() -> Result<(), String> {
    let uid = nix::unistd::geteuid();
    let name = crate::user::name(uid.as_raw());
    let service = || cgroup::path_of(crate::sys::pid(), systemds_tree()).is_some_and(|path| path.starts_with("/system.slice/"));
    if uid.is_root() || Path::new(LINGER).join(&name).exists() || service() {
        return Ok(());
    }
    Err(format!("the manager of {name} ends with the last session, for linger is off"))
}

/// Where systemd keeps its groups.
fn systemds_tree() -> Tree {
    let unified = cgroup::path_of(1, Tree::Unified).is_some_and(|path| path != "/");
    if unified { Tree::Unified } else { Tree::Legacy("name=systemd") }
}

fn socket(wish: &Wish) -> PathBuf {
    let uid = nix::unistd::geteuid();
    let runtime = match &wish.runtime_dir {
        _ if uid.is_root() => PathBuf::from("/run"),
        Some(dir) => dir.as_os_str().into(),
        None => PathBuf::from(format!("/run/user/{uid}")),
    };
    runtime.join("systemd/private")
}

/// Whether a group is a run's scope of the job with this key.
pub(super) fn is_runs(path: &str, key: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let run = name.strip_prefix(&format!("bgrun-{}-run", super::short(key))).and_then(|rest| rest.strip_suffix(".scope"));
    run.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Moves the supervisor, where it isn't there yet, and the job into their scopes.
pub(super) fn enter(wish: &Wish, job: &Job<'_>) -> Result<Place, String> {
    let path = socket(wish);
    let mut manager = Manager::connect(&path).map_err(|error| format!("cannot reach '{}': {error}", path.display()))?;
    let names = Names::of(job);
    let whole = |what: &str| format!("{what} of bgrun job {}", job.id);
    if scope_of(job.supervisor, &names.supervisor).is_none() {
        let slice = vec![("Description", Value::Text(whole("processes"))), ("StopWhenUnneeded", Value::Flag(true))];
        let properties = scope(job.supervisor, &names.slice, whole("supervisor"));
        start(&mut manager, &names.supervisor, properties, Some((&names.slice, slice)))?;
    }
    let slice = scope_of(job.supervisor, &names.supervisor).and_then(|group| group.parent());
    let before = slice.as_ref().map(Group::counters).unwrap_or_default();
    let asked = wish.limits.asked();
    let mut properties = scope(job.pid, &names.slice, whole(&format!("run {}", job.run)));
    properties.extend(asked.iter().map(|limit| (limit.property.0, Value::Number(limit.property.1))));
    start(&mut manager, &names.run, properties, None)?;
    let group = scope_of(job.pid, &names.run).ok_or("its scope was started, but the job isn't in it")?;
    let refused = asked.iter().find_map(|limit| enforced(limit, job.pid, &names.run).err());
    let place = Place {
        isolation: Isolation::Systemd,
        unit: Some(names.run),
        groups: vec![group],
        homes: slice.into_iter().collect(),
        before,
        manager: path,
        ..Place::default()
    };
    match refused {
        None => Ok(place),
        Some(refused) => {
            end(job.pid);
            collect(&place);
            Err(refused)
        }
    }
}

/// Ends a process that never became a command.
fn end(pid: i32) {
    if let Some(Ok(Some(handle))) = Identity::of(pid).map(Handle::open)
        && handle.signal(libc::SIGKILL).is_ok()
    {
        let _ = handle.ended_within(END_LIMIT);
    }
}

/// Ends the scope of a run that is over. The manager does it by itself where the kernel tells it that a group is empty: not
/// in version 1's groups inside a container.
pub(super) fn collect(place: &Place) {
    let told = place.groups.first().is_none_or(|group| group.is_unified() || group.populated());
    if let Some(unit) = place.unit.as_ref().filter(|_| !told)
        && let Ok(mut manager) = Manager::connect(&place.manager)
    {
        let _ = manager.stop(unit);
    }
}

struct Names {
    slice: String,
    supervisor: String,
    run: String,
}

impl Names {
    fn of(job: &Job<'_>) -> Self {
        let key = super::short(job.key);
        Self {
            slice: format!("bgrun-{key}.slice"),
            supervisor: format!("bgrun-{key}-supervisor.scope"),
            run: format!("bgrun-{key}-run{}.scope", job.run),
        }
    }
}

const NEWER: &str = "OOMPolicy";

fn scope(pid: i32, slice: &str, description: String) -> Properties {
    vec![
        ("Description", Value::Text(description)),
        ("Slice", Value::Text(slice.to_owned())),
        ("CollectMode", Value::Text("inactive-or-failed".into())),
        // A member that dies for memory must not take the others with it: that is the job's own affair.
        (NEWER, Value::Text("continue".into())),
        ("PIDs", Value::Pids(u32::try_from(pid).into_iter().collect())),
    ]
}

/// Starts a unit; where the manager is too old to know `OOMPolicy` of scopes it has no such policy either.
fn start(
    manager: &mut Manager,
    name: &str,
    mut properties: Properties,
    mut beside: Option<(&str, Properties)>,
) -> Result<(), String> {
    loop {
        let unit = Unit { name, properties: properties.clone(), beside: beside.clone() };
        match manager.start(&unit) {
            Err(Refused::Property(_)) if properties.iter().any(|(name, _)| *name == NEWER) => {
                properties.retain(|(name, _)| *name != NEWER);
            }
            Err(Refused::Exists(_)) if beside.is_some() => beside = None,
            started => return started.map_err(|refused| format!("cannot start '{name}': {}", refused.why())),
        }
    }
}

/// The group of this scope that the process is in.
fn scope_of(pid: i32, name: &str) -> Option<Group> {
    let trees = [Tree::Unified, Tree::Legacy("name=systemd")];
    trees.into_iter().filter_map(|tree| Group::of(pid, tree)).find(|group| group.name() == name)
}

/// A manager accepts every limit, whether the kernel has the controller for it or not.
fn enforced(limit: &Limit, pid: i32, scope: &str) -> Result<(), String> {
    let trees = [Tree::Unified, Tree::Legacy(limit.controller)];
    let groups = trees.into_iter().filter_map(|tree| Group::of(pid, tree)).filter(|group| group.name() == scope);
    let checked: Vec<_> = groups.map(|group| limit.check(&group.dir, group.is_unified())).collect();
    let nowhere = || format!("{} has no effect here: systemd has no {} controller", limit.option, limit.controller);
    if checked.iter().any(Result::is_ok) {
        return Ok(());
    }
    Err(checked.into_iter().find_map(Result::err).unwrap_or_else(nowhere))
}

/// What was counted for the run of this place. The slice's peak has the supervisor in it, and what the run may have can't have
/// been exceeded.
pub(super) fn counters(place: &Place) -> Counters {
    let scope = place.groups.first().map(Group::counters).unwrap_or_default();
    let mut slice = place.homes.first().map(|slice| slice.counters().since(place.before)).unwrap_or_default();
    slice.peak_bytes = slice.peak_bytes.map(|peak| place.memory_max.map_or(peak, |max| peak.min(max)));
    scope.or(slice)
}
