//! Digests of files, and the memory of those that were computed before.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Read};

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::dir::Dir;
use super::scan::Stat;

/// Where the digests of a directory's files are remembered.
pub const CACHE: &str = ".ckpt-rotate.cache";

/// Entries that are remembered at most; the file stays under 30 MB.
const REMEMBERED: usize = 100_000;

/// How a manifest's digests are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// SHA-256, as in `SHA256SUMS`.
    Sha256,
    /// BLAKE3, as in `B3SUMS`.
    Blake3,
}

/// 32 bytes of either algorithm.
pub type Digest = [u8; 32];

/// A digest that is fed piece by piece.
pub enum Running {
    /// See [`Algorithm::Sha256`].
    Sha256(sha2::Sha256),
    /// See [`Algorithm::Blake3`].
    Blake3(Box<blake3::Hasher>),
}

impl Running {
    /// Begins.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Blake3 => Self::Blake3(Box::default()),
        }
    }

    /// Takes the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => drop(hasher.update(bytes)),
        }
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => hasher.finalize().into(),
            Self::Blake3(hasher) => hasher.finalize().into(),
        }
    }
}

/// The digest of everything `from` gives.
///
/// # Errors
/// When it can't be read.
pub fn of(mut from: impl Read, algorithm: Algorithm, read: &dyn Fn(u64)) -> io::Result<Digest> {
    let mut running = Running::new(algorithm);
    // Small enough to stay in the processor's second cache between the copy and the digest.
    let mut buffer = vec![0; 1 << 18];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(running.finish());
        }
        running.update(&buffer[..count]);
        read(count as u64);
    }
}

/// Hexadecimal, as manifests have it.
#[must_use]
pub fn hex(digest: &Digest) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads 64 hexadecimal digits.
#[must_use]
pub fn unhex(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?, 16).ok()?;
    }
    Some(digest)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Identity {
    algorithm: Algorithm,
    dev: u64,
    ino: u64,
    len: u64,
    mtime: i64,
    ctime: i64,
}

impl Identity {
    fn new(algorithm: Algorithm, stat: &Stat) -> Option<Self> {
        let (mtime, ctime) = (i64::try_from(stat.mtime).ok()?, i64::try_from(stat.ctime).ok()?);
        Some(Self { algorithm, dev: stat.dev, ino: stat.ino, len: stat.len, mtime, ctime })
    }
}

/// Digests computed before, by what identifies a file's unchanged content.
#[derive(Debug, Default)]
pub struct Cache {
    known: RefCell<HashMap<Identity, Digest>>,
    used: RefCell<HashMap<Identity, Digest>>,
    added: RefCell<bool>,
}

impl Cache {
    /// Reads the directory's memory. One that can't be read is empty: it only spares work.
    #[must_use]
    pub fn load(dir: &Dir) -> Self {
        let read = || -> Option<Vec<(Identity, String)>> {
            let file = dir.open(CACHE, OFlag::O_RDONLY).ok()?;
            serde_json::from_reader(io::BufReader::new(file.take(1 << 25))).ok()
        };
        let known =
            read().unwrap_or_default().into_iter().filter_map(|(identity, digest)| Some((identity, unhex(&digest)?))).collect();
        Self { known: RefCell::new(known), ..Self::default() }
    }

    /// The digest of a file that hasn't changed since.
    #[must_use]
    pub fn get(&self, algorithm: Algorithm, stat: &Stat) -> Option<Digest> {
        let identity = Identity::new(algorithm, stat)?;
        let digest = *self.known.borrow().get(&identity)?;
        self.used.borrow_mut().insert(identity, digest);
        Some(digest)
    }

    /// Remembers a digest.
    pub fn put(&self, algorithm: Algorithm, stat: &Stat, digest: Digest) {
        if let Some(identity) = Identity::new(algorithm, stat) {
            self.used.borrow_mut().insert(identity, digest);
            self.known.borrow_mut().insert(identity, digest);
            *self.added.borrow_mut() = true;
        }
    }

    /// Writes the memory back, if it grew. A crash loses it, which costs time and nothing else, so it isn't synced.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn store(&self, dir: &Dir) -> io::Result<()> {
        if !*self.added.borrow() {
            return Ok(());
        }
        // What this run used comes first; of the rest, as much as there is room for.
        let used = self.used.borrow();
        let known = self.known.borrow();
        let rest = known.iter().filter(|(identity, _)| !used.contains_key(identity));
        let all: Vec<(Identity, String)> =
            used.iter().chain(rest).take(REMEMBERED).map(|(identity, digest)| (*identity, hex(digest))).collect();
        super::temporary::replace_file(dir, CACHE, &serde_json::to_vec(&all)?, false)
    }
}
