//! `bgrun --recover`: after a reboot, or a killed supervisor, says what it found and what it did.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::Context;
use serde_json::json;

use super::{Args, TOOL};
use crate::entry::{Out, complain};
use crate::exit::Exit;
use crate::launch::{Answer, start_supervisor};
use crate::process::Here;
use crate::record::{Record, State, line};
use crate::state_dir::{Lock, StateDir, age, observe};
use crate::supervisor::{Remedy, recover};
use crate::tools::jobs::list;

/// Longer than any command of --on-end may take.
const PATIENCE_MS: i32 = 65_000;

/// What was done for a job, for people and for programs.
struct Done {
    id: String,
    what: &'static str,
    why: String,
}

pub(super) fn run(args: &Args, out: &mut Out) -> anyhow::Result<Exit> {
    let Some(dir) = args.dir.open()? else { return Ok(Exit::Done) };
    let here = Here::look();
    let mut ids = list(&dir)?.locks;
    ids.sort_by(|a, b| age(a).cmp(&age(b)));
    let mut exit = Exit::Done;
    for id in ids {
        match one(args, &dir, &id, &here) {
            Ok(Some(done)) if !args.quiet => say(args, out, &done)?,
            Ok(_) => {}
            Err(error) => {
                complain(TOOL.name, &format!("{error:#}"));
                exit = Exit::Broken;
            }
        }
    }
    Ok(exit)
}

fn say(args: &Args, out: &mut Out, done: &Done) -> anyhow::Result<()> {
    let Done { id, what, why } = done;
    if args.json {
        return Ok(out.write_all(&line(&json!({"id": id, "did": what, "why": why})))?);
    }
    Ok(writeln!(out, "{id} {what}: {}", crate::text::shown(why))?)
}

/// Looks after one job; nothing is said of one that is well.
fn one(args: &Args, dir: &StateDir, id: &str, here: &Here) -> anyhow::Result<Option<Done>> {
    let cannot = || format!("cannot recover job '{id}'");
    let seen = observe(dir, id, here).map_err(|why| anyhow::anyhow!("{}: its record: {why}", cannot()))?;
    let done = |what, why: Option<&str>| Some(Done { id: id.to_owned(), what, why: why.unwrap_or("").to_owned() });
    let Some(seen) = seen else { return Ok(None) };
    if seen.record.state.is_terminal() {
        // Its supervisor was killed behind the verdict: only the lock is left.
        if !args.dry_run
            && let Some(lock) = Lock::take(dir, id).with_context(cannot)?
        {
            dir.forget_environment(id);
            lock.remove(dir).with_context(cannot)?;
        }
        return Ok(None);
    }
    let Some(remedy) = Remedy::of(&seen) else {
        return Ok(if seen.supervised { None } else { done("left alone", seen.note.as_deref()) });
    };
    if args.dry_run {
        return Ok(done(intent(remedy), seen.note.as_deref()));
    }
    let mut talk = start_supervisor(&seen.record.key, &[dir.file().as_raw_fd()], |talk| recover(&seen, remedy, dir, talk))
        .with_context(cannot)?;
    // A full disk, or a command that is to hear of the end and takes its time, keeps no other job waiting.
    anyhow::ensure!(crate::sys::readable(&[talk.as_fd()], PATIENCE_MS)?[0], "{}: it takes long, and goes on", cannot());
    match talk.hear().with_context(cannot)? {
        Some(Answer::Started(record)) => Ok(done(deed(&record), record.reason.as_deref().or(seen.note.as_deref()))),
        Some(Answer::Failed { code, message, hint }) => {
            let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            anyhow::ensure!(code == Exit::NotNow.code(), "{message}{hint}");
            Ok(None)
        }
        _ => anyhow::bail!("{}: its new supervisor was killed", cannot()),
    }
}

const fn intent(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::Adopt => "would be adopted",
        Remedy::StartAgain => "would be started again",
        Remedy::Close => "would be closed as lost",
    }
}

const fn deed(record: &Record) -> &'static str {
    match record.state {
        State::Running => "adopted",
        State::Waiting | State::Queued => "started again",
        _ => "closed as lost",
    }
}
