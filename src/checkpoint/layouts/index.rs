//! Models in shards: an index that maps tensors to files, and `-00001-of-00005` in names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufReader, Read};
use std::path::{Component, Path};

use nix::fcntl::OFlag;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::super::dir::Dir;
use super::super::entry::{shard, split};
use super::super::formats::source::json_fault;
use super::super::formats::{Source, safetensors};
use super::super::json::Strict;
use super::super::tree::{Node, Tree};
use super::super::verdict::{Checked, broken};

/// An index as far as it is checked. Of a tensor's name only a hash is kept.
#[derive(Debug, Default, Deserialize)]
struct Index {
    #[serde(default)]
    metadata: Metadata,
    weight_map: Shards,
}

#[derive(Debug, Default, Deserialize)]
struct Metadata {
    total_size: Option<f64>,
}

#[derive(Debug, Default)]
struct Shards(BTreeMap<String, Vec<u64>>);

impl<'de> Deserialize<'de> for Shards {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Shards;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tensors to files")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shards, A::Error> {
                let mut shards = Shards::default();
                while let Some((tensor, file)) = map.next_entry::<String, String>()? {
                    shards.0.entry(file).or_default().push(hashed(&tensor));
                }
                Ok(shards)
            }
        }
        deserializer.deserialize_map(Map)
    }
}

fn hashed(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Checks every index and every set of numbered shards.
///
/// # Errors
/// Says which shard is missing, or isn't what the index says.
pub fn check(dir: &Dir, tree: &Tree, notes: &mut Vec<String>) -> Checked<bool> {
    let mut any = numbered(tree)?;
    for node in tree.files.iter().filter(|node| node.name().ends_with(".index.json")) {
        any = true;
        one(dir, tree, node, notes)?;
    }
    Ok(any)
}

fn one(dir: &Dir, tree: &Tree, node: &Node, notes: &mut Vec<String>) -> Checked<()> {
    let name = node.name();
    let file = dir.open(&node.path, OFlag::O_RDONLY)?;
    let index: Index =
        serde_json::from_reader(BufReader::new(Strict::new(file.take(1 << 30)))).map_err(|error| json_fault(name, &error))?;
    if index.weight_map.0.is_empty() {
        return broken(format!("{name} maps nothing"));
    }
    let here: HashMap<&Path, &Node> = tree.files.iter().map(|node| (node.path.as_path(), node)).collect();
    let mut total = 0;
    for (shard, tensors) in &index.weight_map.0 {
        let plain = Path::new(shard).components().all(|part| matches!(part, Component::Normal(_)));
        if !plain {
            return broken(format!("{name} names a file outside: {shard}"));
        }
        let Some(node) = here.get(node.path.with_file_name(shard).as_path()) else {
            return broken(format!("{shard} is missing"));
        };
        total += node.stat.len;
        if !shard.ends_with(".safetensors") {
            continue;
        }
        let mut held = HashSet::new();
        let mut source = Source::new(dir.open(&node.path, OFlag::O_RDONLY)?, node.stat.len);
        safetensors::check_named(&mut source, &mut |name| {
            held.insert(hashed(name));
        })?;
        let missing = tensors.iter().filter(|tensor| !held.contains(tensor)).count();
        if missing > 0 {
            return broken(format!("{missing} tensors that {name} maps to {shard} aren't in it"));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a comparison with a tolerance far above the loss")]
    if let Some(promised) = index.metadata.total_size
        && promised > total as f64
    {
        notes.push(format!("{name} promises {promised} bytes of tensors, its shards have {total}"));
    }
    Ok(())
}

/// Numbered shards must be all there; says whether there are any.
fn numbered(tree: &Tree) -> Checked<bool> {
    let mut sets: BTreeMap<(String, u32), HashSet<u32>> = BTreeMap::new();
    for node in &tree.files {
        let (stem, extension) = split(node.name());
        if let Some((at, (number, total))) = shard(stem) {
            let set = node.path.with_file_name(format!("{}.{extension}", &stem[..at])).to_string_lossy().into_owned();
            sets.entry((set, total)).or_default().insert(number);
        }
    }
    for ((set, total), numbers) in &sets {
        // Some count from zero.
        let first = u32::from(!numbers.contains(&0));
        if let Some(missing) = (first..first + total).find(|number| !numbers.contains(number)) {
            return broken(format!("shard {missing} of {total} of {set} is missing"));
        }
    }
    Ok(!sets.is_empty())
}
