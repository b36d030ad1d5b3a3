//! Appends to a journal: under the lock, whole or not at all, and acknowledged only when it is on disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use fs2::FileExt as _;

use super::loss::{self, Notice};
use super::mark::{self, Mark};
use super::place::Place;
use super::record::{self, Header, Record, VERSION};
use super::scan::{Blocks, Chunk};
use crate::exit::{Exit, Failure};
use crate::text::shown;

/// One who appends to a journal, for one record or for a stream of them.
pub struct Writer {
    pub(super) place: Place,
    pub(super) lock: Rc<File>,
    open: Option<Open>,
    boot: String,
    /// The edits that were noticed when this one last wrote.
    edits: u64,
    /// Written as the first line of a journal that isn't there yet.
    new_header: Header,
    /// What was noticed on the way, for the user to hear.
    pub notices: Vec<Notice>,
}

struct Open {
    file: File,
    dev: u64,
    ino: u64,
    header: Header,
}

/// The journal while its lock is held, as the last writer and everybody else left it.
pub(super) struct Settled {
    pub(super) size: u64,
    pub(super) mark: Mark,
}

/// The lock, until it goes out of scope.
pub(super) struct Held(Rc<File>);

impl Drop for Held {
    fn drop(&mut self) {
        // A lock that can't be given back goes with the process.
        let _ = fs2::FileExt::unlock(&*self.0);
    }
}

impl Writer {
    /// Gets ready to write to the journal at `place`, whether it is there or not; makes the lock file. A new
    /// journal begins with `new_header` where that says anything.
    ///
    /// # Errors
    /// On a network file system, unless `unsafe_lock`, and when the lock file can't be made.
    pub fn open(place: Place, new_header: Header, unsafe_lock: bool) -> Result<Self> {
        let network = place.network().with_context(|| format!("cannot examine '{}'", shown(&place.dir)))?;
        if let (Some(kind), false) = (network, unsafe_lock) {
            let message = format!("cannot lock '{}': it is on {kind}, where locks can't be trusted", shown(&place.file));
            return Err(Failure::new(Exit::Broken, message).hint("--unsafe-lock insists, for one machine at a time").into());
        }
        let lock = open_lock(&place)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        Ok(Self { place, lock: Rc::new(lock), open: None, boot, edits: 0, new_header, notices: Vec::new() })
    }

    /// The header of the journal as it was when it was last opened for writing, or the one it will begin with.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.open.as_ref().map_or(&self.new_header, |open| &open.header)
    }

    /// Reads the header of the journal that is there, without a lock.
    ///
    /// # Errors
    /// When it can't be read, is of a newer version, or has another key than the one asked for.
    pub fn look(&mut self) -> Result<()> {
        self.reopen(false)
    }

    /// Appends whole lines, durably: when this returns they survive a power cut. After an error they are not there, or,
    /// when only the flush failed, may be. `items` of them mark items.
    ///
    /// # Errors
    /// When they could not be written or flushed.
    pub fn put(&mut self, records: &[u8], items: u64) -> Result<()> {
        loop {
            let end = self.write(records, items)?;
            let Some(open) = &self.open else { bail!("no journal is open") };
            open.file.sync_data().with_context(|| format!("cannot flush '{}'", shown(&self.place.file)))?;
            // An editor, or a compaction, may have put another file in its place meanwhile, without this record, or
            // have cut this one short.
            let there = fs::metadata(&self.place.file).ok();
            let same = there.is_some_and(|meta| (meta.dev(), meta.ino()) == (open.dev, open.ino) && meta.size() >= end);
            if same || self.only_our_own_replaced_it()? {
                return Ok(());
            }
        }
    }

    /// Whether the journal was replaced only by those who hold the lock, since this one last wrote: they take
    /// every record along, and flush it.
    fn only_our_own_replaced_it(&mut self) -> Result<bool> {
        let _held = self.hold()?;
        let Settled { size, mut mark } = self.settle()?;
        let same = mark.edits == self.edits;
        self.remember(&mut mark, size, 0, b"")?;
        Ok(same)
    }

    /// Writes under the lock and gives it back before anything is flushed, so that the flushes of many writers
    /// become one; says where the records end.
    fn write(&mut self, records: &[u8], items: u64) -> Result<u64> {
        let _held = self.hold()?;
        let Settled { size, mut mark } = self.settle()?;
        let Some(open) = &self.open else { bail!("no journal is open") };
        let context = || format!("cannot write to '{}'", shown(&self.place.file));
        let begun;
        let records = if size == 0 && self.new_header != Header::default() {
            begun = [self.new_header.line().as_bytes(), b"\n", records].concat();
            &begun
        } else {
            records
        };
        if let Err((error, written)) = write_all(&open.file, records) {
            // Only what is ours is cut off.
            if open.file.metadata().is_ok_and(|meta| meta.size() == size + written) {
                open.file.set_len(size).with_context(context)?;
            }
            return Err(error).with_context(context);
        }
        mark.pace(items, now());
        self.edits = mark.edits;
        self.remember(&mut mark, size + records.len() as u64, memchr::memchr_iter(b'\n', records).count() as u64, records)?;
        Ok(size + records.len() as u64)
    }

    /// Does something under the journal's lock.
    ///
    /// # Errors
    /// When it can't be locked, and those of `act`.
    pub fn locked<T>(&mut self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let _held = self.hold()?;
        act()
    }

    /// Takes the lock. It is the lock of whoever comes later only while it is the file of that name.
    pub(super) fn hold(&mut self) -> Result<Held> {
        loop {
            let failed = || format!("cannot lock '{}'", shown(self.place.lock()));
            self.lock.lock_exclusive().with_context(failed)?;
            let own = self.lock.metadata().with_context(failed)?;
            if fs::metadata(self.place.lock()).is_ok_and(|meta| (meta.dev(), meta.ino()) == (own.dev(), own.ino())) {
                return Ok(Held(Rc::clone(&self.lock)));
            }
            self.lock = Rc::new(open_lock(&self.place)?);
        }
    }

    /// Opens what is at the path now, makes it where nothing is, notices what others did to it, mends a torn tail and
    /// makes its name durable. Needs the lock.
    pub(super) fn settle(&mut self) -> Result<Settled> {
        let before = Mark::read(&self.lock).filter(|mark| mark.boot == self.boot);
        self.reopen(true)?;
        let Some(open) = &self.open else { bail!("no journal is open") };
        let path = self.place.file.clone();
        let context = || format!("cannot read '{}'", shown(&path));
        let mut size = open.file.metadata().with_context(context)?.size();
        let (dev, ino) = (open.dev, open.ino);
        let kept = match &before {
            Some(mark) => mark.holds(&open.file, dev, ino, size).with_context(context)?,
            None => false,
        };
        if !(kept && before.as_ref().is_some_and(|mark| mark.size == size)) {
            size = self.mend(size)?;
        }
        let Some(open) = &self.open else { bail!("no journal is open") };
        let mut mark = before.unwrap_or_else(|| Mark { boot: self.boot.clone(), ..Mark::default() });
        let counted_to = if kept { mark.size } else { 0 };
        let lines = lines(&open.file, counted_to, size).with_context(context)? + if kept { mark.lines } else { 0 };
        if !kept {
            // Without a mark nobody knows: a number that no other call has.
            mark.edits = if mark.ino == 0 { now().to_bits() } else { mark.edits + 1 };
        }
        if !kept && mark.ino != 0 {
            let lost = loss::lost(&mark, &self.lock, &open.file, lines, &open.header).with_context(context)?;
            self.notices.extend(lost.map(Notice::Lost));
            mark.ring_from = mark.ring;
        }
        if (mark.dev, mark.ino, mark.named) != (dev, ino, true) {
            sync_dir(&self.place)?;
            mark.named = true;
        }
        (mark.dev, mark.ino, mark.lines) = (dev, ino, lines);
        Ok(Settled { size, mark })
    }

    /// Leaves the mark for the next one: the journal now ends at `size`, `more` lines on. Needs the lock.
    pub(super) fn remember(&self, mark: &mut Mark, size: u64, more: u64, records: &[u8]) -> Result<()> {
        let Some(open) = &self.open else { bail!("no journal is open") };
        let context = || format!("cannot write to '{}'", shown(self.place.lock()));
        mark.size = size;
        mark.lines += more;
        mark.tail = mark::tail(&open.file, size).with_context(context)?;
        match mark.write(&self.lock, records) {
            // The mark is help, not truth: a full disk must not make a record fail that is written.
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Ok(()),
            other => other.with_context(context),
        }
    }

    /// The journal that is open, for reading.
    pub(super) fn file(&self) -> Option<&File> {
        self.open.as_ref().map(|open| &open.file)
    }

    /// Opens the file at the path unless it is the one that is open.
    fn reopen(&mut self, create: bool) -> Result<()> {
        let path = &self.place.file;
        if let (Some(open), Ok(meta)) = (&self.open, fs::metadata(path))
            && (meta.dev(), meta.ino()) == (open.dev, open.ino)
        {
            return Ok(());
        }
        let context = || format!("cannot open '{}'", shown(path));
        let file = match OpenOptions::new().read(true).append(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                OpenOptions::new().read(true).append(true).create(true).mode(0o666).open(path).with_context(context)?
            }
            other => other.with_context(context)?,
        };
        let meta = file.metadata().with_context(context)?;
        if !meta.is_file() {
            bail!("cannot write to '{}': it isn't a regular file", shown(path));
        }
        let header = header_of(&file).with_context(|| format!("cannot read '{}'", shown(path)))?;
        if header.version > VERSION {
            bail!("cannot write to '{}': it is of version {}, and this program writes {VERSION}", shown(path), header.version);
        }
        if let (Some(asked), Some(has)) = (&self.new_header.fields, &header.fields)
            && asked != has
        {
            bail!("'{}' has the key {}, not {}", shown(path), shown(has.join(",")), shown(asked.join(",")));
        }
        let header = match header.fields {
            _ if meta.size() == 0 => self.new_header.clone(),
            None => Header { fields: self.new_header.fields.clone(), ..header },
            Some(_) => header,
        };
        self.open = Some(Open { file, dev: meta.dev(), ino: meta.ino(), header });
        Ok(())
    }

    /// Makes the journal end in a line break; gives its size then.
    fn mend(&mut self, size: u64) -> Result<u64> {
        let Some(open) = &self.open else { bail!("no journal is open") };
        let context = || format!("cannot mend '{}'", shown(&self.place.file));
        let start = last_line(&open.file, size).with_context(context)?;
        if start == size {
            return Ok(size);
        }
        let mut fragment = vec![0; usize::try_from(size - start)?];
        open.file.read_exact_at(&mut fragment, start).with_context(context)?;
        let whole = std::str::from_utf8(&fragment).ok().is_some_and(|line| {
            let record = record::parse(line.trim_start_matches('\u{feff}'), open.header.fields.as_deref(), &mut Vec::new());
            record.is_ok_and(|record| record != Record::Blank)
        });
        if whole {
            write_all(&open.file, b"\n").map_err(|(error, _)| error).with_context(context)?;
            return Ok(size + 1);
        }
        set_aside(&self.place, &[&fragment])?;
        open.file.set_len(start).with_context(context)?;
        self.notices.push(Notice::Torn { bytes: size - start });
        Ok(start)
    }
}

/// Keeps what can't stay in the journal in the file of torn lines, durably.
///
/// # Errors
/// When it can't be written: then the journal must stay as it is.
pub(super) fn set_aside(place: &Place, lines: &[&[u8]]) -> Result<()> {
    let context = || format!("cannot write to '{}'", shown(place.torn()));
    let mut torn = OpenOptions::new().append(true).create(true).open(place.torn()).with_context(context)?;
    for line in lines {
        torn.write_all(line).and_then(|()| torn.write_all(b"\n")).with_context(context)?;
    }
    torn.sync_all().with_context(context)?;
    sync_dir(place)
}

/// Makes the names in the journal's directory durable.
pub(super) fn sync_dir(place: &Place) -> Result<()> {
    File::open(&place.dir).and_then(|dir| dir.sync_all()).with_context(|| format!("cannot flush '{}'", shown(&place.dir)))
}

fn open_lock(place: &Place) -> Result<File> {
    let path = place.lock();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o666).open(&path);
    file.with_context(|| format!("cannot open '{}'", shown(&path)))
}

/// Writes all of it, or says how much came into the file before the error.
fn write_all(mut file: &File, bytes: &[u8]) -> Result<(), (io::Error, u64)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written as u64)),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((error, written as u64)),
        }
    }
    Ok(())
}

/// The header, where the first line is one.
fn header_of(file: &File) -> io::Result<Header> {
    let mut first = Vec::new();
    let mut block = [0; 4096];
    while !first.contains(&b'\n') {
        match file.read_at(&mut block, first.len() as u64)? {
            0 => break,
            n => first.extend_from_slice(&block[..n]),
        }
        if first.len() > (1 << 16)
            || !first.trim_ascii_start().trim_ascii_start().starts_with(b"{") && !first.starts_with(b"\xef\xbb\xbf")
        {
            break;
        }
    }
    let line = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).unwrap_or_default().trim_start_matches('\u{feff}');
    match record::parse(line, None, &mut Vec::new()) {
        Ok(Record::Header(header)) => Ok(header),
        _ => Ok(Header::default()),
    }
}

/// Where the last line starts that has no line break; `size` when there is none.
fn last_line(file: &File, size: u64) -> io::Result<u64> {
    let mut block = [0; 4096];
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let bytes = &mut block[..usize::try_from(end - start).map_err(io::Error::other)?];
        file.read_exact_at(bytes, start)?;
        if let Some(at) = memchr::memrchr(b'\n', bytes) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn lines(file: &File, from: u64, to: u64) -> io::Result<u64> {
    let mut count = 0;
    let mut blocks = Blocks::new(file, from, to, None);
    while from < to
        && let Some(chunk) = blocks.advance()?
    {
        count += match chunk {
            Chunk::Lines(lines) => memchr::memchr_iter(b'\n', lines).count() as u64,
            Chunk::Overlong | Chunk::Fragment(_) => 1,
        };
    }
    Ok(count)
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Reads everything a small file holds; nothing where it isn't there.
///
/// # Errors
/// As `read(2)`.
pub fn read_whole(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => {
            other?.read_to_end(&mut bytes)?;
        }
    }
    Ok(bytes)
}
