//! Questions: `--latest`, `--verify`, `--check`. Nothing is written, so they work on a read-only file system.

use std::io::{self, ErrorKind, Write as _};

use anyhow::Context as _;

use super::args::Args;
use super::open::{Work, say};
use super::report;
use crate::checkpoint::plan::Order;
use crate::checkpoint::scan::{Unit, Units, scan};
use crate::checkpoint::stock::{self, Known, Look};
use crate::checkpoint::tree::survey;
use crate::checkpoint::verdict::Verdict;
use crate::entry::Out;
use crate::exit::{Exit, Failure};
use crate::text::shown;

/// Prints the most recently saved good checkpoint; says of each newer one why it isn't.
pub(super) fn latest(args: &Args, out: &mut Out) -> anyhow::Result<Exit> {
    let work = Work::new(args, None)?;
    let read = |bytes| work.read(bytes);
    // At a resume nobody writes any more; who still does is seen by the open file.
    let look = Look { min_age: std::time::Duration::ZERO, ..work.look(&read, None) };
    let units = scan(&work.dir, &work.patterns).with_context(|| format!("cannot read '{}'", shown(&work.dir.path)))?.units;
    let mut skipped = 0_usize;
    let cannot = || format!("cannot read '{}'", shown(&work.dir.path));
    for unit in newest_first(&work, units).with_context(cannot)? {
        let name = work.dir.shown(&unit.name);
        let known = match stock::examine(&work.dir, unit, &look) {
            Ok(known) => known,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(cannot),
        };
        work.quiet();
        if known.judgement.verdict == Verdict::Good {
            if args.json {
                out.write_all(report::Row::new(&known, None).line()?.as_bytes())?;
            } else {
                out.write_all(std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str()))?;
                writeln!(out)?;
            }
            return Ok(Exit::Done);
        }
        skipped += 1;
        if !args.quiet {
            say(&format!("skipped {}: {}: {}", shown(&name), known.judgement.verdict, known.judgement.why));
        }
    }
    let what = if skipped == 0 { "no checkpoint" } else { "no good checkpoint" };
    Err(Failure::new(Exit::No, format!("{what} in '{}'", shown(&work.dir.path))).into())
}

/// Within a series by number, among the series by time.
fn newest_first(work: &Work<'_>, units: Units) -> io::Result<Units> {
    let by_time = work.args.policy().order == Order::Time;
    let mut queues: std::collections::BTreeMap<std::sync::Arc<str>, Vec<(i128, Box<Unit>)>> = std::collections::BTreeMap::new();
    for unit in units {
        let tree = match survey(&work.dir, &unit) {
            Ok(tree) => tree,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        queues.entry(unit.series.clone()).or_default().push((tree.saved, unit));
    }
    // The newest of each series stands last, ready to be taken.
    for queue in queues.values_mut() {
        queue.sort_by(
            |(a_saved, a), (b_saved, b)| if by_time { a_saved.cmp(b_saved) } else { (&a.key, a_saved).cmp(&(&b.key, b_saved)) },
        );
    }
    let mut ordered = Vec::new();
    while let Some(queue) =
        queues.values_mut().filter(|queue| !queue.is_empty()).max_by_key(|queue| queue.last().map(|(saved, _)| *saved))
    {
        ordered.extend(queue.pop().map(|(_, unit)| unit));
    }
    Ok(ordered)
}

/// Judges every checkpoint and prints a line each.
pub(super) fn verify(args: &Args, out: &mut Out) -> anyhow::Result<Exit> {
    let work = Work::new(args, None)?;
    let known = judged(&work)?;
    let width =
        known.iter().map(|known| unicode_width::UnicodeWidthStr::width(shown(&*known.unit.name).as_str())).max().unwrap_or(0);
    for known in &known {
        if args.json {
            out.write_all(report::Row::new(known, None).line()?.as_bytes())?;
        } else if !args.quiet {
            report::verdict(out, known, width)?;
        }
    }
    let has = |verdict| known.iter().any(|known| known.judgement.verdict == verdict);
    Ok(if has(Verdict::Unread) {
        Exit::Broken
    } else if has(Verdict::Broken) || has(Verdict::Suspect) {
        Exit::No
    } else {
        Exit::Done
    })
}

fn judged(work: &Work<'_>) -> anyhow::Result<Vec<Known>> {
    let read = |bytes| work.read(bytes);
    let look = Look { min_age: std::time::Duration::ZERO, ..work.look(&read, None) };
    let stock =
        stock::take(&work.dir, &work.patterns, &look).with_context(|| format!("cannot read '{}'", shown(&work.dir.path)))?;
    work.quiet();
    Ok(stock.known)
}

/// The health check for cron: enough good checkpoints, the newest recent enough.
pub(super) fn check(args: &Args, out: &mut Out) -> anyhow::Result<Exit> {
    let work = Work::new(args, None)?;
    let known = judged(&work)?;
    let good: Vec<&Known> = known.iter().filter(|known| known.judgement.verdict == Verdict::Good).collect();
    let mut crossed = Vec::new();
    let wanted = args.min_valid.unwrap_or(1);
    if (good.len() as u64) < wanted {
        crossed.push(format!("{} good checkpoints, at least {wanted} are wanted", good.len()));
    }
    let newest = good.iter().max_by_key(|known| known.saved);
    if let (Some(limit), Some(newest)) = (args.max_age, newest) {
        let age = u64::try_from(work.now - newest.saved).map_or(std::time::Duration::ZERO, std::time::Duration::from_nanos);
        if age > limit {
            let (age, limit) = (crate::clock::brief(age), crate::clock::brief(limit));
            crossed.push(format!("the newest good one, {}, is {age} old, at most {limit} is wanted", shown(&*newest.unit.name)));
        }
    }
    if args.json || args.verbose {
        for known in &known {
            if args.json {
                out.write_all(report::Row::new(known, None).line()?.as_bytes())?;
            } else {
                report::verdict(out, known, 0)?;
            }
        }
    }
    for known in
        known.iter().filter(|known| matches!(known.judgement.verdict, Verdict::Broken | Verdict::Suspect) && !crossed.is_empty())
    {
        say(&format!("{}: {}: {}", work.shown(&known.unit.name), known.judgement.verdict, known.judgement.why));
    }
    for line in &crossed {
        say(&format!("{}: {line}", shown(&work.dir.path)));
    }
    Ok(if crossed.is_empty() { Exit::Done } else { Exit::No })
}
