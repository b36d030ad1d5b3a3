//! `--save`: a snapshot, and rotation only after it is durable.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

use super::args::Args;
use super::open::Work;
use super::rotate::{self, Tell};
use crate::checkpoint::digest::Cache;
use crate::checkpoint::judge::{Checks, judge};
use crate::checkpoint::listing::Name;
use crate::checkpoint::scan::{Member, Unit};
use crate::checkpoint::snapshot::{Built, Copying, Refused, Source, build, link_latest};
use crate::checkpoint::tree::survey;
use crate::checkpoint::verdict::{Depth, Verdict};
use crate::clock;
use crate::entry::Out;
use crate::exit::{Exit, Failure};
use crate::text::shown;

/// Saves `source`, prints the snapshot's name, then rotates if a policy was given.
pub(super) fn run(args: &Args, source: &Path, out: &mut Out) -> anyhow::Result<Exit> {
    let work = Work::new(args, None)?;
    // A rotation that can't run now shouldn't find that out after the snapshot was made.
    if args.has_policy() {
        work.lock()?;
    }
    let cache = Cache::load(&work.dir);
    let name = saved(&work, source, &cache)?;
    let _ = cache.store(&work.dir);
    let shown = work.dir.shown(&name);
    std::io::Write::write_all(out, std::os::unix::ffi::OsStrExt::as_bytes(shown.as_os_str()))?;
    writeln!(out)?;
    out.flush()?;
    if args.link_latest {
        link_latest(&work.dir, &name)
            .with_context(|| format!("saved '{}', but cannot link 'latest' to it", crate::text::shown(&shown)))?;
    }
    if !args.has_policy() {
        return Ok(Exit::Done);
    }
    rotate::run(&work, &args.policy(), if args.verbose { Tell::Aside } else { Tell::Trouble }, out)
}

fn saved(work: &Work<'_>, path: &Path, cache: &Cache) -> anyhow::Result<String> {
    let read = |bytes| work.read(bytes);
    let source = Source::list(path).map_err(|refused| failure(path, refused))?;
    let copying = if work.args.hardlink { Copying::Hardlink } else { Copying::Reflink };
    let built = build(&work.dir, &source, copying, cache, &read).map_err(|refused| failure(path, refused))?;
    checked(work, path, &built, &read)?;
    work.quiet();
    let stamp = clock::stamp(&clock::now());
    let name = work.args.tag.as_ref().map_or_else(|| format!("ckpt_{stamp}"), |tag| format!("ckpt_{stamp}_{tag}"));
    built.publish(&name).with_context(|| format!("cannot name the snapshot '{}'", work.shown(&name)))
}

/// Judges the copy as any checkpoint, before it has a name.
fn checked(work: &Work<'_>, path: &Path, built: &Built<'_>, read: &dyn Fn(u64)) -> anyhow::Result<()> {
    let name = Name::from(&*built.name().to_string_lossy());
    let stat = work.dir.stat(built.name()).context("cannot look at the snapshot")?.into();
    let unit = Unit {
        series: "".into(),
        key: crate::checkpoint::name::Key::default(),
        members: vec![Member { name: name.clone(), stat }],
        unfinished: false,
        pinned_beside: false,
        name,
    };
    let tree = survey(&work.dir, &unit).context("cannot look at the snapshot")?;
    let depth = if work.args.level == super::args::Level::Deep { Depth::Deep } else { Depth::Quick };
    let judgement = judge(&work.dir, &unit, &tree, Checks { depth, read, cache: None });
    work.quiet();
    if judgement.verdict == Verdict::Good {
        return Ok(());
    }
    let why = judgement.why.replace(&format!("{}/", unit.name), "");
    Err(Failure::new(Exit::No, format!("'{}' is {}: {}; nothing was saved", shown(path), judgement.verdict, shown(why))).into())
}

fn failure(path: &Path, refused: Refused) -> anyhow::Error {
    let path = shown(path);
    match refused {
        Refused::Source(why) => Failure::new(Exit::No, format!("cannot save '{path}': {why}; nothing was saved")).into(),
        Refused::Changed(why) => Failure::new(Exit::NotNow, format!("cannot save '{path}': {why}; nothing was saved")).into(),
        Refused::Room(why) => {
            Failure::new(Exit::Broken, format!("cannot save '{path}': no room: {why}; nothing was saved")).into()
        }
        Refused::Io(what, error) => anyhow::Error::new(error).context(format!("cannot save '{path}': {what}")),
    }
}
