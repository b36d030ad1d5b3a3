//! `run KEY -- CMD`: skips what is done, runs the rest one at a time a key, and marks it when the command succeeds.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

use super::context::usage;
use super::input::InputArgs;
use super::{Global, NAME};
use crate::entry::report;
use crate::exit::{Exit, Failure};
use crate::journal::{Place, Writer, key, now};
use crate::leases::{Holder, Leases};
use crate::process::{Here, Identity, Stat};
use crate::sys;
use crate::text::shown;

#[derive(ClapArgs)]
pub(super) struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// The item
    #[arg(value_name = "KEY")]
    key: OsString,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

pub(super) fn run(global: &Global, args: &Args) -> Result<Exit> {
    let place = global.place()?;
    let mut writer = global.writer(&place)?;
    let keys = args.input.keys(writer.header(), global.fields.as_deref())?;
    let mut key = Vec::new();
    keys.take(args.key.as_bytes(), &mut key)
        .map_err(|wrong| Failure::new(Exit::Broken, wrong.failure(&format!("'{}'", shown(&args.key))).to_string()))?;
    if key::is_empty(&key) {
        return Err(Failure::new(Exit::Broken, "the key is empty: is a variable unset?").into());
    }
    if !sys_available(&args.command) {
        return Err(usage("a command is missing"));
    }
    let here = Here::look();
    let own = Holder::of(Identity::own(), &here);
    match take(global, &mut writer, &place, &key, &own, &here)? {
        Taken::Done => {
            global.warn_verbose(&format!("'{}' is done already", shown(key::typed(&key))));
            return Ok(Exit::Done);
        }
        Taken::Busy(pid) => {
            let message = format!("'{}' is being worked on by process {pid}", shown(key::typed(&key)));
            return Err(Failure::new(Exit::NotNow, message).into());
        }
        Taken::Ours => {}
    }
    if global.dry_run {
        global.warn(&format!("would run the command for '{}'", shown(key::typed(&key))));
        return Ok(Exit::Done);
    }
    let status = match sys::fork().context("cannot fork")? {
        ForkResult::Child => {
            let exit = child(&mut writer, &place, &key, &here, &args.command);
            std::process::exit(i32::from(exit.code()));
        }
        ForkResult::Parent { child } => wait(child)?,
    };
    let exit = match status {
        WaitStatus::Exited(_, 0) => {
            let record = key::json(&key, &writer.header().integers) + "\n";
            let marked = writer.put(record.as_bytes(), 1);
            global.notices(&place, &std::mem::take(&mut writer.notices));
            marked?;
            Exit::Done
        }
        WaitStatus::Exited(_, code) => Exit::Status(u8::try_from(code).unwrap_or(u8::MAX)),
        WaitStatus::Signaled(_, signal, _) => Exit::Status(128 + signal as u8),
        _ => Exit::Broken,
    };
    writer.locked(|| Leases::read(&place.claims(), &here)?.give_back(std::slice::from_ref(&key), &own))?;
    Ok(exit)
}

fn sys_available(command: &[OsString]) -> bool {
    command.first().is_some_and(|program| !program.is_empty())
}

enum Taken {
    Done,
    Busy(i32),
    Ours,
}

/// Looks whether the item is done or somebody's, and leases it if not: in one piece, under the lock.
fn take(global: &Global, writer: &mut Writer, place: &Place, key: &[u8], own: &Holder, here: &Here) -> Result<Taken> {
    // Most of the reading is done before the lock is taken.
    let mut loaded = global.load(place)?;
    loaded.keep();
    let mut taken = Taken::Ours;
    writer.locked(|| {
        loaded.refresh()?;
        let mut leases = Leases::read(&place.claims(), here)?;
        let now = now();
        let ancestors = ancestors();
        let stranger =
            leases.holders(key, now).find(|holder| !ancestors.contains(&(holder.pid, holder.start_ticks))).map(|h| h.pid);
        if loaded.set.contains(key) {
            taken = Taken::Done;
        } else if let Some(pid) = stranger {
            taken = Taken::Busy(pid);
        } else if !global.dry_run {
            leases.take(&[key.to_vec()], own, None, now)?;
        }
        Ok(())
    })?;
    Ok(taken)
}

/// Who called, and who called that: one of them may hold the item for us.
fn ancestors() -> Vec<(i32, u64)> {
    let mut found = Vec::new();
    let mut pid = nix::unistd::getppid().as_raw();
    while let Some(stat) = Stat::read(pid).filter(|_| found.len() < 256) {
        found.push((stat.pid, stat.start_ticks));
        pid = stat.ppid;
    }
    found
}

/// Becomes the command. The lease is the command's as well: should the one who waits for it be killed, the item stays
/// taken while the command runs.
fn child(writer: &mut Writer, place: &Place, key: &[u8], here: &Here, command: &[OsString]) -> Exit {
    let own = Holder::of(Identity::own(), here);
    let leased = writer.locked(|| Leases::read(&place.claims(), here)?.take(&[key.to_vec()], &own, None, now()));
    if let Err(error) = leased {
        return report(NAME, &error);
    }
    sys::default_signals(u64::MAX);
    let error = Command::new(&command[0]).args(&command[1..]).exec();
    let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::CannotRun };
    report(NAME, &Failure::new(exit, format!("cannot run '{}': {error}", shown(&command[0]))).into())
}

/// Waits for the command. A signal from the terminal reaches the command as well, and is the command's to answer; one
/// sent to this process alone leaves the command running with its lease.
fn wait(child: Pid) -> Result<WaitStatus> {
    for signal in [Signal::SIGINT, Signal::SIGQUIT] {
        sys::ignore(signal);
    }
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            other => return other.context("cannot wait for the command"),
        }
    }
}
