//! The limits that a job may be given, and the file of a control group that says each of them.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What the job may use at most; what is absent isn't limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes above which the kernel slows it down and takes memory back.
    pub memory_high: Option<u64>,
    /// Bytes above which the kernel kills in it.
    pub memory_max: Option<u64>,
    /// Bytes of swap beside those.
    pub memory_swap_max: Option<u64>,
    /// Processors' worth of time.
    pub cpus: Option<f64>,
    /// Processes and threads.
    pub pids_max: Option<u64>,
}

/// The kernel counts quotas in periods of this many microseconds, as systemd does.
const PERIOD_US: u64 = 100_000;
/// Its smallest quota.
const LEAST_QUOTA_US: u64 = 1000;
/// Sizes are rounded to pages, which have 64 KiB at most.
const PAGE: u64 = 64 << 10;

/// One limit that was asked for.
pub(super) struct Limit {
    pub(super) option: &'static str,
    pub(super) controller: &'static str,
    pub(super) unified: (&'static str, String),
    /// `None`: version 1 has no such limit.
    pub(super) legacy: Option<(&'static str, String)>,
    /// systemd's property.
    pub(super) property: (&'static str, u64),
}

/// Microseconds of each second.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the option's parser takes 0.01 to 1e6")]
fn per_second_us(cpus: f64) -> u64 {
    (cpus * 1e6).round() as u64
}

impl Limits {
    /// Those that were asked for, in the order in which they have to be written.
    pub(super) fn asked(&self) -> Vec<Limit> {
        let memory = |option, name, property, bytes: u64, legacy| Limit {
            option,
            controller: "memory",
            unified: (name, bytes.to_string()),
            legacy,
            property: (property, bytes),
        };
        let high = self.memory_high.map(|bytes| memory("--memory-high", "memory.high", "MemoryHigh", bytes, None));
        let max = self.memory_max.map(|bytes| {
            memory("--memory-max", "memory.max", "MemoryMax", bytes, Some(("memory.limit_in_bytes", bytes.to_string())))
        });
        let swap = self.memory_swap_max.map(|bytes| {
            // Version 1 limits memory and swap together.
            let both = self.memory_max.map(|max| ("memory.memsw.limit_in_bytes", max.saturating_add(bytes).to_string()));
            memory("--memory-swap-max", "memory.swap.max", "MemorySwapMax", bytes, both)
        });
        let cpus = self.cpus.map(per_second_us).map(|us| {
            let quota = (us / (1_000_000 / PERIOD_US)).max(LEAST_QUOTA_US);
            Limit {
                option: "--cpus",
                controller: "cpu",
                unified: ("cpu.max", format!("{quota} {PERIOD_US}")),
                legacy: Some(("cpu.cfs_quota_us", quota.to_string())),
                property: ("CPUQuotaPerSecUSec", us),
            }
        });
        let pids = self.pids_max.map(|most| Limit {
            option: "--pids-max",
            controller: "pids",
            unified: ("pids.max", most.to_string()),
            legacy: Some(("pids.max", most.to_string())),
            property: ("TasksMax", most),
        });
        [high, max, swap, cpus, pids].into_iter().flatten().collect()
    }
}

impl Limit {
    /// Writes it into a group of this version, and reads it back: what is accepted needn't be enforced.
    pub(super) fn write(&self, group: &Path, unified: bool) -> Result<(), String> {
        let (file, value) = self.said(unified)?;
        let path = group.join(file);
        fs::write(&path, value).map_err(|error| format!("cannot write '{}': {error}", path.display()))?;
        self.check(group, unified)
    }

    /// Whether the group really has this limit.
    pub(super) fn check(&self, group: &Path, unified: bool) -> Result<(), String> {
        let (file, value) = self.said(unified)?;
        let path = group.join(file);
        let has = fs::read_to_string(&path).map_err(|_| format!("{} has no effect here: '{file}' isn't there", self.option))?;
        if same(value, has.trim()) {
            Ok(())
        } else {
            Err(format!("{} has no effect here: '{file}' says {}", self.option, has.trim()))
        }
    }

    fn said(&self, unified: bool) -> Result<(&'static str, &str), String> {
        let said = if unified { Some(&self.unified) } else { self.legacy.as_ref() };
        let (file, value) = said.ok_or_else(|| match self.option {
            "--memory-swap-max" => "control groups v1 limit memory and swap together: --memory-max is needed as well".to_owned(),
            option => format!("control groups v1 have nothing like {option}"),
        })?;
        Ok((file, value))
    }
}

/// Whether a file says what was asked for, within the kernel's rounding.
fn same(asked: &str, has: &str) -> bool {
    let numbers = |text: &str| text.split(' ').map(|word| word.parse().ok()).collect::<Option<Vec<u64>>>();
    match (numbers(asked).as_deref(), numbers(has).as_deref()) {
        (Some([asked]), Some([has])) => asked == has || (has < asked && asked - has < PAGE && *asked >= PAGE),
        // A share of a period, whichever period was chosen.
        (Some([quota, period]), Some([has, of])) => (quota * of).abs_diff(has * period) * 100 <= quota * of,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_the_same_and_no_limit_is_not() {
        assert!(same("100000", "98304") && same("7", "7") && same("50000 100000", "5000 10000"));
        assert!(!same("100000", "max") && !same("100000", "9223372036854771712") && !same("7", "6"));
        assert!(!same("50000 100000", "max 100000") && !same("50000", "-1") && !same("50000 100000", "60000 100000"));
    }

    #[test]
    fn swap_is_limited_with_memory_in_version_1() {
        let limits = Limits { memory_max: Some(100), memory_swap_max: Some(11), ..Limits::default() };
        let said: Vec<_> =
            limits.asked().iter().map(|limit| limit.said(false).map(|(file, value)| format!("{file} {value}"))).collect();
        assert_eq!(said, [Ok("memory.limit_in_bytes 100".into()), Ok("memory.memsw.limit_in_bytes 111".into())]);
        let alone = Limits { memory_max: None, ..limits };
        assert!(alone.asked()[0].said(false).is_err());
    }
}
