//! `add` and `undo`: records that are acknowledged only when they are on disk.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;

use super::Global;
use super::context::usage;
use super::input::{InputArgs, Keys};
use crate::entry::Out;
use crate::exit::Exit;
use crate::journal::{LONGEST, Place, Writer, key};
use crate::sys;
use crate::text::shown;

/// The most that one flush waits for, where the input doesn't pause before.
const BATCH: usize = 64 << 10;
const LONGEST_WAIT: Duration = Duration::from_millis(5);

#[derive(ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// The items; "-" reads them from standard input and prints each once it is on disk
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<OsString>,
}

#[derive(ClapArgs)]
pub(super) struct UndoArgs {
    #[command(flatten)]
    input: InputArgs,
    /// The items; "-" reads them from standard input and prints each once it is on disk
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<OsString>,
}

/// Marks items done.
pub(super) fn run(global: &Global, args: &Args, out: &mut Out) -> Result<Exit> {
    Marking::new(global, &args.input, true)?.all(&args.keys, out)
}

/// Takes items back.
pub(super) fn undo(global: &Global, args: &UndoArgs, out: &mut Out) -> Result<Exit> {
    Marking::new(global, &args.input, false)?.all(&args.keys, out)
}

struct Marking<'a> {
    global: &'a Global,
    place: Place,
    writer: Writer,
    keys: Keys,
    jsonl: bool,
    done: bool,
    key: Vec<u8>,
}

impl<'a> Marking<'a> {
    fn new(global: &'a Global, input: &InputArgs, done: bool) -> Result<Self> {
        let place = global.place()?;
        let writer = global.writer(&place)?;
        let keys = input.keys(writer.header(), global.fields.as_deref())?;
        Ok(Self { global, place, writer, keys, jsonl: input.is_jsonl(), done, key: Vec::new() })
    }

    fn all(mut self, keys: &[OsString], out: &mut Out) -> Result<Exit> {
        if keys.iter().any(|key| key == "-") {
            if keys.len() > 1 {
                return Err(usage("'-' stands alone: the items come from standard input"));
            }
            return self.stream(out);
        }
        let mut records = Vec::new();
        for key in keys {
            let named = || format!("'{}'", shown(key));
            // An argument is a wrong command line, whatever is wrong with it.
            let record = self.record(key.as_bytes(), &named, &mut records);
            record.map_err(|error| usage(format!("{error:#}")))?;
        }
        self.put(&records, keys.len() as u64)?;
        Ok(Exit::Done)
    }

    /// Appends the record of one item.
    fn record(&mut self, line: &[u8], named: &dyn Fn() -> String, records: &mut Vec<u8>) -> Result<()> {
        if !self.jsonl && memchr::memchr(b'\n', line).is_some() {
            bail!("cannot use {}: it holds a line break; --jsonl takes any text", named());
        }
        self.keys.take(line, &mut self.key).map_err(|wrong| wrong.failure(&named()))?;
        if key::is_empty(&self.key) {
            return Err(usage("the key is empty: is a variable unset?"));
        }
        let start = records.len();
        if self.jsonl && self.done {
            // As it came: with its other fields, and its integers.
            let line = line.trim_ascii();
            records.extend(line.iter().map(|byte| if *byte == b'\n' || *byte == b'\r' { b' ' } else { *byte }));
        } else {
            let json = key::json(&self.key, &self.writer.header().integers);
            records.extend_from_slice(if self.done { json } else { format!("{{\"undo\":{json}}}") }.as_bytes());
        }
        if records.len() - start > LONGEST {
            records.truncate(start);
            return Err(usage("a key can't be longer than 16 MiB"));
        }
        records.push(b'\n');
        Ok(())
    }

    fn put(&mut self, records: &[u8], items: u64) -> Result<()> {
        if self.global.dry_run {
            self.global.warn(&format!("would write {items} records to '{}'", shown(&self.place.file)));
            return Ok(());
        }
        let written = self.writer.put(records, items);
        self.global.notices(&self.place, &std::mem::take(&mut self.writer.notices));
        written
    }

    /// Takes all lines that are there, writes and flushes them once, then acknowledges each in order.
    fn stream(mut self, out: &mut Out) -> Result<Exit> {
        let mut input = Batches::default();
        let mut records = Vec::new();
        let mut number = 0_u64;
        while let Some(lines) = input.next().context("cannot read standard input")? {
            records.clear();
            let (mut items, mut good, mut failed) = (0, 0, None);
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                number += 1;
                let text = line.strip_suffix(b"\n").unwrap_or(line);
                if let Err(error) = self.record(text, &|| format!("line {number} of standard input"), &mut records) {
                    failed = Some(error);
                    break;
                }
                items += 1;
                good += line.len();
            }
            if items > 0 {
                self.put(&records, items)?;
                // That nobody reads the echo any more is no reason to leave items unmarked.
                if !self.global.quiet && !out.is_closed() {
                    let echoed = out.write_all(&lines[..good]).and_then(|()| out.flush());
                    if let Err(error) = echoed
                        && !out.is_closed()
                    {
                        return Err(error).context("cannot write to standard output");
                    }
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
        }
        if input.torn() {
            bail!("the last line of standard input has no line break: it may be torn, and isn't marked");
        }
        Ok(Exit::Done)
    }
}

/// Standard input in batches of whole lines: what can be read at once.
#[derive(Default)]
struct Batches {
    buffer: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl Batches {
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let mut begun: Option<Instant> = None;
        let stdin = io::stdin();
        loop {
            let whole = memchr::memrchr(b'\n', &self.buffer).map(|at| at + 1);
            if let Some(whole) = whole {
                let begun = *begun.get_or_insert_with(Instant::now);
                let enough = self.ended || self.buffer.len() >= BATCH || begun.elapsed() >= LONGEST_WAIT;
                if enough || !sys::readable(&[stdin.as_fd()], 0)?[0] {
                    self.taken = whole;
                    return Ok(Some(&self.buffer[..whole]));
                }
            } else if self.ended {
                return Ok(None);
            } else if self.buffer.len() > LONGEST {
                return Err(io::Error::other("a line is longer than 16 MiB"));
            }
            let start = self.buffer.len();
            self.buffer.resize(start + BATCH, 0);
            let read = loop {
                match stdin.lock().read(&mut self.buffer[start..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            self.buffer.truncate(start + read.as_ref().map_or(0, |n| *n));
            self.ended = read? == 0;
        }
    }

    fn torn(&self) -> bool {
        self.taken < self.buffer.len()
    }
}
