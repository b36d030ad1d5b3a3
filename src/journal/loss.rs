//! What an editor lost: records that were acknowledged lately and aren't in the journal any more.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io;

use super::key;
use super::mark::Mark;
use super::record::{self, Header, Record};
use super::scan::{Reading, each_line};

/// What a user should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Another program wrote the journal, and records are missing since.
    Lost(Lost),
    /// The last line was torn; it was moved aside.
    Torn {
        /// How long it was.
        bytes: u64,
    },
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// How many lines fewer there are.
    pub fewer: u64,
    /// The items among those marked last that aren't mentioned any more.
    pub items: Vec<Vec<u8>>,
}

impl Notice {
    /// One line for a user; `name` is the journal's.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        match self {
            Self::Torn { bytes } => {
                format!("the last line of '{name}' was torn: {bytes} bytes, never acknowledged, moved to '{name}.torn'")
            }
            Self::Lost(lost) => lost.text(name),
        }
    }
}

impl Lost {
    fn text(&self, name: &str) -> String {
        const SHOWN: usize = 20;
        let mut text = format!("'{name}' was changed by another program");
        if self.fewer > 0 {
            let _ = write!(text, ", and has {} fewer lines than when it was last written", self.fewer);
        }
        if !self.items.is_empty() {
            let named: Vec<String> = self.items.iter().take(SHOWN).map(|item| key::typed(item)).collect();
            let more = if self.items.len() > SHOWN { ", …" } else { "" };
            let _ = write!(text, "; marked lately and to do again: {}{more}", named.join(", "));
        }
        text
    }
}

/// The items that the last records mark, as far as the lock file still holds them.
///
/// # Errors
/// As `pread(2)`.
pub fn recently_done(mark: &Mark, lock: &File, header: &Header) -> io::Result<BTreeSet<Vec<u8>>> {
    let mut done = BTreeSet::new();
    let mut key = Vec::new();
    each_line(&mark.recent(lock)?, |line, _| {
        let record = line.and_then(|line| record::parse(line, header.fields.as_deref(), &mut key));
        match record {
            Ok(Record::Done) => drop(done.insert(key.clone())),
            Ok(Record::Undo) => drop(done.remove(&key)),
            _ => {}
        }
    });
    Ok(done)
}

/// Compares the journal, which another program wrote, with what the last writer left; `None` when nothing is missing.
pub(super) fn lost(mark: &Mark, lock: &File, file: &File, lines: u64, header: &Header) -> io::Result<Option<Lost>> {
    // A ring that can't be read names nothing; the count is left.
    let mut missing = recently_done(mark, lock, header).unwrap_or_default();
    let mut reading = Reading { header: Header { version: 0, ..header.clone() }, ..Reading::default() };
    reading.read(file, u64::MAX, None, |entry| {
        missing.remove(entry.key);
    })?;
    let fewer = mark.lines.saturating_sub(lines);
    let lost = Lost { fewer, items: missing.into_iter().collect() };
    Ok((fewer > 0 || !lost.items.is_empty()).then_some(lost))
}
