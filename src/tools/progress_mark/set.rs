//! `set`: how far the current job is, for `bgstatus` to show.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{ArgGroup, Args as ClapArgs};

use super::Global;
use super::context::usage;
use crate::entry::Out;
use crate::exit::{Exit, Failure};
use crate::journal::now;
use crate::progress::{self, Update};
use crate::text::shown;

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
    /// The directory of jobs
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<f64>().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&number) { Ok(number) } else { Err("a percentage is from 0 to 100".to_owned()) }
}

pub(super) fn run(global: &Global, args: Args, out: &mut Out) -> Result<Exit> {
    use std::io::Write;
    let (dir, id) = match &args.job {
        None => current(args.dir.clone())?,
        Some(job) => {
            let dir = jobs_dir(args.dir.clone())?;
            let Some(id) = newest_live(&dir, job)? else {
                global.warn(&format!("no live job '{}' in '{}'", shown(job), shown(&dir)));
                return Ok(Exit::No);
            };
            (dir, id)
        }
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
fn current(dir: Option<PathBuf>) -> Result<(PathBuf, String)> {
    let id = env::var("BG_JOB_ID").ok().filter(|id| is_id(id));
    let dir = dir.or_else(|| env::var_os("BG_JOB_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from));
    match (dir, id) {
        (Some(dir), Some(id)) => Ok((dir, id)),
        _ => Err(Failure::new(Exit::Usage, "this isn't a job: BG_JOB_ID and BG_JOB_DIR aren't set")
            .hint("--job NAME tells which one is meant")
            .into()),
    }
}

/// Whether it can be the name of a record: what can't must not lead out of the directory.
fn is_id(id: &str) -> bool {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    !id.is_empty() && id.chars().all(fits) && !id.starts_with(['.', '-'])
}

fn jobs_dir(dir: Option<PathBuf>) -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    dir.or_else(|| set("BGTOOLS_DIR"))
        .or_else(|| set("XDG_STATE_HOME").map(|state| state.join("bgtools")))
        .or_else(|| set("HOME").map(|home| home.join(".local/state/bgtools")))
        .ok_or_else(|| usage("no directory of jobs: neither --dir nor BGTOOLS_DIR nor HOME is set"))
}

/// The newest job of that name, or of that id, whose lock is there.
fn newest_live(dir: &PathBuf, job: &str) -> Result<Option<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("cannot read '{}'", shown(dir)))?,
    };
    let mut found: Vec<(String, u64, String)> = Vec::new();
    for entry in entries {
        let name = entry.with_context(|| format!("cannot read '{}'", shown(dir)))?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".lock")).filter(|id| is_id(id)) else { continue };
        if id == job {
            return Ok(Some(id.to_owned()));
        }
        if let Some((stamp, nth)) = id.strip_prefix(job).and_then(stamp) {
            found.push((stamp.to_owned(), nth, id.to_owned()));
        }
    }
    Ok(found.into_iter().max().map(|(.., id)| id))
}

/// The tail of an id: `_YYYYmmdd_HHMMSS`, and `_2`, `_3`… where the second was taken.
fn stamp(tail: &str) -> Option<(&str, u64)> {
    let tail = tail.strip_prefix('_')?;
    let (stamp, nth) = tail.split_at_checked(15)?;
    let fits = |(at, byte): (usize, u8)| if at == 8 { byte == b'_' } else { byte.is_ascii_digit() };
    let well_formed = stamp.bytes().enumerate().all(fits);
    let nth = if nth.is_empty() { 1 } else { nth.strip_prefix('_')?.parse().ok()? };
    well_formed.then_some((stamp, nth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_told_from_another_name_that_begins_alike() {
        assert_eq!(stamp("_20251129_120300"), Some(("20251129_120300", 1)));
        assert_eq!(stamp("_20251129_120300_10"), Some(("20251129_120300", 10)));
        assert!(
            ["_big_20251129_120300", "", "_20251129-120300", "_20251129_120300x", "_日本語日本語日"]
                .into_iter()
                .all(|t| stamp(t).is_none())
        );
    }

    #[test]
    fn an_id_stays_in_its_directory() {
        assert!(is_id("train_20251129_120300") && is_id("実験_20251129_120300"));
        assert!(!["", ".", "..", "a/b", "../x", "-x", "a\nb"].into_iter().any(is_id));
    }
}
