//! `--make-room`: enough free space for the next checkpoint, or the word that it can't be had.

use anyhow::Context as _;

use super::args::{Args, Room};
use super::open::Work;
use super::rotate::{self, Tell};
use crate::checkpoint::plan::Policy;
use crate::checkpoint::stock;
use crate::checkpoint::verdict::Verdict;
use crate::entry::Out;
use crate::exit::{Exit, Failure};
use crate::text::shown;

/// How many of the newest make the forecast.
const RECENT: usize = 5;

/// Rotates until there is room.
pub(super) fn run(args: &Args, room: Room, out: &mut Out) -> anyhow::Result<Exit> {
    let work = Work::new(args, None)?;
    let policy = args.policy();
    let bytes = match room {
        Room::Bytes(bytes) => bytes,
        Room::Forecast => forecast(&work)?,
    };
    // Without a rule of its own this only frees what is needed: everything stays that needn't go.
    let policy =
        if args.has_policy() { policy } else { Policy { every: Some(1), within: Some(std::time::Duration::MAX), ..policy } };
    let policy = Policy { min_free: Some(bytes.max(policy.min_free.unwrap_or(0))), ..policy };
    if args.dry_run {
        return rotate::dry(&work, &policy, out);
    }
    work.lock()?;
    rotate::run(&work, &policy, if args.verbose || args.json { Tell::All } else { Tell::Trouble }, out)
}

/// The median size of the newest good checkpoints.
fn forecast(work: &Work<'_>) -> anyhow::Result<u64> {
    let read = |bytes| work.read(bytes);
    let stock = stock::take(&work.dir, &work.patterns, &work.look(&read, None))
        .with_context(|| format!("cannot read '{}'", shown(&work.dir.path)))?;
    let mut good: Vec<_> = stock.known.iter().filter(|known| known.judgement.verdict == Verdict::Good).collect();
    good.sort_by_key(|known| std::cmp::Reverse(known.saved));
    let mut sizes: Vec<u64> = good.iter().take(RECENT).map(|known| known.size).collect();
    sizes.sort_unstable();
    match sizes.get(sizes.len() / 2) {
        Some(median) => Ok(*median),
        None => Err(Failure::new(
            Exit::No,
            format!("no good checkpoint in '{}' to judge the next one's size by", shown(&work.dir.path)),
        )
        .into()),
    }
}
