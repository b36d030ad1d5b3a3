//! The bytes a check reads: a window of a file, every length in it bounded before it is believed.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::super::verdict::{Checked, Fault, broken};

/// The longest single piece that is ever held in memory.
const PIECE: u64 = 1 << 20;

/// A window of something readable, with a position of its own.
#[derive(Debug)]
pub struct Source<R> {
    inner: BufReader<R>,
    start: u64,
    len: u64,
    at: u64,
}

impl<R: Read + Seek> Source<R> {
    /// The whole of `inner`, which is `len` bytes long.
    pub fn new(inner: R, len: u64) -> Self {
        Self { inner: BufReader::with_capacity(1 << 14, inner), start: 0, len, at: u64::MAX }
    }

    /// Narrows to `len` bytes from `start`; the caller has checked that they are there.
    #[must_use]
    pub fn window(self, start: u64, len: u64) -> Self {
        Self { start: self.start + start, len, at: u64::MAX, inner: self.inner }
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the next read begins.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.at
    }

    /// Bytes from the position to the end.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.len.saturating_sub(self.at)
    }

    /// Moves to `at`.
    ///
    /// # Errors
    /// Broken when that is outside.
    pub fn seek(&mut self, at: u64) -> Checked<()> {
        if at > self.len {
            return broken(format!("it ends early: byte {at} is needed, {} are there", self.len));
        }
        if self.at == u64::MAX {
            self.inner.seek(SeekFrom::Start(self.start + at))?;
        } else {
            let step = i128::from(at) - i128::from(self.at);
            self.inner.seek_relative(i64::try_from(step).map_err(io::Error::other)?)?;
        }
        self.at = at;
        Ok(())
    }

    /// Moves past `count` bytes.
    ///
    /// # Errors
    /// Broken when fewer are left.
    pub fn skip(&mut self, count: u64) -> Checked<()> {
        match self.at.checked_add(count) {
            Some(to) => self.seek(to),
            None => broken("a length in it is absurd"),
        }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// Broken when fewer are left.
    pub fn array<const N: usize>(&mut self) -> Checked<[u8; N]> {
        let mut bytes = [0; N];
        self.exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// Broken when fewer are left, or when that is more than anybody writes in one piece.
    pub fn piece(&mut self, count: u64) -> Checked<Vec<u8>> {
        if count > self.left() {
            return broken(format!("it ends early: {count} bytes are promised, {} are there", self.left()));
        }
        if count > PIECE {
            return broken(format!("a length of {count} bytes in it is absurd"));
        }
        let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
        self.exact(&mut bytes)?;
        Ok(bytes)
    }

    fn exact(&mut self, bytes: &mut [u8]) -> Checked<()> {
        if self.at == u64::MAX {
            self.seek(0)?;
        }
        let count = bytes.len() as u64;
        if count > self.left() {
            return broken("it ends early");
        }
        self.inner.read_exact(bytes)?;
        self.at += count;
        Ok(())
    }

    /// One byte.
    ///
    /// # Errors
    /// Broken at the end.
    pub fn u8(&mut self) -> Checked<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Two bytes, least significant first.
    ///
    /// # Errors
    /// Broken at the end.
    pub fn u16(&mut self) -> Checked<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Four bytes, least significant first.
    ///
    /// # Errors
    /// Broken at the end.
    pub fn u32(&mut self) -> Checked<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, least significant first.
    ///
    /// # Errors
    /// Broken at the end.
    pub fn u64(&mut self) -> Checked<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

impl<R: Read + Seek> Read for Source<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == u64::MAX {
            self.seek(0).map_err(|fault| io::Error::other(fault.to_string()))?;
        }
        let most = usize::try_from(self.left()).unwrap_or(usize::MAX).min(buf.len());
        let count = self.inner.read(&mut buf[..most])?;
        // The file is shorter than its size was when it was opened: somebody truncated it.
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

/// A JSON error: damage, or a read that failed.
#[must_use]
pub fn json_fault(what: &str, error: &serde_json::Error) -> Fault {
    if error.is_io() && !matches!(error.io_error_kind(), Some(io::ErrorKind::UnexpectedEof)) {
        return Fault::Unread(error.to_string());
    }
    Fault::Broken(format!("{what}: {error}"))
}
