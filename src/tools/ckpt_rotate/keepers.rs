//! `--pin`, `--unpin`, `--hold`, `--undo`: what stays although a policy would let it go.

use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::args::Args;
use super::open::{Work, say};
use crate::checkpoint::scan::{Unit, scan};
use crate::checkpoint::{held, pointers, temporary, trash};
use crate::entry::Out;
use crate::exit::{Exit, Failure};
use crate::text::shown;

/// The directory and the checkpoint that NAME means: `ckpts/step_5` alone, as `--latest` prints it, or with a DIR.
fn named<'a>(args: &'a Args, name: &str) -> anyhow::Result<(Work<'a>, String)> {
    let path = Path::new(name);
    let (Some(last), true) = (path.file_name().and_then(|last| last.to_str()), !name.is_empty()) else {
        return Err(Failure::new(Exit::Usage, format!("'{}' is no checkpoint's name", shown(name))).into());
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let work = Work::new(args, parent)?;
    Ok((work, last.to_owned()))
}

fn find(work: &Work<'_>, name: &str) -> anyhow::Result<Box<Unit>> {
    let found = scan(&work.dir, &work.patterns).with_context(|| format!("cannot read '{}'", shown(&work.dir.path)))?;
    let is = |unit: &Unit| *unit.name == *name || unit.members.iter().any(|member| *member.name == *name);
    found
        .units
        .into_iter()
        .find(|unit| is(unit))
        .ok_or_else(|| Failure::new(Exit::No, format!("no checkpoint '{}'", work.shown(name))).into())
}

/// Adds a name to the pins, or takes it off.
pub(super) fn pin(args: &Args, name: &str, pinned: bool) -> anyhow::Result<Exit> {
    let (work, name) = named(args, name)?;
    work.lock()?;
    let name = if pinned { find(&work, &name)?.name.to_string() } else { name };
    let cannot = || format!("cannot change the pins of '{}'", shown(&work.dir.path));
    let mut pins = pointers::pins(&work.dir).with_context(cannot)?;
    let had = pins.contains(&name);
    if had == pinned {
        return if pinned {
            Ok(Exit::Done)
        } else {
            Err(Failure::new(Exit::No, format!("'{}' isn't pinned", work.shown(&name))).into())
        };
    }
    if pinned {
        pins.push(name);
    } else {
        pins.retain(|pin| *pin != name);
    }
    pins.sort();
    temporary::replace_file(&work.dir, pointers::PINS, &serde_json::to_vec(&pins)?, true).with_context(cannot)?;
    Ok(Exit::Done)
}

/// Becomes the command, with a lock on the checkpoint that goes when the command and all that inherit it have ended.
pub(super) fn hold(args: &Args, name: &str) -> anyhow::Result<Exit> {
    let (work, name) = named(args, name)?;
    let unit = find(&work, &name).map_err(|error| match error.downcast::<Failure>() {
        // The command's own status may be 1: what it never had a chance to say is 125.
        Ok(failure) => Failure { exit: Exit::Broken, ..failure }.into(),
        Err(error) => error,
    })?;
    let shown_name = work.shown(&unit.name);
    let Some(lock) = held::try_hold(&work.dir, &unit).with_context(|| format!("cannot hold '{shown_name}'"))? else {
        return Err(Failure::new(Exit::NotNow, format!("'{shown_name}' is being removed")).into());
    };
    for file in lock.into_files() {
        nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))
            .context("cannot pass the lock on")?;
        // From here on the command owns it.
        let _ = file.into_raw_fd();
    }
    let Some((program, words)) = args.cmd.split_first() else {
        return Err(Failure::new(Exit::Broken, "no command to run").into());
    };
    crate::sys::default_signals(u64::MAX);
    let error = Command::new(program).args(words).exec();
    let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::CannotRun };
    Err(Failure::new(exit, format!("cannot run '{}': {error}", shown(program))).into())
}

/// Brings back what is still in the trash.
pub(super) fn undo(args: &Args, out: &mut Out) -> anyhow::Result<Exit> {
    let work = Work::new(args, None)?;
    work.lock()?;
    let restored = trash::undo(&work.dir).with_context(|| format!("cannot bring back into '{}'", shown(&work.dir.path)))?;
    for name in &restored.back {
        std::io::Write::write_all(out, format!("{}\n", work.shown(name)).as_bytes())?;
    }
    for failure in &restored.failed {
        say(&format!("cannot bring back {}", work.shown(failure)));
    }
    if restored.back.is_empty() && restored.failed.is_empty() {
        return Err(Failure::new(Exit::No, format!("nothing to bring back in '{}'", shown(&work.dir.path))).into());
    }
    Ok(if restored.failed.is_empty() { Exit::Done } else { Exit::No })
}
