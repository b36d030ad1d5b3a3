//! `todo`: prints, unchanged and in order, the candidates whose key isn't done.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressStyle};

use super::context::usage;
use super::input::{InputArgs, Keys, Wrong};
use super::{Global, claim, sorted};
use crate::clock;
use crate::done_set::DoneSet;
use crate::entry::Out;
use crate::exit::Exit;
use crate::sys;

/// How much of the input is filtered at once.
const BLOCK: usize = 2 << 20;
/// Less than this isn't worth a second thread.
const SHARE: usize = 256 << 10;

#[derive(ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) input: InputArgs,
    /// Lease what is printed for so long, so that no other worker gets it
    #[arg(long, value_name = "DURATION", value_parser = clock::duration)]
    pub(super) claim: Option<Duration>,
    /// The process a lease belongs to [default: the caller]
    #[arg(long, value_name = "PID", requires = "claim")]
    pub(super) holder: Option<i32>,
    /// Print so many at most
    #[arg(short = 'n', long, value_name = "N")]
    pub(super) limit: Option<u64>,
    /// Print how many there are, not which
    #[arg(short, long, conflicts_with_all = ["claim", "limit"])]
    count: bool,
    /// The candidates and the journal are both sorted: needs next to no memory
    #[arg(long, conflicts_with_all = ["claim", "jsonl"])]
    sorted: bool,
}

pub(super) fn run(global: &Global, args: &Args, out: &mut Out) -> Result<Exit> {
    let place = global.place()?;
    if args.claim.is_some() {
        return claim::run(global, args, &place, out);
    }
    if args.limit == Some(0) {
        return Ok(Exit::Done);
    }
    let mut candidates = Candidates::new(global.quiet)?;
    if args.sorted {
        let mut kept = Kept::new(args, out);
        sorted::run(global, args, &place, &mut candidates, &mut kept)?;
        return kept.end();
    }
    let loaded = global.load(&place)?;
    let keys = args.input.keys(&loaded.reading.header, global.fields.as_deref())?;
    let mut kept = Kept::new(args, out);
    while let Some(block) = candidates.next()? {
        let (first, lines) = (block.first, block.lines);
        for part in filter(&loaded.set, &keys, lines) {
            kept.print(&part.kept, part.count)?;
            if let Some((line, wrong)) = part.failed {
                let before = memchr::memchr_iter(b'\n', &lines[..part.start]).count() as u64;
                kept.flush()?;
                return Err(wrong.failure(&format!("line {} of standard input", first + before + line)));
            }
        }
        if kept.full() {
            break;
        }
        if candidates.pauses()? {
            kept.flush()?;
        }
    }
    candidates.finish();
    if !kept.full() {
        loaded.keep();
    }
    kept.end()
}

/// Whole lines of the input, and the number of the first.
pub(super) struct Block<'a> {
    pub(super) first: u64,
    pub(super) lines: &'a [u8],
}

/// Standard input, block by block, with a progress bar where somebody watches and its length is known.
pub(super) struct Candidates {
    buffer: Vec<u8>,
    filled: usize,
    taken: usize,
    lines: u64,
    ended: bool,
    bar: Option<ProgressBar>,
}

impl Candidates {
    pub(super) fn new(quiet: bool) -> Result<Self> {
        if io::stdin().is_terminal() {
            return Err(usage("the candidates come from standard input, and that is a terminal"));
        }
        let bar = (!quiet && io::stderr().is_terminal()).then(bar);
        Ok(Self { buffer: Vec::new(), filled: 0, taken: 0, lines: 0, ended: false, bar })
    }

    /// The next block: as much as can be read at once. A last line without a line break is a line, too.
    pub(super) fn next(&mut self) -> Result<Option<Block<'_>>> {
        self.lines += memchr::memchr_iter(b'\n', &self.buffer[..self.taken]).count() as u64;
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        let mut whole = memchr::memrchr(b'\n', &self.buffer[..self.filled]);
        while !self.ended && (whole.is_none() || self.filled < BLOCK && !self.pauses()?) {
            let before = self.filled;
            self.fill().context("cannot read standard input")?;
            whole = memchr::memrchr(b'\n', &self.buffer[before..self.filled]).map(|at| before + at).or(whole);
        }
        self.taken = if self.ended { self.filled } else { whole.map_or(0, |at| at + 1) };
        if let Some(bar) = &self.bar {
            bar.inc(self.taken as u64);
        }
        Ok((self.taken > 0).then(|| Block { first: self.lines + 1, lines: &self.buffer[..self.taken] }))
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.buffer.len() - self.filled < BLOCK / 4 {
            self.buffer.resize((self.buffer.len() * 2).max(BLOCK + BLOCK / 4), 0);
        }
        loop {
            match io::stdin().lock().read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => {
                    let n = other?;
                    self.ended = n == 0;
                    self.filled += n;
                    return Ok(());
                }
            }
        }
    }

    /// Whether the next read would wait.
    pub(super) fn pauses(&self) -> Result<bool> {
        Ok(!self.ended && !sys::readable(&[io::stdin().as_fd()], 0).context("cannot poll standard input")?[0])
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let length = io::stdin().as_fd().try_clone_to_owned().and_then(|fd| File::from(fd).metadata());
    let template = "{bytes} of {total_bytes} {wide_bar} {percent}% {binary_bytes_per_sec}, {eta} left";
    match length.ok().filter(std::fs::Metadata::is_file) {
        Some(file) => {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(file.len()).with_style(style.progress_chars("##-"))
        }
        None => ProgressBar::no_length(),
    }
}

/// What goes to standard output: the lines that are kept, or their count.
pub(super) struct Kept<'a> {
    out: &'a mut Out,
    counted: u64,
    only_count: bool,
    limit: u64,
}

impl<'a> Kept<'a> {
    fn new(args: &Args, out: &'a mut Out) -> Self {
        Self { out, counted: 0, only_count: args.count, limit: args.limit.unwrap_or(u64::MAX) }
    }

    /// Takes `count` lines.
    pub(super) fn print(&mut self, lines: &[u8], count: u64) -> Result<()> {
        let room = self.limit - self.counted;
        let (lines, count) = if count <= room { (lines, count) } else { (first_lines(lines, room), room) };
        self.counted += count;
        if self.only_count || lines.is_empty() { Ok(()) } else { self.written(|out| out.write_all(lines)) }
    }

    /// Whether no more is wanted.
    pub(super) fn full(&self) -> bool {
        self.counted >= self.limit || self.out.is_closed()
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.written(Write::flush)
    }

    fn written(&mut self, write: impl FnOnce(&mut Out) -> io::Result<()>) -> Result<()> {
        match write(self.out) {
            Err(_) if self.out.is_closed() => Ok(()),
            other => other.context("cannot write to standard output"),
        }
    }

    fn end(self) -> Result<Exit> {
        if self.only_count {
            writeln!(self.out, "{}", self.counted)?;
        }
        Ok(Exit::Done)
    }
}

fn first_lines(lines: &[u8], count: u64) -> &[u8] {
    let end = memchr::memchr_iter(b'\n', lines).zip(1..=count).last();
    end.map_or(&[], |(at, _)| &lines[..=at])
}

/// What one thread makes of its part of a block.
struct Part {
    start: usize,
    kept: Vec<u8>,
    count: u64,
    /// The line of the part, from 0, that has no key, and why.
    failed: Option<(u64, Wrong)>,
}

/// Filters a block, on two threads where it is long enough; the parts are in order.
fn filter(set: &DoneSet, keys: &Keys, lines: &[u8]) -> Vec<Part> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(4).min(lines.len() / SHARE).max(1);
    let mut cuts = vec![0];
    for nth in 1..threads {
        let near = lines.len() * nth / threads;
        let cut = memchr::memchr(b'\n', &lines[near..]).map_or(lines.len(), |at| near + at + 1);
        cuts.push(cut);
    }
    cuts.push(lines.len());
    let mut parts = thread::scope(|scope| {
        let work = |from: usize, to: usize| move || part(set, keys, from, &lines[from..to]);
        let others: Vec<_> = cuts[1..].windows(2).map(|cut| scope.spawn(work(cut[0], cut[1]))).collect();
        let mut parts = vec![work(cuts[0], cuts[1])()];
        for other in others {
            match other.join() {
                Ok(part) => parts.push(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parts
    });
    // Nothing of what follows a line without a key is printed.
    if let Some(failed) = parts.iter().position(|part| part.failed.is_some()) {
        parts.truncate(failed + 1);
    }
    parts
}

fn part(set: &DoneSet, keys: &Keys, start: usize, lines: &[u8]) -> Part {
    const AT_ONCE: usize = 512;
    let mut part = Part { start, kept: Vec::with_capacity(lines.len()), count: 0, failed: None };
    let (mut arena, mut ends, mut found) = (Vec::new(), Vec::with_capacity(AT_ONCE), Vec::with_capacity(AT_ONCE));
    let mut breaks = memchr::memchr_iter(b'\n', lines);
    let mut at = 0;
    while at < lines.len() && part.failed.is_none() {
        arena.clear();
        ends.clear();
        found.clear();
        let from = at;
        while at < lines.len() && ends.len() < AT_ONCE {
            let end = breaks.next().unwrap_or(lines.len());
            if let Err(wrong) = keys.append(&lines[at..end], &mut arena) {
                let before = memchr::memchr_iter(b'\n', &lines[..at]).count() as u64;
                part.failed = Some((before, wrong));
                break;
            }
            at = lines.len().min(end + 1);
            ends.push((arena.len(), at));
        }
        let mut key = 0;
        let asked = ends.iter().map(|(end, _)| &arena[std::mem::replace(&mut key, *end)..*end]);
        set.find(asked, &mut found);
        let mut line = from;
        for ((_, end), done) in ends.iter().zip(&found) {
            if !done {
                part.kept.extend_from_slice(&lines[line..*end]);
                part.count += 1;
            }
            line = *end;
        }
    }
    part
}

/// The process that called: a lease belongs to it, for this one is gone in a moment.
pub(super) fn caller(args: &Args) -> Result<i32> {
    match args.holder {
        None => Ok(nix::unistd::getppid().as_raw()),
        Some(pid) if pid > 0 => Ok(pid),
        Some(_) => bail!("--holder takes the number of a process"),
    }
}
