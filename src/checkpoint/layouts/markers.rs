//! Trainers that mark a finished checkpoint with a file: Orbax.

use std::io::{BufReader, Read};

use nix::fcntl::OFlag;
use serde::Deserialize;

use super::super::dir::Dir;
use super::super::formats::source::json_fault;
use super::super::json::Strict;
use super::super::tree::Tree;
use super::super::verdict::{Checked, broken};

/// Written when saving begins, and again when it is done.
const METADATA: &str = "_CHECKPOINT_METADATA";

#[derive(Deserialize)]
struct Metadata {
    init_timestamp_nsecs: Option<i128>,
    commit_timestamp_nsecs: Option<i128>,
}

/// Checks Orbax's mark; says whether this is one of its checkpoints.
///
/// # Errors
/// Says that saving wasn't finished.
pub fn check(dir: &Dir, tree: &Tree) -> Checked<bool> {
    let parts = tree.files.iter().any(|node| node.name() == "_METADATA" || node.name() == "manifest.ocdbt");
    for node in tree.named(METADATA) {
        let file = dir.open(&node.path, OFlag::O_RDONLY)?;
        let metadata: Metadata = serde_json::from_reader(BufReader::new(Strict::new(file.take(1 << 24))))
            .map_err(|error| json_fault(METADATA, &error))?;
        if metadata.init_timestamp_nsecs.is_some() && metadata.commit_timestamp_nsecs.is_none() {
            return broken("Orbax never committed it");
        }
        let ocdbt = tree.files.iter().any(|node| node.path.components().any(|part| part.as_os_str() == "d"));
        if ocdbt && tree.named("manifest.ocdbt").next().is_none() {
            return broken("manifest.ocdbt is missing");
        }
        return Ok(true);
    }
    Ok(parts)
}
