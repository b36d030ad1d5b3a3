//! A directory of the transformers Trainer: `trainer_state.json` is written last.

use std::fmt;
use std::io::{BufReader, Read};

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::entry::split;
use super::super::formats::source::json_fault;
use super::super::json::Strict;
use super::super::tree::Tree;
use super::super::verdict::{Checked, broken};

/// What of a trainer's state matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct State {
    /// Its step.
    pub global_step: Option<f64>,
    /// The best checkpoint so far, as a path.
    pub best_model_checkpoint: Option<String>,
    /// The measurements logged last, by name.
    pub log_history: Last,
}

/// The last value of each measurement in a log, without holding the log.
#[derive(Debug, Default)]
pub struct Last(pub std::collections::HashMap<String, f64>);

impl<'de> Deserialize<'de> for Last {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Last;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of measurements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Last, A::Error> {
        let mut last = Last::default();
        while let Some(Measurements(entry)) = seq.next_element()? {
            for (name, value) in entry {
                match value {
                    Some(value) => last.0.insert(name, value),
                    None => last.0.remove(&name),
                };
            }
        }
        Ok(last)
    }
}

/// The numbers of one object; `None` where the value is no number, as NaN isn't.
#[derive(Debug, Default)]
pub struct Measurements(pub Vec<(String, Option<f64>)>);

impl<'de> Deserialize<'de> for Measurements {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Numbers)
    }
}

struct Numbers;

impl<'de> Visitor<'de> for Numbers {
    type Value = Measurements;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Measurements, A::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Value {
            Number(f64),
            Other(IgnoredAny),
        }
        let mut all = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            all.push(match map.next_value()? {
                Value::Number(number) if number.is_finite() => (name, Some(number)),
                Value::Number(_) | Value::Other(IgnoredAny) => (name, None),
            });
        }
        Ok(Measurements(all))
    }
}

/// Reads a trainer's state.
///
/// # Errors
/// Says why it is none.
pub fn state(from: impl Read) -> Checked<State> {
    serde_json::from_reader(BufReader::new(Strict::new(from))).map_err(|error| json_fault("trainer_state.json", &error))
}

/// Beginnings of the names of what stands beside a model.
const BESIDE: [&str; 7] = ["optimizer", "scheduler", "rng_state", "scaler", "training_args", "random_states", "tokenizer"];

/// Whether a file may be the model, under whatever name: weights that are nothing else.
fn is_model(name: &str) -> bool {
    let weights = ["safetensors", "bin", "pt", "pth", "h5", "msgpack", "gguf", "ckpt"].contains(&split(name).1);
    weights && !BESIDE.iter().any(|beside| name.starts_with(beside))
}

/// Checks what the trainer promises: `step` is the number in the directory's name.
///
/// # Errors
/// Says what is missing.
pub fn check(tree: &Tree, state: &State, step: Option<u64>, notes: &mut Vec<String>) -> Checked<()> {
    #[expect(clippy::cast_precision_loss, reason = "no training has 2^53 steps")]
    if let (Some(step), Some(found)) = (step, state.global_step)
        && (found - step as f64).abs() > 0.5
    {
        return broken(format!("trainer_state.json says step {found}"));
    }
    let sharded = tree.files.iter().any(|node| node.name() == ".metadata" || node.name().ends_with("_model_states.pt"));
    let model = tree.files.iter().any(|node| is_model(node.name()));
    if !model && !sharded {
        return broken("it has no model file");
    }
    ranks(tree)?;
    let resumes = tree.files.iter().any(|node| node.name().starts_with("optimizer") || node.name().ends_with("optim_states.pt"));
    if !resumes && !sharded {
        notes.push("no optimizer state: complete for inference, not for resuming".to_owned());
    }
    Ok(())
}

/// `rng_state_0.pth` … must be contiguous.
fn ranks(tree: &Tree) -> Checked<()> {
    let rank = |name: &str| name.strip_prefix("rng_state_")?.strip_suffix(".pth")?.parse::<u32>().ok();
    let mut ranks: Vec<u32> = tree.files.iter().filter_map(|node| rank(node.name())).collect();
    ranks.sort_unstable();
    match (0..).zip(&ranks).find(|(want, have)| want != *have) {
        Some((missing, _)) => broken(format!("rng_state_{missing}.pth is missing")),
        None => Ok(()),
    }
}
