//! `--plan FILE` and `--apply FILE`: the decision now, the removal after somebody has read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::args::Args;
use super::open::{Work, say};
use super::rotate::{self, Tell};
use crate::checkpoint::plan::{Policy, Reason};
use crate::checkpoint::stock;
use crate::entry::Out;
use crate::exit::{Exit, Failure};
use crate::text::shown;

/// A plan as it is written. Readers refuse a version they don't know.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    policy: Policy,
    pattern: Vec<String>,
    remove: BTreeMap<String, Victim>,
}

#[derive(Serialize, Deserialize)]
struct Victim {
    /// Identifies every file of it as it was.
    fingerprint: String,
    size_bytes: u64,
    reasons: Vec<Reason>,
}

const VERSION: u32 = 1;

/// Writes the plan, and prints it.
pub(super) fn plan(args: &Args, path: &Path, out: &mut Out) -> anyhow::Result<Exit> {
    let work = Work::new(args, None)?;
    let read = |bytes| work.read(bytes);
    let stock = stock::take(&work.dir, &work.patterns, &work.look(&read, None))
        .with_context(|| format!("cannot read '{}'", shown(&work.dir.path)))?;
    work.quiet();
    let policy = args.policy();
    let plan = rotate::planned(&work, &stock, &policy)?;
    rotate::tell_plan(&work, &stock, &plan, Tell::All, out)?;
    for line in plan.conflicts.iter().chain(&plan.short) {
        say(line);
    }
    let victim = |at: usize| {
        let known = &stock.known[at];
        let victim = Victim {
            fingerprint: format!("{:016x}", known.fingerprint),
            size_bytes: known.size,
            reasons: plan.decisions[at].reasons.to_vec(),
        };
        (known.unit.name.to_string(), victim)
    };
    let written =
        Written { version: VERSION, policy, pattern: args.pattern.clone(), remove: plan.removals().map(victim).collect() };
    let mut text = serde_json::to_vec_pretty(&written)?;
    text.push(b'\n');
    fs::write(path, text).with_context(|| format!("cannot write '{}'", shown(path)))?;
    Ok(if plan.conflicts.is_empty() && plan.short.is_empty() { Exit::Done } else { Exit::No })
}

/// Removes what a written plan says: all of it, or nothing when any of it has changed or may no longer go.
pub(super) fn apply(args: &Args, path: &Path) -> anyhow::Result<Exit> {
    let text = fs::read(path).with_context(|| format!("cannot read '{}'", shown(path)))?;
    let written: Written = serde_json::from_slice(&text).with_context(|| format!("'{}' is no plan", shown(path)))?;
    if written.version != VERSION {
        return Err(Failure::new(
            Exit::Broken,
            format!("'{}' is a plan of version {}, which isn't known here", shown(path), written.version),
        )
        .into());
    }
    let mut work = Work::new(args, None)?;
    if !written.pattern.is_empty() {
        work.patterns =
            crate::checkpoint::entry::Patterns::new(&written.pattern).map_err(|why| Failure::new(Exit::Broken, why))?;
    }
    work.lock()?;
    let read = |bytes| work.read(bytes);
    let look = work.look(&read, None);
    let stock =
        stock::take(&work.dir, &work.patterns, &look).with_context(|| format!("cannot read '{}'", shown(&work.dir.path)))?;
    work.quiet();
    // The same code decides again: what must stay by now stays, whatever the file says.
    let plan = rotate::planned(&work, &stock, &written.policy)?;
    let may: BTreeMap<&str, usize> = plan.removals().map(|at| (&*stock.known[at].unit.name, at)).collect();
    let mut victims = Vec::new();
    for (name, victim) in &written.remove {
        match may.get(name.as_str()) {
            Some(at) if format!("{:016x}", stock.known[*at].fingerprint) == victim.fingerprint => victims.push(*at),
            Some(_) => return refuse(&work, name, "it changed since the plan was made"),
            None if stock.known.iter().any(|known| *known.unit.name == **name) => {
                return refuse(&work, name, "by now it has to stay");
            }
            None => return refuse(&work, name, "it is gone"),
        }
    }
    if victims.is_empty() {
        return Ok(Exit::Done);
    }
    victims.sort_by_key(|at| stock.known[*at].when);
    let (_, exit) = rotate::take_away(&work, &stock, &victims, &look, &mut BTreeSet::new())?;
    if args.defer {
        return Ok(exit);
    }
    let now = u64::try_from(work.now.div_euclid(1_000_000_000)).unwrap_or(0);
    rotate::purge(&work, Some(now), exit)
}

fn refuse(work: &Work<'_>, name: &str, why: &str) -> anyhow::Result<Exit> {
    Err(Failure::new(Exit::No, format!("cannot remove '{}': {why}; nothing was removed", work.shown(name)))
        .hint("make the plan again")
        .into())
}
