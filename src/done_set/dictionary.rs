//! Numbers for byte strings, in the order of their first appearance.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// A dictionary: each different string has one number, from 0.
#[derive(Default)]
pub(super) struct Dictionary {
    bytes: Vec<u8>,
    /// Where each string ends in `bytes`.
    ends: Vec<u32>,
    numbers: HashTable<u32>,
}

impl Dictionary {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The memory it takes, in bytes, about.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.ends.len() * 10
    }

    /// Whether another string of that length can still be numbered.
    pub(super) fn has_room_for(&self, text: &[u8]) -> bool {
        self.bytes.len() + text.len() < u32::MAX as usize
    }

    pub(super) fn get(&self, number: u32) -> &[u8] {
        text(&self.bytes, &self.ends, number)
    }

    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        self.numbers.find(xxh3_64(text), |number| self.get(*number) == text).copied()
    }

    /// The string's number, a new one where it has none.
    pub(super) fn number(&mut self, new: &[u8]) -> u32 {
        let hash = xxh3_64(new);
        let Self { bytes, ends, numbers } = self;
        if let Some(number) = numbers.find(hash, |number| text(bytes, ends, *number) == new) {
            return *number;
        }
        // `has_room_for` keeps both within 32 bits: a string takes an entry and is never counted twice.
        let number = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(new);
        ends.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        numbers.insert_unique(hash, number, |number| xxh3_64(text(bytes, ends, *number)));
        number
    }

    /// The strings as they are numbered, and where each ends.
    pub(super) fn parts(&self) -> (&[u8], &[u32]) {
        (&self.bytes, &self.ends)
    }

    /// A dictionary of parts; `None` when they are none.
    pub(super) fn of_parts(bytes: Vec<u8>, ends: Vec<u32>) -> Option<Self> {
        let ordered = ends.is_sorted() && ends.last().map_or(0, |end| *end as usize) == bytes.len();
        if !ordered {
            return None;
        }
        let mut numbers = HashTable::with_capacity(ends.len());
        for number in 0..u32::try_from(ends.len()).ok()? {
            let hash = xxh3_64(text(&bytes, &ends, number));
            numbers.insert_unique(hash, number, |number| xxh3_64(text(&bytes, &ends, *number)));
        }
        Some(Self { bytes, ends, numbers })
    }
}

fn text<'a>(bytes: &'a [u8], ends: &[u32], number: u32) -> &'a [u8] {
    let at = number as usize;
    let start = if at == 0 { 0 } else { ends[at - 1] as usize };
    &bytes[start..ends[at] as usize]
}
