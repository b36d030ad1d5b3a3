//! The command: resgate becomes it, or stays as its parent.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::Context;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::ForkResult;

use super::args::{GpuEnv, Manner};
use crate::claims::FDS;
use crate::exit::{Exit, Failure};
use crate::gate::Pass;
use crate::gauges::gpu::Card;
use crate::sys;
use crate::text::shown;

/// The command, if there is one. One that isn't there is said now and not after hours of waiting.
pub(super) fn command(words: &[OsString]) -> anyhow::Result<Option<&[OsString]>> {
    let Some(program) = words.first() else {
        if env::args_os().skip(1).any(|arg| arg == "--") {
            return Err(Failure::new(Exit::Broken, "no command behind '--'").into());
        }
        return Ok(None);
    };
    if program.is_empty() {
        return Err(Failure::new(Exit::Broken, "the command's name is empty").into());
    }
    if is_absent(program) {
        return Err(not_started(program, &io::Error::from(ErrorKind::NotFound)).into());
    }
    Ok(Some(words))
}

/// Whether no directory of the PATH has a file of that name.
fn is_absent(program: &OsStr) -> bool {
    if program.as_encoded_bytes().contains(&b'/') {
        return !Path::new(program).exists();
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    !env::split_paths(&path).any(|dir| dir.join(program).exists())
}

fn not_started(program: &OsStr, error: &io::Error) -> Failure {
    let (exit, why) = match error.kind() {
        ErrorKind::NotFound => (Exit::NotFound, "no such file or command".to_owned()),
        _ => (Exit::CannotRun, error.to_string()),
    };
    Failure::new(exit, format!("cannot run '{}': {why}", shown(program)))
}

/// Starts the command with what was claimed for it: in place of this process, or below it.
pub(super) fn start(words: &[OsString], pass: Option<&Pass>, manner: &Manner) -> anyhow::Result<Exit> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    if let Some(pass) = pass {
        pass.slot.keep_through_exec().context("cannot hand the claim on")?;
        let mut fds: Vec<String> = inherited_fds().iter().map(ToString::to_string).collect();
        fds.push(pass.slot.fd().to_string());
        command.env(FDS, fds.join(","));
        if !pass.cards.is_empty() {
            command.env("CUDA_VISIBLE_DEVICES", devices(&pass.cards, manner.gpu_env)).env("CUDA_DEVICE_ORDER", "PCI_BUS_ID");
        }
    }
    if !manner.supervise {
        return Err(not_started(&words[0], &command.exec()).into());
    }
    supervise(&words[0], &mut command)
}

/// MIG devices have no index to be named by, and one list can't mix both forms.
fn devices(cards: &[Card], form: GpuEnv) -> String {
    let by_uuid = (form == GpuEnv::Uuid || cards.iter().any(|card| card.mig)) && cards.iter().all(|card| card.uuid.is_some());
    let name = |card: &Card| if by_uuid { card.key() } else { card.index.to_string() };
    cards.iter().map(name).collect::<Vec<_>>().join(",")
}

/// The descriptors of the claims that this process was started with.
pub(super) fn inherited_fds() -> Vec<i32> {
    let named = env::var(FDS).unwrap_or_default();
    named.split(',').filter_map(|fd| fd.trim().parse().ok()).filter(|fd| *fd > 2 && sys::inode_of(*fd).is_some()).collect()
}

/// What a parent passes on. A signal from the terminal reaches the command on its own.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// Runs the command below this process, which keeps the claim until the command has ended.
fn supervise(program: &OsStr, command: &mut Command) -> anyhow::Result<Exit> {
    let mut signals: SigSet = PASSED_ON.into_iter().collect();
    signals.add(Signal::SIGCHLD);
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let inbox = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let child = match sys::fork().context("cannot start a process")? {
        ForkResult::Child => {
            before.thread_set_mask()?;
            return Err(not_started(program, &command.exec()).into());
        }
        ForkResult::Parent { child } => child,
    };
    loop {
        while let Some(info) = inbox.read_signal()? {
            // From kill(2) and its kin the code is 0 or less; the kernel's own are above.
            if info.ssi_signo != Signal::SIGCHLD as u32 && info.ssi_code <= 0 {
                let signal = i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
                let _ = nix::sys::signal::kill(child, signal);
            }
        }
        if let Some(ended) = sys::reap(child.as_raw())? {
            return Ok(passed_on(ExitStatus::from_raw(ended.status)));
        }
        sys::readable(&[inbox.as_fd()], -1)?;
    }
}

/// A command's status as a shell shows it.
fn passed_on(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(Exit::Broken, Exit::Status)
}
