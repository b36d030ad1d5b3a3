//! How many jobs of a queue run at a time: a file, replaced whole.

use std::io;
use std::os::fd::AsFd;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{PATIENCE, Queue, line, reason};
use crate::record::{Unreadable, line as json_line};
use crate::state_dir::{read_file, replace_file};

pub(super) const SLOTS: &str = "slots.json";
const VERSION: u64 = 1;

#[derive(Deserialize)]
struct Stored {
    version: u64,
    slots: u32,
}

impl Queue<'_> {
    /// How many jobs of it run at a time: one, unless it was told otherwise.
    ///
    /// # Errors
    /// Why the file that says so can't be used. It counts as one slot then: less than that would stop the queue, and more
    /// may be more than the machine bears.
    pub fn slots(&self) -> Result<u32, Unreadable> {
        Ok(self.stored()?.map_or(1, |(slots, _)| slots))
    }

    fn stored(&self) -> Result<Option<(u32, Value)>, Unreadable> {
        let bytes = read_file(self.folder.as_fd(), SLOTS).map_err(|error| Unreadable::Io(error.to_string()))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let damaged = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
        let whole: Value = serde_json::from_slice(&bytes).map_err(damaged)?;
        if let Some(newer) = whole["version"].as_u64().filter(|version| *version > VERSION) {
            return Err(Unreadable::Newer(newer));
        }
        if !whole.is_object() {
            return Err(Unreadable::Damaged("it is no object".into()));
        }
        match Stored::deserialize(&whole).map_err(damaged)? {
            Stored { version: VERSION, slots: slots @ 1.. } => Ok(Some((slots, whole))),
            _ => Err(Unreadable::Damaged("it names no slots".into())),
        }
    }

    /// Changes the number of slots; durable when it returns. Jobs that run go on where there are fewer now.
    ///
    /// # Errors
    /// Why the file that is there can't be used, it is left then; or as `write(2)`, `rename(2)`.
    pub fn set_slots(&self, slots: u32) -> Result<(), Unreadable> {
        let io = |error: io::Error| Unreadable::Io(error.to_string());
        let _lock = self.lock_within(PATIENCE).map_err(io)?;
        let mut whole = match self.stored()? {
            Some((now, _)) if now == slots => return Ok(()),
            Some((_, whole)) => whole,
            None => json!({"version": VERSION}),
        };
        whole["slots"] = json!(slots);
        replace_file(self.folder.as_fd(), SLOTS, &json_line(&whole)).map_err(io)
    }

    /// What a record says of its job's wait. Where exactly it stands changes without it: readers look for themselves.
    #[must_use]
    pub fn reason(&self) -> String {
        match self.slots() {
            Ok(_) => reason(self.name),
            Err(why) => format!("{}, which has 1 slot {}", reason(self.name), line::trouble(&why)),
        }
    }
}
