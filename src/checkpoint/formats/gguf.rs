//! GGUF: counted tables of settings and tensors, then the tensors, aligned.

use std::io::{Read, Seek};

use super::super::verdict::{Checked, Passed, Proof, broken};
use super::source::Source;

/// What every GGUF file begins with.
pub const MAGIC: [u8; 4] = *b"GGUF";

/// Checks that every tensor lies inside the file.
///
/// # Errors
/// Says what doesn't add up.
pub fn check<R: Read + Seek>(source: &mut Source<R>) -> Checked {
    source.seek(0)?;
    if source.array()? != MAGIC {
        return broken("it doesn't begin as GGUF does");
    }
    let version = source.u32()?;
    if !(2..=3).contains(&version) {
        // Version 1, and files of the other byte order, are left alone.
        return Ok(Passed::at(Proof::Kind).note(format!("GGUF version {version} isn't read here")));
    }
    let tensors = source.u64()?;
    let settings = source.u64()?;
    // A setting takes 13 bytes at least, a tensor 32: more of them than fit is a lie.
    if settings > source.left() / 13 || tensors > source.left() / 24 {
        return broken("its tables are larger than the file");
    }
    let mut alignment = 32;
    for _ in 0..settings {
        let key = string(source)?;
        let kind = source.u32()?;
        if key == b"general.alignment" && kind == 4 {
            alignment = u64::from(source.u32()?).max(1);
        } else {
            skip_value(source, kind, 0)?;
        }
    }
    let mut end = 0_u64;
    let mut exact = true;
    for _ in 0..tensors {
        skip_string(source)?;
        let dimensions = source.u32()?;
        if dimensions > 8 {
            return broken("a tensor has too many dimensions");
        }
        let mut elements = 1_u64;
        for _ in 0..dimensions {
            let Some(more) = elements.checked_mul(source.u64()?) else { return broken("a tensor's shape is absurd") };
            elements = more;
        }
        let kind = source.u32()?;
        let offset = source.u64()?;
        let size = if let Some((block, bytes)) = layout(kind) {
            elements.div_ceil(block).checked_mul(bytes)
        } else {
            exact = false;
            Some(0)
        };
        let Some(to) = size.and_then(|size| offset.checked_add(size)) else { return broken("a tensor's place is absurd") };
        end = end.max(to);
    }
    let begin = source.position().next_multiple_of(alignment);
    match begin.checked_add(end) {
        Some(needed) if tensors > 0 && needed > source.len() => {
            broken(format!("truncated: {} bytes are missing", needed - source.len()))
        }
        None => broken("a tensor's place is absurd"),
        Some(needed) => {
            let passed = Passed::at(if exact { Proof::Structure } else { Proof::Kind });
            let extra = source.len().saturating_sub(needed.next_multiple_of(alignment));
            Ok(if exact && extra > 0 { passed.note(format!("{extra} bytes follow the last tensor")) } else { passed })
        }
    }
}

fn string<R: Read + Seek>(source: &mut Source<R>) -> Checked<Vec<u8>> {
    let count = source.u64()?;
    source.piece(count)
}

fn skip_string<R: Read + Seek>(source: &mut Source<R>) -> Checked<()> {
    let count = source.u64()?;
    source.skip(count)
}

fn skip_value<R: Read + Seek>(source: &mut Source<R>, kind: u32, nested: u8) -> Checked<()> {
    match kind {
        0 | 1 | 7 => source.skip(1),
        2 | 3 => source.skip(2),
        4..=6 => source.skip(4),
        10..=12 => source.skip(8),
        8 => skip_string(source),
        9 if nested < 4 => {
            let kind = source.u32()?;
            let count = source.u64()?;
            if count > source.left() {
                return broken("an array in it is larger than the file");
            }
            match width(kind) {
                Some(width) => source.skip(count.saturating_mul(width)),
                None => (0..count).try_for_each(|_| skip_value(source, kind, nested + 1)),
            }
        }
        _ => broken(format!("a setting has the unknown type {kind}")),
    }
}

const fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Elements and bytes of a block of that type of tensor; `None` for types newer than this program.
const fn layout(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 | 26 => (1, 4),
        1 | 25 | 30 => (1, 2),
        24 => (1, 1),
        27 | 28 => (1, 8),
        2 | 20 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        9 => (32, 36),
        10 => (256, 84),
        11 | 21 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        15 => (256, 292),
        16 | 35 => (256, 66),
        17 => (256, 74),
        18 => (256, 98),
        19 => (256, 50),
        22 => (256, 82),
        23 => (256, 136),
        29 => (256, 56),
        34 => (256, 54),
        39 => (32, 17),
        _ => return None,
    })
}
