//! `set`: how far the current job is, for `bgstatus` to show.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{ArgGroup, Args as ClapArgs};

use super::Global;
use crate::entry::Out;
use crate::exit::{Exit, Failure};
use crate::journal::now;
use crate::process::Here;
use crate::progress::{self, Update};
use crate::record::parse_id;
use crate::state_dir::Observed;
use crate::text::shown;
use crate::tools::jobs;
use crate::tools::place::{DirArgs, variable};

#[derive(ClapArgs)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["percent", "done", "total", "note"]))]
pub(super) struct Args {
    /// How far it is, from 0 to 100
    #[arg(value_name = "PERCENT", value_parser = percent)]
    percent: Option<f64>,
    /// What to say
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How many items there are
    #[arg(long, value_name = "N")]
    total: Option<u64>,
    /// How many are done
    #[arg(long, value_name = "N", conflicts_with = "percent")]
    done: Option<u64>,
    /// Of which job [default: the one this runs in]
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    #[command(flatten)]
    dir: DirArgs,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&number) { Ok(number) } else { Err("a percentage is from 0 to 100".to_owned()) }
}

pub(super) fn run(global: &Global, args: Args, out: &mut Out) -> Result<Exit> {
    use std::io::Write;
    let (dir, id) = match &args.job {
        None => current(&args.dir)?,
        Some(job) => (args.dir.path()?, newest_live(&args.dir, job)?),
    };
    let run = env::var("BG_JOB_RUN").ok().filter(|_| args.job.is_none()).and_then(|run| run.parse().ok());
    let own = dir.join(format!("{id}.d"));
    if global.dry_run {
        return Ok(Exit::Done);
    }
    // From outside, the run that is going on is the one that was last heard of.
    let run = match run {
        None => progress::read(&own).ok().flatten().and_then(|progress| progress.run),
        some => some,
    };
    let update = Update { percent: args.percent, done: args.done, total: args.total, note: args.note, run };
    let progress =
        progress::update(&own, update, now()).with_context(|| format!("cannot write '{}'", shown(own.join("progress.json"))))?;
    if global.json {
        writeln!(out, "{}", serde_json::to_string(&progress)?)?;
    }
    Ok(Exit::Done)
}

/// The job that this process runs in: its marks name it.
fn current(dir: &DirArgs) -> Result<(PathBuf, String)> {
    // What can't be an id must not lead out of the directory.
    let id = env::var("BG_JOB_ID").ok().filter(|id| parse_id(id).is_some());
    let dir = dir.dir.clone().or_else(|| variable("BG_JOB_DIR"));
    let Some(found) = dir.zip(id) else {
        let failure = Failure::new(Exit::Usage, "this isn't a job: BG_JOB_ID and BG_JOB_DIR aren't set");
        return Err(failure.hint("--job NAME tells which one is meant").into());
    };
    Ok(found)
}

/// The live job of this id, or the newest of this name.
fn newest_live(dir: &DirArgs, job: &str) -> Result<String> {
    let here = Here::look();
    let Some(dir) = dir.open()? else { return Err(jobs::no_such(job).into()) };
    if let Some(found) = jobs::by_id(&dir, job, &here)?.filter(Observed::is_live) {
        return Ok(found.record.id);
    }
    let (mut live, _) = jobs::live(&dir, Some(job), &here)?;
    let newest = live.pop().ok_or_else(|| jobs::no_such(job))?;
    Ok(newest.record.id)
}
