//! GPUs, through the driver's own library (NVML).
//!
//! There are three answers: cards with what they have free, no GPU, and unknown. "No GPU" is only a missing library, a
//! driver that isn't loaded or a count of none, and only while the kernel shows no trace of a card either. A library that hangs
//! is asked in a [probe](crate::probe); what it said before counts.

mod nvml;
mod visible;

pub use visible::visible;

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Gauge;
use crate::probe::{Ending, Probe};

/// What the machine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gpus {
    /// No GPU, and why that is certain.
    None(String),
    /// Every card, those that couldn't be measured included.
    Cards(Vec<Card>),
    /// It can't be said, and why.
    Unknown(String),
}

/// A GPU, or a part of one that MIG made a device of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// In the order of the PCI bus, from 0; a MIG device has its card's.
    pub index: u32,
    /// What claims know it by; `None` where the driver doesn't say.
    pub uuid: Option<String>,
    /// As the maker calls it.
    pub name: Option<String>,
    /// A MIG device: it can be chosen by its UUID only.
    pub mig: bool,
    /// What it has, or why that isn't known.
    pub memory: Gauge<Memory>,
    /// The processes that compute on it and the bytes that each holds, as far as the driver says.
    pub processes: Vec<(i32, u64)>,
}

/// A card's memory in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// All there is.
    pub total: u64,
    /// What nobody holds.
    pub free: u64,
    /// The call or the file.
    pub source: String,
}

impl Card {
    /// A card of which nothing is known but that it is there.
    fn unknown(index: u32, why: impl Into<String>) -> Self {
        Self { index, uuid: None, name: None, mig: false, memory: Err(why.into()), processes: Vec::new() }
    }

    /// What claims know it by.
    #[must_use]
    pub fn key(&self) -> String {
        self.uuid.clone().unwrap_or_else(|| format!("index {}", self.index))
    }
}

/// What the child says, a line each.
#[derive(Serialize, Deserialize)]
enum Said {
    /// There is nothing to ask: no library, no driver.
    Nothing(String),
    /// The library answers with an error.
    Wrong(String),
    Count(u32),
    Card(Card),
}

/// A question under way.
pub struct Asked(Probe);

/// Asks the driver, in a child that has `limit` to answer.
///
/// # Errors
/// When no child can be started.
pub fn ask(limit: Duration) -> Gauge<Asked> {
    Probe::start(limit, nvml::tell).map(Asked).map_err(|error| format!("cannot start a process that asks: {error}"))
}

impl Asked {
    /// The answer, at the deadline at the latest.
    #[must_use]
    pub fn answer(self) -> Gpus {
        let (said, ending) = self.0.finish::<Said>();
        judged(said, &ending, traces().as_deref())
    }
}

/// `trace` is what the kernel shows of a card.
fn judged(said: Vec<Said>, ending: &Ending, trace: Option<&str>) -> Gpus {
    let silence = match ending {
        Ending::Late(limit) => format!("NVML gave no answer within {}", humantime::format_duration(*limit)),
        Ending::Whole | Ending::Broken => "the process that asked NVML died".into(),
    };
    let mut count = None;
    let mut cards = Vec::new();
    for word in said {
        match (word, trace) {
            (Said::Nothing(why), None) => return Gpus::None(why),
            (Said::Nothing(why), Some(trace)) => return Gpus::Unknown(format!("{why}, though {trace} is there")),
            (Said::Wrong(why), _) => return Gpus::Unknown(why),
            (Said::Count(n), _) => count = Some(n),
            (Said::Card(card), _) => cards.push(card),
        }
    }
    match (count, trace) {
        (None, _) => Gpus::Unknown(silence),
        (Some(0), None) => Gpus::None("NVML counts no device".into()),
        (Some(0), Some(trace)) => Gpus::Unknown(format!("NVML counts no device, though {trace} is there")),
        (Some(count), _) => {
            for index in (0..count).filter(|_| *ending != Ending::Whole) {
                if !cards.iter().any(|card| card.index == index) {
                    cards.push(Card::unknown(index, silence.clone()));
                }
            }
            Gpus::Cards(cards)
        }
    }
}

/// What the kernel shows of an NVIDIA card: a driver that is loaded with a card, or a device node.
fn traces() -> Option<String> {
    let driver = Path::new("/proc/driver/nvidia");
    match fs::read_dir(driver.join("gpus")) {
        Ok(mut cards) => {
            if cards.next().is_some() {
                return Some(driver.join("gpus").display().to_string());
            }
        }
        Err(_) if driver.exists() => return Some(driver.display().to_string()),
        Err(_) => {}
    }
    let numbered =
        |name: &str| name.strip_prefix("nvidia").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let nodes = fs::read_dir("/dev").ok()?;
    let node = nodes.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).find(|name| numbered(name))?;
    Some(format!("/dev/{node}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late() -> Ending {
        Ending::Late(Duration::from_secs(5))
    }

    #[test]
    fn no_gpu_needs_the_kernel_to_agree() {
        let absent = || vec![Said::Nothing("no library".into())];
        assert_eq!(judged(absent(), &Ending::Whole, None), Gpus::None("no library".into()));
        assert!(
            matches!(judged(absent(), &Ending::Whole, Some("/dev/nvidia0")), Gpus::Unknown(why) if why.contains("/dev/nvidia0"))
        );
        assert!(matches!(judged(vec![Said::Count(0)], &Ending::Whole, None), Gpus::None(_)));
        assert!(matches!(judged(vec![Said::Count(0)], &Ending::Whole, Some("x")), Gpus::Unknown(_)));
    }

    #[test]
    fn a_hang_leaves_what_was_said_before() {
        assert!(matches!(judged(vec![], &late(), None), Gpus::Unknown(why) if why.contains("5s")));
        let first = Card { memory: Ok(Memory { total: 2, free: 1, source: String::new() }), ..Card::unknown(0, "") };
        let Gpus::Cards(cards) = judged(vec![Said::Count(2), Said::Card(first)], &late(), None) else { panic!() };
        assert_eq!(cards.iter().map(|card| card.memory.is_ok()).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_child_that_died_is_unknown() {
        assert!(matches!(judged(vec![], &Ending::Broken, None), Gpus::Unknown(_)));
    }
}
