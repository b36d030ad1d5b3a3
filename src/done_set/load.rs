//! Loads the set of a journal, through its cache where that still fits.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, bail};
use xxhash_rust::xxh3::Xxh3;

use super::DoneSet;
use super::cache::{self, halves};
use crate::journal::{Blocks, Chunk, Header, Lost, Mark, Notice, Place, Reading, recently_done};
use crate::text::shown;

/// A cache is worth writing once so many bytes were read without it.
const WORTH: u64 = 1 << 20;

/// A journal as it was read.
pub struct Loaded {
    /// What is done.
    pub set: DoneSet,
    /// What else it says, and how far it was read.
    pub reading: Reading,
    /// Whether the journal is there; what isn't there says that nothing is done yet.
    pub there: bool,
    /// Records that another program lost.
    pub notice: Option<Notice>,
    place: Place,
    file: Option<File>,
    hash: Xxh3,
    cached: u64,
}

/// Reads the journal at `place`, as far as it goes, without a lock. `fields` are the key's where the journal names none.
/// What is reported afterwards as done is on disk.
///
/// # Errors
/// When it is there and can't be read.
pub fn load(place: &Place, fields: Option<&[String]>, with_cache: bool) -> Result<Loaded> {
    let mut loaded = Loaded {
        set: DoneSet::default(),
        reading: fresh(fields),
        there: false,
        notice: None,
        place: place.clone(),
        file: None,
        hash: Xxh3::new(),
        cached: 0,
    };
    loaded.open(fields, with_cache).with_context(|| format!("cannot read '{}'", shown(&place.file)))?;
    Ok(loaded)
}

fn fresh(fields: Option<&[String]>) -> Reading {
    Reading { header: Header { fields: fields.map(<[String]>::to_vec), ..Header::default() }, ..Reading::default() }
}

impl Loaded {
    fn open(&mut self, fields: Option<&[String]>, with_cache: bool) -> io::Result<()> {
        let file = match File::open(&self.place.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.there = false;
                self.notice = self.noticed();
                return Ok(());
            }
            other => other?,
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it isn't a regular file"));
        }
        self.there = true;
        if with_cache && let Some(cached) = cache::read(&self.place) {
            let fits = fields.is_none_or(|asked| cached.reading.header.fields.as_deref() == Some(asked));
            let size = file.metadata()?.size();
            if fits && size >= cached.reading.offset && self.prefix(&file, cached.reading.offset)? == cached.hash {
                self.cached = cached.reading.offset;
                self.set = cached.set;
                self.reading = cached.reading;
            } else {
                self.hash = Xxh3::new();
            }
        }
        self.file = Some(file);
        self.read_on()?;
        self.notice = self.noticed();
        Ok(())
    }

    /// Hashes the first bytes of the journal.
    fn prefix(&mut self, file: &File, length: u64) -> io::Result<[u64; 2]> {
        let mut blocks = Blocks::new(file, 0, length, Some(&mut self.hash));
        let mut fragment = false;
        while let Some(chunk) = blocks.advance()? {
            fragment |= matches!(chunk, Chunk::Fragment(_));
        }
        // Cut at another place than a line break, it isn't the text that was cached.
        Ok(if fragment { [0, 0] } else { halves(self.hash.digest128()) })
    }

    fn read_on(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let set = &mut self.set;
        self.reading.read(file, u64::MAX, Some(&mut self.hash), |entry| {
            if entry.done {
                set.insert(entry.key);
            } else {
                set.remove(entry.key);
            }
        })?;
        self.sync(file)
    }

    /// Another may have written this and not flushed it yet: what is about to be reported must survive a power cut.
    fn sync(&self, file: &File) -> io::Result<()> {
        let read_only = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EROFS | libc::EINVAL | libc::EBADF));
        file.sync_data().or_else(|error| if read_only(&error) { Ok(()) } else { Err(error) })?;
        let meta = file.metadata()?;
        let named = self.mark().is_some_and(|(mark, _)| mark.named && (mark.dev, mark.ino) == (meta.dev(), meta.ino()));
        if !named {
            let synced = File::open(&self.place.dir).and_then(|dir| dir.sync_all());
            synced.or_else(|error| if read_only(&error) { Ok(()) } else { Err(error) })?;
        }
        Ok(())
    }

    /// The last writer's mark, of this boot.
    #[must_use]
    pub fn mark(&self) -> Option<(Mark, File)> {
        let lock = File::open(self.place.lock()).ok()?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Mark::read(&lock).filter(|mark| mark.boot == boot.trim()).map(|mark| (mark, lock))
    }

    /// What the last writer marked and another program lost.
    fn noticed(&self) -> Option<Notice> {
        let (mark, lock) = self.mark().filter(|(mark, _)| mark.ino != 0)?;
        if let Some(file) = &self.file {
            let meta = file.metadata().ok()?;
            if mark.holds(file, meta.dev(), meta.ino(), meta.size()).ok()? {
                return None;
            }
            let at_path = fs::metadata(&self.place.file).ok()?;
            if (at_path.dev(), at_path.ino()) != (meta.dev(), meta.ino()) {
                // Replaced while it was read, by a compaction as a rule: the next call compares.
                return None;
            }
        }
        let recent = recently_done(&mark, &lock, &self.reading.header).unwrap_or_default();
        let items: Vec<Vec<u8>> = recent.into_iter().filter(|key| !self.set.contains(key)).collect();
        let fewer = mark.lines.saturating_sub(self.reading.lines);
        (fewer > 0 || !items.is_empty()).then_some(Notice::Lost(Lost { fewer, items }))
    }

    /// How many bytes of the journal the cache stood for.
    #[must_use]
    pub const fn cached(&self) -> u64 {
        self.cached
    }

    /// Takes in what was appended since, or reads anew what was replaced.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn refresh(&mut self) -> Result<()> {
        let at_path = fs::metadata(&self.place.file).ok().map(|meta| (meta.dev(), meta.ino(), meta.size()));
        let own = self.file.as_ref().and_then(|file| file.metadata().ok()).map(|meta| (meta.dev(), meta.ino()));
        match (at_path, own) {
            (Some((dev, ino, size)), Some(own)) if (dev, ino) == own && size >= self.reading.offset => {
                if size > self.reading.offset {
                    self.read_on().with_context(|| format!("cannot read '{}'", shown(&self.place.file)))?;
                }
                Ok(())
            }
            (None, None) => Ok(()),
            _ => {
                *self = load(&self.place.clone(), self.reading.header.fields.clone().as_deref(), false)?;
                Ok(())
            }
        }
    }

    /// Gives each item that is done once, with its line, in the file's order: what is found is taken out of the set.
    ///
    /// # Errors
    /// When the journal can't be read again, or was changed meanwhile so that items are gone.
    pub fn each_once(mut self, mut each: impl FnMut(&[u8], &str)) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut again = Reading { header: Header { version: 0, ..self.reading.header.clone() }, ..Reading::default() };
        let set = &mut self.set;
        let read = again.read(file, self.reading.offset, None, |entry| {
            if entry.done && set.contains(entry.key) {
                set.remove(entry.key);
                each(entry.key, entry.line);
            }
        });
        read.with_context(|| format!("cannot read '{}'", shown(&self.place.file)))?;
        if !self.set.is_empty() {
            bail!("cannot read '{}': it was changed meanwhile", shown(&self.place.file));
        }
        Ok(())
    }

    /// Leaves a cache for the next call where that would spare it much. That it can't be written is no error.
    pub fn keep(&self) {
        if self.there && self.reading.offset >= self.cached + WORTH {
            let _ = cache::write(&self.place, &self.reading, self.hash.digest128(), &self.set);
        }
    }
}
