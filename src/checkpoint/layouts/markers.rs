//! Trainers that mark a finished checkpoint with a file: Orbax.

use std::io::{BufReader, Read};
use std::path::Path;

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
    if let Some(node) = tree.named(METADATA).next() {
        let file = dir.open(&node.path, OFlag::O_RDONLY)?;
        let metadata: Metadata = serde_json::from_reader(BufReader::new(Strict::new(file.take(1 << 24))))
            .map_err(|error| json_fault(METADATA, &error))?;
        if metadata.init_timestamp_nsecs.is_some() && metadata.commit_timestamp_nsecs.is_none() {
            return broken("Orbax never committed it");
        }
        // Every folder of data, `d`, has its manifest beside it.
        let data = tree
            .files
            .iter()
            .filter_map(|node| node.path.parent())
            .filter(|folder| folder.file_name().is_some_and(|name| name == "d"));
        for folder in data.filter_map(Path::parent) {
            let manifest = folder.join("manifest.ocdbt");
            if !tree.files.iter().any(|node| node.path == manifest) {
                return broken(format!("{} is missing", manifest.display()));
            }
        }
        return Ok(true);
    }
    Ok(parts)
}
