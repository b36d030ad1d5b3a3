//! Which job a word on the command line means.

use crate::exit::{Exit, Failure};
use crate::process::Here;
use crate::record::{Unreadable, parse_id};
use crate::state_dir::{Listing, Observed, StateDir, observe};
use crate::text::shown;

/// The id of a record that can't be used, and why.
pub(crate) type Bad = (String, Unreadable);

/// A job that was asked for and can't be judged.
pub(crate) fn unreadable(id: &str, why: &Unreadable) -> Failure {
    Failure::new(Exit::Broken, format!("cannot read the record of job '{}': {why}", shown(id)))
}

/// A job that isn't there.
pub(crate) fn no_such(word: &str) -> Failure {
    Failure::new(Exit::No, format!("no job '{}'", shown(word)))
}

/// The job of this id, live or not.
pub(crate) fn by_id(dir: &StateDir, word: &str, here: &Here) -> Result<Option<Observed>, Failure> {
    if parse_id(word).is_none() {
        return Ok(None);
    }
    observe(dir, word, here).map_err(|why| unreadable(word, &why))
}

/// The live jobs of this name, or all; oldest first. A record that can't be read is given by its id and why.
pub(crate) fn live(dir: &StateDir, name: Option<&str>, here: &Here) -> Result<(Vec<Observed>, Vec<Bad>), Failure> {
    let listing = list(dir)?;
    let mut ids: Vec<&String> = match name {
        Some(name) => Listing::of_name(&listing.locks, name),
        None => listing.locks.iter().collect(),
    };
    ids.sort();
    let (mut live, mut bad) = (Vec::new(), Vec::new());
    for id in ids {
        match observe(dir, id, here) {
            Ok(Some(job)) if job.is_live() => live.push(job),
            Ok(_) => {}
            Err(why) => bad.push((id.clone(), why)),
        }
    }
    live.sort_by(|a, b| crate::state_dir::age(&a.record.id).cmp(&crate::state_dir::age(&b.record.id)));
    Ok((live, bad))
}

/// The names in the directory.
pub(crate) fn list(dir: &StateDir) -> Result<Listing, Failure> {
    let cannot = |error| Failure::new(Exit::Broken, format!("cannot list the jobs directory '{}': {error}", shown(dir.path())));
    dir.list().map_err(cannot)
}
