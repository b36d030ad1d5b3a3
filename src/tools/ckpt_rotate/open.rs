//! What every action begins with: the directory, proved, and how its checkpoints are judged.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::tz::TimeZone;

use super::NAME;
use super::args::{Args, Level};
use crate::checkpoint::digest::Cache;
use crate::checkpoint::dir::{Dir, Refusal};
use crate::checkpoint::entry::Patterns;
use crate::checkpoint::judge::Checks;
use crate::checkpoint::scan::Nanos;
use crate::checkpoint::stock::Look;
use crate::checkpoint::verdict::Depth;
use crate::entry::complain;
use crate::exit::{Exit, Failure};
use crate::text::shown;

/// Work shorter than this shows no bar.
const PATIENCE: Duration = Duration::from_millis(700);

/// What an action works with.
pub(super) struct Work<'a> {
    pub(super) args: &'a Args,
    pub(super) dir: Dir,
    pub(super) patterns: Patterns,
    pub(super) zone: TimeZone,
    pub(super) now: Nanos,
    bar: RefCell<Bar>,
}

struct Bar {
    since: Instant,
    bytes: u64,
    shown: Option<ProgressBar>,
}

impl<'a> Work<'a> {
    /// Opens and proves the directory that the command line, or `dir`, means.
    pub(super) fn new(args: &'a Args, dir: Option<&Path>) -> anyhow::Result<Self> {
        let path = dir.or(args.dir.as_deref()).unwrap_or(Path::new("."));
        let patterns = Patterns::new(&args.pattern).map_err(|why| Failure::new(Exit::Usage, format!("--pattern: {why}")))?;
        Ok(Self {
            dir: prove(path)?,
            args,
            patterns,
            zone: TimeZone::system(),
            now: crate::clock::now().timestamp().as_nanosecond(),
            bar: RefCell::new(Bar { since: Instant::now(), bytes: 0, shown: None }),
        })
    }

    /// How checkpoints are looked at; `read` is told of bytes, `cache` of digests.
    pub(super) fn look<'b>(&'b self, read: &'b dyn Fn(u64), cache: Option<&'b Cache>) -> Look<'b> {
        let depth = match self.args.level {
            Level::Off => None,
            Level::Quick => Some(Depth::Quick),
            Level::Deep => Some(Depth::Deep),
        };
        Look {
            checks: depth.map(|depth| Checks { depth, read, cache }),
            min_age: self.args.min_age,
            now: self.now,
            metric: self.args.metric.as_ref().map(|(name, _)| name.as_str()),
            zone: &self.zone,
        }
    }

    /// Counts bytes that were read; on a terminal, and when it takes long, a bar shows them.
    pub(super) fn read(&self, bytes: u64) {
        let mut bar = self.bar.borrow_mut();
        bar.bytes += bytes;
        if bar.shown.is_none() && bar.since.elapsed() > PATIENCE {
            let shown = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} read {bytes} at {bytes_per_sec}, {elapsed}") {
                shown.set_style(style);
            }
            bar.shown = Some(shown);
        }
        if let Some(shown) = &bar.shown {
            shown.set_position(bar.bytes);
        }
    }

    /// Takes the bar away, so that lines can be printed.
    pub(super) fn quiet(&self) {
        if let Some(shown) = self.bar.borrow_mut().shown.take() {
            shown.finish_and_clear();
        }
    }

    /// Locks the directory, or says that somebody else is at it.
    pub(super) fn lock(&self) -> anyhow::Result<()> {
        let shown = shown(&self.dir.path);
        if !self.args.unsafe_lock && self.dir.is_on_network().with_context(|| format!("cannot ask about '{shown}'"))? {
            return Err(Failure::new(
                Exit::Broken,
                format!("'{shown}' is on a network file system, where a lock holds on this machine only"),
            )
            .hint("--unsafe-lock insists, if no other machine rotates it")
            .into());
        }
        if !self.dir.try_lock().with_context(|| format!("cannot lock '{shown}'"))? {
            return Err(Failure::new(Exit::NotNow, format!("'{shown}' is being rotated by another process")).into());
        }
        Ok(())
    }

    /// An entry as the caller would write it, harmless on a terminal.
    pub(super) fn shown(&self, name: &str) -> String {
        shown(self.dir.shown(name))
    }
}

/// One line about a checkpoint on standard error.
pub(super) fn say(line: &str) {
    complain(NAME, line);
}

fn prove(path: &Path) -> anyhow::Result<Dir> {
    let refused = |why: &str| Failure::new(Exit::Usage, format!("refusing '{}': {why}", shown(path)));
    if path.as_os_str().is_empty() {
        return Err(Failure::new(Exit::Usage, "refusing an empty directory name").into());
    }
    Dir::prove(path, &homes()).map_err(|refusal| match refusal {
        Refusal::Home => refused("it is a home directory").hint("keep checkpoints in a directory of their own").into(),
        Refusal::System => refused("it is a system directory").hint("keep checkpoints in a directory of their own").into(),
        Refusal::Io(error) => anyhow::Error::new(error).context(format!("cannot open directory '{}'", shown(path))),
    })
}

/// The user's home by the environment and by the user database.
fn homes() -> Vec<PathBuf> {
    let by_user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.dir);
    std::env::var_os("HOME").map(PathBuf::from).into_iter().chain(by_user).filter(|home| home.is_absolute()).collect()
}
