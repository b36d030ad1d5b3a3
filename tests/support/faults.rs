//! Faults at a system call: strace lets the n-th call of a kind fail, or kills the process as it makes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// One place in a program's life.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub call: String,
    /// Which call of that name, from 1, counted by process.
    pub nth: usize,
}

/// `command` run under strace with these options.
pub fn strace(options: &[&str], command: &Command) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq"]).args(options).arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        traced.current_dir(dir);
    }
    traced.stdin(Stdio::null());
    traced
}

/// Every place that `command` passes in a run without faults, with all its children: the most calls of a name that one
/// process makes. `filter` is strace's `trace=` expression.
pub fn places(command: &Command, filter: &str, scratch: &Path) -> Vec<Place> {
    let log = scratch.join("places.strace");
    let trace = format!("trace={filter}");
    let mut traced = strace(&["-o", log.to_str().unwrap(), "-e", &trace], command);
    traced.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in fs::read_to_string(&log).unwrap().lines() {
        let mut words = line.split_whitespace();
        let (Some(pid), Some(rest)) = (words.next(), words.next()) else { continue };
        let Some((call, _)) = rest.split_once('(') else { continue };
        if call.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            *counts.entry((pid.to_owned(), call.to_owned())).or_default() += 1;
        }
    }
    let mut most: BTreeMap<String, usize> = BTreeMap::new();
    for ((_, call), count) in counts {
        let entry = most.entry(call).or_default();
        *entry = (*entry).max(count);
    }
    most.into_iter().flat_map(|(call, count)| (1..=count).map(move |nth| Place { call: call.clone(), nth })).collect()
}

/// `command` with `what` (`signal=KILL`, `error=ENOSPC`) done to it at `place`.
pub fn at(place: &Place, what: &str, command: &Command) -> Command {
    let inject = format!("inject={}:{what}:when={}", place.call, place.nth);
    // Only that call stops a process: the others cost nothing.
    strace(&["-o", "/dev/null", "--seccomp-bpf", "-e", &format!("trace={}", place.call), "-e", &inject], command)
}
