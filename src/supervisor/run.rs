//! A further run of a job that is accepted already, or its first after a wait.

use std::path::Path;

use super::Job;
use super::handover::hand_over;
use super::start::{begin, broken, runs};
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::isolation::{self, machine_oom_kills};
use crate::launch::{Gated, Means, Raised, job_environment, reopen};
use crate::process::ignored_signals;
use crate::sys::{Berth, Memory};
use crate::text::shown;

/// Starts it and executes the supervisor anew: what comes back is a run that couldn't be started, or, where that exec
/// failed, one that was.
pub(super) fn start(job: &mut Job<'_>) -> Result<(), Failure> {
    let record = &mut job.kept.record;
    let started = clock::rfc3339(&clock::now());
    begin(record, started.clone());
    let n = record.run;
    let cycle = &mut job.kept.cycle;
    cycle.began = clock::monotonic();
    cycle.first.get_or_insert(cycle.began);
    let Some(spec) = job.kept.spec.clone() else {
        return Err(Failure::new(Exit::Broken, "cannot start it again: what it needs is not here any more"));
    };
    if let Some(cwd) = &record.cwd {
        // The directory may have been made anew; where its name is gone, the one that was is still the current one.
        let _ = std::env::set_current_dir(cwd.as_os_str());
    }
    let log_path: &Path = record.log.as_os_str().as_ref();
    let line = format!("-- bgrun: run {n} of {} at {started} --", record.id);
    let log = match n {
        1 => reopen(log_path, None),
        _ => reopen(log_path, Some(&line)),
    };
    let log = log.map_err(|error| broken(format!("cannot open the log '{}'", shown(log_path)), error))?;
    let raised = Raised::to(spec.oom_score_adj)?;
    let environment = job_environment(std::env::vars_os().collect(), &spec, &record.id, n, log_path);
    let start = || {
        let berth = Berth::new()?;
        // The kernel kills sharers of a memory together, and nobody would tidy up after this supervisor.
        let means = Means { berth, raised, ignored: ignored_signals(), memory: Memory::Copied };
        Gated::new(&spec, &log, environment, means)
    };
    let gated = start().map_err(|error| broken("cannot start the job's process", error))?;
    let identity = gated.identity;
    let process = isolation::Job { key: &spec.key, id: &record.id, run: n, supervisor: crate::sys::pid(), pid: identity.pid };
    match job.kept.place.again(&spec.isolation, &process) {
        Ok(place) => job.kept.place = place,
        Err(failure) => return Err(gated.abandon().map_or(failure, |refused| refused.failure(&spec.cmd))),
    }
    runs(record, identity, &job.kept.place, crate::process::cgroup(identity.pid));
    if let Err(error) = job.file.replace(&job.kept.record) {
        let _ = gated.abandon();
        return Err(broken("cannot write the record", error));
    }
    if job.dir.cancel_request(&job.kept.record.id).is_some() {
        let _ = gated.abandon();
        return Err(Failure::new(Exit::Broken, "it was cancelled before it began"));
    }
    let behind = gated.open().map_err(|error| broken("cannot open the gate", error))?;
    job.kept.oom_kills = machine_oom_kills();
    behind.outcome().map_err(|refused| refused.failure(&job.kept.record.cmd))?;
    if !spec.policy.repeats() {
        job.kept.spec = None;
        spec.claims.iter().for_each(|claim| drop(crate::sys::close_on_exec(*claim)));
    }
    job.kept.begun = true;
    let _ = hand_over(job);
    Ok(())
}
