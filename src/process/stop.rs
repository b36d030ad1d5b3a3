//! Stopping processes until none is left: a polite signal, a grace, then SIGKILL for whatever remains or appears.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Handle, Identity, Stat};
use crate::sys;

/// After SIGKILL a process goes at once, unless the kernel itself waits for a device.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// Rounds of SIGSTOP before SIGKILL: a fork bomb that outruns them is killed as it stands, and again.
const FREEZE_ROUNDS: usize = 50;
/// How many ends are waited for at once; the rest is seen in the next look.
const WATCHED: usize = 64;

/// The process groups that members led when they were seen. A group is signalled whole, so that what forks there faster
/// than it is found is hit as well, and through its leader's descriptor, which names this group even when the leader is
/// gone and its number was given to another. Whoever is in a group that a job's process made was put there by the job.
#[derive(Debug, Default)]
struct Groups(HashMap<Identity, Handle>);

impl Groups {
    fn note(&mut self, present: &[Stat]) {
        for leader in present.iter().filter(|process| process.pgid == process.pid) {
            if self.0.len() < WATCHED
                && !self.0.contains_key(&leader.identity())
                && let Ok(Some(handle)) = Handle::open(leader.identity())
            {
                self.0.insert(leader.identity(), handle);
            }
        }
    }

    /// An older kernel refuses, and each process is signalled by itself anyway.
    fn signal(&self, signal: i32) {
        for leader in self.0.values() {
            let _ = sys::pidfd_signal_group(leader.as_fd(), signal);
        }
    }
}

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
    let mut groups = Groups::default();
    ask(members, signal, wake, deadline, &mut done, &mut groups)?;
    kill(members, &mut done, &mut groups)?;
    Ok(done)
}

/// The polite half. Who appears meanwhile is asked as well.
fn ask(
    members: &dyn Fn() -> Vec<Stat>,
    signal: i32,
    wake: Option<BorrowedFd<'_>>,
    deadline: &mut dyn FnMut() -> Instant,
    done: &mut Stopped,
    groups: &mut Groups,
) -> io::Result<()> {
    let mut until = deadline();
    if signal == libc::SIGKILL {
        return Ok(());
    }
    loop {
        let present = members();
        groups.note(&present);
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
fn kill(members: &dyn Fn() -> Vec<Stat>, done: &mut Stopped, groups: &mut Groups) -> io::Result<()> {
    let limit = Instant::now() + KILL_LIMIT;
    let mut frozen = HashSet::new();
    for _ in 0..FREEZE_ROUNDS {
        let fresh: Vec<Stat> = members().into_iter().filter(|process| !frozen.contains(&process.identity())).collect();
        if fresh.is_empty() {
            break;
        }
        groups.note(&fresh);
        groups.signal(libc::SIGSTOP);
        for process in fresh {
            let _ = signal_one(process.identity(), libc::SIGSTOP);
            frozen.insert(process.identity());
        }
    }
    let mut killed = HashSet::new();
    loop {
        let present = members();
        done.survivors.clear();
        groups.note(&present);
        if !present.is_empty() {
            groups.signal(libc::SIGKILL);
        }
        for process in &present {
            let refused = signal_one(process.identity(), libc::SIGKILL).err();
            killed.insert(process.identity());
            let why = refused.map_or_else(|| format!("SIGKILL has no effect, it is in state {}", process.state), |e| reason(&e));
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

/// In words, without the number that std adds.
fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |raw| Errno::from_raw(raw).desc().to_owned())
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
