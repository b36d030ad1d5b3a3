//! The supervisor: the smallest thing that can hold a job's lock, wait, reap, and write the verdict.
//!
//! It is single-threaded, leads no session, keeps no log open but the job's, and sleeps in one `poll(2)` while the job
//! just runs. It is the subreaper of everything its command starts, so that a process that leaves its parents is still
//! its own: it reaps it, counts it, and finds it when the job is cancelled.
//!
//! | while | SIGCHLD | SIGTERM or a cancel request | launcher gone |
//! | --- | --- | --- | --- |
//! | starting | – | withdraw | withdraw |
//! | running | reap; the command: write the verdict | stop all, write `cancelled` | – |
//! | stopping, survivors left | reap; nobody left: write `cancelled` | stop all again | – |
//! | writing the verdict | – | – | – |
//!
//! It writes nothing to a terminal, and the record is all it has to say.

mod signals;
mod start;
mod verdict;
mod watch;

use std::process::ExitCode;

use crate::launch::{Answer, Stage};
use crate::state_dir::StateDir;

/// Lives one job's life.
#[must_use]
pub fn main(stage: Stage) -> ExitCode {
    let Stage { spec, mut talk, dir } = stage;
    let dir = StateDir::from_open(dir, spec.dir.clone());
    match start::start(&spec, &dir, &mut talk) {
        Ok(job) => {
            let _ = talk.say(&Answer::Started(Box::new(job.record.clone())));
            drop(talk);
            drop(spec);
            watch::watch(job);
        }
        Err(failure) => {
            // A launcher that is gone can't be told, and nothing is left that it would have to know of.
            let _ = talk.say(&Answer::from(&failure));
        }
    }
    ExitCode::SUCCESS
}
