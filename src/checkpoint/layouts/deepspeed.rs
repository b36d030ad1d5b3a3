//! `DeepSpeed` and Megatron: files or folders by rank, which must be contiguous.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::tree::Tree;
use super::super::verdict::{Checked, broken};

/// Checks the ranks; says which trainer's layout it is, if either's.
///
/// # Errors
/// Says which rank is missing.
pub fn check(tree: &Tree) -> Checked<Option<&'static str>> {
    let names = || tree.files.iter().map(super::super::tree::Node::name);
    let models: BTreeSet<u32> = names().filter_map(|name| between(name, "mp_rank_", "_model_states.pt")).collect();
    let partitions: BTreeSet<u32> = names().filter_map(partition).collect();
    let saved = names().any(|name| name.ends_with("_model_states.pt"));
    if saved || !partitions.is_empty() {
        contiguous(&models, "model states of rank")?;
        contiguous(&partitions, "optimizer states of rank")?;
        if !saved {
            return broken("its model states are missing");
        }
        return Ok(Some("DeepSpeed"));
    }
    let shards = || tree.files.iter().filter(|node| matches!(node.name(), "model_optim_rng.pt" | "model_rng.pt"));
    if shards().next().is_none() {
        return Ok(None);
    }
    let folders: BTreeSet<&str> = shards().filter_map(|node| node.path.parent().and_then(Path::file_name)?.to_str()).collect();
    // `mp_rank_01`, and `mp_rank_01_003` where there are pipeline stages too.
    let tensor: BTreeSet<u32> = folders.iter().filter_map(|name| name.strip_prefix("mp_rank_")?.get(..2)?.parse().ok()).collect();
    let stages: BTreeSet<(u32, u32)> = folders
        .iter()
        .filter_map(|name| {
            let (tensor, stage) = name.strip_prefix("mp_rank_")?.split_once('_')?;
            Some((tensor.parse().ok()?, stage.parse().ok()?))
        })
        .collect();
    contiguous(&tensor, "tensor rank")?;
    let depth = stages.iter().map(|(_, stage)| stage + 1).max().unwrap_or(0);
    let missing =
        tensor.iter().flat_map(|rank| (0..depth).map(move |stage| (*rank, stage))).find(|place| !stages.contains(place));
    match missing {
        Some((rank, stage)) => broken(format!("mp_rank_{rank:02}_{stage:03} is missing")),
        None => Ok(Some("Megatron")),
    }
}

/// Rank files of one unit, `-rank0.pt` …, must be contiguous.
///
/// # Errors
/// Says which rank is missing.
pub fn rank_files(tree: &Tree) -> Checked<bool> {
    let rank = |name: &str| super::super::entry::split(name).0.rsplit_once("-rank")?.1.parse::<u32>().ok();
    let ranks: BTreeSet<u32> = tree.files.iter().filter_map(|node| rank(node.name())).collect();
    contiguous(&ranks, "rank").map(|()| !ranks.is_empty())
}

fn between(name: &str, before: &str, after: &str) -> Option<u32> {
    let rest = &name[name.find(before)? + before.len()..];
    rest.strip_suffix(after)?.parse().ok()
}

/// The rank in `zero_pp_rank_3_mp_rank_00_optim_states.pt`, with bf16's prefix too.
fn partition(name: &str) -> Option<u32> {
    let rest = &name[name.find("zero_pp_rank_")? + "zero_pp_rank_".len()..];
    let (rank, rest) = rest.split_once("_mp_rank_")?;
    rest.ends_with("_optim_states.pt").then(|| rank.parse().ok())?
}

fn contiguous(ranks: &BTreeSet<u32>, what: &str) -> Checked<()> {
    match (0..).zip(ranks).find(|(want, have)| want != *have) {
        Some((missing, _)) => broken(format!("{what} {missing} is missing")),
        None => Ok(()),
    }
}
