//! The checks in which promises count: what is free is what nobody uses and nobody was promised.

use super::{Amount, Check, Demand, Limit};
use crate::claims::Ledger;
use crate::gauges::Gauge;
use crate::gauges::gpu::{Card, Gpus};
use crate::gauges::memory::Level;
use crate::size;

/// The checks of memory: each limit is held against the level, machine or group, that is tightest for it.
pub(super) fn memory(demand: &Demand, levels: &Gauge<Vec<Level>>, ledger: &Ledger) -> Vec<Check> {
    let limits = demand.limits.iter().filter_map(|limit| match limit {
        Limit::Memory(most) => Some(("memory", Amount::Percent(*most))),
        Limit::FreeMemory(bytes) => Some(("memory-free", Amount::Bytes(*bytes))),
        _ => None,
    });
    let wish = demand.memory.map(|bytes| ("claim-mem", Amount::Bytes(bytes)));
    limits.chain(wish).map(|(name, limit)| memory_check(name, limit, levels, ledger)).collect()
}

fn memory_check(name: &'static str, limit: Amount, levels: &Gauge<Vec<Level>>, ledger: &Ledger) -> Check {
    let levels = match levels {
        Ok(levels) => levels,
        Err(why) => return Check::unknown(name, why.clone()).of(limit),
    };
    let rooms = levels.iter().map(|level| {
        let promised = ledger.memory_to_come(level);
        (level, level.available.saturating_sub(promised), promised)
    });
    let check = |(level, room, promised): (&Level, u64, u64)| match limit {
        Amount::Percent(_) => {
            let used = if promised > 0 { " in use or promised" } else { " in use" };
            Check::at_most(name, Amount::Percent(used_percent(level.total, room)), limit, &level.source, used)
        }
        _ => Check::at_least(name, Amount::Bytes(room), limit, &level.source, &promise(promised)),
    };
    let tightest = match limit {
        Amount::Percent(_) => rooms.max_by(|a, b| used_percent(a.0.total, a.1).total_cmp(&used_percent(b.0.total, b.1))),
        _ => rooms.min_by_key(|(_, room, _)| *room),
    };
    tightest.map_or_else(|| Check::unknown(name, "nothing could be measured").of(limit), check)
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
fn used_percent(total: u64, room: u64) -> f64 {
    if total == 0 { 100.0 } else { total.saturating_sub(room) as f64 * 100.0 / total as f64 }
}

/// What is promised beside what is free.
fn promise(promised: u64) -> String {
    if promised == 0 { String::new() } else { format!(" beside {} that is promised", size::shown(promised)) }
}

/// What a card has left for one more, or why it has nothing.
pub(super) fn room(card: &Card, ledger: &Ledger) -> Result<u64, String> {
    if let Some(owner) = ledger.owner(card) {
        let command = owner.claim.command.first().map(|word| word.as_os_str().to_string_lossy().into_owned());
        return Err(format!("claimed by pid {} ({})", owner.claim.holder.pid, command.unwrap_or_default()));
    }
    let free = card.memory.as_ref().map_err(Clone::clone)?.free;
    Ok(free.saturating_sub(ledger.gpu_to_come(card)))
}

/// The checks of a GPU's memory: one card with enough is enough.
pub(super) fn gpu_memory(demand: &Demand, gpus: &Gpus, ledger: &Ledger) -> Vec<Check> {
    let limits = demand.limits.iter().filter_map(|limit| match limit {
        Limit::GpuMemory { bytes, required } => Some((*bytes, *required)),
        _ => None,
    });
    limits.map(|(bytes, required)| gpu_memory_check(bytes, required, gpus, ledger)).collect()
}

fn gpu_memory_check(bytes: u64, required: bool, gpus: &Gpus, ledger: &Ledger) -> Check {
    let (name, limit) = ("gpu-memory", Amount::Bytes(bytes));
    let cards = match gpus {
        Gpus::Cards(cards) => cards,
        Gpus::Unknown(why) => return Check::unknown(name, why.clone()).of(limit),
        Gpus::None(why) => return no_gpu(name, why, required).of(limit),
    };
    let rooms: Vec<(&Card, Result<u64, String>)> = cards.iter().map(|card| (card, room(card, ledger))).collect();
    // Of cards with equal room the first is named.
    let best = rooms.iter().rev().filter_map(|(card, room)| Some((*card, *room.as_ref().ok()?))).max_by_key(|(_, room)| *room);
    let refused: Vec<String> =
        rooms.iter().filter_map(|(card, room)| Some(format!("GPU {}: {}", card.index, room.as_ref().err()?))).collect();
    match best {
        Some((card, room)) => {
            let source = format!("GPU {}, {}", card.index, card.memory.as_ref().map_or("", |memory| &memory.source));
            let also = if refused.is_empty() || room >= bytes { String::new() } else { format!("; {}", refused.join("; ")) };
            let check = Check::at_least(name, Amount::Bytes(room), limit, &source, &promise(ledger.gpu_to_come(card)));
            Check { reason: format!("{}{also}", check.reason), ..check }
        }
        None if cards.iter().all(|card| card.memory.is_err() && ledger.owner(card).is_none()) => {
            Check::unknown(name, refused.join("; ")).of(limit)
        }
        None => {
            let check = Check::at_least(name, Amount::Bytes(0), limit, "NVML", "");
            Check { reason: format!("{}; {}", check.reason, refused.join("; ")), ..check }
        }
    }
}

/// A machine without a GPU: for a limit that was asked for it is closed for ever.
pub(super) fn no_gpu(name: &'static str, why: &str, required: bool) -> Check {
    if required {
        let reason = format!("there is no GPU to wait for: {why}");
        Check { verdict: super::Verdict::Never, ..Check::without_value(name, reason) }
    } else {
        Check::without_value(name, format!("no GPU: {why}"))
    }
}
