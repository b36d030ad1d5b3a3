//! A look at every process that nothing outruns.
//!
//! A list of `/proc` is older than what is read by it: a process that forks the next and ends at once is never found
//! where it was listed. So the numbers that were given out meanwhile are looked at one by one, until none is given out
//! while they are.

use std::collections::HashSet;

use super::mark::MOST_WAITS;
use super::{Identity, Mark, Stat, all};
use crate::sys;

/// Numbers given out this shortly before the look are looked at again: their processes may not have been there yet.
const RECENT: i32 = 100;

/// Whether a process can have escaped the look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Yes,
    No,
}

/// What was seen, each with the mark that it bore then.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) seen: Vec<(Stat, Mark)>,
    first: i32,
    /// What is left of the patience with those that are in the middle of an exec.
    waits: u32,
}

impl Look {
    pub(super) fn new() -> Self {
        let first = last_pid().map_or(i32::MAX, |last| last.saturating_sub(RECENT));
        let mut waits = MOST_WAITS;
        Self { seen: all().into_iter().map(|stat| marked(stat, &mut waits)).collect(), first: first.max(1), waits }
    }

    /// Looks at the numbers given out since just before the look began; settled when none was given out meanwhile.
    ///
    /// Why that is enough: whoever lives at the end of such a pass was there when it began, or its parent was, forking
    /// it; one of the two was seen.
    pub(super) fn go_on(&mut self) -> Settled {
        let Some(last) = last_pid() else { return Settled::Yes };
        if last < self.first {
            // The numbers have begun anew.
            *self = Self::new();
            return Settled::No;
        }
        let known: HashSet<Identity> = self.seen.iter().map(|(stat, _)| stat.identity()).collect();
        // A thread has a number as well, and no pidfd.
        let process = |stat: &Stat| !known.contains(&stat.identity()) && sys::pidfd_open(stat.pid).is_ok();
        let new: Vec<Stat> = (self.first..=last).filter_map(Stat::read).filter(process).collect();
        self.see(new);
        self.first = last.saturating_sub(RECENT).max(1);
        if last_pid() == Some(last) { Settled::Yes } else { Settled::No }
    }
}

impl Look {
    /// Looks at these as well, should they not have been seen.
    pub(super) fn add(&mut self, pids: &[i32]) {
        let new = |stat: &Stat| self.seen.iter().all(|(seen, _)| seen.identity() != stat.identity());
        let new: Vec<Stat> = pids.iter().copied().filter_map(Stat::read).filter(new).collect();
        self.see(new);
    }

    fn see(&mut self, new: Vec<Stat>) {
        self.seen.extend(new.into_iter().map(|stat| marked(stat, &mut self.waits)));
    }
}

fn marked(stat: Stat, waits: &mut u32) -> (Stat, Mark) {
    let mark = if stat.is_dead() { Mark::Unreadable } else { Mark::within(stat.pid, waits) };
    (stat, mark)
}

/// The number that was given out last in this pid namespace: `/proc/loadavg`, the fifth field.
fn last_pid() -> Option<i32> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().nth(4)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forked_after_the_list_is_seen() {
        let mut look = Look::new();
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(look.seen.iter().all(|(stat, _)| stat.pid != pid));
        // Other tests fork as well: a pass that finds a pause comes soon.
        while look.go_on() == Settled::No {}
        let found = look.seen.iter().any(|(stat, _)| stat.pid == pid);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }
}
