//! numpy's npy: a header that says type and shape, and the elements.

use std::io::{Read, Seek};

use super::super::verdict::{Checked, Passed, Proof, broken};
use super::source::Source;

/// What every npy file begins with.
pub const MAGIC: [u8; 6] = *b"\x93NUMPY";

/// Checks that the elements fill the file.
///
/// # Errors
/// Says what doesn't add up.
pub fn check<R: Read + Seek>(source: &mut Source<R>) -> Checked {
    source.seek(0)?;
    if source.array()? != MAGIC {
        return broken("it doesn't begin as npy does");
    }
    let major = source.u8()?;
    source.u8()?;
    let header = if major == 1 { u64::from(source.u16()?) } else { u64::from(source.u32()?) };
    let header = source.piece(header)?;
    let header = String::from_utf8_lossy(&header);
    if !header.trim_end().ends_with('}') {
        return broken("its header is damaged");
    }
    let (Some(item), Some(count)) = (item_size(&header), elements(&header)) else {
        return Ok(Passed::at(Proof::Kind).note("its element type isn't known here"));
    };
    match item.checked_mul(count) {
        Some(bytes) if bytes > source.left() => broken(format!("truncated: {} bytes are missing", bytes - source.left())),
        Some(bytes) if bytes < source.left() => {
            Ok(Passed::at(Proof::Structure).note(format!("{} bytes follow the array", source.left() - bytes)))
        }
        Some(_) => Ok(Passed::at(Proof::Structure)),
        None => broken("its shape is absurd"),
    }
}

fn field<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{name}':"))?;
    Some(rest.trim_start())
}

/// Bytes an element of a plain type, as `<f4` or `|b1` or `<U12`; `None` for records and objects.
fn item_size(header: &str) -> Option<u64> {
    let (descr, _) = field(header, "descr")?.strip_prefix('\'')?.split_once('\'')?;
    let descr = descr.trim_start_matches(['<', '>', '|', '=']);
    let kind = descr.chars().next()?;
    let number = descr.get(1..)?;
    let number: u64 = number[..number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len())].parse().ok()?;
    match kind {
        'U' => number.checked_mul(4),
        'b' | 'i' | 'u' | 'f' | 'c' | 'S' | 'a' | 'V' | 'm' | 'M' => Some(number),
        _ => None,
    }
}

fn elements(header: &str) -> Option<u64> {
    let (shape, _) = field(header, "shape")?.strip_prefix('(')?.split_once(')')?;
    shape.split(',').map(str::trim).filter(|side| !side.is_empty()).try_fold(1_u64, |n, side| n.checked_mul(side.parse().ok()?))
}
