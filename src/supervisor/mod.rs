//! The supervisor: the smallest thing that can hold a job's lock, wait, reap, and write the verdict.
//!
//! It is single-threaded, leads no session, keeps no log open but the job's, and sleeps in one `poll(2)` while the job
//! just runs. It is the subreaper of everything its command starts, so that a process that leaves its parents is still
//! its own: it reaps it, counts it, and finds it when the job is cancelled.
//!
//! ```text
//! start ──▶ waiting ──▶ run ──▶ watch ──▶ verdict ──▶ (waiting …, or the end)
//! ```
//!
//! What it does at which event stands in one table, [`crate::policy`]. It writes nothing to a terminal, and the record is
//! all it has to say.

mod handover;
mod hooks;
mod recover;
mod run;
mod signals;
mod start;
mod verdict;
mod waiting;
mod watch;
mod watchdog;

pub use handover::Stage;
pub use recover::{Remedy, recover};

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use self::handover::{Kept, hand_over};
use self::signals::{Sender, Signals};
use self::start::Ready;
use self::verdict::Run;
use self::waiting::Waited;
use crate::clock;
use crate::exit::Exit;
use crate::launch::{Answer, Spec, Talk};
use crate::policy::{self, Next};
use crate::record::State;
use crate::state_dir::{RecordFile, StateDir};
use crate::sys;

const LISTEN_RETRY_MS: i32 = 100;
/// How long a supervisor leaves the processors to those that its launch has set going, unless it is needed before.
const SETTLE_MS: i32 = 10;
/// A longer pause is spent in clean memory.
const LONG_PAUSE: Duration = Duration::from_millis(500);

/// Makes itself ready, waits for its launcher's order, starts the job and, in this same process, watches it to its end.
pub fn stand_by(mut talk: Talk) {
    let ready = start::ready();
    match talk.wait_for_order() {
        Ok(Some((spec, dir))) => supervise(&spec, &dir, talk, ready),
        order => {
            if let Err(error) = order {
                let _ = talk.say(&Answer::from(&start::broken("cannot understand the order", error)));
            }
            // Nobody will ever need it. Closed by its end, which the launcher waits for.
            std::mem::forget(talk);
        }
    }
}

fn supervise(spec: &Spec, dir: &StateDir, mut talk: Talk, ready: io::Result<Ready>) {
    match start::start(spec, dir, &mut talk, ready) {
        Ok(job) => {
            if job.kept.spec.is_none() {
                // The job holds them: with its last process they are free.
                for claim in &spec.claims {
                    let _ = sys::close_on_exec(*claim);
                }
            }
            started(&job, talk);
            if job.kept.begun {
                // The caller and the command have the processors first.
                let _ = sys::readable(&[job.signals.as_fd()], SETTLE_MS);
            }
            let _ = hand_over(&job);
            live(job);
        }
        Err(failure) => {
            // A launcher that is gone can't be told, and nothing is left that it would have to know of.
            let _ = talk.say(&Answer::from(&failure));
            // Closed by this process's end, which the launcher waits for.
            std::mem::forget(talk);
        }
    }
}

/// Lets the launcher go: its job has a supervisor, and the room for its verdict is set aside.
fn started(job: &Job<'_>, mut talk: Talk) {
    let _ = talk.say(&Answer::Started(Box::new(job.kept.record.clone())));
}

/// Goes on after its exec.
#[must_use]
pub fn main(stage: Stage) -> Exit {
    let Stage { dir, kept, spare } = stage;
    live(Job::resumed(&dir, kept, spare));
    Exit::Done
}

/// A job and what its supervisor needs to look after it.
struct Job<'a> {
    dir: &'a StateDir,
    kept: Kept,
    file: RecordFile<'a>,
    signals: Signals,
    /// Who sent a SIGTERM while something else was being done: whoever decides next what follows hears of it.
    heard: Option<Sender>,
}

impl<'a> Job<'a> {
    fn new(dir: &'a StateDir, kept: Kept) -> Self {
        Self::with_file(dir, RecordFile::with_room(dir, &kept.record), kept)
    }

    /// The same after an exec, which the file with the room has survived.
    fn resumed(dir: &'a StateDir, kept: Kept, spare: Option<File>) -> Self {
        match spare {
            Some(spare) => Self::with_file(dir, RecordFile::resumed(dir, &kept.record.id, spare), kept),
            None => Self::new(dir, kept),
        }
    }

    fn with_file(dir: &'a StateDir, file: RecordFile<'a>, kept: Kept) -> Self {
        let file = if kept.recovered { file.of_another() } else { file };
        Self { dir, kept, file, signals: listen(), heard: None }
    }
}

/// The job has no other supervisor: a kernel short of memory for this is asked until it has some.
fn listen() -> Signals {
    loop {
        if let Ok(signals) = Signals::new() {
            return signals;
        }
        let _ = sys::readable(&[], LISTEN_RETRY_MS);
    }
}

/// The rest of a job's life.
fn live(mut job: Job<'_>) {
    // A command that runs and that nobody here has started is another supervisor's.
    let mut adopted = !job.kept.begun && job.kept.record.state == State::Running;
    let mut due = job.kept.due.take();
    loop {
        let started = if adopted || job.kept.begun {
            Ok(())
        } else {
            match waiting::wait(&mut job, due) {
                // Nobody could see or stop what would run.
                Waited::Due if job.dir.is_gone() => return,
                Waited::Due => run::start(&mut job),
                Waited::Cancelled(request) if verdict::leaves(&job, Some(&request)) => return verdict::leave(job, None),
                Waited::Cancelled(request) => return verdict::conclude(job, Run::cancelled(request), None),
                Waited::Unmet(why) => return verdict::skip(job, why),
            }
        };
        job.kept.begun = false;
        let run = match started {
            Ok(()) if std::mem::take(&mut adopted) => watch::watch_adopted(&mut job),
            Ok(()) => watch::watch(&mut job),
            Err(failure) => Run::refused(&job, &failure),
        };
        match verdict::judge(&mut job, &run) {
            Next::Over(..) if verdict::leaves(&job, run.request()) => return verdict::leave(job, Some(run)),
            Next::Over(_, why) => return verdict::conclude(job, run, why),
            Next::Again { at, why, failed, restart } => {
                if watch::empty(&mut job) > 0 {
                    // Two runs side by side is what nobody asked for.
                    return verdict::conclude(job, run, Some("no further run: what it left behind can't be stopped".into()));
                }
                verdict::pause(&mut job, run, at, &why, failed && !restart);
                let missed = !restart && at < clock::monotonic();
                let at =
                    if missed { policy::tick_after(&job.kept.record.policy, &job.kept.cycle, clock::monotonic()) } else { at };
                due = Some(at);
                if job.heard.is_none() && at.saturating_sub(clock::monotonic()) > LONG_PAUSE {
                    job.kept.due = due;
                    let _ = hand_over(&job);
                }
            }
        }
    }
}
