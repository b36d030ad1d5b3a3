//! `todo --sorted`: both sides in the order of their keys, merged without a set in memory.
//!
//! The journal's sorted part is what `compact` wrote; what was appended since is small and is held in memory. An order
//! that turns out to be broken on either side is an error, never a wrong answer.

use std::collections::HashMap;
use std::fs::File;

use anyhow::{Context, Result, bail};

use super::Global;
use super::todo::{Args, Block, Candidates, Kept};
use crate::exit::{Exit, Failure};
use crate::journal::{Blocks, Chunk, Header, Place, Reading, Record, record};
use crate::text::shown;

pub(super) fn run(global: &Global, args: &Args, place: &Place, candidates: &mut Candidates, kept: &mut Kept<'_>) -> Result<()> {
    let reading = |error: std::io::Error| anyhow::Error::new(error).context(format!("cannot read '{}'", shown(&place.file)));
    let file = match File::open(&place.file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        other => Some(other.map_err(reading)?),
    };
    let mut head = Reading { header: Header { fields: global.fields.clone(), ..Header::default() }, ..Reading::default() };
    let mut since = HashMap::new();
    let mut done = None;
    if let Some(file) = &file {
        let meta = file.metadata().map_err(reading)?;
        if !meta.is_file() {
            bail!("cannot read '{}': it isn't a regular file", shown(&place.file));
        }
        let length = meta.len();
        done = Some(
            Sorted::open(global, file, length, place, &mut head, &mut since)
                .map_err(|e| e.context(format!("cannot read '{}'", shown(&place.file))))?,
        );
        // What is left out is reported as done.
        file.sync_data().map_err(reading)?;
    }
    let keys = args.input.keys(&head.header, global.fields.as_deref())?;
    let (mut key, mut last) = (Vec::new(), Vec::new());
    let mut begun = false;
    while let Some(Block { first, lines }) = candidates.next()? {
        let (mut run, mut count, mut at) = (0, 0, 0);
        for (number, end) in
            (first..).zip(memchr::memchr_iter(b'\n', lines).chain((lines.last() != Some(&b'\n')).then_some(lines.len())))
        {
            let next = lines.len().min(end + 1);
            let named = || format!("line {number} of standard input");
            keys.take(&lines[at..end], &mut key).map_err(|wrong| wrong.failure(&named()))?;
            if begun && key < last {
                let message = format!("{} isn't in the order of its key", named());
                return Err(Failure::new(Exit::Broken, message)
                    .hint("sort it with LC_ALL=C sort -t C -k1,1 -k2,2 …, by the key's columns")
                    .into());
            }
            begun = true;
            let known = if since.is_empty() { None } else { since.get(&key).copied() };
            let is_done = match (&mut done, known) {
                (_, Some(known)) => known,
                (Some(done), None) => done.holds(&key, place)?,
                (None, None) => false,
            };
            if is_done {
                kept.print(&lines[run..at], count)?;
                (run, count) = (next, 0);
            } else {
                count += 1;
            }
            std::mem::swap(&mut key, &mut last);
            at = next;
        }
        kept.print(&lines[run..], count)?;
        if kept.full() {
            break;
        }
        if candidates.pauses()? {
            kept.flush()?;
        }
    }
    candidates.finish();
    Ok(())
}

/// The sorted part of the journal, as a stream of keys.
struct Sorted<'a> {
    blocks: Blocks<'a>,
    fields: Option<Vec<String>>,
    /// The keys of one block, and where each ends.
    keys: Vec<u8>,
    ends: Vec<usize>,
    at: usize,
    last: Vec<u8>,
}

impl<'a> Sorted<'a> {
    fn open(
        global: &Global,
        file: &'a File,
        length: u64,
        place: &Place,
        head: &mut Reading,
        since: &mut HashMap<Vec<u8>, bool>,
    ) -> Result<Self> {
        let first = first_line(file, length)?;
        if let Ok(Record::Header(header)) = record::parse(first.trim_start_matches('\u{feff}'), None, &mut Vec::new()) {
            head.header = header;
        }
        let marked = head.header.sorted.filter(|end| *end <= length).unwrap_or(0);
        let end = line_start(file, marked)?;
        // What came after the compaction is held in memory, and beats what stands before.
        let mut tail = Reading { offset: end, header: head.header.clone(), ..Reading::default() };
        tail.read(file, u64::MAX, None, |entry| {
            since.insert(entry.key.to_vec(), entry.done);
        })?;
        global.judge(&tail, &place.file)?;
        Ok(Self {
            blocks: Blocks::new(file, 0, end, None),
            fields: head.header.fields.clone(),
            keys: Vec::new(),
            ends: vec![0],
            at: 0,
            last: Vec::new(),
        })
    }

    /// Whether the key is there; keys are asked for in order.
    fn holds(&mut self, key: &[u8], place: &Place) -> Result<bool> {
        loop {
            while self.at + 1 < self.ends.len() {
                match self.keys[self.ends[self.at]..self.ends[self.at + 1]].cmp(key) {
                    std::cmp::Ordering::Less => self.at += 1,
                    order => return Ok(order.is_eq()),
                }
            }
            if !self.fill(place)? {
                return Ok(false);
            }
        }
    }

    fn fill(&mut self, place: &Place) -> Result<bool> {
        self.keys.clear();
        self.ends.truncate(1);
        self.at = 0;
        let damaged = || format!("the sorted part of '{}' was edited: 'compact' sorts it again", shown(&place.file));
        let Some(chunk) = self.blocks.advance().with_context(|| format!("cannot read '{}'", shown(&place.file)))? else {
            return Ok(false);
        };
        let Chunk::Lines(lines) = chunk else { bail!(damaged()) };
        let Ok(text) = std::str::from_utf8(lines) else { bail!(damaged()) };
        let mut key = Vec::new();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            let line = text[start..end].trim_start_matches('\u{feff}');
            start = end + 1;
            match record::parse(line, self.fields.as_deref(), &mut key) {
                Ok(Record::Done) if key >= self.last => {
                    self.keys.extend_from_slice(&key);
                    self.ends.push(self.keys.len());
                    std::mem::swap(&mut key, &mut self.last);
                }
                Ok(Record::Header(_) | Record::Saved(_) | Record::Blank) => {}
                _ => bail!(damaged()),
            }
        }
        Ok(true)
    }
}

fn first_line(file: &File, length: u64) -> Result<String> {
    let mut blocks = Blocks::new(file, 0, length.min(1 << 16), None);
    Ok(match blocks.advance()? {
        Some(Chunk::Lines(lines)) => {
            String::from_utf8_lossy(lines.split(|byte| *byte == b'\n').next().unwrap_or_default()).into_owned()
        }
        _ => String::new(),
    })
}

/// The offset of the first line that starts at or after `offset`: an edit may have moved the lines.
fn line_start(file: &File, offset: u64) -> Result<u64> {
    use std::os::unix::fs::FileExt;
    if offset == 0 {
        return Ok(0);
    }
    let mut at = offset - 1;
    let mut block = [0; 4096];
    loop {
        let n = file.read_at(&mut block, at)?;
        if n == 0 {
            return Ok(at);
        }
        if let Some(found) = memchr::memchr(b'\n', &block[..n]) {
            return Ok(at + found as u64 + 1);
        }
        at += n as u64;
    }
}
