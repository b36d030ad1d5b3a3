//! Which cards an inherited `CUDA_VISIBLE_DEVICES` leaves: resgate stays inside it.

use super::Card;

/// The cards that are left, in the variable's order; all without it, none when it is empty. As CUDA has it, the first entry
/// that names no card ends the list.
#[must_use]
pub fn visible(cards: Vec<Card>, mask: Option<&str>) -> Vec<Card> {
    let Some(mask) = mask else { return cards };
    let mut left: Vec<Card> = Vec::new();
    for entry in mask.split(',').map(str::trim) {
        let mut named = cards.iter().filter(|card| names(entry, card));
        let Some(card) = named.next() else { break };
        // An index means a card's first MIG device; the beginning of a UUID has to mean one card only.
        if !is_index(entry) && named.next().is_some() {
            break;
        }
        if !left.contains(card) {
            left.push(card.clone());
        }
    }
    left
}

fn is_index(entry: &str) -> bool {
    !entry.is_empty() && entry.bytes().all(|byte| byte.is_ascii_digit())
}

fn names(entry: &str, card: &Card) -> bool {
    if is_index(entry) {
        return entry.parse() == Ok(card.index);
    }
    let uuid = entry.starts_with("GPU-") || entry.starts_with("MIG-");
    uuid && entry.len() > 4 && card.uuid.as_deref().is_some_and(|own| own.starts_with(entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(mask: Option<&str>) -> Vec<u32> {
        let card = |index| Card { uuid: Some(format!("GPU-a{index}-{index}")), ..Card::unknown(index, "") };
        visible((0..4).map(card).collect(), mask).iter().map(|card| card.index).collect()
    }

    #[test]
    fn a_mask_is_read_as_cuda_reads_it() {
        assert_eq!(left(None), [0, 1, 2, 3]);
        assert_eq!(left(Some("2, 0")), [2, 0]);
        assert_eq!(left(Some("1,1")), [1]);
        assert_eq!(left(Some("GPU-a3,GPU-a1-1")), [3, 1]);
        for none in ["", "-1", "9", "-1,0", "NoDevFiles", "GPU-", "GPU-a"] {
            assert_eq!(left(Some(none)), Vec::<u32>::new(), "{none}");
        }
        assert_eq!(left(Some("0,9,1")), [0], "the first entry that names none ends the list");
    }
}
