//! All live claims, and what of them is still to come.

use std::collections::HashSet;
use std::io;

use super::{CLAIMS, Claim, Place, Processes, Slots, holders};
use crate::gauges::cgroup;
use crate::gauges::gpu::Card;
use crate::gauges::memory::Level;

/// A live claim.
#[derive(Debug)]
pub struct Held {
    /// What it claims.
    pub claim: Claim,
    /// Device and inode of its file.
    pub inode: (u64, u64),
    /// The processes that have it, as far as they can be seen.
    pub holders: HashSet<i32>,
    /// Bytes of memory that they use.
    pub memory_used: u64,
}

/// The live claims.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Those that can be read.
    pub held: Vec<Held>,
    /// The names and faults of those that can't: what they promise isn't known.
    pub damaged: Vec<String>,
}

impl Ledger {
    /// Reads it, behind the turnstile. Measure the room after this and never before: what a holder takes in between must
    /// count as still to come.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn read(place: &Place) -> io::Result<Self> {
        let mut ledger = Self::default();
        let live = Slots::new(place, CLAIMS).live()?;
        let mut processes = if live.is_empty() { None } else { Some(Processes::look()) };
        for slot in live {
            let claim = slot.text.and_then(|text| serde_json::from_str::<Claim>(&text).map_err(|error| error.to_string()));
            match (claim, &mut processes) {
                (Ok(claim), Some(processes)) if claim.version == 1 => {
                    let holders = processes.holding(&claim, slot.inode);
                    let memory_used = if claim.memory_bytes.is_some() { holders::memory_of(&holders) } else { 0 };
                    ledger.held.push(Held { claim, inode: slot.inode, holders, memory_used });
                }
                (Ok(claim), _) => ledger.damage(place, &slot.name, &format!("version {}", claim.version)),
                (Err(error), _) => ledger.damage(place, &slot.name, &error),
            }
        }
        Ok(ledger)
    }

    fn damage(&mut self, place: &Place, name: &str, fault: &str) {
        self.damaged.push(format!("{}: {fault}", place.path().join(name).display()));
    }

    /// Leaves out the claims whose files these are: what a process was promised isn't taken from it.
    pub fn without(&mut self, own: &[(u64, u64)]) {
        self.held.retain(|held| !own.contains(&held.inode));
    }

    /// The bytes of memory still to come at this level.
    #[must_use]
    pub fn memory_to_come(&self, level: &Level) -> u64 {
        self.held.iter().filter(|held| held.counts_at(level)).map(Held::memory_to_come).sum()
    }

    /// Who has the whole card.
    #[must_use]
    pub fn owner(&self, card: &Card) -> Option<&Held> {
        let key = card.key();
        self.held.iter().find(|held| held.claim.gpus.iter().any(|share| share.uuid == key && share.bytes.is_none()))
    }

    /// Whether anybody has a part of the card.
    #[must_use]
    pub fn shared(&self, card: &Card) -> bool {
        let key = card.key();
        self.held.iter().any(|held| held.claim.gpus.iter().any(|share| share.uuid == key))
    }

    /// The bytes of the card that claims in part haven't used yet.
    #[must_use]
    pub fn gpu_to_come(&self, card: &Card) -> u64 {
        let key = card.key();
        let to_come = |held: &Held| {
            let claimed: u64 = held.claim.gpus.iter().filter(|share| share.uuid == key).filter_map(|share| share.bytes).sum();
            let used = card.processes.iter().filter(|(pid, _)| held.holders.contains(pid)).map(|(_, bytes)| bytes).sum();
            claimed.saturating_sub(used)
        };
        self.held.iter().map(to_come).sum()
    }
}

impl Held {
    fn memory_to_come(&self) -> u64 {
        self.claim.memory_bytes.unwrap_or(0).saturating_sub(self.memory_used)
    }

    /// Every claim is the machine's; a group's are those whose holders are in it, and those of whom it can't be said.
    fn counts_at(&self, level: &Level) -> bool {
        let Some((tree, group)) = &level.group else { return true };
        let mut seen = self.holders.iter().filter_map(|pid| cgroup::path_of(*pid, *tree)).peekable();
        seen.peek().is_none() || seen.any(|path| cgroup::lies_in(&path, group))
    }
}
