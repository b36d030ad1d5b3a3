//! A measurement of a checkpoint: in its trainer's state, in a file of metrics, or in its name.

use std::io::{BufReader, Read};

use nix::fcntl::OFlag;

use super::dir::Dir;
use super::json::Strict;
use super::layouts::huggingface::{Measurements, state};
use super::scan::Unit;
use super::tree::Tree;

/// Files of plain measurements, by name.
const FILES: [&str; 4] = ["metrics.json", "eval_results.json", "all_results.json", "eval_metrics.json"];

/// The measurement called `name`; `None` when nobody took it, or it is no number.
#[must_use]
pub fn read(dir: &Dir, unit: &Unit, tree: &Tree, name: &str) -> Option<f64> {
    let open = |path: &std::path::Path| dir.open(path, OFlag::O_RDONLY).ok();
    let in_state = || {
        let node = tree.named("trainer_state.json").next()?;
        state(open(&node.path)?).ok()?.log_history.0.get(name).copied()
    };
    let in_files = || {
        FILES.iter().flat_map(|file| tree.named(file)).find_map(|node| {
            let file = BufReader::new(Strict::new(open(&node.path)?.take(1 << 24)));
            let Measurements(all) = serde_json::from_reader(file).ok()?;
            all.into_iter().find(|(key, _)| key == name)?.1
        })
    };
    in_state().or_else(in_files).or_else(|| in_name(&unit.name, name)).filter(|value| value.is_finite())
}

fn in_name(unit: &str, metric: &str) -> Option<f64> {
    unit.match_indices(metric).find_map(|(at, _)| {
        let starts = unit[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        let rest = unit[at + metric.len()..].strip_prefix(['=', '_', '-']).unwrap_or(&unit[at + metric.len()..]);
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-').unwrap_or(rest.len());
        // `0.12-step`: a dash that begins the next field, or the dot of an extension.
        let number = rest[..end].trim_end_matches(['.', '-']);
        let number = number.split_once('-').map_or(number, |(first, _)| if first.is_empty() { number } else { first });
        starts.then(|| number.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::in_name;

    #[test]
    fn a_name_may_say_the_measurement() {
        assert_eq!(in_name("epoch=3-val_loss=0.12.ckpt", "val_loss"), Some(0.12));
        assert_eq!(in_name("epoch=3-val_loss=0.12-step=40.ckpt", "val_loss"), Some(0.12));
        assert_eq!(in_name("m_loss-0.5_7.pt", "loss"), Some(0.5));
        assert_eq!(in_name("epoch=3-val_loss=nan.ckpt", "val_loss"), None);
        assert_eq!(in_name("xval_loss=1", "val_loss"), None);
    }
}
