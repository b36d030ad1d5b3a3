//! Claiming an id: exclusive, and never one that was ever given out.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fstatat, mkdirat};

use super::listing::age;
use super::{Listing, Lock, StateDir, beside_name, read_file, record_name, replace_file};
use crate::record::parse_id;

/// How many ids of one second are tried before something must be wrong.
const MOST_IN_A_SECOND: u32 = 100_000;

/// A claimed id with its held lock.
#[derive(Debug)]
pub struct Claim {
    /// The id.
    pub id: String,
    /// Held until the verdict is written.
    pub lock: Lock,
}

impl Claim {
    /// Claims `NAME_STAMP`, or the first of `_2`, `_3`… that is free; where the clock was ahead before, of the last id's stamp, so
    /// that the newest job of a name is the one launched last. `trying` hears of each before anything is made;
    /// `also_free` has a say, for files elsewhere that bear the id (the log), and may claim them.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn new(
        dir: &StateDir,
        name: &str,
        stamp: &str,
        mut trying: impl FnMut(&str),
        mut also_free: impl FnMut(&str) -> io::Result<bool>,
    ) -> io::Result<Self> {
        // In this order: what is pruned in between has left its mark.
        let newest = newest(&dir.list_of(name)?, name);
        let pruned = dir.high_water(name)?;
        let (stamp, first) = above(stamp, newest.iter().chain(&pruned).map(String::as_str));
        for suffix in first..first.saturating_add(MOST_IN_A_SECOND) {
            let id = if suffix == 1 { format!("{name}_{stamp}") } else { format!("{name}_{stamp}_{suffix}") };
            trying(&id);
            let Some(lock) = Lock::create(dir, &id)? else { continue };
            // What lies beside a record belongs to the job that had the id: a request to cancel that one would end this one.
            let free = || Ok(!dir.has(&record_name(&id))? && !dir.has(&beside_name(&id))?);
            match free().and_then(|free: bool| Ok(free && also_free(&id)?)) {
                Ok(true) => return Ok(Self { id, lock }),
                Ok(false) => lock.remove(dir)?,
                Err(error) => {
                    let _ = lock.remove(dir);
                    return Err(error);
                }
            }
        }
        Err(io::Error::other("every id of this second is taken"))
    }
}

/// The first stamp and suffix above what was given out: after an hour set back, ids go on where they were.
fn above<'a>(stamp: &str, given: impl Iterator<Item = &'a str>) -> (String, u32) {
    let given = given.filter_map(parse_id).map(|(_, high, suffix)| (high, suffix)).filter(|(high, _)| *high >= stamp).max();
    given.map_or_else(|| (stamp.to_owned(), 1), |(high, suffix)| (high.to_owned(), suffix.saturating_add(1)))
}

/// The newest id of this name that stands in the directory. A suffix that nobody was given leaves none above it.
fn newest(listing: &Listing, name: &str) -> Option<String> {
    let ids = listing.records.iter().chain(&listing.locks);
    let own = ids
        .filter(|id| id.starts_with(name) && parse_id(id).is_some_and(|(n, _, suffix)| n == name && suffix <= MOST_IN_A_SECOND));
    own.max_by_key(|id| age(id)).cloned()
}

const PRUNED: &str = ".pruned";

impl StateDir {
    fn has(&self, name: &str) -> io::Result<bool> {
        match fstatat(self.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The last id of this name whose record was removed.
    fn high_water(&self, name: &str) -> io::Result<Option<String>> {
        let mark = read_file(self.as_fd(), &format!("{PRUNED}/{name}"))?;
        Ok(mark.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Keeps the name of a record that is about to be removed from ever being given out again; durable when it returns.
    ///
    /// # Errors
    /// As `mkdir(2)`, `write(2)`, `rename(2)`: the record must stay then.
    pub fn retire(&self, id: &str) -> io::Result<()> {
        let Some((name, stamp, suffix)) = parse_id(id) else { return Ok(()) };
        if let Some(mark) = self.high_water(name)?
            && parse_id(&mark).is_some_and(|(_, high, n)| (high, n) >= (stamp, suffix))
        {
            return Ok(());
        }
        match mkdirat(self.as_fd(), PRUNED, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_CLOEXEC;
        let marks = nix::fcntl::openat(self.as_fd(), PRUNED, flags, Mode::empty())?;
        replace_file(marks.as_fd(), name, id.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_above_what_was_removed() {
        let above = |given: &[&str]| above("20251129_120300", given.iter().copied());
        assert_eq!(above(&[]), ("20251129_120300".into(), 1));
        assert_eq!(above(&["a_20251129_120300_4"]), ("20251129_120300".into(), 5));
        assert_eq!(above(&["a_20251129_130000"]), ("20251129_130000".into(), 2));
        assert_eq!(above(&["a_20251129_130000_10", "a_20251129_130000_9"]), ("20251129_130000".into(), 11));
        assert_eq!(above(&["a_20251128_130000"]), ("20251129_120300".into(), 1));
        assert_eq!(above(&["damaged"]), ("20251129_120300".into(), 1));
    }
}
