//! Puts a text that a person edited in the journal's place, with what was appended meanwhile.

use std::io::{self, Write};

use anyhow::{Context, Result};
use xxhash_rust::xxh3::Xxh3;

use super::compact::replace;
use super::scan::{Blocks, Chunk};
use super::writer::{Settled, Writer};
use crate::text::shown;

impl Writer {
    /// Replaces the first `base` bytes of the journal, whose hash is `hash`, by `edited`, and keeps the lines behind
    /// them. `false` when those bytes aren't what they were: then nothing is changed.
    ///
    /// # Errors
    /// When the journal can't be read or replaced.
    pub fn swap_in(&mut self, edited: &[u8], base: u64, hash: u128) -> Result<bool> {
        let _held = self.hold()?;
        let Settled { size, mut mark } = self.settle()?;
        let context = || format!("cannot read '{}'", shown(&self.place.file));
        let file = self.file().context("no journal is open")?;
        let mut now = Xxh3::new();
        pass(&mut Blocks::new(file, 0, base, Some(&mut now)), |_| Ok(())).with_context(context)?;
        if size < base || now.digest128() != hash {
            return Ok(false);
        }
        let mut lines = memchr::memchr_iter(b'\n', edited).count() as u64;
        replace(&self.place, |out| {
            out.write_all(edited)?;
            if !edited.is_empty() && !edited.ends_with(b"\n") {
                lines += 1;
                out.write_all(b"\n")?;
            }
            pass(&mut Blocks::new(file, base, size, None), |bytes| {
                lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
                out.write_all(bytes)
            })
        })?;
        // The person may have deleted what another is about to acknowledge: that one has to look.
        mark.edits += 1;
        self.replaced(mark, lines)?;
        Ok(true)
    }
}

fn pass(blocks: &mut Blocks<'_>, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    while let Some(chunk) = blocks.advance()? {
        if let Chunk::Lines(bytes) | Chunk::Fragment(bytes) = chunk {
            each(bytes)?;
        }
    }
    Ok(())
}
