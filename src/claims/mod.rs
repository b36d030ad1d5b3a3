//! What has been promised: GPUs and memory, each claim a lock that the kernel frees.
//!
//! - A claim is a numbered file whose lock is held by a descriptor that lives through exec. When the last process that
//!   has the descriptor ends, however it ends, the claim ends: there are no stale claims and nothing to clean up.
//! - The files are never removed, since a lock is on a file and not on its name; a free one is taken again.
//! - The locks are open-file-description locks: they stay with the descriptor over fork and exec, and whether one is
//!   held can be asked without taking it (RACES 12), which a reader's own lock could make the next claim fail by.
//! - Whoever measures and then claims does so behind the [`Turnstile`], one at a time.
//! - What a file says is data. A file of a live claim that can't be understood makes the room unknown.

mod holders;
mod ledger;
mod lock;
mod place;
mod slots;
mod turnstile;

pub use holders::Processes;
pub use ledger::{Held, Ledger};
pub use place::{Candidate, Place};
pub use slots::{Live, Slot, Slots};
pub use turnstile::Turnstile;

use serde::{Deserialize, Serialize};

use crate::process::Identity;
use crate::text::Text;

/// The name of claims' files, before the number.
pub const CLAIMS: &str = "claim";

/// The variable that names the descriptors of the claims that a process holds, by number and separated by commas.
pub const FDS: &str = "BG_CLAIM_FDS";

/// What a claim's file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// 1. A newer one isn't understood.
    pub version: u32,
    /// Who took it; with a command that is the command's own process.
    #[serde(flatten)]
    pub holder: Identity,
    /// The pid namespace that `pid` is of.
    pub pid_ns: u64,
    /// The number of the descriptor in every process that holds it.
    pub fd: i32,
    /// The user's number.
    pub uid: u32,
    /// The command it was taken for.
    pub command: Vec<Text>,
    /// When, RFC 3339.
    pub since: String,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// GPUs, whole or in part.
    pub gpus: Vec<Share>,
}

/// A card, or bytes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The card's UUID, or whatever else it is known by.
    pub uuid: String,
    /// Its number, for people.
    pub index: u32,
    /// `null`: the whole card.
    pub bytes: Option<u64>,
}
