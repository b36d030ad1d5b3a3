//! torch's distributed checkpoints: `.metadata` is written last and says which bytes of which file hold what.

use std::io::{Read, Seek};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use nix::fcntl::OFlag;

use super::super::dir::Dir;
use super::super::formats::pickle::{self, Seen, Value};
use super::super::formats::{Source, zip};
use super::super::tree::{Node, Tree};
use super::super::verdict::{Checked, Depth, Fault, Passed, Proof, broken};

/// A slice of a file, as the metadata lists it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slice {
    file: String,
    offset: u64,
    length: u64,
}

/// Whether the files are parts of a distributed checkpoint.
#[must_use]
pub fn is_one(tree: &Tree) -> bool {
    tree.files.iter().any(|node| node.name() == ".metadata" || node.name().ends_with(".distcp"))
}

/// Checks every directory that holds such parts.
///
/// # Errors
/// Says what is missing or cut.
pub fn check(dir: &Dir, tree: &Tree, depth: Depth, read: &dyn Fn(u64)) -> Checked {
    let mut folders: Vec<&Path> = tree
        .files
        .iter()
        .filter(|node| node.name() == ".metadata" || node.name().ends_with(".distcp"))
        .filter_map(|node| node.path.parent())
        .collect();
    folders.sort_unstable();
    folders.dedup();
    let mut all = Passed::at(Proof::Manifest);
    for folder in folders {
        let Some(metadata) = tree.files.iter().find(|node| node.path == folder.join(".metadata")) else {
            return broken("its .metadata, which is written last, is missing");
        };
        let passed = one(dir, tree, metadata, depth, read)?;
        all.proof = all.proof.min(passed.proof);
        all.notes.extend(passed.notes);
    }
    Ok(all)
}

fn one(dir: &Dir, tree: &Tree, metadata: &Node, depth: Depth, read: &dyn Fn(u64)) -> Checked {
    if metadata.stat.len == 0 {
        return broken(".metadata is empty");
    }
    let mut source = Source::new(dir.open(&metadata.path, OFlag::O_RDONLY)?, metadata.stat.len);
    let Some(slices) = slices(&mut source).map_err(in_metadata)? else {
        return Ok(Passed::at(Proof::Kind).note(".metadata is too large to be read here"));
    };
    let folder = metadata.path.parent().unwrap_or(Path::new(""));
    let mut open: Option<(PathBuf, std::fs::File, u64)> = None;
    let mut proof = if depth == Depth::Deep { Proof::Checksums } else { Proof::Structure };
    for slice in slices {
        let relative = Path::new(&slice.file);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return broken(format!(".metadata names a file outside: {}", slice.file));
        }
        let path = folder.join(relative);
        if open.as_ref().is_none_or(|(open, ..)| *open != path) {
            let Some(node) = tree.files.iter().find(|node| node.path == path) else {
                return broken(format!("{} is missing", slice.file));
            };
            open = Some((path, dir.open(&node.path, OFlag::O_RDONLY)?, node.stat.len));
        }
        let Some((_, file, len)) = &open else { continue };
        if slice.offset.checked_add(slice.length).is_none_or(|end| end > *len) {
            return broken(format!(
                "{} is cut: it has {len} bytes, {} are needed",
                slice.file,
                slice.offset.saturating_add(slice.length)
            ));
        }
        proof = proof.min(content(file, *len, &slice, depth, read)?);
    }
    Ok(Passed::at(proof))
}

/// A slice is usually an archive of torch's own.
fn content(file: &std::fs::File, len: u64, slice: &Slice, depth: Depth, read: &dyn Fn(u64)) -> Checked<Proof> {
    let mut window = Source::new(file, len).window(slice.offset, slice.length);
    if slice.length < 4 {
        return Ok(Proof::Structure);
    }
    window.seek(0)?;
    if window.array()? != zip::LOCAL {
        // Newer writers put raw tensors there; a slice of zeros is no archive that was lost.
        return Ok(Proof::Kind);
    }
    window.seek(0)?;
    let passed = zip::check(&mut window, depth, read, zip::Torch::Optional).map_err(|fault| match fault {
        Fault::Broken(why) => Fault::Broken(format!("{} at byte {}: {why}", slice.file, slice.offset)),
        other => other,
    })?;
    Ok(passed.proof)
}

fn in_metadata(fault: Fault) -> Fault {
    match fault {
        Fault::Broken(why) => Fault::Broken(format!(".metadata: {why}")),
        other => other,
    }
}

/// Reads the list without importing a class.
fn slices<R: Read + Seek>(source: &mut Source<R>) -> Checked<Option<Vec<Slice>>> {
    let mut found = Vec::new();
    source.seek(0)?;
    let value = pickle::read(source, &mut |seen| {
        if let Seen::Built(class, Value::Map(state)) = seen
            && class.ends_with("._StorageInfo")
        {
            found.push(slice(&state));
        }
    })?;
    if value.is_none() {
        return Ok(None);
    }
    let Some(mut slices) = found.into_iter().collect::<Option<Vec<_>>>() else { return broken("its list of slices is damaged") };
    slices.sort_unstable();
    Ok(Some(slices))
}

fn slice(state: &Rc<Vec<Value>>) -> Option<Slice> {
    let field = |name: &str| {
        state.chunks_exact(2).find(|pair| matches!(&pair[0], Value::Text(key) if &**key == name)).map(|pair| &pair[1])
    };
    let number = |value: Option<&Value>| if let Some(Value::Int(n)) = value { u64::try_from(*n).ok() } else { None };
    let Some(Value::Text(file)) = field("relative_path") else { return None };
    Some(Slice { file: file.to_string(), offset: number(field("offset"))?, length: number(field("length"))? })
}
