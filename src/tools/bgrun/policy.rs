//! What the supervisor is to do, as options.

use std::cell::LazyCell;
use std::ffi::OsString;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use crate::clock;
use crate::exit::{Exit, Failure};
use crate::process::Here;
use crate::queue::Queue;
use crate::record::{Breaker, Place, Policy, Restart, State, Unreadable, Warn, Watchdog, check_name};
use crate::state_dir::{self, Listing, Observed, StateDir, observe};
use crate::text::{Text, shown};
use crate::tools::jobs::{by_id, list, unreadable};

/// The policy.
#[derive(Debug, Parser)]
#[command(next_help_heading = "Policy")]
pub(super) struct PolicyArgs {
    /// From the polite signal of a cancel or a time limit to SIGKILL
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = clock::duration)]
    grace: Duration,
    /// Stop a run that takes longer; the job is timed-out
    #[arg(long, value_name = "DUR", value_parser = some_time)]
    timeout: Option<Duration>,
    /// Send the command a signal so long before its time limit, like USR1@60s
    #[arg(long, value_name = "SIG@DUR", requires = "timeout", value_parser = warning)]
    warn_signal: Option<Warn>,
    /// When to start the command again
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Restart::Never, hide_default_value = true)]
    restart: Restart,
    /// Restarts after failures in a row (default: 5)
    #[arg(long, value_name = "N", requires = "restart")]
    max_restarts: Option<u32>,
    /// The first pause before a restart, doubled each time, and the longest (default: 1s..5m)
    #[arg(long, value_name = "MIN..MAX", requires = "restart", value_parser = backoff)]
    backoff: Option<(f64, f64)>,
    /// Start nothing again after so many failures within so long, like 5/10m
    #[arg(long, value_name = "N/DUR", value_parser = breaker)]
    max_failures: Option<Breaker>,
    /// Run it again and again, so long from one start to the next; never two at once
    #[arg(long, value_name = "DUR", value_parser = some_time)]
    every: Option<Duration>,
    /// Runs in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_runs: Option<u32>,
    /// Stop a run that is silent and idle for so long
    #[arg(long, value_name = "DUR", value_parser = some_time)]
    watchdog: Option<Duration>,
    /// A run that is silent is stuck even while it uses the processor
    #[arg(long, requires = "watchdog")]
    watchdog_any_cpu: bool,
    /// Start when this job has succeeded; skipped when it fails; repeatable
    #[arg(long, value_name = "JOB")]
    after: Vec<String>,
    /// Start when this job has ended, however; repeatable
    #[arg(long, value_name = "JOB")]
    after_any: Vec<String>,
    /// Start so long from now
    #[arg(long, value_name = "DUR", value_parser = clock::duration)]
    delay: Option<Duration>,
    /// Wait for a slot of this queue: first come, first served
    #[arg(long, value_name = "NAME", value_parser = queue_name)]
    queue: Option<String>,
    /// How many jobs of the queue run at a time, from now on; without a command this is all that is done
    #[arg(long, value_name = "N", requires = "queue", value_parser = clap::value_parser!(u32).range(1..))]
    slots: Option<u32>,
    /// Be served before jobs of a lower priority, -1000 to 1000 (default: 0)
    #[arg(long, value_name = "P", requires = "queue", allow_hyphen_values = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    priority: Option<i32>,
    /// When the job has ended, run this with sh, the record on its standard input
    #[arg(long, value_name = "CMD", value_hint = clap::ValueHint::CommandString)]
    on_end: Option<OsString>,
    /// The same after a failure that no restart follows
    #[arg(long, value_name = "CMD", value_hint = clap::ValueHint::CommandString)]
    on_fail: Option<OsString>,
    /// The same when the watchdog has stopped a run
    #[arg(long, value_name = "CMD", requires = "watchdog", value_hint = clap::ValueHint::CommandString)]
    on_stuck: Option<OsString>,
}

/// A duration that isn't zero.
fn some_time(text: &str) -> Result<Duration, String> {
    let span = clock::duration(text)?;
    if span.is_zero() { Err("it must be longer than nothing".into()) } else { Ok(span) }
}

fn queue_name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned()).map_err(|why| why.replacen("is no job name", "is no name of a queue", 1))
}

fn warning(text: &str) -> Result<Warn, String> {
    let (signal, before) = text.split_once('@').ok_or("a warning is like USR1@60s")?;
    Ok(Warn { signal: crate::signal::parse(signal)?, before_s: some_time(before)?.as_secs_f64() })
}

fn backoff(text: &str) -> Result<(f64, f64), String> {
    let (shortest, longest) = text.split_once("..").unwrap_or((text, text));
    let (shortest, longest) = (clock::duration(shortest)?, clock::duration(longest)?);
    if shortest > longest {
        return Err("the first pause is longer than the longest".into());
    }
    Ok((shortest.as_secs_f64(), longest.as_secs_f64()))
}

fn breaker(text: &str) -> Result<Breaker, String> {
    let (failures, within) = text.split_once('/').ok_or("a limit of failures is like 5/10m")?;
    let failures = failures.parse().ok().filter(|n| *n > 0).ok_or("the number of failures is a whole number from 1")?;
    Ok(Breaker { failures, within_s: some_time(within)?.as_secs_f64() })
}

impl PolicyArgs {
    /// As the record keeps it; `own` is the job inside of which this one is started.
    pub(super) fn policy(&self, dir: &StateDir, own: Option<&str>) -> anyhow::Result<Policy> {
        let seconds = |span: Option<Duration>| span.as_ref().map(Duration::as_secs_f64);
        let text = |command: &Option<OsString>| command.clone().map(Text);
        if let (Some(warn), Some(timeout)) = (self.warn_signal, self.timeout)
            && warn.before_s >= timeout.as_secs_f64()
        {
            return Err(wrong("--warn-signal: its time before the limit is not shorter than the limit").into());
        }
        let here = LazyCell::new(Here::look);
        let others = |words: &[String]| words.iter().map(|word| other(dir, word, own, &here)).collect::<Result<Vec<_>, _>>();
        Ok(Policy {
            grace_s: self.grace.as_secs_f64(),
            timeout_s: seconds(self.timeout),
            warn: self.warn_signal,
            restart: self.restart,
            max_restarts: self.max_restarts,
            backoff_s: self.backoff,
            breaker: self.max_failures,
            every_s: seconds(self.every),
            max_runs: self.max_runs,
            delay_s: seconds(self.delay),
            watchdog: self.watchdog.map(|after| Watchdog { after_s: after.as_secs_f64(), any_cpu: self.watchdog_any_cpu }),
            after: others(&self.after)?,
            after_any: others(&self.after_any)?,
            place: self.queue.clone().map(|queue| Place { queue, priority: self.priority.unwrap_or(0) }),
            on_end: text(&self.on_end),
            on_fail: text(&self.on_fail),
            on_stuck: text(&self.on_stuck),
        })
    }
}

impl PolicyArgs {
    /// Sees that the queue can be used, and sets its slots where they are given.
    pub(super) fn prepare_queue(&self, dir: &StateDir) -> anyhow::Result<()> {
        let Some(name) = &self.queue else { return Ok(()) };
        let queue = Queue::open_or_make(dir, name).with_context(|| format!("cannot use queue '{name}'"))?;
        let Some(slots) = self.slots else { return Ok(()) };
        queue.set_slots(slots).map_err(|why| {
            let failure = wrong(format!("cannot set the slots of queue '{name}': {why}"));
            let file = dir.path().join(".queue").join(name).join("slots.json");
            let hint = format!("remove '{}' if nobody needs what it says", shown(&file));
            if matches!(why, Unreadable::Damaged(_)) { failure.hint(hint) } else { failure }.into()
        })
    }
}

fn wrong(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Broken, message.into())
}

/// The id of the job that a word means: an id, or a name's newest job. It must be one whose end can be seen, and none that
/// ends only after this one.
fn other(dir: &StateDir, word: &str, own: Option<&str>, here: &Here) -> anyhow::Result<String> {
    let job = match by_id(dir, word, here)? {
        Some(job) => job,
        None => newest(dir, word, here)?.ok_or_else(|| wrong(format!("cannot wait for job '{}': no such job", shown(word))))?,
    };
    let id = &job.record.id;
    if job.is_live() && job.place != state_dir::Place::Here && job.state != State::Lost {
        let whose = job.note.as_deref().unwrap_or("it runs in another place");
        return Err(wrong(format!("cannot wait for job '{id}': {whose}")).into());
    }
    let mut outer = own.map(str::to_owned);
    let mut seen = Vec::new();
    while let Some(around) = outer.filter(|around| !seen.contains(around)) {
        if around == *id {
            return Err(wrong(format!("cannot wait for job '{id}': it is started from inside that very job")).into());
        }
        outer = dir.record(&around).ok().flatten().and_then(|record| record.parent);
        seen.push(around);
    }
    Ok(job.record.id)
}

fn newest(dir: &StateDir, name: &str, here: &Here) -> Result<Option<Observed>, Failure> {
    let listing = list(dir)?;
    let newest = Listing::of_name(&listing.records, name).pop();
    newest.map_or(Ok(None), |id| observe(dir, id, here).map_err(|why| unreadable(id, &why)))
}
