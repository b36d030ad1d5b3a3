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

mod handover;
mod signals;
mod start;
mod verdict;
mod watch;

pub use handover::Stage;

use std::process::ExitCode;

use crate::launch::{Answer, Spec, Talk};
use crate::state_dir::StateDir;

/// Starts the job and, in this same process, watches it to its end.
pub fn supervise(spec: &Spec, dir: &StateDir, mut talk: Talk) {
    match start::start(spec, dir, &mut talk) {
        Ok(opened) => {
            let Ok(dir) = dir.try_clone() else { return };
            let stage = Stage { dir, talk, opened };
            // The job holds them: with its last process they are free.
            for claim in &spec.claims {
                let _ = crate::sys::close_on_exec(*claim);
            }
            let _ = stage.hand_over();
            resume(stage);
        }
        Err(failure) => {
            // A launcher that is gone can't be told, and nothing is left that it would have to know of.
            let _ = talk.say(&Answer::from(&failure));
            // Closed by this process's end, which the launcher waits for.
            std::mem::forget(talk);
        }
    }
}

/// Goes on after the gate was opened.
#[must_use]
pub fn main(stage: Stage) -> ExitCode {
    resume(stage);
    ExitCode::SUCCESS
}

fn resume(stage: Stage) {
    let Stage { dir, mut talk, opened } = stage;
    let start::Opened { record, lock, report } = opened;
    match report.read(record.pid.unwrap_or(0)) {
        Ok(()) => {
            let _ = talk.say(&Answer::Started(Box::new(record.clone())));
            drop(talk);
            watch::watch(watch::Job::new(&dir, record, lock));
        }
        Err(refused) => {
            start::withdraw(&dir, &record, lock);
            let _ = talk.say(&Answer::from(&refused.failure(&record.cmd)));
            std::mem::forget(talk);
        }
    }
}
