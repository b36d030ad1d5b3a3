//! Law 1 and races 6 to 9: what a launch makes, what it refuses, and what it keeps from the job.

use std::fs;

use crate::support::jobs::status_of;
use crate::support::{Jobs, until_some};

/// The descriptors of a process and what they are.
fn descriptors(pid: i32) -> Vec<(i32, String)> {
    let mut found: Vec<(i32, String)> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.display().to_string()))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_process_at_the_gate_holds_no_lock() {
    let jobs = Jobs::new();
    // bgrun is slow with each word it says, its children are not.
    let words = ["-o", "/dev/null", "-e", "trace=write", "-e", "inject=write:delay_enter=1000000", "--"];
    let bgrun = jobs.bgrun(["-n", "a", "--", "sleep", "100"]).command();
    let slow = crate::support::Run::new("strace").args(words).arg(bgrun.get_program()).args(bgrun.get_args());
    let mut slow = jobs.owned(slow).env("BGTOOLS_DIR", jobs.dir()).command();
    let mut launcher = slow.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let gated = until_some("a record before the command runs", || {
        let name = jobs.files().into_iter().find(|file| file.starts_with("a_") && file.ends_with(".json"))?;
        let pid = jobs.pid(name.trim_end_matches(".json"));
        assert_ne!(status_of(pid, "Name").unwrap(), "sleep", "the command runs before the launcher said go");
        Some(pid)
    });
    let held = until_some("the gate", || {
        let found = descriptors(gated);
        found.iter().any(|(fd, what)| *fd == 0 && what == "/dev/null").then_some(found)
    });
    assert!(!held.iter().any(|(_, what)| what.ends_with(".lock") || what.contains("socket:")), "{held:?}");
    assert!(launcher.wait().unwrap().success());
}
