//! Which jobs a call shows.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::Args;
use crate::clock;
use crate::exit::Failure;
use crate::process::Here;
use crate::record::Unreadable;
use crate::state_dir::{Listing, Observed, StateDir, observe};
use crate::tools::jobs::{list, no_such};

/// A job, or the id of a record that can't be used and why.
pub(super) type Row = Result<Observed, (String, Unreadable)>;

/// How many ended jobs the short table shows.
const LATEST: usize = 10;
/// Fewer records than this are read by one thread.
const WORTH_A_THREAD: usize = 256;

/// The rows, live jobs first, then the ended ones, the latest first.
pub(super) fn select(args: &Args, dir: &StateDir, here: &Here) -> Result<Vec<Row>, Failure> {
    let listing = list(dir)?;
    let everything = args.all || !args.state.is_empty() || args.since.is_some();
    let mut rows = if !args.jobs.is_empty() {
        named(args, dir, &listing, here)?
    } else if everything {
        let ids: HashSet<&String> = listing.records.iter().chain(&listing.locks).collect();
        look(dir, &ids.into_iter().collect::<Vec<_>>(), here)
    } else {
        live_and_latest(dir, &listing, here)
    };
    let since = args.since.map(|span| Timestamp::now() - span);
    rows.retain(|row| row.as_ref().map_or(true, |job| wanted(args, job, since)));
    if args.jobs.is_empty() {
        rows.sort_by_cached_key(order);
    }
    Ok(rows)
}

fn wanted(args: &Args, job: &Observed, since: Option<Timestamp>) -> bool {
    let recent = |since| job.is_live() || ended(job).is_some_and(|ended| ended >= since);
    (args.state.is_empty() || args.state.contains(&job.state)) && since.is_none_or(recent)
}

/// When it ended; of a lost job only its start is known.
fn ended(job: &Observed) -> Option<Timestamp> {
    let record = &job.record;
    record.ended.as_deref().or(record.started.as_deref()).or(Some(&record.created)).and_then(clock::parse)
}

/// Live ones by age, then the others, the latest end first; what can't be read comes last.
fn order(row: &Row) -> (u8, Duration, String) {
    match row {
        Ok(job) if job.is_live() => (0, Duration::ZERO, job.record.created.clone()),
        Ok(job) => {
            let age = ended(job).map(|ended| Timestamp::now().duration_since(ended));
            (1, age.and_then(|age| Duration::try_from(age).ok()).unwrap_or(Duration::MAX), job.record.id.clone())
        }
        Err((id, _)) => (2, Duration::ZERO, id.clone()),
    }
}

fn named(args: &Args, dir: &StateDir, listing: &Listing, here: &Here) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for word in &args.jobs {
        let ids: Vec<&String> = match listing.records.iter().find(|id| *id == word) {
            Some(id) => vec![id],
            None => Listing::of_name(&listing.records, word),
        };
        let newest = ids.last().copied().ok_or_else(|| no_such(word))?;
        let ids = if args.all { ids } else { vec![newest] };
        rows.extend(look(dir, &ids, here));
    }
    Ok(rows)
}

/// The live jobs by their locks, the ended ones by the hint of their ends, and by their stamps where it says too little.
fn live_and_latest(dir: &StateDir, listing: &Listing, here: &Here) -> Vec<Row> {
    let mut rows = look(dir, &listing.locks.iter().collect::<Vec<_>>(), here);
    let mut known: HashSet<String> = listing.locks.iter().cloned().collect();
    let mut missing = LATEST;
    let hinted = dir.lately_ended().into_iter();
    let newest = listing.newest(LATEST + listing.locks.len()).into_iter().cloned();
    for id in hinted.chain(newest) {
        if missing == 0 {
            break;
        }
        if known.insert(id.clone()) {
            let found = look(dir, &[&id], here);
            missing -= found.len();
            rows.extend(found);
        }
    }
    rows
}

/// Observes these jobs, with as many threads as help.
fn look(dir: &StateDir, ids: &[&String], here: &Here) -> Vec<Row> {
    let one = |id: &&String| match observe(dir, id, here) {
        Ok(Some(job)) => Some(Ok(job)),
        // A lock without a record is a launch in progress, or what is left of one that was killed.
        Ok(None) => None,
        Err(why) => Some(Err(((*id).clone(), why))),
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(ids.len().div_ceil(WORTH_A_THREAD));
    if threads <= 1 {
        return ids.iter().filter_map(one).collect();
    }
    thread::scope(|scope| {
        let share = ids.len().div_ceil(threads);
        let workers: Vec<_> =
            ids.chunks(share).map(|ids| scope.spawn(move || ids.iter().filter_map(one).collect::<Vec<Row>>())).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    })
}
