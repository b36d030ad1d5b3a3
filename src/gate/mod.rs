//! The gate: limits and wishes on one side, what was measured and what is promised on the other, and the verdict.
//!
//! The slow part, sampling and asking, happens first and holds nothing. Then, behind the turnstile: read the claims,
//! measure the memory, judge, and take the claim. GPUs are measured before the claims are read, so a claim made in
//! between counts in full.

mod choose;
mod judge;
pub mod pace;
pub mod queue;
mod survey;
mod verdict;

pub use verdict::{Amount, Check, Verdict, overall};

use std::path::PathBuf;
use std::time::Duration;

use crate::claims::{CLAIMS, Candidate, Claim, Ledger, Place, Share, Slot, Slots, Turnstile};
use crate::gauges::gpu::Card;
use crate::gauges::memory;
use crate::gauges::pressure::Kind;
use crate::process::{Here, Identity};
use crate::text::Text;
use crate::{clock, sys};
use survey::{Measured, Survey};

/// A limit on what was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Limit {
    /// At most so many percent of the CPUs in use.
    Cpu(f64),
    /// At most so many percent of the memory in use or promised.
    Memory(f64),
    /// At most so many percent of the swap space in use.
    Swap(f64),
    /// At most this load average.
    Load(f64),
    /// At most so many percent of the time waited.
    Pressure(Kind, f64),
    /// At least so many bytes of memory free and not promised.
    FreeMemory(u64),
    /// At least so many bytes free on a path's disk, and inodes to go with them.
    Disk(u64, PathBuf),
    /// At least so many inodes free on a path's disk.
    Inodes(u64, PathBuf),
    /// At least so many bytes free and not promised on one GPU.
    GpuMemory {
        /// So many.
        bytes: u64,
        /// A machine without a GPU can't meet it, where it need not otherwise.
        required: bool,
    },
}

/// Cards to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cards {
    /// How many.
    pub count: usize,
    /// Bytes of each; `None`: the whole card.
    pub bytes: Option<u64>,
}

/// What is asked of the gate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Demand {
    /// All of these have to hold.
    pub limits: Vec<Limit>,
    /// GPUs to be had.
    pub cards: Option<Cards>,
    /// Bytes of memory to be had.
    pub memory: Option<u64>,
}

/// What a whole card has to have free at least: less is a card that somebody uses without a claim.
pub const WHOLE_CARD: u64 = 2 << 30;

/// How much longer than for a source to wait for a turn: a busy machine is slow to run those before, and none of them asks
/// a source meanwhile.
const TURNS: u32 = 6;

impl Demand {
    /// Whether something is to be claimed.
    #[must_use]
    pub const fn claims(&self) -> bool {
        self.cards.is_some() || self.memory.is_some()
    }

    /// Whether a GPU's memory matters.
    fn needs_gpus(&self) -> bool {
        self.cards.is_some() || self.limits.iter().any(|limit| matches!(limit, Limit::GpuMemory { .. }))
    }

    fn needs_memory(&self) -> bool {
        let of_memory = |limit: &Limit| matches!(limit, Limit::Memory(_) | Limit::FreeMemory(_));
        self.memory.is_some() || self.limits.iter().any(of_memory)
    }
}

/// The gate as one call sees it.
pub struct Gate {
    /// What is asked.
    pub demand: Demand,
    /// The command that it is asked for.
    pub command: Option<Vec<Text>>,
    /// How long a source may take to answer.
    pub patience: Duration,
    /// Where claims may lie.
    pub places: Vec<Candidate>,
    /// An inherited `CUDA_VISIBLE_DEVICES`.
    pub mask: Option<String>,
    /// Device and inode of the claims that this process was started with.
    pub own: Vec<(u64, u64)>,
    /// A limit whose gauge gives no answer is left out.
    pub skip_unknown: bool,
}

/// One look at the gate.
pub struct Look {
    /// Every check.
    pub checks: Vec<Check>,
    /// Their sum.
    pub verdict: Verdict,
    /// What was handed out, where that was asked for and the gate is open.
    pub pass: Option<Pass>,
}

/// What an open gate hands out.
#[derive(Debug)]
pub struct Pass {
    /// The claim; held as long as this lives, or through exec.
    pub slot: Slot,
    /// The cards chosen.
    pub cards: Vec<Card>,
}

impl Gate {
    /// Measures and judges. With `take`, what the command asks for is claimed when the gate is open.
    ///
    /// # Errors
    /// When the claims can't be seen or one can't be made. What can't be measured is a verdict and no error.
    pub fn look(&self, take: bool) -> Result<Look, String> {
        let measured = Survey::begin(&self.demand, self.patience).end(self.mask.as_deref());
        let claimant = self.command.as_deref().filter(|_| self.demand.claims());
        let alone = take && claimant.is_some();
        let place = self.place(alone)?;
        let turnstile = place.as_ref().map(|place| Turnstile::enter(place, alone, self.patience * TURNS)).transpose();
        let turnstile = turnstile.map_err(|error| format!("cannot see the claims: {error}"))?;
        let ledger = place.as_ref().map(Ledger::read).transpose().map_err(|error| format!("cannot read the claims: {error}"))?;
        let mut ledger = ledger.unwrap_or_default();
        // What this very job was promised isn't missing to it. A claim inside a claim comes on top.
        if claimant.is_none() {
            ledger.without(&self.own);
        }
        let (checks, chosen) = self.judge(&measured, &ledger);
        let verdict = overall(&checks, self.skip_unknown);
        let pass = match (claimant, &place) {
            (Some(command), Some(place)) if take && verdict == Verdict::Open => {
                Some(self.claim(place, command, chosen).map_err(|error| format!("cannot write a claim: {error}"))?)
            }
            _ => None,
        };
        drop(turnstile);
        Ok(Look { checks, verdict, pass })
    }

    /// The claims' directory, where claims matter to this demand.
    fn place(&self, make: bool) -> Result<Option<Place>, String> {
        if !(self.demand.needs_memory() || self.demand.needs_gpus()) {
            return Ok(None);
        }
        Place::find(&self.places, make).map_err(|error| format!("cannot keep claims: {error}"))
    }

    fn judge(&self, measured: &Measured, ledger: &Ledger) -> (Vec<Check>, Vec<Card>) {
        let mut checks = measured.checks(&self.demand);
        checks
            .extend(ledger.damaged.iter().map(|claim| Check::unknown("claims", format!("a live claim can't be read: {claim}"))));
        if self.demand.needs_memory() {
            checks.extend(judge::memory(&self.demand, &memory::levels(), ledger));
        }
        let mut chosen = Vec::new();
        if let Some(gpus) = measured.gpus() {
            checks.extend(judge::gpu_memory(&self.demand, gpus, ledger));
            if let Some(cards) = self.demand.cards {
                let choice = choose::choose(cards, gpus, ledger);
                checks.push(choice.check);
                chosen = choice.cards;
            }
        }
        (checks, chosen)
    }

    fn claim(&self, place: &Place, command: &[Text], cards: Vec<Card>) -> std::io::Result<Pass> {
        let mut slot = Slots::new(place, CLAIMS).take()?.high()?;
        let bytes = self.demand.cards.and_then(|wish| wish.bytes);
        slot.write(&Claim {
            version: 1,
            holder: Identity::own(),
            pid_ns: Here::look().pid_ns,
            fd: slot.fd(),
            uid: nix::unistd::getuid().as_raw(),
            command: command.to_vec(),
            since: clock::rfc3339(&clock::now()),
            memory_bytes: self.demand.memory,
            gpus: cards.iter().map(|card| Share { uuid: card.key(), index: card.index, bytes }).collect(),
        })?;
        Ok(Pass { slot, cards })
    }
}

/// The device and inode of each of these descriptors that is open.
#[must_use]
pub fn inodes(fds: &[i32]) -> Vec<(u64, u64)> {
    fds.iter().filter_map(|fd| sys::inode_of(*fd)).collect()
}
