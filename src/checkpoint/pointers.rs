//! What points at a checkpoint protects it: links, the trainers' files that name the latest, the best of a trainer's
//! state, and pins.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::{Component, Path};

use nix::fcntl::{OFlag, readlinkat};

use super::dir::Dir;
use super::scan::Scan;

/// Where pins are kept: a JSON list of names.
pub const PINS: &str = ".ckpt-rotate.pins";

/// Names of checkpoints, and what protects each.
pub type Protected = HashMap<String, String>;

/// The longest file that is read as a pointer.
const POINTER: u64 = 64 * 1024;

/// Whether a file of this name may say which checkpoint is the latest or the best.
#[must_use]
pub fn may_point(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let known = [
        "latest",
        "last",
        "checkpoint",
        "latest.txt",
        "last_checkpoint",
        "latest_checkpoint",
        "latest_checkpointed_iteration.txt",
    ];
    known.contains(&name) || name.starts_with("best") || name == "trainer_state.json"
}

/// Everything in the directory that points at an entry of it.
///
/// # Errors
/// When the pins can't be read: then nobody knows what was pinned.
pub fn read(dir: &Dir, scan: &Scan) -> io::Result<Protected> {
    let mut protected = pins(dir)?.into_iter().map(|name| (name, "pinned".to_owned())).collect();
    for link in &scan.links {
        from_link(dir, link, &mut protected);
    }
    for note in &scan.notes {
        from_note(dir, note, &mut protected);
    }
    Ok(protected)
}

fn from_link(dir: &Dir, link: &OsString, protected: &mut Protected) {
    let Ok(target) = readlinkat(dir, link.as_os_str()) else { return };
    let target = Path::new(&target);
    let mut protect = |name: &OsStr| {
        if let Some(name) = name.to_str() {
            protected.entry(name.to_owned()).or_insert_with(|| format!("{} points at it", link.display()));
        }
    };
    // The entry of the directory that the link leads through, whichever of the target's parts that is.
    for component in target.components() {
        if let Component::Normal(name) = component {
            protect(name);
        }
    }
}

fn from_note(dir: &Dir, note: &OsString, protected: &mut Protected) {
    let Ok(file) = dir.open(note, OFlag::O_RDONLY) else { return };
    let mut text = String::new();
    if file.take(POINTER).read_to_string(&mut text).is_err() {
        return;
    }
    let text = text.trim();
    let mut protect = |name: &str| {
        let name = Path::new(name.trim()).file_name().and_then(OsStr::to_str).unwrap_or_default();
        if !name.is_empty() {
            protected.entry(name.to_owned()).or_insert_with(|| format!("{} names it", note.display()));
        }
    };
    if note == "latest_checkpointed_iteration.txt" {
        if let Ok(number) = text.parse::<u64>() {
            protect(&format!("iter_{number:07}"));
        }
    } else if note == "trainer_state.json" {
        if let Some(best) = super::layouts::huggingface::state(text.as_bytes()).ok().and_then(|state| state.best_model_checkpoint)
        {
            protect(&best);
        }
    } else if text.lines().count() <= 1 && !text.contains(": \"") {
        protect(text);
    } else {
        // TensorFlow's text protobuf: `model_checkpoint_path: "model.ckpt-100"`; the other lines name the older ones.
        let latest = text.lines().find_map(|line| line.trim().strip_prefix("model_checkpoint_path:"));
        if let Some(path) = latest {
            protect(path.trim().trim_matches('"'));
        }
    }
}

/// The names that were pinned.
///
/// # Errors
/// When the list is there and can't be read or understood.
pub fn pins(dir: &Dir) -> io::Result<Vec<String>> {
    let file = match dir.open(PINS, OFlag::O_RDONLY) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    serde_json::from_reader(io::BufReader::new(file.take(1 << 24))).map_err(io::Error::from)
}
