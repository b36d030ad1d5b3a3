//! How busy the CPUs are that this process may use, and how much of its groups' quota is spent.
//!
//! Use is a difference of two samples: the first that sysinfo gives is the average since boot. It counts the CPUs of
//! the affinity mask only, since the others are no help to a job that inherits it.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use sysinfo::System;

use super::cgroup::{self, Group, Tree};
use super::{Gauge, Reading, keyed, not_understood, number, text, text_if_any};

/// How far apart the samples have to lie: the least that sysinfo takes, and 20 ticks of the kernel's clock.
pub const APART: Duration = sysinfo::MINIMUM_CPU_UPDATE_INTERVAL;

/// The first of two samples.
pub struct Sample {
    system: System,
    counters: Vec<u8>,
    mask: String,
    quotas: Vec<Quota>,
    at: Instant,
}

/// A group with a share of the CPUs.
struct Quota {
    group: Group,
    tree: Tree,
    /// How many CPUs' worth of time it may have.
    cpus: f64,
    used_us: u64,
}

impl Sample {
    /// Takes the first sample; the second can follow [`APART`] later.
    ///
    /// # Errors
    /// When the kernel's counters can't be read.
    pub fn begin() -> Gauge<Self> {
        let mask =
            keyed_text(&text("/proc/self/status")?, "Cpus_allowed_list:").ok_or_else(|| not_understood("/proc/self/status"))?;
        let quotas = quotas()?;
        let counters = counters()?;
        let mut system = super::system()?;
        system.refresh_cpu_usage();
        Ok(Self { system, counters, mask, quotas, at: Instant::now() })
    }

    /// When the second sample may be taken.
    #[must_use]
    pub fn ripe(&self) -> Instant {
        self.at + APART
    }

    /// Takes the second sample; the use between both, in percent of what this process could have.
    ///
    /// # Errors
    /// When the kernel's counters can't be read, or stand still.
    pub fn end(mut self) -> Gauge<Reading<f64>> {
        let elapsed = self.at.elapsed();
        self.system.refresh_cpu_usage();
        if counters()? == self.counters {
            return Err("the counters in '/proc/stat' stand still".into());
        }
        let allowed = listed(&self.mask).ok_or_else(|| not_understood("/proc/self/status"))?;
        let number = |name: &str| name.strip_prefix("cpu")?.parse::<usize>().ok();
        let uses: Vec<f64> = self
            .system
            .cpus()
            .iter()
            .filter(|cpu| number(cpu.name()).is_some_and(|n| allowed.contains(&n)))
            .map(|cpu| f64::from(cpu.usage()))
            .collect();
        if uses.is_empty() {
            return Err("none of the allowed CPUs is in '/proc/stat'".into());
        }
        #[expect(clippy::cast_precision_loss, reason = "no machine has 2^53 CPUs")]
        let machine = uses.iter().sum::<f64>() / uses.len() as f64;
        let mut tightest = Reading { value: machine, source: format!("/proc/stat, CPUs {}", self.mask) };
        for quota in &self.quotas {
            let reading = quota.spent(elapsed)?;
            if reading.value > tightest.value {
                tightest = reading;
            }
        }
        Ok(tightest)
    }
}

impl Quota {
    fn spent(&self, elapsed: Duration) -> Gauge<Reading<f64>> {
        let used_us = used_us(&self.group, self.tree)?.saturating_sub(self.used_us);
        let used = Duration::from_micros(used_us).as_secs_f64() / elapsed.as_secs_f64();
        let file = if self.tree == Tree::Unified { "cpu.max" } else { "cpu.cfs_quota_us" };
        Ok(Reading { value: used * 100.0 / self.cpus, source: self.group.dir.join(file).display().to_string() })
    }
}

/// The machine's own line of counters, to see that they run.
fn counters() -> Gauge<Vec<u8>> {
    let wrong = |error: std::io::Error| format!("cannot read '/proc/stat': {error}");
    let mut line = vec![0; 128];
    let read = File::open("/proc/stat").and_then(|mut file| file.read(&mut line)).map_err(wrong)?;
    line.truncate(read);
    if line.starts_with(b"cpu ") { Ok(line) } else { Err(not_understood("/proc/stat")) }
}

fn keyed_text(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim().to_owned()))
}

/// The numbers of a list like `0-3,8`.
fn listed(list: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        numbers.extend(from.parse::<usize>().ok()?..=to.parse().ok()?);
    }
    Some(numbers)
}

/// Every group around this process that has a quota.
fn quotas() -> Gauge<Vec<Quota>> {
    let mut quotas = Vec::new();
    for tree in [Tree::Unified, Tree::Legacy("cpu")] {
        for group in cgroup::own(tree)? {
            if let Some(cpus) = cpus_of(&group, tree)? {
                let used_us = used_us(&group, tree)?;
                quotas.push(Quota { group, tree, cpus, used_us });
            }
        }
    }
    Ok(quotas)
}

/// How many CPUs' worth of time a group may have; `None`: no limit.
#[expect(clippy::cast_precision_loss, reason = "microseconds of a period")]
fn cpus_of(group: &Group, tree: Tree) -> Gauge<Option<f64>> {
    if tree == Tree::Unified {
        let path = group.dir.join("cpu.max");
        let Some(limit) = text_if_any(&path)? else { return Ok(None) };
        let (quota, period) = limit.trim().split_once(' ').ok_or_else(|| not_understood(&path))?;
        if quota == "max" {
            return Ok(None);
        }
        return Ok(Some(number(quota, &path)? as f64 / number(period, &path)?.max(1) as f64));
    }
    let path = group.dir.join("cpu.cfs_quota_us");
    let Some(quota) = text_if_any(&path)? else { return Ok(None) };
    if quota.trim() == "-1" {
        return Ok(None);
    }
    let period = group.dir.join("cpu.cfs_period_us");
    Ok(Some(number(&quota, &path)? as f64 / number(&text(&period)?, &period)?.max(1) as f64))
}

/// The CPU time a group has used, in microseconds.
fn used_us(group: &Group, tree: Tree) -> Gauge<u64> {
    if tree == Tree::Unified {
        let path = group.dir.join("cpu.stat");
        return keyed(&text(&path)?, "usage_usec").ok_or_else(|| not_understood(&path));
    }
    // Version 1 counts in a tree of its own, which is often, but not always, mounted together with the limits.
    let accounts = cgroup::own(Tree::Legacy("cpuacct"))?;
    let dir = accounts.iter().find(|account| account.path == group.path).map_or(&group.dir, |account| &account.dir);
    let path = dir.join("cpuacct.usage");
    Ok(number(&text(&path)?, &path)? / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cpus_has_ranges() {
        assert_eq!(listed("0-2,8"), Some(vec![0, 1, 2, 8]));
        assert_eq!((listed("5"), listed(""), listed("x")), (Some(vec![5]), None, None));
    }
}
