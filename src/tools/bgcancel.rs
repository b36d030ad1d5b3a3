//! `bgcancel [options] JOB…`: stop a job and everything it started.

use std::io::Write;
use std::time::Duration;

use clap::Parser;
use serde_json::json;

use super::jobs::{by_id, live, no_such, unreadable};
use super::place::DirArgs;
use crate::cancel::{Outcome, cancel};
use crate::clock;
use crate::entry::{Out, Tool, complain};
use crate::exit::{Exit, Failure};
use crate::process::Here;
use crate::record::{CancelRequest, State, line};
use crate::signal;
use crate::state_dir::{Observed, StateDir};
use crate::text::shown;

/// The tool as [`crate::entry::main`] runs it.
pub const TOOL: Tool<Args> = Tool { name: "bgcancel", usage: Exit::Usage, run };

/// Stop a job and everything it started
#[derive(Debug, Parser)]
#[command(name = "bgcancel", version, max_term_width = 100)]
pub struct Args {
    /// An id, or a name meaning its newest live job
    #[arg(value_name = "JOB", required_unless_present = "all")]
    jobs: Vec<String>,
    /// Every live job of these names, or all live jobs
    #[arg(short, long)]
    all: bool,
    /// The polite signal
    #[arg(short, long, value_name = "SIG", default_value = "TERM", value_parser = signal::parse)]
    signal: i32,
    /// From the polite signal to SIGKILL (default: the job's own)
    #[arg(short, long, value_name = "DUR", value_parser = clock::duration)]
    grace: Option<Duration>,
    /// Why, for the job's record
    #[arg(short, long, value_name = "TEXT")]
    reason: Option<String>,
    /// Say what would be stopped and do nothing
    #[arg(long)]
    dry_run: bool,
    /// One JSON object a job
    #[arg(long)]
    json: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    dir: DirArgs,
}

fn run(args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    let here = Here::look();
    let Some(dir) = args.dir.open()? else { return Err(nothing_live(args.jobs.first().map(String::as_str)).into()) };
    let mut jobs = chosen(&args, &dir, &here)?;
    // One that waits for another's end or slot would be started by its cancel.
    jobs.sort_by_key(|job| job.state == State::Running);
    let mut worst = Exit::Done;
    for job in &jobs {
        if args.dry_run {
            print(&args, out, job, "would-cancel", &[])?;
            continue;
        }
        // One that can't be stopped keeps none of the others alive.
        let exit = match cancel(&dir, job, &request(&args, job), &here) {
            Ok(outcome) => told(&args, out, job, &outcome)?,
            Err(error) => crate::entry::report(TOOL.name, &error),
        };
        if worst == Exit::Done || exit == Exit::Broken {
            worst = exit;
        }
    }
    Ok(worst)
}

fn nothing_live(word: Option<&str>) -> Failure {
    let of = word.map(|word| format!(" named '{}'", shown(word))).unwrap_or_default();
    Failure::new(Exit::No, format!("no live job{of}"))
}

/// The jobs that the command line names: all of them are found before the first is touched.
fn chosen(args: &Args, dir: &StateDir, here: &Here) -> anyhow::Result<Vec<Observed>> {
    if args.jobs.is_empty() {
        let (mut jobs, bad) = live(dir, None, here)?;
        // Who came last may wait for any of the others.
        jobs.reverse();
        for (id, why) in &bad {
            complain(TOOL.name, &unreadable(id, why).message);
        }
        return if jobs.is_empty() { Err(nothing_live(None).into()) } else { Ok(jobs) };
    }
    let mut chosen: Vec<Observed> = Vec::new();
    for word in &args.jobs {
        let found = match by_id(dir, word, here)? {
            Some(job) => ended(job)?,
            None => of_name(args, dir, word, here)?,
        };
        for job in found {
            if chosen.iter().all(|other| other.record.id != job.record.id) {
                chosen.push(job);
            }
        }
    }
    Ok(chosen)
}

/// A lost job may be closed by its id; one that has its verdict is over.
fn ended(job: Observed) -> anyhow::Result<Vec<Observed>> {
    if job.record.state.is_terminal() {
        return Err(Failure::new(Exit::No, format!("job '{}' has ended: {}", job.record.id, job.state)).into());
    }
    Ok(vec![job])
}

fn of_name(args: &Args, dir: &StateDir, word: &str, here: &Here) -> anyhow::Result<Vec<Observed>> {
    let (mut jobs, bad) = live(dir, Some(word), here)?;
    if let Some((id, why)) = bad.first() {
        return Err(unreadable(id, why).into());
    }
    if jobs.is_empty() {
        let known = crate::record::parse_id(word).is_some();
        return Err(if known { no_such(word) } else { nothing_live(Some(word)) }.into());
    }
    jobs.reverse();
    jobs.truncate(if args.all { usize::MAX } else { 1 });
    Ok(jobs)
}

fn request(args: &Args, job: &Observed) -> CancelRequest {
    CancelRequest {
        signal: args.signal,
        grace_s: args.grace.map_or(job.record.policy.grace_s, |grace| grace.as_secs_f64()),
        by: format!("{} (bgcancel, pid {})", crate::user::name(nix::unistd::getuid().as_raw()), crate::sys::pid()),
        reason: args.reason.clone(),
        at: clock::rfc3339(&clock::now()),
    }
}

/// Prints how it went, and gives the code for it.
fn told(args: &Args, out: &mut Out, job: &Observed, outcome: &Outcome) -> anyhow::Result<Exit> {
    let id = &job.record.id;
    match outcome {
        Outcome::Gone(state) => {
            print(args, out, job, state.word(), &[])?;
            Ok(Exit::Done)
        }
        Outcome::Survived(who) => {
            complain(TOOL.name, &format!("cannot stop all of job '{id}': {}", who.join("; ")));
            if args.json {
                print(args, out, job, "survived", who)?;
            }
            Ok(Exit::Broken)
        }
        Outcome::Unproved(who) => {
            complain(TOOL.name, &format!("cannot prove that all of job '{id}' is gone: perhaps its own: {}", who.join(", ")));
            complain(
                TOOL.name,
                "its supervisor was dead, and a process that cleaned its environment can't be told from a stranger",
            );
            if args.json {
                print(args, out, job, "unproved", who)?;
            }
            Ok(Exit::Broken)
        }
    }
}

fn print(args: &Args, out: &mut Out, job: &Observed, result: &str, left: &[String]) -> anyhow::Result<()> {
    if args.json {
        let record = &job.record;
        out.write_all(&line(&json!({"id": record.id, "name": record.name, "result": result, "left": left})))?;
    } else if !args.quiet {
        writeln!(out, "{} {result}", job.record.id)?;
    }
    Ok(out.flush()?)
}
