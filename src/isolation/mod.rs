//! A job's place apart from its caller's: where a kill, a limit or the end of the terminal's scope doesn't reach it, and where
//! the kernel counts what is its own.
//!
//! | isolation | what it is | when `auto` takes it |
//! | --- | --- | --- |
//! | `systemd` | a slice with two scopes, by the manager | it runs, and outlives the caller's session |
//! | `cgroup` | groups v2 beside the caller's | the tree has the memory controller, and is the caller's to change |
//! | `cgroup-v1` | groups of the controllers needed, beside the caller's | a limit is asked for that nothing else sets |
//! | `session` | a session of its own, and nothing more | else; any limit is refused |
//!
//! The supervisor leaves as well, into a group beside its job's: neither the end of the caller's nor that of the job's takes
//! it along. A limit is set before the process is moved, and read back: what is accepted and not enforced is refused.

mod beside;
mod group;
mod kernel_log;
mod limits;
mod manager;
mod scopes;
mod wire;

pub use group::Counters;
pub use kernel_log::{killed_for_memory, machine_oom_kills};
pub use limits::Limits;

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::gauges::cgroup::Tree;
use crate::process::Mark;
use crate::text::Text;
use group::Group;

/// So many characters of a job's key name its units and groups.
const SHORT: usize = 16;

/// What `--isolate` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// The best that is to be had
    #[default]
    Auto,
    /// Scopes of systemd
    Systemd,
    /// Control groups beside the caller's
    Cgroup,
    /// A session of its own and nothing more
    None,
}

/// What is wanted of a job's place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// By what means.
    pub how: How,
    /// What it may use at most.
    pub limits: Limits,
    /// `$XDG_RUNTIME_DIR`, where a user's manager listens.
    pub runtime_dir: Option<Text>,
}

/// Whose place it is to be.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// `BG_JOB_KEY`.
    pub key: &'a str,
    /// For people.
    pub id: &'a str,
    /// From 1.
    pub run: u32,
    /// The process that stays beside.
    pub supervisor: i32,
    /// The process that is moved, and forks only afterwards.
    pub pid: i32,
}

/// What keeps a job apart, as records say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Its session.
    #[default]
    Session,
    /// A scope.
    Systemd,
    /// A group of the unified tree.
    Cgroup,
    /// Groups of version 1's trees.
    CgroupV1,
}

impl Isolation {
    /// The word of records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Systemd => "systemd",
            Self::Cgroup => "cgroup",
            Self::CgroupV1 => "cgroup-v1",
        }
    }
}

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// By what means.
    pub isolation: Isolation,
    /// The run's scope.
    pub unit: Option<String>,
    /// The run's groups, the one first by which its members are known.
    groups: Vec<Group>,
    /// What holds the groups of all runs and the supervisor's.
    homes: Vec<Group>,
    /// Where the supervisor came from.
    origins: Vec<Group>,
    /// What the slice had counted before the run.
    before: Counters,
    /// Where the scope's manager listens.
    manager: PathBuf,
    /// A better one was tried, and may have moved the two before it failed.
    #[serde(default)]
    pub attempted: bool,
    /// What the run may have of memory.
    pub memory_max: Option<u64>,
}

/// The part of a job's key by which its units and groups are named.
fn short(key: &str) -> &str {
    key.get(..SHORT).unwrap_or(key)
}

/// Finds a place for a run and moves both processes there. The next run of the same job gets one of the same kind with
/// [`Place::again`].
///
/// # Errors
/// When a limit can't be enforced or the means that was named can't be had. The job's process may have been ended then, and
/// nothing else is left.
pub fn enter(wish: &Wish, job: &Job<'_>) -> Result<Place, Failure> {
    let place = match wish.how {
        How::None if wish.limits == Limits::default() => Ok(Place::default()),
        How::None => Err("it needs a control group, and --isolate none forbids one".into()),
        How::Systemd if !scopes::is_up() => Err("systemd doesn't run here".into()),
        How::Systemd => scopes::enter(wish, job),
        How::Cgroup => beside_the_callers(wish, job, false),
        How::Auto => the_best(wish, job),
    };
    let place = place.map_err(|why| refusal(wish, &why))?;
    Ok(Place { memory_max: wish.limits.memory_max, ..place })
}

/// Removes what a launch that was killed has left of groups, as far as nothing lives in them.
pub fn forget(wish: &Wish, key: &str) {
    if wish.how != How::None {
        beside::forget(key);
    }
}

fn refusal(wish: &Wish, why: &str) -> Failure {
    let options: Vec<&str> = wish.limits.asked().iter().map(|limit| limit.option).collect();
    if options.is_empty() {
        return Failure::new(Exit::Broken, format!("cannot isolate the job: {why}")).hint("--isolate auto takes what can be had");
    }
    Failure::new(Exit::Broken, format!("cannot limit the job ({}): {why}", options.join(", ")))
        .hint("a limit is enforced or refused; --oom-score-adj and --memsafe work everywhere")
}

fn the_best(wish: &Wish, job: &Job<'_>) -> Result<Place, String> {
    let limited = wish.limits != Limits::default();
    let mut why = Vec::new();
    if scopes::is_up() {
        match scopes::outlives_the_session().and_then(|()| scopes::enter(wish, job)) {
            Ok(place) => return Ok(place),
            Err(systemd) => why.push(systemd),
        }
    }
    let memory = || std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|list| list.contains("memory"));
    if limited || memory() {
        match beside_the_callers(wish, job, true) {
            Ok(place) => return Ok(place),
            Err(groups) => why.push(groups),
        }
    }
    if limited { Err(why.join("; ")) } else { Ok(Place { attempted: !why.is_empty(), ..Place::default() }) }
}

/// `memory`: without that controller the unified tree isn't worth it.
fn beside_the_callers(wish: &Wish, job: &Job<'_>, memory: bool) -> Result<Place, String> {
    let limited = wish.limits != Limits::default();
    beside::unified(&wish.limits, job, memory && !limited).or_else(|unified| {
        let legacy = if limited { beside::legacy(&wish.limits, job) } else { Err(String::new()) };
        legacy.map_err(|legacy| match legacy.as_str() {
            "" => unified,
            legacy => format!("{unified}; {legacy}"),
        })
    })
}

impl Place {
    /// A place of the same kind for the next run; that of this one is removed where it is empty.
    ///
    /// # Errors
    /// As [`enter`].
    pub fn again(&self, wish: &Wish, job: &Job<'_>) -> Result<Self, Failure> {
        self.leave_run();
        let how = match self.isolation {
            Isolation::Session if wish.limits == Limits::default() => return Ok(self.clone()),
            // Only a record can have lost what it was.
            Isolation::Session => wish.how,
            Isolation::Systemd => How::Systemd,
            Isolation::Cgroup | Isolation::CgroupV1 => How::Cgroup,
        };
        let place = enter(&Wish { how, ..wish.clone() }, job)?;
        Ok(Self { origins: self.origins.clone(), ..place })
    }

    /// The place that a record of the job with this key names; `None` where it names none that can be seen from here, or
    /// one that can't be this job's.
    #[must_use]
    pub fn recorded(isolation: &str, cgroup: Option<&str>, key: &str) -> Option<Self> {
        let path = cgroup?;
        let (isolation, trees): (_, &[Tree]) = match isolation {
            "systemd" if scopes::is_runs(path, key) => (Isolation::Systemd, &group::TREES[..2]),
            "cgroup" if beside::is_runs(path, key) => (Isolation::Cgroup, &group::TREES[..1]),
            "cgroup-v1" if beside::is_runs(path, key) => (Isolation::CgroupV1, &group::TREES[2..]),
            _ => return None,
        };
        let groups: Vec<Group> = trees.iter().filter_map(|tree| Group::at(*tree, path)).collect();
        // One that is gone in every tree was empty.
        let first = groups.iter().position(|group| group.dir.exists()).unwrap_or(0);
        let group = groups.into_iter().nth(first)?;
        let homes = group.parent().into_iter().collect();
        Some(Self { isolation, groups: vec![group], homes, ..Self::default() })
    }

    /// The run's control group, as `/proc/PID/cgroup` has it.
    #[must_use]
    pub fn cgroup(&self) -> Option<&str> {
        self.groups.first().map(|group| group.path.as_str())
    }

    /// The directory of the group by which the run's members are known.
    #[must_use]
    pub fn dir(&self) -> Option<&Path> {
        self.groups.first().map(|group| group.dir.as_path())
    }

    /// What the kernel has counted for this run.
    #[must_use]
    pub fn counters(&self) -> Counters {
        match self.isolation {
            Isolation::Systemd => scopes::counters(self),
            _ => self.groups.iter().map(Group::counters).fold(Counters::default(), Counters::or),
        }
    }

    /// The processes of the run, those of jobs that were started in it included.
    #[must_use]
    pub fn members(&self) -> Vec<i32> {
        self.groups.first().map(Group::members).unwrap_or_default()
    }

    /// Whether anything lives in the run's group.
    #[must_use]
    pub fn populated(&self) -> bool {
        self.groups.first().is_some_and(Group::populated)
    }

    /// Kills the whole group at once, where the kernel can (Linux 5.14, version 2) and nobody in it is another job's;
    /// says whether it did.
    ///
    /// # Errors
    /// As `write(2)`.
    pub fn kill(&self, key: &str) -> io::Result<bool> {
        let Some(dir) = self.dir().map(|dir| dir.join("cgroup.kill")).filter(|file| file.exists()) else { return Ok(false) };
        let foreign = |pid: &i32| match Mark::of(*pid) {
            Mark::Supervisor(_) => true,
            Mark::Job(other) => other != key.as_bytes(),
            Mark::None | Mark::Unreadable => false,
        };
        if self.members().iter().any(foreign) {
            return Ok(false);
        }
        std::fs::write(dir, "1").map(|()| true)
    }

    /// Removes what is empty of it. The supervisor, which calls this last of all, goes back to where it came from, for a
    /// group that it is in can't be removed.
    pub fn remove(&self) {
        self.leave_run();
        for origin in self.origins.iter().filter(|_| self.is_beside()) {
            let _ = origin.take_in(crate::sys::pid());
        }
        self.remove_groups();
    }

    fn leave_run(&self) {
        match self.isolation {
            Isolation::Session => {}
            Isolation::Systemd => scopes::collect(self),
            Isolation::Cgroup | Isolation::CgroupV1 => self.groups.iter().for_each(|group| group::remove_empty(&group.dir)),
        }
    }

    fn is_beside(&self) -> bool {
        matches!(self.isolation, Isolation::Cgroup | Isolation::CgroupV1)
    }

    fn remove_groups(&self) {
        self.homes.iter().filter(|_| self.is_beside()).for_each(|home| group::remove_empty(&home.dir));
    }
}
