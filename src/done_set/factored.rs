//! The exact set: a row for each first field, a column for each remaining tuple, a bit where they meet.

use super::dictionary::Dictionary;
use crate::journal::key::BETWEEN;

/// A set of keys as a bitmap. Exact: it holds the texts themselves.
#[derive(Default)]
pub(super) struct Factored {
    pub(super) rows: Dictionary,
    pub(super) columns: Dictionary,
    /// Row after row, each of `words` words.
    pub(super) bits: Vec<u64>,
    pub(super) words: usize,
    pub(super) len: u64,
}

impl Factored {
    /// The memory it takes, in bytes, about.
    pub(super) fn size(&self) -> usize {
        self.rows.size() + self.columns.size() + self.bits.len() * 8
    }

    /// Adds the key; `false` when the dictionaries are full.
    pub(super) fn insert(&mut self, key: &[u8]) -> bool {
        let (first, rest) = split(key);
        if !(self.rows.has_room_for(first) && self.columns.has_room_for(rest)) {
            return false;
        }
        let row = self.rows.number(first) as usize;
        let column = self.columns.number(rest) as usize;
        if column >= self.words * 64 {
            self.widen((self.words * 2).max(1));
        }
        if self.bits.len() < (row + 1) * self.words {
            self.bits.resize((row + 1) * self.words, 0);
        }
        let word = &mut self.bits[row * self.words + column / 64];
        self.len += u64::from(*word & bit(column) == 0);
        *word |= bit(column);
        true
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        let (first, rest) = split(key);
        if let (Some(row), Some(column)) = (self.rows.find(first), self.columns.find(rest)) {
            let column = column as usize;
            let word = &mut self.bits[row as usize * self.words + column / 64];
            self.len -= u64::from(*word & bit(column) != 0);
            *word &= !bit(column);
        }
    }

    /// Appends to `found`, for one key after the other, whether it is there.
    pub(super) fn find<'a>(&self, keys: impl Iterator<Item = &'a [u8]>, found: &mut Vec<bool>) {
        // Candidates often come in runs of one first field.
        let mut last: (&[u8], Option<u32>) = (b"", self.rows.find(b""));
        for key in keys {
            let (first, rest) = split(key);
            if first != last.0 {
                last = (first, self.rows.find(first));
            }
            let column = last.1.and_then(|row| Some((row as usize, self.columns.find(rest)? as usize)));
            found.push(column.is_some_and(|(row, column)| self.bits[row * self.words + column / 64] & bit(column) != 0));
        }
    }

    /// Gives every key.
    pub(super) fn each(&self, mut each: impl FnMut(&[u8])) {
        let mut key = Vec::new();
        for (at, word) in self.bits.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                let column = at % self.words * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                key.clear();
                key.extend_from_slice(self.rows.get(u32::try_from(at / self.words).unwrap_or(u32::MAX)));
                key.extend_from_slice(self.columns.get(u32::try_from(column).unwrap_or(u32::MAX)));
                each(&key);
            }
        }
    }

    fn widen(&mut self, words: usize) {
        let mut bits = vec![0; self.rows.len() * words];
        if self.words > 0 {
            for (old, new) in self.bits.chunks_exact(self.words).zip(bits.chunks_exact_mut(words)) {
                new[..self.words].copy_from_slice(old);
            }
        }
        (self.bits, self.words) = (bits, words);
    }
}

const fn bit(column: usize) -> u64 {
    1 << (column % 64)
}

/// The first field, and the rest with the mark before it: `a` alone differs from `a` with an empty second field.
fn split(key: &[u8]) -> (&[u8], &[u8]) {
    key.split_at(memchr::memchr(BETWEEN, key).unwrap_or(key.len()))
}
