//! What is written of a job: the stored form, its names, and what a reader does with a file it can't trust.
//!
//! `bgtools-record(5)` is the reference of the format. Within a version fields are only ever added, so a reader takes no
//! offence at one it doesn't know and a writer that amends a record keeps it; a newer version is read by nobody here and
//! rewritten by nobody here.

mod name;
mod policy;
mod stored;

pub use name::{MAX_NAME, base_name, check_name, parse_id, resembling};
pub use policy::{Breaker, Place, Policy, Restart, Warn, Watchdog};
pub use stored::{CancelRequest, End, Evidence, Record, RunRecord, Settings, State, Supervisor, Usage, VERSION};

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

/// Why a file under a record's name is no record that this program may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It couldn't be read; the system's reason.
    Io(String),
    /// Not JSON, or not a record's shape: truncated, empty, something else's file.
    Damaged(String),
    /// Written by a later version of bgtools; only that may rewrite it.
    Newer(u64),
    /// Its id isn't the one its file name says.
    Foreign(String),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => write!(f, "{why}"),
            Self::Damaged(why) => write!(f, "damaged: {why}"),
            Self::Newer(version) => write!(f, "version {version} is newer than this program's {VERSION}"),
            Self::Foreign(id) => write!(f, "it says that it is job '{}'", crate::text::shown(id)),
        }
    }
}

impl std::error::Error for Unreadable {}

#[derive(Deserialize)]
struct Head {
    version: u64,
    id: String,
}

/// Reads the record of job `id`.
///
/// # Errors
/// Says what is wrong with the bytes; they are never to be replaced then.
pub fn parse(id: &str, bytes: &[u8]) -> Result<Record, Unreadable> {
    check_head(id, bytes)?;
    serde_json::from_slice(bytes).map_err(|error| Unreadable::Damaged(error.to_string()))
}

/// Only as much as tells whether the bytes are a record of job `id` in a version known here.
fn check_head(id: &str, bytes: &[u8]) -> Result<(), Unreadable> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Unreadable::Damaged("empty".into()));
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| Unreadable::Damaged(error.to_string()))?;
    if head.version > VERSION {
        return Err(Unreadable::Newer(head.version));
    }
    if head.id == id { Ok(()) } else { Err(Unreadable::Foreign(head.id)) }
}

/// Changes fields of a record that another program wrote, keeping every field this one doesn't know.
///
/// # Errors
/// As [`parse`].
pub fn amend(id: &str, bytes: &[u8], change: impl FnOnce(&mut Record)) -> Result<Vec<u8>, Unreadable> {
    let mut record = parse(id, bytes)?;
    let damaged = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
    let mut whole: Value = serde_json::from_slice(bytes).map_err(damaged)?;
    change(&mut record);
    merge(&mut whole, serde_json::to_value(&record).map_err(damaged)?);
    Ok(line(&whole))
}

/// Lays `new` over `old`: objects field by field, anything else whole.
fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                merge(old.entry(key).or_insert(Value::Null), value);
            }
        }
        (old, new) => *old = new,
    }
}

/// A value as one line of JSON, newline included: how records are stored and how `--json` prints.
pub fn line(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Record {
        Record { id: "a_20251129_120300".into(), name: "a".into(), ..Record::default() }
    }

    #[test]
    fn an_amended_record_keeps_what_it_does_not_know() {
        let mut value = serde_json::to_value(sample()).unwrap();
        value["later"] = serde_json::json!({"x": [1, 2]});
        value["policy"]["later"] = serde_json::json!(true);
        let amended = amend("a_20251129_120300", &line(&value), |record| record.state = State::Lost).unwrap();
        let amended: Value = serde_json::from_slice(&amended).unwrap();
        assert_eq!(amended["state"], "lost");
        assert_eq!(amended["later"], value["later"]);
        assert_eq!(amended["policy"]["later"], true);
    }

    #[test]
    fn what_is_newer_foreign_or_damaged_is_told_apart() {
        let id = "a_20251129_120300";
        let of = |value: &Value| parse(id, &line(value)).map(drop).unwrap_err();
        let mut value = serde_json::to_value(sample()).unwrap();
        value["version"] = 2.into();
        value["state"] = "some state of version 2".into();
        assert_eq!(of(&value), Unreadable::Newer(2));
        let mut value = serde_json::to_value(sample()).unwrap();
        value["id"] = "b_20251129_120300".into();
        assert_eq!(of(&value), Unreadable::Foreign("b_20251129_120300".into()));
        let whole = line(&serde_json::to_value(sample()).unwrap());
        for cut in [0, 1, 10, whole.len() - 2] {
            assert!(matches!(parse(id, &whole[..cut]), Err(Unreadable::Damaged(_))), "{cut}");
        }
        assert!(matches!(parse(id, b"[1]"), Err(Unreadable::Damaged(_))));
    }
}
