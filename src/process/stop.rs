//! Stopping processes until none is left: a polite signal, a grace, then SIGKILL for whatever remains or appears.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use super::{Handle, Identity, Stat};
use crate::sys;

/// After SIGKILL a process goes at once, unless the kernel itself waits for a device.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Rounds of SIGSTOP before SIGKILL: a fork bomb that outruns them is killed as it stands, and again.
const FREEZE_ROUNDS: usize = 50;
/// How many ends are waited for at once; the rest is seen in the next look.
const WATCHED: usize = 64;

/// What was done.
#[derive(Debug, Default)]
pub struct Stopped {
    /// Everyone that was signalled.
    pub signalled: HashSet<Identity>,
    /// How many needed SIGKILL.
    pub killed: usize,
    /// Who is alive all the same.
    pub survivors: Vec<Survivor>,
}

/// A process that couldn't be stopped.
#[derive(Clone, Debug)]
pub struct Survivor {
    /// The process.
    pub identity: Identity,
    /// Its name, as the kernel shows it.
    pub comm: String,
    /// Why it lives.
    pub why: String,
}

/// Stops everyone that `members` names, afresh at each look: `signal` and SIGCONT, then, at what `deadline` says, SIGKILL
/// until a look finds nobody. A readable `wake` asks `deadline` again.
///
/// # Errors
/// As `poll(2)`; processes that can't be signalled are survivors, no errors.
pub fn stop(
    members: &dyn Fn() -> Vec<Stat>,
    signal: i32,
    wake: Option<BorrowedFd<'_>>,
    deadline: &mut dyn FnMut() -> Instant,
) -> io::Result<Stopped> {
    let mut done = Stopped::default();
    ask(members, signal, wake, deadline, &mut done)?;
    kill(members, &mut done)?;
    Ok(done)
}

/// The polite half. Who appears meanwhile is asked as well.
fn ask(
    members: &dyn Fn() -> Vec<Stat>,
    signal: i32,
    wake: Option<BorrowedFd<'_>>,
    deadline: &mut dyn FnMut() -> Instant,
    done: &mut Stopped,
) -> io::Result<()> {
    let mut until = deadline();
    if signal == libc::SIGKILL {
        return Ok(());
    }
    loop {
        let present = members();
        if present.is_empty() || Instant::now() >= until {
            return Ok(());
        }
        for process in &present {
            if done.signalled.insert(process.identity()) {
                // Who can't be signalled now is named after SIGKILL failed as well.
                let _ = signal_one(process.identity(), signal);
                let _ = signal_one(process.identity(), libc::SIGCONT);
            }
        }
        if wait_for_change(&present, wake, until)? {
            until = deadline();
        }
    }
}

/// The other half: stand still, then die.
fn kill(members: &dyn Fn() -> Vec<Stat>, done: &mut Stopped) -> io::Result<()> {
    let limit = Instant::now() + KILL_LIMIT;
    let mut frozen = HashSet::new();
    for _ in 0..FREEZE_ROUNDS {
        let fresh: Vec<Identity> = members().iter().map(Stat::identity).filter(|id| !frozen.contains(id)).collect();
        if fresh.is_empty() {
            break;
        }
        for identity in fresh {
            let _ = signal_one(identity, libc::SIGSTOP);
            frozen.insert(identity);
        }
    }
    let mut killed = HashSet::new();
    loop {
        let present = members();
        done.survivors.clear();
        for process in &present {
            let refused = signal_one(process.identity(), libc::SIGKILL).err();
            killed.insert(process.identity());
            let why =
                refused.map_or_else(|| format!("SIGKILL has no effect, it is in state {}", process.state), |e| e.to_string());
            done.survivors.push(Survivor { identity: process.identity(), comm: process.comm.clone(), why });
        }
        done.killed = killed.len();
        done.signalled.extend(&killed);
        if present.is_empty() || Instant::now() >= limit {
            return Ok(());
        }
        wait_for_change(&present, None, limit)?;
    }
}

/// Signals a process that is checked after it was opened; `false` when it is gone.
fn signal_one(identity: Identity, signal: i32) -> io::Result<bool> {
    Handle::open(identity)?.map_or(Ok(false), |handle| handle.signal(signal))
}

/// Waits until one of them ends, `wake` is readable or the time has come; says whether `wake` was it.
fn wait_for_change(present: &[Stat], wake: Option<BorrowedFd<'_>>, until: Instant) -> io::Result<bool> {
    let handles: Vec<Handle> = present.iter().take(WATCHED).filter_map(|p| Handle::open(p.identity()).ok().flatten()).collect();
    if handles.len() < present.len().min(WATCHED) {
        // One has ended since the look.
        return Ok(false);
    }
    let left = until.saturating_duration_since(Instant::now());
    let ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).saturating_add(1);
    let fds: Vec<BorrowedFd<'_>> = wake.into_iter().chain(handles.iter().map(AsFd::as_fd)).collect();
    let ready = sys::readable(&fds, ms)?;
    Ok(wake.is_some() && ready.first() == Some(&true))
}
