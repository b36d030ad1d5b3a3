//! zip archives as torch, numpy and keras write them: the directory at the end must account for every byte.

use std::io::{Read, Seek};

use super::super::verdict::{Checked, Depth, Passed, Proof, broken};
use super::source::Source;

const END: [u8; 4] = *b"PK\x05\x06";
const END64: [u8; 4] = *b"PK\x06\x06";
const LOCATOR64: [u8; 4] = *b"PK\x06\x07";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
/// What every member, and so every archive, begins with.
pub const LOCAL: [u8; 4] = *b"PK\x03\x04";

/// The end record and the longest comment.
const TAIL: u64 = 22 + 65_535;

/// One member, as the central directory has it.
struct Entry {
    name: Vec<u8>,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    at: u64,
}

struct Directory {
    at: u64,
    size: u64,
    count: u64,
    /// Where the records after the directory begin.
    ends: u64,
    junk: u64,
}

/// Checks the structure and, in depth, every member's CRC-32. `need` says which members must be there.
///
/// # Errors
/// Says what doesn't add up.
pub fn check<R: Read + Seek>(source: &mut Source<R>, depth: Depth, read: &dyn Fn(u64), torch: Torch) -> Checked {
    if source.array()? != LOCAL {
        return broken("it doesn't begin with a zip member");
    }
    let directory = find_directory(source)?;
    let mut entries = central(source, &directory)?;
    let has = |name: &[u8]| entries.iter().any(|entry| entry.name.ends_with(name));
    let is_torch = has(b"/data.pkl") || has(b"/constants.pkl");
    if is_torch && !(has(b"/version") || has(b"/.format_version")) {
        return broken("its version member is missing");
    }
    if torch == Torch::Required && !is_torch && has(b"/version") {
        return broken("its data.pkl is missing");
    }
    entries.sort_unstable_by_key(|entry| entry.at);
    let mut free = 0;
    for entry in &entries {
        if entry.at < free {
            return broken(format!("member {} overlaps the one before it", shown(&entry.name)));
        }
        free = local(source, entry)?;
        if free > directory.at {
            return broken(format!("member {} reaches into the directory", shown(&entry.name)));
        }
    }
    let mut passed = Passed::at(Proof::Structure);
    if directory.junk > 0 {
        passed = passed.note(format!("{} bytes follow the archive", directory.junk));
    }
    if depth == Depth::Quick {
        return Ok(passed);
    }
    if entries.iter().all(|entry| entry.crc == 0) && entries.iter().any(|entry| entry.size > 0) {
        return Ok(passed.note("written without checksums"));
    }
    let mut all = true;
    for entry in &entries {
        all &= content(source, entry, read)?;
    }
    passed.proof = if all { Proof::Checksums } else { Proof::Structure };
    Ok(if all { passed } else { passed.note("a member is packed in a way that isn't read here") })
}

/// Whether the archive must be one of torch's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torch {
    /// Its name says so.
    Required,
    /// Any archive will do.
    Optional,
}

/// Whether the file ends as an archive does, whatever it begins with.
///
/// # Errors
/// When it can't be read.
pub fn ends_as_archive<R: Read + Seek>(source: &mut Source<R>) -> Checked<bool> {
    let tail = source.len().min(TAIL);
    source.seek(source.len() - tail)?;
    let bytes = source.piece(tail)?;
    Ok(bytes.windows(4).any(|window| window == END))
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(100)]).into_owned()
}

fn find_directory<R: Read + Seek>(source: &mut Source<R>) -> Checked<Directory> {
    let len = source.len();
    // Up to 64 KiB of junk may follow the archive, besides the longest comment.
    let tail = len.min(TAIL);
    source.seek(len - tail)?;
    let bytes = source.piece(tail)?;
    let mut problem = "its directory is missing: truncated, or never finished".to_owned();
    for at in (0..bytes.len().saturating_sub(21)).rev() {
        if bytes[at..at + 4] != END {
            continue;
        }
        match read_end(source, len - tail + at as u64, &bytes[at..]) {
            Ok(directory) => return Ok(directory),
            Err(super::super::verdict::Fault::Broken(why)) => problem = why,
            Err(other) => return Err(other),
        }
    }
    broken(problem)
}

fn read_end<R: Read + Seek>(source: &mut Source<R>, at: u64, bytes: &[u8]) -> Checked<Directory> {
    let u16_at = |at: usize| u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let u32_at = |at: usize| u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    let comment = u16_at(20);
    let after = bytes.len() as u64 - 22;
    if comment > after {
        return broken("its comment is cut");
    }
    let mut directory = Directory { count: u16_at(10), size: u32_at(12), at: u32_at(16), ends: at, junk: after - comment };
    if at >= 20 {
        source.seek(at - 20)?;
        if source.array()? == LOCATOR64 {
            source.u32()?;
            let record = source.u64()?;
            if record.checked_add(56).is_none_or(|end| end > at - 20) {
                return broken("its Zip64 record is missing");
            }
            source.seek(record)?;
            if source.array()? != END64 {
                return broken("its Zip64 record is damaged");
            }
            source.skip(20 + 8)?;
            directory.count = source.u64()?;
            directory.size = source.u64()?;
            directory.at = source.u64()?;
            directory.ends = record;
        }
    }
    if directory.at.checked_add(directory.size) != Some(directory.ends) {
        return broken("its directory doesn't lie where its end says");
    }
    Ok(directory)
}

fn central<R: Read + Seek>(source: &mut Source<R>, directory: &Directory) -> Checked<Vec<Entry>> {
    // Each entry takes at least 46 bytes, so a lying count can't make this grow.
    if directory.count > directory.size / 46 {
        return broken("its directory is too small for its members");
    }
    source.seek(directory.at)?;
    let mut entries = Vec::new();
    for _ in 0..directory.count {
        if source.array()? != CENTRAL {
            return broken("its directory is damaged");
        }
        source.skip(6)?;
        let method = source.u16()?;
        source.skip(4)?;
        let crc = source.u32()?;
        let (packed, size) = (u64::from(source.u32()?), u64::from(source.u32()?));
        let (name, extra, comment) = (source.u16()?, source.u16()?, source.u16()?);
        source.skip(8)?;
        let at = u64::from(source.u32()?);
        let name = source.piece(name.into())?;
        let extra = source.piece(extra.into())?;
        source.skip(comment.into())?;
        let mut entry = Entry { name, method, crc, packed, size, at };
        widen(&mut entry, &extra)?;
        if entry.method == 0 && entry.packed != entry.size {
            return broken(format!("member {} has two sizes", shown(&entry.name)));
        }
        entries.push(entry);
    }
    if source.position() != directory.ends {
        return broken("its directory has bytes too many");
    }
    Ok(entries)
}

/// Takes the sizes and the place that don't fit 32 bits from the Zip64 field.
fn widen(entry: &mut Entry, extra: &[u8]) -> Checked<()> {
    let mut rest = extra;
    while rest.len() >= 4 {
        let (tag, len) = (u16::from_le_bytes([rest[0], rest[1]]), usize::from(u16::from_le_bytes([rest[2], rest[3]])));
        let Some(field) = rest.get(4..4 + len) else { break };
        if tag == 1 {
            let mut wide = field.chunks_exact(8).map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
            for value in [&mut entry.size, &mut entry.packed, &mut entry.at] {
                if *value == u64::from(u32::MAX) {
                    let Some(wide) = wide.next() else {
                        return broken(format!("member {} lacks its size", shown(&entry.name)));
                    };
                    *value = wide;
                }
            }
        }
        rest = &rest[4 + len..];
    }
    Ok(())
}

/// Compares a member's own header with the directory; gives where its data ends, and leaves the source at its start.
fn local<R: Read + Seek>(source: &mut Source<R>, entry: &Entry) -> Checked<u64> {
    source.seek(entry.at)?;
    if source.array()? != LOCAL {
        return broken(format!("member {} isn't where the directory says", shown(&entry.name)));
    }
    source.skip(2)?;
    let flags = source.u16()?;
    let method = source.u16()?;
    source.skip(4)?;
    let crc = source.u32()?;
    source.skip(8)?;
    let (name, extra) = (source.u16()?, source.u16()?);
    let same = method == entry.method && source.piece(name.into())? == entry.name;
    // With a data descriptor the header was written before the checksum was known.
    if !same || (flags & 8 == 0 && crc != entry.crc) {
        return broken(format!("member {} contradicts the directory", shown(&entry.name)));
    }
    source.skip(extra.into())?;
    match source.position().checked_add(entry.packed) {
        Some(end) if end <= source.len() => Ok(end),
        _ => broken(format!("member {} is cut", shown(&entry.name))),
    }
}

/// Compares a member's content with its checksum; `false` when it is packed in an unknown way.
fn content<R: Read + Seek>(source: &mut Source<R>, entry: &Entry, read: &dyn Fn(u64)) -> Checked<bool> {
    local(source, entry)?;
    let mut crc = crc32fast::Hasher::new();
    let packed = Read::take(&mut *source, entry.packed);
    let size = match entry.method {
        0 => digest(packed, &mut crc, read),
        8 => digest(flate2::read::DeflateDecoder::new(packed), &mut crc, read),
        _ => return Ok(false),
    };
    let size = match size {
        Ok(size) => size,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData) => {
            return broken(format!("member {} can't be unpacked", shown(&entry.name)));
        }
        Err(error) => return Err(error.into()),
    };
    if size != entry.size || crc.finalize() != entry.crc {
        return broken(format!("member {} doesn't match its checksum", shown(&entry.name)));
    }
    Ok(true)
}

fn digest(mut from: impl Read, crc: &mut crc32fast::Hasher, read: &dyn Fn(u64)) -> std::io::Result<u64> {
    let mut buffer = vec![0; 1 << 17];
    let mut total = 0;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(total);
        }
        crc.update(&buffer[..count]);
        total += count as u64;
        read(count as u64);
    }
}
