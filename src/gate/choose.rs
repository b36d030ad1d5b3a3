//! Which cards: those with the most room first, so that what shares a card shares the emptiest.

use super::{Amount, Cards, Check, Verdict, WHOLE_CARD, judge};
use crate::claims::Ledger;
use crate::gauges::gpu::{Card, Gpus};
use crate::size;

/// The cards, or the check that says why not.
pub(super) struct Choice {
    pub(super) check: Check,
    pub(super) cards: Vec<Card>,
}

const NAME: &str = "gpus";

pub(super) fn choose(wish: Cards, gpus: &Gpus, ledger: &Ledger) -> Choice {
    let limit = Amount::Gpus(wish.count as u64);
    let none = |check: Check| Choice { check: check.of(limit), cards: Vec::new() };
    let cards = match gpus {
        Gpus::Cards(cards) => cards,
        Gpus::Unknown(why) => return none(Check::unknown(NAME, why.clone())),
        Gpus::None(why) => return none(judge::no_gpu(NAME, why, true)),
    };
    if wish.count > cards.len() {
        let reason = format!("there are only {} in all, {limit} wanted", Amount::Gpus(cards.len() as u64));
        return none(Check { verdict: Verdict::Never, ..Check::without_value(NAME, reason) });
    }
    let mut fit = Vec::new();
    let mut refused = Vec::new();
    for card in cards {
        match fits(card, wish.bytes, ledger) {
            Ok(room) => fit.push((room, card)),
            Err(why) => refused.push(format!("GPU {}: {why}", card.index)),
        }
    }
    // A stable sort: of cards with equal room the first comes first.
    fit.sort_by_key(|(room, _)| std::cmp::Reverse(*room));
    let value = Amount::Gpus(fit.len() as u64);
    let usable = cards.iter().filter(|card| card.memory.is_ok()).count();
    if fit.len() < wish.count && wish.count > usable {
        // The cards that answer can never be enough, and of the others nothing is known.
        let unknown = cards.iter().filter_map(|card| Some(format!("GPU {}: {}", card.index, card.memory.as_ref().err()?)));
        let reason = format!("only {} can be measured: {}", Amount::Gpus(usable as u64), unknown.collect::<Vec<_>>().join("; "));
        return none(Check::unknown(NAME, reason));
    }
    let refused = if refused.is_empty() { String::new() } else { format!(": {}", refused.join("; ")) };
    let reason = format!("{value} with room, {limit} wanted{refused}");
    let check = Check::made(NAME, fit.len() >= wish.count, value, limit, "NVML", reason);
    let chosen = fit.into_iter().take(wish.count).map(|(_, card)| card.clone());
    Choice { cards: chosen.collect(), check }
}

/// The room on a card that can be had.
fn fits(card: &Card, bytes: Option<u64>, ledger: &Ledger) -> Result<u64, String> {
    let room = judge::room(card, ledger)?;
    if bytes.is_none() && ledger.shared(card) {
        return Err("claimed in part".into());
    }
    let wanted = bytes.unwrap_or(WHOLE_CARD);
    if room < wanted { Err(format!("{} free", size::shown(room))) } else { Ok(room) }
}
