//! Laws 1, 2 and 6: any process of a launch, and of a job's end, is killed at every system call that it makes.

use serde_json::Value;

use crate::support::tracer::{Shot, Told, shoot};
use crate::support::{Jobs, until};

/// In the order in which each one's first child is the next.
const LAUNCHER: usize = 0;
const JOB: usize = 3;

/// Launches `true` with this shot, and gives what is left to look at.
fn launch(shot: Shot) -> (Jobs, Told) {
    let jobs = Jobs::new();
    let told = shoot(jobs.bgrun(["-n", "a", "--", "true"]).command(), shot);
    until("the end of all that was started", || jobs.processes().is_empty());
    (jobs, told)
}

fn shots(generation: usize, everybody: bool) -> impl Iterator<Item = Shot> {
    (1..).map(move |nth| Shot { generation, nth, everybody })
}

/// The one record that is there, whole, and what `bgstatus` makes of it.
fn only_job(jobs: &Jobs, shot: Shot) -> Option<Value> {
    let records: Vec<String> = jobs.files().into_iter().filter(|file| file.ends_with(".json")).collect();
    let said = jobs.bgstatus(["-a", "--json"]).ok();
    assert_eq!(said.lines().count(), records.len(), "{shot:?}: {records:?} {said}");
    assert!(records.len() <= 1, "{shot:?}: {records:?}");
    said.lines().next().map(|line| serde_json::from_str(line).unwrap())
}

/// A launch that reported success is a job with a true verdict.
fn assert_all(jobs: &Jobs, shot: Shot, told: &Told) {
    let job = only_job(jobs, shot).unwrap_or_else(|| panic!("{shot:?}: no record after success"));
    assert_eq!(told.stdout, format!("{}\n", job["id"].as_str().unwrap()), "{shot:?}");
    let state = job["state"].as_str().unwrap();
    assert!(["succeeded", "failed", "lost"].contains(&state), "{shot:?}: {job}");
    // No verdict is invented: only who reaped the command knows how it ended.
    assert_eq!(job["exit"].is_null(), state == "lost", "{shot:?}: {job}");
    assert_eq!(state == "failed", job["exit"]["signal"] == 9, "{shot:?}: {job}");
}

fn sweep(generation: usize, mut check: impl FnMut(&Jobs, Shot, &Told)) {
    let mut count = 0;
    for shot in shots(generation, false) {
        let (jobs, told) = launch(shot);
        if !told.fired {
            assert!(told.status.success(), "{told:?}");
            break;
        }
        check(&jobs, shot, &told);
        count += 1;
    }
    assert!(count > 2, "generation {generation} makes {count} system calls: not the process that was meant");
}

#[test]
fn a_launcher_killed_at_any_call_leaves_all_or_nothing() {
    sweep(LAUNCHER, |jobs, shot, told| {
        if jobs.files().iter().any(|file| file.ends_with(".json")) {
            let job = only_job(jobs, shot).unwrap();
            assert_eq!(job["state"], "succeeded", "{shot:?}: {told:?} {job}");
        } else {
            jobs.assert_nothing(&format!("{shot:?} {told:?}"));
        }
    });
}

fn assert_nothing_after_failure(jobs: &Jobs, shot: Shot, told: &Told) {
    assert_eq!(told.status.code(), Some(125), "{shot:?}: {told:?}");
    assert!(told.stdout.is_empty() && told.stderr.lines().count() == 1, "{shot:?}: {told:?}");
    jobs.assert_nothing(&format!("{shot:?} {told:?}"));
}

#[test]
fn a_launcher_tidies_up_after_a_supervisor_killed_at_any_call() {
    for generation in LAUNCHER + 1..JOB {
        sweep(generation, |jobs, shot, told| {
            if told.status.success() {
                assert_all(jobs, shot, told);
            } else {
                assert_nothing_after_failure(jobs, shot, told);
            }
        });
    }
}

#[test]
fn only_a_command_that_was_executed_is_a_success() {
    sweep(JOB, |jobs, shot, told| {
        assert_eq!(told.status.success(), told.executed, "{shot:?}: {told:?}");
        if told.executed {
            assert_all(jobs, shot, told);
        } else {
            assert_nothing_after_failure(jobs, shot, told);
        }
    });
}

#[test]
fn everybody_killed_at_once_leaves_nothing_that_misleads() {
    for generation in LAUNCHER..=JOB {
        for shot in shots(generation, true) {
            let (jobs, told) = launch(shot);
            if !told.fired {
                break;
            }
            if let Some(job) = only_job(&jobs, shot) {
                assert!(["succeeded", "lost"].contains(&job["state"].as_str().unwrap()), "{shot:?}: {job}");
            }
            // What is left stands in nobody's way.
            let next = jobs.start(["-n", "a", "--unique", "--", "true"]);
            assert_eq!(jobs.ended(&next)["state"], "succeeded", "{shot:?}");
        }
    }
}
