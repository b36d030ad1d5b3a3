//! HDF5: the superblock says where the file ends, and newer ones carry a checksum of themselves.

use std::io::{Read, Seek};

use super::super::verdict::{Checked, Passed, Proof, broken};
use super::source::Source;

/// What a superblock begins with.
pub const MAGIC: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Checks that the file is as long as it says.
///
/// # Errors
/// Says what doesn't add up.
pub fn check<R: Read + Seek>(source: &mut Source<R>) -> Checked {
    let Some(at) = superblock(source)? else { return broken("it has no HDF5 superblock") };
    source.seek(at + 8)?;
    let version = source.u8()?;
    let (width, base, end) = match version {
        0 | 1 => {
            source.skip(4)?;
            let width = source.u8()?;
            source.skip(if version == 0 { 10 } else { 14 })?;
            let base = address(source, width)?;
            address(source, width)?;
            (width, base, address(source, width)?)
        }
        2 | 3 => {
            let width = source.u8()?;
            source.skip(2)?;
            let base = address(source, width)?;
            address(source, width)?;
            let end = address(source, width)?;
            address(source, width)?;
            let length = source.position() - at;
            let sum = source.u32()?;
            source.seek(at)?;
            if lookup3(&source.piece(length)?) != sum {
                return broken("its superblock doesn't match its checksum");
            }
            (width, base, end)
        }
        other => return Ok(Passed::at(Proof::Kind).note(format!("HDF5 superblock version {other} isn't read here"))),
    };
    if !matches!(width, 2 | 4 | 8) || base > source.len() {
        return broken("its superblock is damaged");
    }
    // The end is relative to the base, which follows a user block.
    let end = if base == at { end.max(at) } else { end };
    if end > source.len() {
        return broken(format!("truncated: {} of {end} bytes are missing", end - source.len()));
    }
    let passed = Passed::at(Proof::Structure);
    Ok(if end < source.len() { passed.note(format!("{} bytes follow its end", source.len() - end)) } else { passed })
}

/// A superblock lies at 0, 512, 1024, and so on, doubling.
fn superblock<R: Read + Seek>(source: &mut Source<R>) -> Checked<Option<u64>> {
    let mut at = 0;
    while at + 8 <= source.len() {
        source.seek(at)?;
        if source.array()? == MAGIC {
            return Ok(Some(at));
        }
        at = if at == 0 { 512 } else { at * 2 };
    }
    Ok(None)
}

fn address<R: Read + Seek>(source: &mut Source<R>, width: u8) -> Checked<u64> {
    if !matches!(width, 2 | 4 | 8) {
        return broken("its superblock is damaged");
    }
    let bytes = source.piece(width.into())?;
    Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Bob Jenkins's lookup3, as the format prescribes it.
#[expect(clippy::many_single_char_names, reason = "they are called so where it was published")]
fn lookup3(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(u32::try_from(bytes.len()).unwrap_or(0));
    let (mut a, mut b, mut c) = (start, start, start);
    let mut rest = bytes;
    let word = |bytes: &[u8], at: usize| {
        (0..4).fold(0_u32, |word, i| word | u32::from(bytes.get(at + i).copied().unwrap_or(0)) << (8 * i))
    };
    while rest.len() > 12 {
        a = a.wrapping_add(word(rest, 0));
        b = b.wrapping_add(word(rest, 4));
        c = c.wrapping_add(word(rest, 8));
        for (turn, shift) in [4, 6, 8, 16, 19, 4].into_iter().enumerate() {
            let (x, y, z) = match turn % 3 {
                0 => (&mut a, &mut c, b),
                1 => (&mut b, &mut a, c),
                _ => (&mut c, &mut b, a),
            };
            *x = x.wrapping_sub(*y) ^ y.rotate_left(shift);
            *y = y.wrapping_add(z);
        }
        rest = &rest[12..];
    }
    if rest.is_empty() {
        return c;
    }
    a = a.wrapping_add(word(rest, 0));
    b = b.wrapping_add(word(rest, 4));
    c = c.wrapping_add(word(rest, 8));
    for (turn, shift) in [14, 11, 25, 16, 4, 14, 24].into_iter().enumerate() {
        let (x, y) = match turn % 3 {
            0 => (&mut c, b),
            1 => (&mut a, c),
            _ => (&mut b, a),
        };
        *x = (*x ^ y).wrapping_sub(y.rotate_left(shift));
    }
    c
}

#[cfg(test)]
mod tests {
    use super::lookup3;

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(lookup3(b""), 0xdead_beef);
        assert_eq!(lookup3(b"Four score and seven years ago"), 0x1777_0551);
    }
}
