//! Between two runs, and before the first: for a moment, for other jobs, for a place in a queue, in one poll(2).

use std::os::fd::AsFd;
use std::time::Duration;

use super::Job;
use super::verdict::asked;
use crate::clock;
use crate::policy::{Action, Event, Phase, span, step};
use crate::process::{Handle, Here};
use crate::queue::{BLIND, Queue, Turn, Watch};
use crate::record::{CancelRequest, State};
use crate::state_dir::observe;
use crate::sys;

/// How the waiting ended.
pub(super) enum Waited {
    /// The run may start.
    Due,
    /// Somebody wants the job's end.
    Cancelled(CancelRequest),
    /// What it waits for can't come any more.
    Unmet(String),
}

/// What stands between a job and its next run.
enum Blocker {
    /// A moment of the monotonic clock.
    Until(Duration),
    /// Another job's life.
    Job(String, Handle),
    /// The lives of those that stand before it in its queue, what else happens there, and the moment of a further look.
    Turn(Vec<Handle>, Option<Duration>),
}

/// Until a further look at a queue whose slots are being given out, and at one that can't be used.
const SOON: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_secs(5);

/// Waits until `due`, or, before the first run, until everything is so that the policy asks for.
pub(super) fn wait(job: &mut Job<'_>, due: Option<Duration>) -> Waited {
    let phase = if due.is_some() { Phase::Waiting } else { Phase::Queued };
    let accepted = clock::monotonic();
    let here = Here::look();
    let (mut watch, mut fresh) = (None, true);
    loop {
        if let Some(request) = cancelled(job)
            && matches!(step(phase, Event::Cancel), Action::Conclude(_))
        {
            return Waited::Cancelled(request);
        }
        let blocker = match due {
            Some(at) if at > clock::monotonic() => Ok(Some(Blocker::Until(at))),
            // It has its slot, unless it is started again after its supervisor was killed.
            Some(_) => queue(job, &here, &mut watch),
            None => first_blocker(job, accepted, &here, &mut watch),
        };
        match blocker {
            Ok(None) => return Waited::Due,
            Ok(Some(blocker)) => {
                sleep(job, &blocker, watch.as_ref(), std::mem::take(&mut fresh));
            }
            Err(why) => return Waited::Unmet(why),
        }
    }
}

/// A request that lies there, or a SIGTERM without one.
fn cancelled(job: &mut Job<'_>) -> Option<CancelRequest> {
    let sender = job.signals.drain().or(job.heard.take());
    // Whatever was left over from a run before is no longer of interest.
    while sys::reap(-1).is_ok_and(|reaped| reaped.is_some()) {}
    match sender {
        Some(sender) => Some(asked(job, sender)),
        None => job.dir.cancel_request(&job.kept.record.id),
    }
}

fn sleep(job: &mut Job<'_>, blocker: &Blocker, watch: Option<&Watch>, mut fresh: bool) {
    let mut fds = Vec::new();
    let until = match blocker {
        Blocker::Until(at) => Some(*at),
        Blocker::Job(id, handle) => {
            note(job, format!("waits for job {id}"));
            fds.push(handle.as_fd());
            None
        }
        Blocker::Turn(lives, until) => {
            fds.extend(lives.iter().map(AsFd::as_fd));
            *until
        }
    };
    fds.push(job.signals.as_fd());
    let events = fds.len();
    fds.extend(watch.and_then(Watch::fd));
    loop {
        let left = until.map(|until| until.saturating_sub(clock::monotonic()));
        let wait = if std::mem::take(&mut fresh) { sys::readable_at_rest } else { sys::readable };
        let ready = wait(&fds, left.map_or(-1, sys::poll_ms)).unwrap_or_default();
        // That somebody came to the queue, or got what was free, brings nobody else's turn nearer.
        let only_noise = !ready.iter().take(events).any(|ready| *ready) && ready.get(events) == Some(&true);
        if !(only_noise && watch.is_some_and(|watch| !watch.changed())) {
            return;
        }
    }
}

/// Says in the record what the job waits for; that it can't be said keeps nothing from happening.
fn note(job: &mut Job<'_>, why: String) {
    if job.kept.record.reason.as_ref() != Some(&why) {
        job.kept.record.reason = Some(why);
        let _ = job.file.replace(&job.kept.record);
    }
}

/// The first of the things that a first run still waits for; none when it may start.
fn first_blocker(
    job: &mut Job<'_>,
    accepted: Duration,
    here: &Here,
    watch: &mut Option<Watch>,
) -> Result<Option<Blocker>, String> {
    let policy = &job.kept.record.policy;
    let jobs = policy.after.iter().map(|id| (id, true)).chain(policy.after_any.iter().map(|id| (id, false)));
    for (id, must_succeed) in jobs {
        if let Some(blocker) = other_job(job, id, must_succeed, here)? {
            return Ok(Some(blocker));
        }
    }
    let until = accepted + span(policy.delay_s.unwrap_or_default());
    if until > clock::monotonic() {
        note(job, format!("starts at {}", clock::at(until)));
        return Ok(Some(Blocker::Until(until)));
    }
    queue(job, here, watch)
}

/// Its place in its queue; none when it has its slot, or needs none.
fn queue(job: &mut Job<'_>, here: &Here, watch: &mut Option<Watch>) -> Result<Option<Blocker>, String> {
    let Some(place) = job.kept.record.policy.place.clone() else { return Ok(None) };
    let watch = watch.get_or_insert_default();
    let turn = Queue::open_or_make(job.dir, &place.queue).and_then(|queue| {
        watch.begin(&queue);
        Ok((queue.turn(&job.kept.record.id, place.priority, here)?, queue.reason()))
    });
    let (why, lives, within) = match turn {
        Ok((Some(Turn::Granted), _)) => return Ok(None),
        Ok((Some(Turn::Wait { lives, within }), why)) => (why, lives, within),
        Ok((None, why)) => (why, Vec::new(), Some(SOON)),
        Err(_) if job.dir.is_gone() => return Err("its jobs directory was removed while it waited".into()),
        Err(error) => (format!("cannot stand in queue {}: {error}", place.queue), Vec::new(), Some(LATER)),
    };
    note(job, why);
    let within = within.into_iter().chain(watch.fd().is_none().then_some(BLIND)).min();
    Ok(Some(Blocker::Turn(lives, within.map(|span| clock::monotonic() + span))))
}

/// Whether another job has ended as it must; its life, where it hasn't ended.
fn other_job(job: &Job<'_>, id: &str, must_succeed: bool, here: &Here) -> Result<Option<Blocker>, String> {
    let other = match observe(job.dir, id, here) {
        Ok(Some(other)) => other,
        Ok(None) => return Err(format!("job {id}, which it waited for, has no record any more")),
        Err(why) => return Err(format!("job {id}, which it waited for, can't be looked at: {why}")),
    };
    if other.state.is_terminal() {
        let met = !must_succeed || other.state == State::Succeeded;
        return if met { Ok(None) } else { Err(format!("job {id}, which it waited for, ended {}", other.state)) };
    }
    let Some(whose) = other.lives_with() else {
        return Err(format!("job {id}, which it waited for, is of another place: its end can't be seen here"));
    };
    match Handle::open(whose) {
        Ok(Some(handle)) => Ok(Some(Blocker::Job(id.to_owned(), handle))),
        // It has ended since the look, or somebody else closes the job: its record tells in a moment.
        Ok(None) => Ok(Some(Blocker::Until(clock::monotonic() + SOON))),
        Err(error) => Err(format!("job {id}, which it waited for, can't be watched: {error}")),
    }
}
