//! Waiting for a job's end, by events: its supervisor's end, its own where it has no supervisor.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::jobs::unreadable;
use crate::entry::Out;
use crate::exit::{Exit, Failure};
use crate::process::{Handle, Here};
use crate::record::State;
use crate::state_dir::{Observed, StateDir, observe};
use crate::sys;
use crate::text::shown;

const MOMENT_MS: i32 = 20;

/// Why the waiting ended.
pub(crate) enum Waited {
    /// The job reached its end.
    Ended(Box<Observed>),
    /// The time ran out.
    TimedOut,
    /// The caller's own descriptor became readable.
    Interrupted,
}

/// A job's log that is shown while it grows.
pub(crate) struct Follow {
    log: File,
    changes: Inotify,
}

impl Follow {
    /// Opens the log of a job.
    pub(crate) fn new(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot read the log '{}'", shown(path));
        let log = open_log(path).with_context(cannot)?;
        let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).with_context(cannot)?;
        changes.add_watch(path, AddWatchFlags::IN_MODIFY).with_context(cannot)?;
        Ok(Self { log, changes })
    }

    /// Prints what is new.
    pub(crate) fn catch_up(&mut self, out: &mut Out) -> anyhow::Result<()> {
        while self.changes.read_events().is_ok_and(|events| !events.is_empty()) {}
        let mut block = vec![0; 1 << 16];
        loop {
            let n = self.log.read(&mut block).context("cannot read the log")?;
            if n == 0 {
                return Ok(out.flush()?);
            }
            out.write_all(&block[..n])?;
        }
    }
}

/// Opens a job's log. A record may name anything as that: a FIFO must not hang us, nor a device go on for ever.
pub(crate) fn open_log(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// What is waited for, and what may end the waiting before.
pub(crate) struct Wait<'a> {
    pub(crate) dir: &'a StateDir,
    pub(crate) id: &'a str,
    pub(crate) limit: Option<Duration>,
    pub(crate) interrupt: Option<BorrowedFd<'a>>,
    pub(crate) follow: Option<Follow>,
}

impl Wait<'_> {
    /// Blocks until one of them comes.
    pub(crate) fn run(mut self, out: &mut Out) -> anyhow::Result<Waited> {
        let here = Here::look();
        let until = self.limit.map(|limit| Instant::now() + limit);
        loop {
            let job = observe(self.dir, self.id, &here).map_err(|why| unreadable(self.id, &why))?;
            let job = job.ok_or_else(|| Failure::new(Exit::Broken, format!("the record of job '{}' was removed", self.id)))?;
            if job.state.is_terminal() {
                if let Some(follow) = &mut self.follow {
                    follow.catch_up(out)?;
                }
                return Ok(Waited::Ended(Box::new(job)));
            }
            let waited = match end_of(&job)? {
                Some(end) => self.until_event(&end, until, out)?,
                // It has ended since the look, or somebody else closes the job: its record tells in a moment.
                None => self.a_moment(until)?,
            };
            if let Some(waited) = waited {
                return Ok(waited);
            }
        }
    }

    /// Lets a moment pass, in which the waiting may end.
    fn a_moment(&self, until: Option<Instant>) -> anyhow::Result<Option<Waited>> {
        let fds: Vec<BorrowedFd<'_>> = self.interrupt.into_iter().collect();
        if sys::readable(&fds, MOMENT_MS)?.contains(&true) {
            return Ok(Some(Waited::Interrupted));
        }
        Ok(until.is_some_and(|until| Instant::now() >= until).then_some(Waited::TimedOut))
    }

    /// `None` when the process behind `end` is gone.
    fn until_event(&mut self, end: &Handle, until: Option<Instant>, out: &mut Out) -> anyhow::Result<Option<Waited>> {
        loop {
            if let Some(follow) = &mut self.follow {
                follow.catch_up(out)?;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(Some(Waited::TimedOut));
            }
            let ms = left.map_or(-1, |left| i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX));
            let mut fds = vec![end.as_fd()];
            fds.extend(self.interrupt);
            fds.extend(self.follow.as_ref().map(|follow| follow.changes.as_fd()));
            let ready = sys::readable(&fds, ms)?;
            if ready[0] {
                return Ok(None);
            }
            if self.interrupt.is_some() && ready[1] {
                return Ok(Some(Waited::Interrupted));
            }
        }
    }
}

/// Whose end is the job's: its supervisor's, or its process's where it has none. `None` when that is gone already.
fn end_of(job: &Observed) -> anyhow::Result<Option<Handle>> {
    let record = &job.record;
    let elsewhere =
        || format!("cannot wait for job '{}': {}", record.id, job.note.as_deref().unwrap_or("it runs in another place"));
    let whom = job.lives_with().with_context(elsewhere)?;
    let opened = Handle::open(whom).with_context(|| format!("cannot wait for job '{}'", record.id));
    opened.map_err(|error| match error.downcast_ref::<io::Error>() {
        Some(_) => error,
        None => error.context("unexpected"),
    })
}

/// The status that a waiting caller ends with.
pub(crate) fn status_of(job: &Observed) -> Exit {
    let by_exit = job.record.exit.map(|end| Exit::Status(end.status()));
    match job.state {
        State::TimedOut => Exit::TimedOut,
        State::Lost | State::Skipped => Exit::Broken,
        State::Cancelled => by_exit.unwrap_or(Exit::Status(128 + 15)),
        _ => by_exit.unwrap_or(Exit::Broken),
    }
}
