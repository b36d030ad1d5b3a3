//! What torch wrote before 1.6: three pickles, the object, the list of storages, and each storage's elements.

use std::collections::HashMap;
use std::io::{Read, Seek};

use super::super::verdict::{Checked, Passed, Proof, broken};
use super::pickle::{self, Seen, Value};
use super::source::Source;

/// The magic number as its own pickle.
pub const MAGIC: [u8; 15] = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];

/// Checks that the storages fill the file.
///
/// # Errors
/// Says what doesn't add up.
pub fn check<R: Read + Seek>(source: &mut Source<R>) -> Checked {
    source.seek(0)?;
    if source.array()? != MAGIC {
        return broken("it lacks torch's magic number");
    }
    let mut sizes: HashMap<String, u64> = HashMap::new();
    for _ in 0..2 {
        pickle::read(source, &mut |_| {})?;
    }
    let object = pickle::read(source, &mut |seen| {
        if let Seen::Persistent(Value::Many(parts)) = seen
            && let [Value::Text(tag), Value::Global(class), Value::Text(key), ..] = &parts[..]
            && &**tag == "storage"
            && let Some(size) = element_size(class)
        {
            sizes.insert(key.to_string(), size);
        }
    })?;
    let keys = pickle::read(source, &mut |_| {})?;
    let (Some(_), Some(Value::Many(keys))) = (object, keys) else {
        return Ok(Passed::at(Proof::Kind).note("its storages couldn't be listed"));
    };
    for key in keys.iter() {
        let count = source.u64()?;
        let Value::Text(key) = key else { return broken("its list of storages is damaged") };
        let Some(size) = sizes.get(&**key) else {
            return Ok(Passed::at(Proof::Kind).note("it holds a kind of storage that isn't known here"));
        };
        match count.checked_mul(*size) {
            Some(bytes) if bytes <= source.left() => source.skip(bytes)?,
            _ => return broken(format!("truncated in storage {key}")),
        }
    }
    let passed = Passed::at(Proof::Structure);
    Ok(if source.left() > 0 { passed.note(format!("{} bytes follow the last storage", source.left())) } else { passed })
}

fn element_size(class: &str) -> Option<u64> {
    let name = class.rsplit('.').next()?.strip_suffix("Storage")?;
    Some(match name {
        "Double" | "Long" | "ComplexFloat" => 8,
        "Float" | "Int" => 4,
        "Half" | "Short" | "BFloat16" => 2,
        "Char" | "Byte" | "Bool" | "Untyped" => 1,
        "ComplexDouble" => 16,
        _ => return None,
    })
}
