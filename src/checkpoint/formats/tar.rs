//! tar: headers with checksums of themselves, and a block of zeros at the end.

use std::io::{Read, Seek};

use super::super::verdict::{Checked, Passed, Proof, broken};
use super::source::Source;

const BLOCK: u64 = 512;

/// Whether a first block is a tar header.
#[must_use]
pub fn is_header(block: &[u8]) -> bool {
    block.len() >= 512 && block[257..262] == *b"ustar" && sums_up(block)
}

/// Walks the headers.
///
/// # Errors
/// Says what doesn't add up.
pub fn check<R: Read + Seek>(source: &mut Source<R>) -> Checked {
    source.seek(0)?;
    let mut members = 0_u64;
    loop {
        if source.left() == 0 {
            return broken("its end is missing: truncated, or never finished");
        }
        let block = source.piece(BLOCK)?;
        if block.iter().all(|byte| *byte == 0) {
            break;
        }
        if !sums_up(&block) {
            return broken(format!("the header of member {} is damaged", members + 1));
        }
        let Some(size) = number(&block[124..136]) else { return broken("a member's size is absurd") };
        let Some(padded) = size.checked_next_multiple_of(BLOCK) else { return broken("a member's size is absurd") };
        if padded > source.left() {
            return broken(format!("truncated in member {}", members + 1));
        }
        source.skip(padded)?;
        members += 1;
    }
    if members == 0 { broken("it holds nothing") } else { Ok(Passed::at(Proof::Structure)) }
}

fn sums_up(block: &[u8]) -> bool {
    let sum: u64 = block.iter().enumerate().map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) }).sum();
    number(&block[148..156]) == Some(sum)
}

/// Octal digits, or base 256 where the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let first = u64::from(field[0] & 0x7f);
        return field[1..].iter().try_fold(first, |n, byte| n.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let digits = field.iter().skip_while(|b| **b == b' ').take_while(|b| (b'0'..=b'7').contains(*b));
    digits.copied().try_fold(0_u64, |n, digit| n.checked_mul(8)?.checked_add(u64::from(digit - b'0')))
}
