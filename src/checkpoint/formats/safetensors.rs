//! safetensors: the length of a JSON header, the header, and the tensors back to back.
//!
//! The library sets the file's full length first and then writes, so a killed save opens fine: structure proves
//! nothing about the data, which is why holes are looked for before this check and no level above L1 is claimed.

use std::fmt;
use std::io::{Read, Seek};

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};

use super::super::verdict::{Checked, Passed, Proof, broken};
use super::source::{Source, json_fault};

/// The library's own limit.
const HEADER: u64 = 100_000_000;

/// Checks the structure.
///
/// # Errors
/// Says what doesn't add up.
pub fn check<R: Read + Seek>(source: &mut Source<R>) -> Checked {
    check_named(source, &mut |_| {})
}

/// The same, telling each tensor's name.
///
/// # Errors
/// Says what doesn't add up.
pub fn check_named<R: Read + Seek>(source: &mut Source<R>, named: &mut dyn FnMut(&str)) -> Checked {
    let header = source.u64()?;
    if header > HEADER {
        return broken(format!("a header of {header} bytes is no safetensors header"));
    }
    if header > source.left() {
        return broken(format!("the header is cut: {header} bytes are promised, {} are there", source.left()));
    }
    let mut ranges = Vec::new();
    let mut sink = Sink { ranges: &mut ranges, named };
    let mut text = std::io::BufReader::with_capacity(1 << 16, Read::take(&mut *source, header));
    if std::io::BufRead::fill_buf(&mut text)?.first() != Some(&b'{') {
        return broken("the header is no JSON object");
    }
    let mut json = serde_json::Deserializer::from_reader(text);
    serde::Deserializer::deserialize_map(&mut json, &mut sink)
        .and_then(|()| json.end())
        .map_err(|error| json_fault("header", &error))?;
    ranges.sort_unstable();
    let mut end = 0;
    for (from, to) in ranges {
        if from != end {
            return broken(format!(
                "tensor data {} at byte {}",
                if from < end { "overlaps" } else { "has a gap" },
                end.min(from)
            ));
        }
        end = to;
    }
    let needed = u128::from(end) + 8 + u128::from(header);
    let len = u128::from(source.len());
    if needed > len {
        return broken(format!("truncated: {} of {needed} bytes are missing", needed - len));
    }
    let passed = Passed::at(Proof::Structure);
    Ok(if needed < len { passed.note(format!("{} bytes follow the last tensor", len - needed)) } else { passed })
}

struct Sink<'a> {
    ranges: &'a mut Vec<(u64, u64)>,
    named: &'a mut dyn FnMut(&str),
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Visitor<'de> for &mut Sink<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<std::collections::HashMap<String, String>>()?;
                continue;
            }
            let tensor: Tensor = map.next_value()?;
            let (from, to) = tensor.data_offsets;
            let bytes = to.checked_sub(from).ok_or_else(|| A::Error::custom(format!("tensor {name} ends before it begins")))?;
            let elements = tensor.shape.iter().try_fold(1_u128, |n, side| n.checked_mul(u128::from(*side)));
            if let Some(bits) = bits(&tensor.dtype) {
                let needed = elements.and_then(|n| n.checked_mul(bits)).map(|n| n.div_ceil(8));
                if needed != Some(u128::from(bytes)) {
                    return Err(A::Error::custom(format!("tensor {name} has {bytes} bytes, which its shape contradicts")));
                }
            }
            (self.named)(&name);
            self.ranges.push((from, to));
        }
        Ok(())
    }
}

/// Bits an element; an unknown type is newer than this program, and no fault.
fn bits(dtype: &str) -> Option<u128> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
        "U16" | "I16" | "F16" | "BF16" => 16,
        "U32" | "I32" | "F32" => 32,
        "U64" | "I64" | "F64" | "C64" => 64,
        _ => return None,
    })
}
