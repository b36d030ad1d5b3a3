//! What the machine has to spare: one module a source, each of which gives a measured value with where it was read,
//! or the reason why it can't be measured. Nothing here knows a limit.
//!
//! "Can't be measured" is never read as free and never as absent: a file that isn't there and a file that can't be
//! read are told apart at every step.

pub mod cgroup;
pub mod cpu;
pub mod disk;
pub mod gpu;
pub mod load;
pub mod memory;
pub mod pressure;
pub mod swap;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// A value, or why there is none.
pub type Gauge<T> = Result<T, String>;

/// A measured value and where it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading<T> {
    /// In the gauge's own unit.
    pub value: T,
    /// A file, or the call that was made.
    pub source: String,
}

/// sysinfo's view of the machine, nothing of it read yet.
fn system() -> Gauge<sysinfo::System> {
    sysinfo::System::new().map_err(|error| format!("cannot read the machine's state: {error}"))
}

/// The text of a file that has to be there.
fn text(path: impl AsRef<Path>) -> Gauge<String> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(|error| format!("cannot read '{}': {error}", path.display()))
}

/// The text of a file that need not be there.
fn text_if_any(path: impl AsRef<Path>) -> Gauge<Option<String>> {
    let path = path.as_ref();
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(format!("cannot read '{}': {error}", path.display())),
    }
}

/// The number that a whole file, or a field of it, is.
fn number(text: &str, path: impl AsRef<Path>) -> Gauge<u64> {
    text.trim().parse().map_err(|_| not_understood(path))
}

/// The number behind a key in a file of `key number` lines.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn not_understood(path: impl AsRef<Path>) -> String {
    format!("'{}' doesn't read as expected", path.as_ref().display())
}

/// A part of a whole in percent.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}
