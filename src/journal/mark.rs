//! What the last writer left in the lock file: the high-water mark that tells an edit from an append.
//!
//! Nothing here is the truth. A mark that can't be read, or that another boot left, only means that an edit made
//! meanwhile goes unnoticed.
#![expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "sizes within the ring, and counts of items")]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The mark's own part of the lock file; the last records follow.
const HEAD: usize = 512;
/// How many bytes of records are kept, so that those an editor lost can be named.
const RING: u64 = 64 << 10;
/// How much of the journal before the mark is compared.
const TAIL: u64 = 64;

/// The state of the journal as the last writer left it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mark {
    /// Of which boot.
    pub boot: String,
    /// The journal's device and inode.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// Its size in bytes; the last one is a line break.
    pub size: u64,
    /// Its lines.
    pub lines: u64,
    /// A hash of its last bytes.
    pub tail: u64,
    /// Whether the directory's entry for this inode is on disk.
    pub named: bool,
    /// How many bytes of records ever went through the ring, and from which on they are of interest.
    pub ring: u64,
    /// Those before were reported.
    pub ring_from: u64,
    /// How many times another program's edit was noticed.
    pub edits: u64,
    /// When this session began, in seconds since 1970.
    pub since: f64,
    /// Items marked since, without those of the first call: its time isn't known.
    pub items: u64,
    /// Those of the first call.
    pub first: u64,
    /// The usual number of items a call.
    pub each: f64,
    /// When the last was.
    pub last: f64,
    /// The usual time between two calls, in seconds.
    pub gap: f64,
}

impl Mark {
    /// Reads the mark; `None` where there is none, or none that can be read.
    #[must_use]
    pub fn read(lock: &File) -> Option<Self> {
        let mut head = [0; HEAD];
        let mut length = 0;
        while length < HEAD {
            match lock.read_at(&mut head[length..], length as u64) {
                Ok(0) | Err(_) => break,
                Ok(n) => length += n,
            }
        }
        serde_json::from_slice(head[..length].split(|byte| *byte == b'\n').next()?).ok()
    }

    /// Writes the mark, and `records` into the ring. Needs the lock.
    ///
    /// # Errors
    /// As `pwrite(2)`.
    pub fn write(&mut self, lock: &File, records: &[u8]) -> io::Result<()> {
        let kept = &records[records.len().saturating_sub(RING as usize)..];
        self.ring += (records.len() - kept.len()) as u64;
        let at = self.ring % RING;
        let (first, wrapped) = kept.split_at(kept.len().min((RING - at) as usize));
        if !first.is_empty() {
            lock.write_all_at(first, HEAD as u64 + at)?;
        }
        if !wrapped.is_empty() {
            lock.write_all_at(wrapped, HEAD as u64)?;
        }
        self.ring += kept.len() as u64;
        let mut head = serde_json::to_vec(self)?;
        head.resize(HEAD - 1, b' ');
        head.push(b'\n');
        lock.write_all_at(&head, 0)
    }

    /// The last records that were written, whole lines, oldest first.
    ///
    /// # Errors
    /// As `pread(2)`.
    pub fn recent(&self, lock: &File) -> io::Result<Vec<u8>> {
        let from = self.ring_from.max(self.ring.saturating_sub(RING));
        let mut bytes = vec![0; (self.ring - from) as usize];
        let at = from % RING;
        let split = bytes.len().min((RING - at) as usize);
        let (first, wrapped) = bytes.split_at_mut(split);
        lock.read_exact_at(first, HEAD as u64 + at)?;
        lock.read_exact_at(wrapped, HEAD as u64)?;
        if from > self.ring_from {
            // The oldest was overwritten in part.
            let whole = memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |end| end + 1);
            bytes.drain(..whole);
        }
        Ok(bytes)
    }

    /// Whether the journal is as the mark says, apart from what was appended.
    ///
    /// # Errors
    /// As `pread(2)`.
    pub fn holds(&self, file: &File, dev: u64, ino: u64, size: u64) -> io::Result<bool> {
        Ok((self.dev, self.ino) == (dev, ino) && size >= self.size && tail(file, self.size)? == self.tail)
    }

    /// Notes that `items` were marked at `now`.
    pub fn pace(&mut self, items: u64, now: f64) {
        const SMOOTH: f64 = 0.2;
        // A pause of this length, and of twenty usual gaps, ends a session.
        const PAUSE: f64 = 1800.0;
        if items == 0 {
            return;
        }
        let gap = now - self.last;
        let smooth = |old: f64, new: f64| if old > 0.0 { old + SMOOTH * (new - old) } else { new };
        if self.last <= 0.0 || !(0.0..=PAUSE.max(20.0 * self.gap)).contains(&gap) {
            (self.since, self.first, self.items, self.gap, self.each) = (now, items, 0, 0.0, 0.0);
        } else {
            self.items += items;
            self.gap = smooth(self.gap, gap);
            self.each = smooth(self.each, items as f64);
        }
        self.last = now;
    }
}

/// A hash of the last bytes before `size`.
pub(super) fn tail(file: &File, size: u64) -> io::Result<u64> {
    let mut bytes = [0; TAIL as usize];
    let bytes = &mut bytes[..size.min(TAIL) as usize];
    file.read_exact_at(bytes, size - bytes.len() as u64)?;
    Ok(xxh3_64(bytes))
}
