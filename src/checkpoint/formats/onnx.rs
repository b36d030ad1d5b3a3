//! ONNX: one protobuf message, whose fields must end where the file does.

use std::io::{Read, Seek};

use super::super::verdict::{Checked, Passed, Proof, broken};
use super::source::Source;

/// The field of a model that holds its graph.
const GRAPH: u64 = 7;

/// Walks the outermost fields.
///
/// # Errors
/// Says what doesn't add up.
pub fn check<R: Read + Seek>(source: &mut Source<R>) -> Checked {
    source.seek(0)?;
    let mut graph = false;
    while source.left() > 0 {
        let at = source.position();
        let tag = varint(source)?;
        let (field, wire) = (tag >> 3, tag & 7);
        graph |= field == GRAPH && wire == 2;
        match (field, wire) {
            (0, _) => return broken(format!("byte {at} is no protobuf field")),
            (_, 0) => drop(varint(source)?),
            (_, 1) => source.skip(8)?,
            (_, 2) => {
                let length = varint(source)?;
                source.skip(length)?;
            }
            (_, 5) => source.skip(4)?,
            _ => return broken(format!("byte {at} is no protobuf field")),
        }
    }
    if graph { Ok(Passed::at(Proof::Structure)) } else { broken("it has no graph") }
}

fn varint<R: Read + Seek>(source: &mut Source<R>) -> Checked<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = source.u8()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    broken("a number in it never ends")
}
