//! The set for keys whose first fields are mostly distinct: 128-bit fingerprints with a random seed.
//!
//! Two keys of n candidates and m done share a fingerprint with a chance of n·m/2¹²⁸: 7e-23 for 50 M against 500 M, where 64
//! bits would give 1.4e-3. The seed makes the chance one of luck, not of the data.
#![expect(clippy::cast_possible_truncation, reason = "halves of a hash, and its share of a table's length")]

use xxhash_rust::xxh3::xxh3_128_with_seed;

/// How many tables there are: each grows by itself, so that no growth doubles the whole.
pub(super) const TABLES: usize = 256;

/// A fingerprint as two words; `[0, 0]` is a free slot.
pub(super) type Print = [u64; 2];

const FREE: Print = [0, 0];

/// A set of keys as fingerprints.
pub(super) struct Prints {
    pub(super) seed: u64,
    pub(super) tables: Vec<Table>,
}

/// An open-addressing table with linear probing.
#[derive(Default)]
pub(super) struct Table {
    pub(super) slots: Vec<Print>,
    pub(super) len: usize,
}

impl Prints {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, tables: (0..TABLES).map(|_| Table::default()).collect() }
    }

    pub(super) fn len(&self) -> u64 {
        self.tables.iter().map(|table| table.len as u64).sum()
    }

    fn print(&self, key: &[u8]) -> Print {
        let hash = xxh3_128_with_seed(key, self.seed);
        let print = [(hash >> 64) as u64, hash as u64];
        if print == FREE { [0, 1] } else { print }
    }

    pub(super) fn insert(&mut self, key: &[u8]) {
        let print = self.print(key);
        self.tables[table(print)].insert(print);
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        let print = self.print(key);
        self.tables[table(print)].remove(print);
    }

    /// Appends to `found`, for one key after the other, whether it is there. The first look of many keys goes ahead
    /// of all comparisons, so that their waits for memory overlap.
    pub(super) fn find<'a>(&self, keys: impl Iterator<Item = &'a [u8]>, found: &mut Vec<bool>) {
        const AHEAD: usize = 32;
        let mut keys = keys;
        let mut prints = [FREE; AHEAD];
        let mut firsts = [FREE; AHEAD];
        loop {
            let mut count = 0;
            for key in keys.by_ref().take(AHEAD) {
                prints[count] = self.print(key);
                count += 1;
            }
            if count == 0 {
                return;
            }
            for (print, first) in prints.iter().zip(&mut firsts).take(count) {
                let table = &self.tables[table(*print)];
                *first = table.slots.get(table.home(*print)).copied().unwrap_or(FREE);
            }
            for (print, first) in prints.iter().zip(&firsts).take(count) {
                found.push(first == print || *first != FREE && self.tables[table(*print)].holds(*print));
            }
        }
    }
}

/// Which table a fingerprint is in: by bits that its slot there doesn't use.
const fn table(print: Print) -> usize {
    (print[1] % TABLES as u64) as usize
}

impl Table {
    /// The slot where the search for a fingerprint starts.
    fn home(&self, print: Print) -> usize {
        ((u128::from(print[0]) * self.slots.len() as u128) >> 64) as usize
    }

    fn holds(&self, print: Print) -> bool {
        !self.slots.is_empty() && self.slots[self.slot(print)] == print
    }

    /// Where the fingerprint is, or the free slot where it would go.
    fn slot(&self, print: Print) -> usize {
        let mut at = self.home(print);
        while self.slots[at] != FREE && self.slots[at] != print {
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
        at
    }

    fn insert(&mut self, print: Print) {
        if (self.len + 1) * 8 > self.slots.len() * 7 {
            self.grow();
        }
        let at = self.slot(print);
        self.len += usize::from(self.slots[at] == FREE);
        self.slots[at] = print;
    }

    fn grow(&mut self) {
        let wider = Self { slots: vec![FREE; self.slots.len() * 5 / 4 + 16], len: self.len };
        let old = std::mem::replace(self, wider);
        for print in old.slots.into_iter().filter(|print| *print != FREE) {
            let at = self.slot(print);
            self.slots[at] = print;
        }
    }

    /// Takes it out and moves those behind it up, so that no search stops short of them.
    fn remove(&mut self, print: Print) {
        if !self.holds(print) {
            return;
        }
        let slots = self.slots.len();
        let mut hole = self.slot(print);
        self.slots[hole] = FREE;
        self.len -= 1;
        let mut at = hole;
        loop {
            at = (at + 1) % slots;
            if self.slots[at] == FREE {
                return;
            }
            let first = self.home(self.slots[at]);
            // Reachable from its home without passing the hole?
            if (at + slots - first) % slots >= (at + slots - hole) % slots {
                self.slots[hole] = std::mem::replace(&mut self.slots[at], FREE);
                hole = at;
            }
        }
    }
}
