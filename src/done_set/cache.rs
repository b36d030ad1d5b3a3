//! `FILE.idx`: the set of a journal's first bytes, with their hash. Never the truth, and safe to delete.
//!
//! The hash of everything before the offset is compared at each use, at the speed of memory: times and sizes can't
//! tell an edit of one clock tick, or of the same length. The cache's own bytes are hashed as well.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::dictionary::Dictionary;
use super::factored::Factored;
use super::prints::{Prints, TABLES, Table};
use super::{DoneSet, Kind};
use crate::journal::{Bad, Header, Place, Reading};

const MAGIC: &[u8; 8] = b"PMIDX\0\0\x01";

#[derive(Serialize, Deserialize)]
struct Stored {
    offset: u64,
    lines: u64,
    hash: [u64; 2],
    header_version: u64,
    fields: Option<Vec<String>>,
    integers: Vec<usize>,
    sorted: Option<u64>,
    saved: Option<u64>,
    damaged: u64,
    bad: Vec<(u64, String)>,
    nameless: u64,
    set: Shape,
}

#[derive(Serialize, Deserialize)]
enum Shape {
    Factored { len: u64, rows: [usize; 2], columns: [usize; 2], words: usize },
    Prints { seed: u64, tables: Vec<[usize; 2]> },
}

/// What a cache says of a journal whose first bytes have this hash.
pub(super) struct Cached {
    pub(super) reading: Reading,
    pub(super) hash: [u64; 2],
    pub(super) set: DoneSet,
}

/// A 128-bit hash as JSON can hold it.
pub(super) const fn halves(hash: u128) -> [u64; 2] {
    let low = hash & u64::MAX as u128;
    #[expect(clippy::cast_possible_truncation, reason = "both fit")]
    [(hash >> 64) as u64, low as u64]
}

/// Reads the cache beside the journal; `None` where there is none that is whole.
pub(super) fn read(place: &Place) -> Option<Cached> {
    let file = File::open(place.index()).ok()?;
    let length = file.metadata().ok()?.len();
    let mut input = Hashed { inner: &file, hash: Xxh3::new() };
    let mut magic = [0; 8];
    input.read_exact(&mut magic).ok()?;
    let mut head_length = [0; 4];
    input.read_exact(&mut head_length).ok()?;
    let head_length = u64::from(u32::from_le_bytes(head_length));
    if &magic != MAGIC || head_length > length {
        return None;
    }
    let mut head = Vec::new();
    (&mut input).take(head_length).read_to_end(&mut head).ok()?;
    let stored: Stored = serde_json::from_slice(&head).ok()?;
    // Nothing is reserved for a size that the file doesn't have.
    if stored.set.bytes()?.checked_add(12 + head_length + 16)? != length {
        return None;
    }
    let set = stored.set.read(&mut input).ok()??;
    let sum = input.hash.digest128();
    let mut end = [0; 16];
    (&file).read_exact(&mut end).ok()?;
    (end == sum.to_le_bytes()).then(|| stored.cached(set))
}

/// Writes the cache; a crash leaves the old one, the new one, or one that is seen to be broken.
pub(super) fn write(place: &Place, reading: &Reading, hash: u128, set: &DoneSet) -> io::Result<()> {
    let mut name = place.index().into_os_string();
    name.push(format!(".{}", std::process::id()));
    let written = (|| {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&name)?);
        let mut out = Hashed { inner: &mut file, hash: Xxh3::new() };
        let head = serde_json::to_vec(&Stored::of(reading, hash, set))?;
        out.write_all(MAGIC)?;
        out.write_all(&u32::try_from(head.len()).map_err(io::Error::other)?.to_le_bytes())?;
        out.write_all(&head)?;
        match &set.0 {
            Kind::Factored(set) => {
                for (bytes, ends) in [set.rows.parts(), set.columns.parts()] {
                    out.write_all(bytes)?;
                    ends.iter().try_for_each(|end| out.write_all(&end.to_le_bytes()))?;
                }
                words(&mut out, set.bits.iter().copied())?;
            }
            Kind::Prints(set) => {
                for table in &set.tables {
                    words(&mut out, table.slots.iter().flatten().copied())?;
                }
            }
        }
        let sum = out.hash.digest128();
        file.write_all(&sum.to_le_bytes())?;
        file.flush()?;
        fs::rename(&name, place.index())
    })();
    if written.is_err() {
        let _ = fs::remove_file(&name);
    }
    written
}

impl Stored {
    fn of(reading: &Reading, hash: u128, set: &DoneSet) -> Self {
        Self {
            offset: reading.offset,
            lines: reading.lines,
            hash: halves(hash),
            header_version: reading.header.version,
            fields: reading.header.fields.clone(),
            integers: reading.header.integers.clone(),
            sorted: reading.header.sorted,
            saved: reading.saved,
            damaged: reading.damaged,
            bad: reading.bad.iter().map(|bad| (bad.line, bad.why.clone())).collect(),
            nameless: reading.nameless,
            set: Shape::of(set),
        }
    }

    fn cached(self, set: DoneSet) -> Cached {
        let header = Header { version: self.header_version, fields: self.fields, integers: self.integers, sorted: self.sorted };
        let reading = Reading {
            offset: self.offset,
            lines: self.lines,
            header,
            saved: self.saved,
            damaged: self.damaged,
            bad: self.bad.into_iter().map(|(line, why)| Bad { line, why }).collect(),
            nameless: self.nameless,
            fragment: 0,
        };
        Cached { reading, hash: self.hash, set }
    }
}

impl Shape {
    fn of(set: &DoneSet) -> Self {
        let parts = |dictionary: &Dictionary| {
            let (bytes, ends) = dictionary.parts();
            [bytes.len(), ends.len()]
        };
        match &set.0 {
            Kind::Factored(set) => {
                Self::Factored { len: set.len, rows: parts(&set.rows), columns: parts(&set.columns), words: set.words }
            }
            Kind::Prints(set) => {
                Self::Prints { seed: set.seed, tables: set.tables.iter().map(|t| [t.slots.len(), t.len]).collect() }
            }
        }
    }

    /// How long the payload is; `None` for sizes that can't be.
    fn bytes(&self) -> Option<u64> {
        match self {
            Self::Factored { rows, columns, words, .. } => {
                let dictionary = |[bytes, count]: &[usize; 2]| count.checked_mul(4)?.checked_add(*bytes);
                let bits = rows[1].checked_mul(*words)?.checked_mul(8)?;
                Some(dictionary(rows)?.checked_add(dictionary(columns)?)?.checked_add(bits)? as u64)
            }
            Self::Prints { tables, .. } => {
                let slots =
                    tables.iter().try_fold(0_usize, |sum, [slots, len]| (len <= slots).then_some(sum.checked_add(*slots)?))?;
                (tables.len() == TABLES).then_some(slots.checked_mul(16)? as u64)
            }
        }
    }

    fn read(&self, input: &mut impl Read) -> io::Result<Option<DoneSet>> {
        match self {
            Self::Factored { len, rows, columns, words } => {
                let (Some(rows), Some(columns)) = (dictionary(input, *rows)?, dictionary(input, *columns)?) else {
                    return Ok(None);
                };
                if columns.len() > words * 64 {
                    return Ok(None);
                }
                let mut bits = Vec::with_capacity(rows.len() * words);
                read_words(input, rows.len() * words, |word| bits.push(word))?;
                Ok(Some(DoneSet(Kind::Factored(Factored { rows, columns, bits, words: *words, len: *len }))))
            }
            Self::Prints { seed, tables } => {
                let mut set = Prints::new(*seed);
                for ([slots, len], table) in tables.iter().zip(&mut set.tables) {
                    *table = Table { slots: Vec::with_capacity(*slots), len: *len };
                    let mut half = None;
                    read_words(input, slots * 2, |word| match half.take() {
                        None => half = Some(word),
                        Some(first) => table.slots.push([first, word]),
                    })?;
                }
                Ok(Some(DoneSet(Kind::Prints(set))))
            }
        }
    }
}

fn dictionary(input: &mut impl Read, [length, count]: [usize; 2]) -> io::Result<Option<Dictionary>> {
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    let mut ends = vec![0; count * 4];
    input.read_exact(&mut ends)?;
    let ends = ends.as_chunks::<4>().0.iter().map(|end| u32::from_le_bytes(*end)).collect();
    Ok(Dictionary::of_parts(bytes, ends))
}

fn words(out: &mut impl Write, words: impl Iterator<Item = u64>) -> io::Result<()> {
    let mut block = Vec::with_capacity(1 << 16);
    for word in words {
        block.extend_from_slice(&word.to_le_bytes());
        if block.len() == block.capacity() {
            out.write_all(&block)?;
            block.clear();
        }
    }
    out.write_all(&block)
}

fn read_words(input: &mut impl Read, count: usize, mut each: impl FnMut(u64)) -> io::Result<()> {
    let mut block = vec![0; (count * 8).min(1 << 20)];
    let mut left = count * 8;
    while left > 0 {
        let part = left.min(block.len());
        input.read_exact(&mut block[..part])?;
        for word in block[..part].as_chunks::<8>().0 {
            each(u64::from_le_bytes(*word));
        }
        left -= part;
    }
    Ok(())
}

/// Hashes what passes.
struct Hashed<T> {
    inner: T,
    hash: Xxh3,
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
