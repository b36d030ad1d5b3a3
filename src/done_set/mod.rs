//! The set of done items in memory, and its cache on disk.
//!
//! Small sets, and large ones whose first fields repeat, are an exact bitmap of first field × remaining tuple: some
//! 30 bits a key. Where that would cost more than fingerprints do, it turns into 128-bit fingerprints.

mod cache;
mod dictionary;
mod factored;
mod load;
mod prints;

pub use load::{Loaded, load};

use factored::Factored;
use prints::Prints;

/// Below this size a bitmap stays one, whatever its shape: the data hasn't shown enough of itself.
const SMALL: usize = 16 << 20;
/// What a fingerprint costs in memory, in bytes.
const PRINT: usize = 20;

/// A set of keys.
pub struct DoneSet(Kind);

enum Kind {
    Factored(Factored),
    Prints(Prints),
}

impl Default for DoneSet {
    fn default() -> Self {
        Self(Kind::Factored(Factored::default()))
    }
}

impl DoneSet {
    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.0 {
            Kind::Factored(set) => set.len,
            Kind::Prints(set) => set.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What holds the keys, for people who measure.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.0 {
            Kind::Factored(_) => "bitmap",
            Kind::Prints(_) => "fingerprints",
        }
    }

    /// Adds a key.
    pub fn insert(&mut self, key: &[u8]) {
        match &mut self.0 {
            Kind::Prints(set) => set.insert(key),
            Kind::Factored(set) => {
                let full = !set.insert(key);
                let known = usize::try_from(set.len).unwrap_or(usize::MAX);
                if full || set.size() > SMALL.max(known.saturating_mul(PRINT)) {
                    self.turn();
                    self.insert(key);
                }
            }
        }
    }

    /// Removes a key.
    pub fn remove(&mut self, key: &[u8]) {
        match &mut self.0 {
            Kind::Factored(set) => set.remove(key),
            Kind::Prints(set) => set.remove(key),
        }
    }

    /// Whether the key is there.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        let mut found = Vec::with_capacity(1);
        self.find(std::iter::once(key), &mut found);
        found == [true]
    }

    /// Appends to `found`, for one key after the other, whether it is there.
    pub fn find<'a>(&self, keys: impl Iterator<Item = &'a [u8]>, found: &mut Vec<bool>) {
        match &self.0 {
            Kind::Factored(set) => set.find(keys, found),
            Kind::Prints(set) => set.find(keys, found),
        }
    }

    fn turn(&mut self) {
        if let Kind::Factored(set) = &self.0 {
            // Without randomness there is still a seed, only a known one.
            let mut seed = [0x9e; 8];
            let _ = crate::sys::random(&mut seed);
            let seed = u64::from_le_bytes(seed);
            let mut prints = Prints::new(seed);
            set.each(|key| prints.insert(key));
            self.0 = Kind::Prints(prints);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn keys() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
        let key = "[ab]{0,2}(\0[ab]{0,2}){0,2}".prop_map(String::into_bytes);
        proptest::collection::vec((any::<bool>(), key), 0..400)
    }

    proptest! {
        /// Both kinds are the set they stand for, whatever is added and taken out.
        #[test]
        fn a_set_is_a_set(changes in keys(), turned_at in 0usize..400) {
            let (mut set, mut model) = (DoneSet::default(), BTreeSet::new());
            for (at, (add, key)) in changes.iter().enumerate() {
                if at == turned_at {
                    set.turn();
                }
                if *add {
                    set.insert(key);
                    model.insert(key);
                } else {
                    set.remove(key);
                    model.remove(key);
                }
                prop_assert_eq!(set.len(), model.len() as u64);
            }
            let asked: Vec<&[u8]> = changes.iter().map(|(_, key)| key.as_slice()).chain([b"other".as_slice(), b"a\0other"]).collect();
            let mut found = Vec::new();
            set.find(asked.iter().copied(), &mut found);
            let expected: Vec<bool> = asked.iter().map(|key| model.contains(&key.to_vec())).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_data_chooses_the_kind() {
        let (mut distinct, mut repeating) = (DoneSet::default(), DoneSet::default());
        for n in 0..1_200_000_u32 {
            distinct.insert(format!("{n:08}").as_bytes());
            repeating.insert(format!("{}\0{}", n / 100, n % 100).as_bytes());
        }
        assert_eq!([distinct.kind(), repeating.kind()], ["fingerprints", "bitmap"]);
        assert_eq!([distinct.len(), repeating.len()], [1_200_000; 2]);
        assert!(distinct.contains(b"00000000") && distinct.contains(b"01199999") && !distinct.contains(b"01200000"));
    }
}
