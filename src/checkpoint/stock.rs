//! Everything that is known of a directory: its checkpoints with their verdicts, and what protects them.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use jiff::tz::TimeZone;
use nix::fcntl::OFlag;

use super::dir::Dir;
use super::entry::Patterns;
use super::judge::{Checks, judge};
use super::plan::{Candidate, Facts, calendar};
use super::pointers::{self, Protected};
use super::scan::{Member, Nanos, Scan, Stat, Unit, scan};
use super::tree::{Tree, fingerprint, survey_scanned};
use super::verdict::{Depth, Judgement, Proof, Verdict};
use super::{layouts, metric};

/// What to look at, and how closely.
pub struct Look<'a> {
    /// How to judge; `None` believes every checkpoint, which no removal may rest on.
    pub checks: Option<Checks<'a>>,
    /// Younger ones are left alone.
    pub min_age: Duration,
    /// The time now.
    pub now: Nanos,
    /// The measurement that a rule asks for.
    pub metric: Option<&'a str>,
    /// What local times in names mean.
    pub zone: &'a TimeZone,
}

/// One checkpoint and what is known of it.
#[derive(Debug)]
pub struct Known {
    /// The checkpoint.
    pub unit: Box<Unit>,
    /// The verdict on it.
    pub judgement: Judgement,
    /// When its content was written, by the file system.
    pub saved: Nanos,
    /// When it was saved: by its name where that says so, else as `saved`.
    pub when: Nanos,
    /// Bytes on disk.
    pub size: u64,
    /// What protects it, whatever the policy.
    pub protected: Option<String>,
    /// Why it is left alone for now: young, open, held.
    pub busy: Option<String>,
    /// The measurement that a rule asks for; `None` when it isn't known, or no number.
    pub metric: Option<f64>,
    /// Changes when any file of it does.
    pub fingerprint: u64,
    /// Its best checkpoint, as its trainer's state has it.
    best: Option<String>,
}

/// A directory's stock.
#[derive(Debug)]
pub struct Stock {
    /// Its checkpoints, in the scan's order.
    pub known: Vec<Known>,
    /// What else lies there.
    pub scan: Scan,
    /// What points at which checkpoint.
    pub protected: Protected,
}

impl Candidate for Known {
    // Most who ask want one field of it.
    #[inline]
    fn facts(&self) -> Facts<'_> {
        Facts {
            name: &self.unit.name,
            series: &self.unit.series,
            key: &self.unit.key,
            saved: self.saved,
            when: self.when,
            size: self.size,
            verdict: self.judgement.verdict,
            why: &self.judgement.why,
            protected: self.protected.as_deref(),
            busy: self.busy.as_deref(),
            metric: self.metric,
        }
    }
}

/// Reads a directory and judges every checkpoint in it.
///
/// # Errors
/// When the directory or its pins can't be read.
pub fn take(dir: &Dir, patterns: &Patterns, look: &Look<'_>) -> io::Result<Stock> {
    let mut scan = scan(dir, patterns)?;
    let units = std::mem::take(&mut scan.units);
    let mut protected = pointers::read(dir, &scan)?;
    let mut known = Vec::with_capacity(units.len());
    for unit in units {
        match examine(dir, unit, look) {
            Ok(one) => known.push(one),
            // A checkpoint that goes while it is looked at was never there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    protect_best(&known, &mut protected);
    if !protected.is_empty() {
        for known in known.iter_mut().filter(|known| known.protected.is_none()) {
            let members = known.unit.members.iter().map(|member| &member.name);
            known.protected = [&known.unit.name].into_iter().chain(members).find_map(|name| protected.get(&**name)).cloned();
        }
    }
    Ok(Stock { known, scan, protected })
}

/// Looks at one checkpoint.
///
/// # Errors
/// When it is gone.
pub fn examine(dir: &Dir, unit: Box<Unit>, look: &Look<'_>) -> io::Result<Known> {
    if let Some(file) = taken_as_it_is(&unit, look) {
        return Ok(believed(file.stat, fingerprint(file.name.as_ref(), &file.stat), unit, look));
    }
    let tree = survey_scanned(dir, &unit);
    let judgement = match look.checks {
        Some(checks) => settled(judge(dir, &unit, &tree, checks), &unit, &tree, look, checks.depth),
        None => unchecked(),
    };
    let when = named_time(&unit, look).unwrap_or(tree.saved);
    Ok(Known {
        saved: tree.saved,
        when,
        size: tree.allocated,
        protected: (tree.pinned || unit.pinned_beside).then(|| "a .keep file".to_owned()),
        busy: young(tree.newest, look),
        metric: look.metric.and_then(|name| metric::read(dir, &unit, &tree, name)),
        fingerprint: tree.fingerprint(),
        best: best(dir, &tree),
        unit,
        judgement,
    })
}

/// The one file of a checkpoint, where nobody wants to know what is in it: then its status says everything. A trainer's
/// state names the best checkpoint, whatever is asked for.
fn taken_as_it_is<'a>(unit: &'a Unit, look: &Look<'_>) -> Option<&'a Member> {
    match unit.members.as_slice() {
        [only] if look.checks.is_none() && look.metric.is_none() && only.stat.is_file() => {
            (*only.name != *"trainer_state.json").then_some(only)
        }
        _ => None,
    }
}

fn believed(stat: Stat, fingerprint: u64, unit: Box<Unit>, look: &Look<'_>) -> Known {
    Known {
        judgement: unchecked(),
        saved: stat.mtime,
        when: named_time(&unit, look).unwrap_or(stat.mtime),
        size: stat.allocated,
        protected: unit.pinned_beside.then(|| "a .keep file".to_owned()),
        busy: young(stat.mtime.max(0), look),
        metric: None,
        fingerprint,
        best: None,
        unit,
    }
}

fn unchecked() -> Judgement {
    Judgement { layout: "unchecked", ..Judgement::plain(Verdict::Good, String::new()) }
}

fn named_time(unit: &Unit, look: &Look<'_>) -> Option<Nanos> {
    calendar::moment(unit.key.stamp?, look.zone)
}

/// Why a checkpoint is too young to be touched, if it is. A time in the future is no proof of age.
#[must_use]
pub fn young(newest: Nanos, look: &Look<'_>) -> Option<String> {
    let age = look.now - newest;
    let least = i128::try_from(look.min_age.as_nanos()).unwrap_or(Nanos::MAX);
    if least == 0 || age >= least {
        return None;
    }
    Some(if age < 0 {
        "its time lies in the future".to_owned()
    } else {
        format!("written {} ago", crate::clock::brief(span(age)))
    })
}

fn span(nanos: Nanos) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

/// A young directory in which nothing says that it is complete may still be growing: nothing may rest on it.
fn settled(judgement: Judgement, unit: &Unit, tree: &Tree, look: &Look<'_>, depth: Depth) -> Judgement {
    let complete = judgement.layout != "generic" || (!unit.is_dir() && judgement.proof > Proof::Kind);
    if depth == Depth::Deep && judgement.proof == Proof::Manifest {
        return judgement;
    }
    match young(tree.newest, look) {
        Some(age) if judgement.verdict == Verdict::Good && !complete => {
            Judgement::plain(Verdict::Unfinished, format!("{age}, and nothing in it says that it is complete"))
        }
        _ => judgement,
    }
}

fn best(dir: &Dir, tree: &Tree) -> Option<String> {
    let node = tree.named("trainer_state.json").next()?;
    let state = layouts::huggingface::state(dir.open(&node.path, OFlag::O_RDONLY).ok()?).ok()?;
    let path = state.best_model_checkpoint?;
    Some(path.trim_end_matches('/').rsplit('/').next()?.to_owned())
}

/// The newest trainer's state of a series names the best checkpoint so far.
fn protect_best(known: &[Known], protected: &mut Protected) {
    let mut newest: BTreeMap<&str, &Known> = BTreeMap::new();
    for known in known.iter().filter(|known| known.best.is_some()) {
        let entry = newest.entry(&known.unit.series).or_insert(known);
        if known.unit.key > entry.unit.key {
            *entry = known;
        }
    }
    for known in newest.into_values() {
        if let Some(best) = &known.best {
            protected.entry(best.clone()).or_insert_with(|| format!("{} calls it the best", known.unit.name));
        }
    }
}
