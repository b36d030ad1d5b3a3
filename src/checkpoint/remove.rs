//! The removal of what the plan gives up: everything that could have changed since is looked at again, right before the
//! rename.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::dir::Dir;
use super::entry::Patterns;
use super::held::{self, UnitLock};
use super::pointers::{self, Protected};
use super::scan::{Nanos, Scan, scan};
use super::stock::{Known, Look, young};
use super::trash::Batch;
use super::tree::survey;

/// Why a checkpoint that was to go is still there.
#[derive(Debug)]
pub enum Left {
    /// It is in use, young, or something points at it by now: as it should be.
    InUse(String),
    /// It isn't what was planned to go, or it can't be moved.
    Failed(String),
}

/// What points at checkpoints, kept fresh while others work in the directory.
#[derive(Debug)]
pub struct Watch {
    scan: Scan,
    protected: Protected,
    changed: Nanos,
}

impl Watch {
    /// Begins with what a scan found.
    ///
    /// # Errors
    /// When the directory can't be asked.
    pub fn new(dir: &Dir, scan: Scan) -> io::Result<Self> {
        // No time is the directory's own, so the first look lists it again.
        Ok(Self { protected: pointers::read(dir, &scan)?, scan, changed: Nanos::MIN })
    }

    /// Reads the pointers again, and lists the directory again if anybody but us changed it.
    fn refresh(&mut self, dir: &Dir) -> io::Result<()> {
        let now = changed(dir)?;
        if now != self.changed {
            self.scan = scan(dir, &Patterns::default())?;
            self.changed = now;
        }
        self.protected = pointers::read(dir, &self.scan)?;
        Ok(())
    }

    fn ours(&mut self, dir: &Dir) -> io::Result<()> {
        self.changed = changed(dir)?;
        Ok(())
    }
}

fn changed(dir: &Dir) -> io::Result<Nanos> {
    let stat = dir.stat(".")?;
    Ok(i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec))
}

/// Moves one checkpoint into the batch.
///
/// # Errors
/// Says why it stays.
pub fn take(dir: &Dir, batch: &mut Batch, known: &Known, how: &Look<'_>, watch: &mut Watch) -> Result<(), Left> {
    let failed = |error: io::Error| Left::Failed(error.to_string());
    let lock = locked(dir, known)?;
    free(dir, known, Some(&lock), how)?;
    watch.refresh(dir).map_err(failed)?;
    let names = || known.unit.members.iter().map(|member| &member.name).chain([&known.unit.name]);
    if let Some(why) = names().find_map(|name| watch.protected.get(&**name)) {
        return Err(Left::InUse(why.clone()));
    }
    batch.take(dir, &known.unit).map_err(failed)?;
    drop(lock);
    watch.ours(dir).map_err(failed)
}

/// The exclusive lock, kept through the rename, on the very files that were judged.
fn locked(dir: &Dir, known: &Known) -> Result<UnitLock, Left> {
    let failed = |error: io::Error| Left::Failed(error.to_string());
    match held::try_lock(dir, &known.unit).map_err(failed)? {
        Some(lock) => Ok(lock),
        None => Err(held_by_a_lock()),
    }
}

fn held_by_a_lock() -> Left {
    Left::InUse("held by a lock".to_owned())
}

/// Whether it is still what was judged, and nobody uses it.
fn free(dir: &Dir, known: &Known, lock: Option<&UnitLock>, how: &Look<'_>) -> Result<(), Left> {
    let tree = survey(dir, &known.unit).map_err(|error| Left::Failed(error.to_string()))?;
    if let Some(why) = young(tree.newest, how) {
        return Err(Left::InUse(why));
    }
    if tree.pinned {
        return Err(Left::InUse("a .keep file".to_owned()));
    }
    if let Some((path, why)) = &tree.closed {
        return Err(Left::Failed(format!("{}: {why}", path.display())));
    }
    if tree.fingerprint() != known.fingerprint {
        return Err(Left::Failed("it changed since it was checked".to_owned()));
    }
    match held::open_file(dir, &tree, lock) {
        Some(path) => Err(Left::InUse(opened(&path))),
        None => Ok(()),
    }
}

fn opened(path: &Path) -> String {
    format!("{} is open in some process", path.display())
}

/// Says who uses a checkpoint, without taking anything; for plans that are only shown. `locked` are the inodes that
/// [`held::locked`] found.
#[must_use]
pub fn in_use(dir: &Dir, known: &Known, look: &Look<'_>, locked: &BTreeSet<u64>) -> Option<Left> {
    if known.unit.members.iter().any(|member| locked.contains(&member.stat.ino)) {
        return Some(held_by_a_lock());
    }
    free(dir, known, None, look).err()
}
