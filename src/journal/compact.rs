//! Rewrites a journal under its lock: sorted and without repetition, or without what is damaged.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};

use anyhow::{Context, Result, bail};

use super::mark::Mark;
use super::place::Place;
use super::record::{self, Header, VERSION};
use super::scan::{Bad, LONGEST, Reading};
use super::writer::{Settled, Writer, set_aside, sync_dir};
use crate::text::shown;

/// What a compaction did.
#[derive(Clone, Copy, Debug)]
pub struct Compacted {
    /// Lines before and after.
    pub lines: (u64, u64),
    /// Bytes before and after.
    pub bytes: (u64, u64),
}

/// What a repair did.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// Lines that were moved aside.
    pub moved: Vec<Bad>,
    /// Lines that were freed of the NUL bytes before them.
    pub freed: u64,
}

/// A journal in memory: its bytes, what it says, all keys, and the records with their places in both.
type Whole = (Vec<u8>, Reading, Vec<u8>, Vec<Item>);

struct Item {
    key: (usize, usize),
    line: (usize, usize),
    done: bool,
}

impl Writer {
    /// Rewrites the journal so that each item that is done stands there once, in the order of the keys; lines stay as
    /// they were written. A crash leaves either the old file or the new one.
    ///
    /// # Errors
    /// When there are damaged lines, and when it can't be read or replaced.
    pub fn compact(&mut self) -> Result<Compacted> {
        let _held = self.hold()?;
        let Settled { size, mark } = self.settle()?;
        let (bytes, reading, keys, mut items) = self.items(size)?;
        if let Some(bad) = reading.bad.first() {
            bail!("cannot compact '{}': line {} is damaged, {}", shown(&self.place.file), bad.line, bad.why);
        }
        let key = |item: &Item| &keys[item.key.0..item.key.1];
        items.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(a.line.0.cmp(&b.line.0)));
        let last = |at: usize| items.get(at + 1).is_none_or(|next| key(next) != key(&items[at]));
        let kept =
            || (0..items.len()).filter(|at| last(*at) && items[*at].done).map(|at| &bytes[items[at].line.0..items[at].line.1]);
        let saved = reading.saved.map_or_else(String::new, |count| format!("{{\"saved\":{count}}}\n"));
        let mut header = Header { version: VERSION, sorted: Some(0), ..reading.header.clone() };
        let length = header.line().len() + 1 + saved.len() + kept().map(|line| line.len() + 1).sum::<usize>();
        header.sorted = Some(length as u64);
        replace(&self.place, |out| {
            writeln!(out, "{}", header.line())?;
            out.write_all(saved.as_bytes())?;
            kept().try_for_each(|line| out.write_all(line).and_then(|()| out.write_all(b"\n")))
        })?;
        let lines = 1 + u64::from(!saved.is_empty()) + kept().count() as u64;
        self.replaced(mark, lines)?;
        Ok(Compacted { lines: (reading.lines, lines), bytes: (size, length as u64) })
    }

    /// Moves every damaged line to the file of torn lines; what is whole behind a run of NUL bytes stays. With `fields`,
    /// a journal of objects without a header gets one.
    ///
    /// # Errors
    /// When objects have no header and no `fields` are given, and when it can't be read or replaced.
    pub fn repair(&mut self, fields: Option<&[String]>) -> Result<Repaired> {
        let _held = self.hold()?;
        let Settled { size, mark } = self.settle()?;
        let (bytes, mut reading, ..) = self.items(size)?;
        let mut add_header = None;
        if reading.nameless > 0 {
            let Some(fields) = fields else {
                bail!("'{}' has objects, and no header names their key: --fields does", shown(&self.place.file));
            };
            let header = Header { version: VERSION, fields: Some(fields.to_vec()), ..Header::default() };
            reading = Reading { header: Header { version: 0, ..header.clone() }, ..Reading::default() };
            reading.read(self.file().context("no journal is open")?, size, None, |_| {})?;
            add_header = Some(header);
        }
        if reading.damaged == 0 && add_header.is_none() {
            return Ok(Repaired::default());
        }
        let mut repaired = Repaired::default();
        let mut whole = Vec::with_capacity(bytes.len());
        let mut aside: Vec<&[u8]> = Vec::new();
        if let Some(header) = &add_header {
            whole.extend_from_slice((header.line() + "\n").as_bytes());
        }
        // Each line is judged as the reader does, header and all.
        let mut judge = Judge { header: reading.header.clone(), seen: add_header.is_some() };
        for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let bare = line.strip_suffix(b"\n").unwrap_or(line);
            match judge.why(bare) {
                None => whole.extend_from_slice(line),
                Some(why) => {
                    let rest = bare.trim_start_matches_nul();
                    if rest.len() < bare.len() && !rest.is_empty() && judge.why(rest).is_none() {
                        repaired.freed += 1;
                        whole.extend_from_slice(rest);
                        whole.push(b'\n');
                    } else {
                        repaired.moved.push(Bad { line: at as u64 + 1, why });
                        aside.push(bare);
                    }
                }
            }
        }
        set_aside(&self.place, &aside)?;
        replace(&self.place, |out| out.write_all(&whole))?;
        self.replaced(mark, memchr::memchr_iter(b'\n', &whole).count() as u64)?;
        Ok(repaired)
    }

    /// Everything in the journal up to `size`.
    fn items(&mut self, size: u64) -> Result<Whole> {
        let context = || format!("cannot read '{}'", shown(&self.place.file));
        let file = self.file().context("no journal is open")?;
        let mut bytes = Vec::with_capacity(usize::try_from(size)?);
        File::open(&self.place.file).and_then(|file| file.take(size).read_to_end(&mut bytes)).with_context(context)?;
        let (mut keys, mut items) = (Vec::new(), Vec::new());
        let mut reading = Reading::default();
        reading
            .read(file, size, None, |entry| {
                let start = keys.len();
                keys.extend_from_slice(entry.key);
                let line = usize::try_from(entry.offset).unwrap_or(usize::MAX);
                // The byte order mark of a first line stands before its text.
                let line = if line == 0 && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { line };
                items.push(Item { key: (start, keys.len()), line: (line, line + entry.line.len()), done: entry.done });
            })
            .with_context(context)?;
        Ok((bytes, reading, keys, items))
    }

    /// Takes the new file for the journal and leaves a mark that fits it. Needs the lock.
    pub(super) fn replaced(&mut self, mut mark: Mark, lines: u64) -> Result<()> {
        self.look()?;
        let file = self.file().context("no journal is open")?;
        let meta = file.metadata()?;
        (mark.dev, mark.ino, mark.named, mark.lines) = (meta.dev(), meta.ino(), true, lines);
        self.remember(&mut mark, meta.size(), 0, b"")
    }
}

/// Puts what `fill` writes in the journal's place, durably and at once: a crash leaves either the old file or the new
/// one. Needs the lock, for the name it writes under is one for all.
///
/// # Errors
/// When it can't be written; the journal is as it was then.
pub fn replace(place: &Place, fill: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> Result<()> {
    let next = place.next();
    let written = || -> io::Result<()> {
        let new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(&next)?;
        if let Ok(old) = fs::metadata(&place.file) {
            new.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
            let own = new.metadata()?;
            if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                // Only root may give a file away; for others it becomes theirs, as with any editor.
                let _ = fchown(&new, Some(old.uid()), Some(old.gid()));
            }
        }
        let mut out = BufWriter::with_capacity(1 << 20, &new);
        fill(&mut out)?;
        out.flush()?;
        drop(out);
        new.sync_all()?;
        fs::rename(&next, &place.file)
    };
    if let Err(error) = written() {
        let _ = fs::remove_file(&next);
        return Err(error).with_context(|| format!("cannot replace '{}'", shown(&place.file)));
    }
    sync_dir(place)
}

/// Says of one line after the other whether it is damage.
struct Judge {
    header: Header,
    seen: bool,
}

impl Judge {
    fn why(&mut self, line: &[u8]) -> Option<String> {
        if line.len() > LONGEST {
            return Some("it is longer than 16 MiB".to_owned());
        }
        let Ok(text) = std::str::from_utf8(line) else { return Some("it isn't UTF-8".to_owned()) };
        match record::parse(text.trim_start_matches('\u{feff}'), self.header.fields.as_deref(), &mut Vec::new()) {
            Ok(record::Record::Header(header)) if self.seen && header.fields != self.header.fields => {
                Some("it is a second header, and names another key".to_owned())
            }
            Ok(record) => {
                self.seen |= matches!(record, record::Record::Header(_));
                None
            }
            Err(why) => Some(why.to_owned()),
        }
    }
}

trait TrimNul {
    fn trim_start_matches_nul(&self) -> &[u8];
}

impl TrimNul for [u8] {
    fn trim_start_matches_nul(&self) -> &[u8] {
        let start = self.iter().position(|byte| *byte != 0).unwrap_or(self.len());
        &self[start..]
    }
}
