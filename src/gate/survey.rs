//! Measuring what a demand needs and nothing else: the slow sources are asked first and answer while the CPUs are sampled.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Amount, Check, Demand, Limit};
use crate::gauges::disk::{self, Left};
use crate::gauges::gpu::{self, Gpus, visible};
use crate::gauges::{Gauge, cpu, load, pressure, swap};

/// Questions under way.
pub(super) struct Survey {
    disks: Option<Gauge<disk::Asked>>,
    gpus: Option<Gauge<gpu::Asked>>,
    cpu: Option<Gauge<cpu::Sample>>,
}

/// The answers.
pub(super) struct Measured {
    disks: Gauge<Vec<(PathBuf, Gauge<Left>)>>,
    gpus: Option<Gpus>,
    cpu: Option<Gauge<crate::gauges::Reading<f64>>>,
}

impl Survey {
    pub(super) fn begin(demand: &Demand, patience: Duration) -> Self {
        let mut paths: Vec<PathBuf> = demand.limits.iter().filter_map(path_of).cloned().collect();
        paths.sort();
        paths.dedup();
        Self {
            disks: (!paths.is_empty()).then(|| disk::ask(paths, patience)),
            gpus: demand.needs_gpus().then(|| gpu::ask(patience)),
            cpu: demand.limits.iter().any(|limit| matches!(limit, Limit::Cpu(_))).then(cpu::Sample::begin),
        }
    }

    /// Waits for the answers. Only the cards that `mask` leaves count.
    pub(super) fn end(self, mask: Option<&str>) -> Measured {
        if let Some(Ok(sample)) = &self.cpu {
            crate::sys::pass(sample.ripe().saturating_duration_since(Instant::now()));
        }
        let cpu = self.cpu.map(|sample| sample.and_then(cpu::Sample::end));
        let disks = self.disks.map_or_else(|| Ok(Vec::new()), |asked| asked.map(disk::Asked::answers));
        let gpus = self.gpus.map(|asked| asked.map_or_else(Gpus::Unknown, gpu::Asked::answer));
        let gpus = gpus.map(|gpus| left_by(mask, gpus));
        Measured { disks, gpus, cpu }
    }
}

/// The cards that an inherited `CUDA_VISIBLE_DEVICES` leaves.
fn left_by(mask: Option<&str>, gpus: Gpus) -> Gpus {
    let Gpus::Cards(cards) = gpus else { return gpus };
    // A card that is lost may not tell its UUID any more, and could be the one that is meant.
    let nameless = mask.is_some_and(|mask| mask.contains('-')) && cards.iter().any(|card| card.uuid.is_none());
    match visible(cards, mask) {
        left if !left.is_empty() => Gpus::Cards(left),
        _ if nameless => Gpus::Unknown("CUDA_VISIBLE_DEVICES names a card by its UUID, and not every card tells its own".into()),
        _ => Gpus::None("CUDA_VISIBLE_DEVICES leaves none".into()),
    }
}

impl Measured {
    pub(super) fn gpus(&self) -> Option<&Gpus> {
        self.gpus.as_ref()
    }

    /// The checks that no claim has a part in.
    pub(super) fn checks(&self, demand: &Demand) -> Vec<Check> {
        demand.limits.iter().flat_map(|limit| self.check(limit)).collect()
    }

    fn check(&self, limit: &Limit) -> Vec<Check> {
        match limit {
            Limit::Cpu(most) => self.cpu.iter().map(|cpu| percent("cpu", cpu.clone(), *most, " in use")).collect(),
            Limit::Load(most) => vec![match load::one_minute() {
                Ok(load) => Check::at_most("load", Amount::Load(load.value), Amount::Load(*most), &load.source, ""),
                Err(why) => Check::unknown("load", why).of(Amount::Load(*most)),
            }],
            Limit::Swap(most) => vec![match swap::used() {
                Ok(used) => match used.value {
                    Some(value) => {
                        Check::at_most("swap", Amount::Percent(value), Amount::Percent(*most), &used.source, " in use")
                    }
                    None => Check::without_value("swap", "there is none").of(Amount::Percent(*most)),
                },
                Err(why) => Check::unknown("swap", why).of(Amount::Percent(*most)),
            }],
            Limit::Pressure(kind, most) => {
                vec![percent(pressure_name(*kind), pressure::some_avg10(*kind), *most, " of the time")]
            }
            Limit::Disk(bytes, path) => {
                let inodes = |left: &Left| (left.all_inodes > 0).then(|| Amount::Inodes(few(left.all_inodes)));
                self.disk(path, "disk", Amount::Bytes(*bytes), inodes)
            }
            Limit::Inodes(count, path) => {
                let count = Amount::Inodes(*count);
                self.disk(path, "inodes", count, |_| None)
            }
            Limit::Memory(_) | Limit::FreeMemory(_) | Limit::GpuMemory { .. } => Vec::new(),
        }
    }

    /// The check of a path, and the check of inodes that goes with one of bytes.
    fn disk(&self, path: &PathBuf, name: &'static str, limit: Amount, inodes: impl Fn(&Left) -> Option<Amount>) -> Vec<Check> {
        let source = disk::quoted(path);
        let answer = match &self.disks {
            Ok(answers) => answers.iter().find(|(asked, _)| asked == path).map(|(_, answer)| answer.clone()),
            Err(why) => Some(Err(why.clone())),
        };
        let left = match answer {
            Some(Ok(left)) => left,
            Some(Err(why)) => return vec![Check::unknown(name, format!("cannot measure {source}: {why}")).of(limit)],
            None => return Vec::new(),
        };
        let of_inodes = |limit| Check::at_least("inodes", Amount::Inodes(left.inodes), limit, &source, "");
        let Amount::Bytes(_) = limit else {
            return vec![if left.all_inodes == 0 {
                Check::without_value(name, format!("{source} has no limit on them")).of(limit)
            } else {
                of_inodes(limit)
            }];
        };
        let bytes = Check::at_least(name, Amount::Bytes(left.bytes), limit, &source, "");
        std::iter::once(bytes).chain(inodes(&left).map(of_inodes)).collect()
    }
}

/// What a disk limit wants of inodes: one in a hundred, and never more than a thousand.
const fn few(all: u64) -> u64 {
    let share = all.div_ceil(100);
    if share < 1000 { share } else { 1000 }
}

const fn path_of(limit: &Limit) -> Option<&PathBuf> {
    match limit {
        Limit::Disk(_, path) | Limit::Inodes(_, path) => Some(path),
        _ => None,
    }
}

fn percent(name: &'static str, reading: Gauge<crate::gauges::Reading<f64>>, most: f64, used: &str) -> Check {
    match reading {
        Ok(reading) => Check::at_most(name, Amount::Percent(reading.value), Amount::Percent(most), &reading.source, used),
        Err(why) => Check::unknown(name, why).of(Amount::Percent(most)),
    }
}

const fn pressure_name(kind: pressure::Kind) -> &'static str {
    match kind {
        pressure::Kind::Cpu => "pressure-cpu",
        pressure::Kind::Memory => "pressure-memory",
        pressure::Kind::Io => "pressure-io",
    }
}
