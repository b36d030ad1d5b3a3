//! The journal of done items: one append-only file of JSON lines that people may edit.
//!
//! - A line counts when it ends in a line break and parses; what doesn't is named and never means "empty".
//! - Writers append under a flock on a sidecar, whole or not at all, and acknowledge after fdatasync.
//! - Readers take no lock, and sync what they report.
//! - Nothing beside the file is the truth: not the mark in the lock file, not the cache.

mod compact;
mod edit;
pub mod key;
mod loss;
mod mark;
mod place;
mod quick;
pub mod record;
mod scan;
mod writer;

pub use compact::{Compacted, Repaired, replace};
pub use loss::{Lost, Notice, recently_done};
pub use mark::Mark;
pub use place::Place;
pub use record::{Header, Record};
pub use scan::{Bad, Blocks, Chunk, Entry, LONGEST, Reading, each_line};
pub use writer::{Writer, now, read_whole};
