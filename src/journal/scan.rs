//! Reads a journal once from start to end, in blocks of whole lines, without a lock.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use xxhash_rust::xxh3::Xxh3;

use super::record::{self, Damage, Header, NO_FIELDS, Record};

/// A longer line is damage: it is passed over without being held in memory, and none is ever written.
pub const LONGEST: usize = 16 << 20;

const BLOCK: usize = 1 << 20;

/// How many damaged lines are kept by number; the others are counted.
const NAMED: usize = 1000;

/// What comes next in a file of lines.
pub enum Chunk<'a> {
    /// Whole lines, each with its line break.
    Lines(&'a [u8]),
    /// One line beyond [`LONGEST`].
    Overlong,
    /// What follows the last line break.
    Fragment(&'a [u8]),
}

/// Blocks of whole lines of a file, by position: the descriptor's own offset stays where it is.
pub struct Blocks<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where the next byte is read from.
    at: u64,
    limit: u64,
    hash: Option<&'a mut Xxh3>,
}

impl<'a> Blocks<'a> {
    /// The bytes from `from` to `limit`. What is handed out is hashed, but for a fragment.
    #[must_use]
    pub fn new(file: &'a File, from: u64, limit: u64, hash: Option<&'a mut Xxh3>) -> Self {
        Self { file, buffer: Vec::new(), start: 0, end: 0, at: from, limit, hash }
    }

    /// The offset behind what was handed out.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.at - (self.end - self.start) as u64
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// As `pread(2)`.
    pub fn advance(&mut self) -> io::Result<Option<Chunk<'_>>> {
        let mut overlong = false;
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        // Behind an overlong line whole ones may have been read already.
        let mut searched = 0;
        loop {
            let unread = &self.buffer[searched..self.end];
            let found = if overlong { memchr::memchr(b'\n', unread) } else { memchr::memrchr(b'\n', unread) };
            if let Some(at) = found {
                self.start = searched + at + 1;
                let lines = &self.buffer[..self.start];
                if let Some(hash) = &mut self.hash {
                    hash.update(lines);
                }
                return Ok(Some(if overlong { Chunk::Overlong } else { Chunk::Lines(lines) }));
            }
            if overlong || self.end > LONGEST {
                overlong = true;
                if let Some(hash) = &mut self.hash {
                    hash.update(&self.buffer[..self.end]);
                }
                self.end = 0;
            }
            searched = self.end;
            if self.fill()? == 0 {
                self.start = self.end;
                return Ok(match self.end {
                    0 if overlong => Some(Chunk::Overlong),
                    0 => None,
                    end => Some(Chunk::Fragment(&self.buffer[..end])),
                });
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        if self.buffer.len() - self.end < BLOCK / 2 {
            self.buffer.resize((self.buffer.len() * 2).max(BLOCK), 0);
        }
        let room = self.buffer.len() - self.end;
        let wanted = usize::try_from(self.limit - self.at).unwrap_or(room).min(room);
        loop {
            match self.file.read_at(&mut self.buffer[self.end..self.end + wanted], self.at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(n) => {
                    self.end += n;
                    self.at += n as u64;
                    return Ok(n);
                }
            }
        }
    }
}

/// Gives each line of a block, without its line break: as text, or the reason why it is none.
pub fn each_line(lines: &[u8], mut each: impl FnMut(Result<&str, Damage>, usize)) {
    match std::str::from_utf8(lines) {
        Ok(text) => {
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', lines) {
                each(Ok(&text[start..end]), end + 1 - start);
                start = end + 1;
            }
        }
        Err(_) => {
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                each(std::str::from_utf8(text).map_err(|_| "it isn't UTF-8"), line.len());
            }
        }
    }
}

/// A line that is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Its number, from 1.
    pub line: u64,
    /// Why.
    pub why: String,
}

/// What is known of a journal up to a point, apart from its items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Up to which byte it was read: always behind a line break.
    pub offset: u64,
    /// How many lines that were.
    pub lines: u64,
    /// The first header, or an empty one.
    pub header: Header,
    /// The last `saved` record.
    pub saved: Option<u64>,
    /// How many lines are damaged.
    pub damaged: u64,
    /// The first of them.
    pub bad: Vec<Bad>,
    /// How many records are objects that no header says how to read.
    pub nameless: u64,
    /// Bytes behind the last line break.
    pub fragment: u64,
}

/// One record about an item.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Done, or taken back.
    pub done: bool,
    /// The item.
    pub key: &'a [u8],
    /// The whole line, without its line break.
    pub line: &'a str,
    /// Where the line starts in the file.
    pub offset: u64,
}

impl Reading {
    /// Reads on from where this stands to `limit`, and gives each item's record to `each`.
    ///
    /// # Errors
    /// As `pread(2)`.
    pub fn read(&mut self, file: &File, limit: u64, hash: Option<&mut Xxh3>, mut each: impl FnMut(Entry<'_>)) -> io::Result<()> {
        let mut blocks = Blocks::new(file, self.offset, limit, hash);
        let mut key = Vec::new();
        self.fragment = 0;
        while let Some(chunk) = blocks.advance()? {
            match chunk {
                Chunk::Lines(lines) => {
                    each_line(lines, |line, length| {
                        self.lines += 1;
                        self.line(line, &mut key, &mut each);
                        self.offset += length as u64;
                    });
                }
                Chunk::Overlong => {
                    self.lines += 1;
                    self.damage("it is longer than 16 MiB");
                    self.offset = blocks.offset();
                }
                Chunk::Fragment(bytes) => self.fragment = bytes.len() as u64,
            }
        }
        Ok(())
    }

    fn line(&mut self, line: Result<&str, Damage>, key: &mut Vec<u8>, each: &mut impl FnMut(Entry<'_>)) {
        let line = match line {
            Ok(line) if self.offset == 0 => line.strip_prefix('\u{feff}').unwrap_or(line),
            Ok(line) => line,
            Err(why) => return self.damage(why),
        };
        match record::parse(line, self.header.fields.as_deref(), key) {
            Ok(record @ (Record::Done | Record::Undo)) => {
                each(Entry { done: record == Record::Done, key, line, offset: self.offset });
            }
            Ok(Record::Saved(count)) => self.saved = Some(count),
            Ok(Record::Header(header)) => self.header(header),
            Ok(Record::Blank) => {}
            Err(why) => {
                self.nameless += u64::from(why == NO_FIELDS);
                self.damage(why);
            }
        }
    }

    /// The first header counts; another is harmless where it says the same, as after `cat a.jsonl b.jsonl`.
    fn header(&mut self, header: Header) {
        if self.header.version == 0 && self.header.fields.is_none() {
            self.header = header;
        } else if self.header.version == 0 {
            // The fields came from the command line.
            self.header = Header { fields: header.fields.or_else(|| self.header.fields.take()), ..header };
        } else if header.fields != self.header.fields {
            self.damage("it is a second header, and names another key");
        }
    }

    fn damage(&mut self, why: &str) {
        self.damaged += 1;
        if self.bad.len() < NAMED {
            self.bad.push(Bad { line: self.lines, why: why.to_owned() });
        }
    }
}
