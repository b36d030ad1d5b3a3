//! What lies in the directory, from its names alone: finished records aren't opened to find the live ones.

use std::io;
use std::os::fd::AsFd;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::StateDir;
use crate::record::parse_id;

/// The ids by what stands under them.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// With a record, unsorted.
    pub records: Vec<String>,
    /// With a lock: jobs that are supervised, and those whose supervisor was killed.
    pub locks: Vec<String>,
}

impl Listing {
    /// Ids of this name, the newest last. Ids sort by name, then stamp, then suffix.
    #[must_use]
    pub fn of_name<'a>(ids: &'a [String], name: &str) -> Vec<&'a String> {
        let mut found: Vec<_> = ids.iter().filter(|id| parse_id(id).is_some_and(|(n, ..)| n == name)).collect();
        found.sort_by_key(|id| age(id));
        found
    }

    /// The newest `count` ids by stamp, the newest first.
    #[must_use]
    pub fn newest(&self, count: usize) -> Vec<&String> {
        let mut all: Vec<&String> = self.records.iter().collect();
        if all.len() > count && count > 0 {
            all.select_nth_unstable_by(count - 1, |a, b| age(b).cmp(&age(a)));
            all.truncate(count);
        }
        all.sort_by(|a, b| age(b).cmp(&age(a)));
        all
    }
}

/// What ids are ordered by across names: stamp, suffix, then the id itself.
#[must_use]
pub(crate) fn age(id: &str) -> (&str, u32, &str) {
    parse_id(id).map_or(("", 0, id), |(_, stamp, suffix)| (stamp, suffix, id))
}

impl StateDir {
    /// Reads the names in the directory.
    ///
    /// # Errors
    /// As `readdir(3)`.
    pub fn list(&self) -> io::Result<Listing> {
        self.list_of("")
    }

    /// The same of the names that begin so.
    pub(super) fn list_of(&self, start: &str) -> io::Result<Listing> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(self.as_fd(), ".", flags, Mode::empty())?;
        let mut listing = Listing::default();
        for entry in dir.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name.starts_with(b".") || !name.starts_with(start.as_bytes()) {
                continue;
            }
            let Ok(name) = std::str::from_utf8(name) else { continue };
            if let Some(id) = name.strip_suffix(".json") {
                listing.records.push(id.to_owned());
            } else if let Some(id) = name.strip_suffix(".lock") {
                listing.locks.push(id.to_owned());
            }
        }
        Ok(listing)
    }
}
