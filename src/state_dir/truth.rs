//! What is true of a job now: its record held against its lock and its process.

use std::io;

use super::lock::probe;
use super::{Probe, StateDir};
use crate::process::{Handle, Here, Identity};
use crate::record::{Record, State, Unreadable, parse};

/// Where a record's pids mean something, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this boot and pid namespace.
    Here,
    /// On this machine, before it was booted.
    EarlierBoot,
    /// On this machine, in another container.
    OtherContainer,
    /// On another machine: it is reported and never touched.
    OtherHost,
}

/// A record and what holds of it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// As it was last written.
    pub record: Record,
    /// The bytes it was read from, with the fields that this program doesn't know.
    pub stored: Vec<u8>,
    /// The state that is true now: as recorded, or `lost`.
    pub state: State,
    /// Whether a supervisor holds the lock.
    pub supervised: bool,
    /// Where its pids mean something.
    pub place: Place,
    /// What a person should know beside the state.
    pub note: Option<String>,
}

impl Observed {
    /// The process with whose end the job's state changes: its supervisor, or the command where it has none. `None` where
    /// neither can be seen from here.
    #[must_use]
    pub fn lives_with(&self) -> Option<Identity> {
        match (self.place, self.supervised) {
            (Place::Here, true) => self.record.supervisor.map(|supervisor| supervisor.identity),
            (Place::Here, false) => self.record.process(),
            _ => None,
        }
    }

    /// Whether something of it may still run or be started.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !self.state.is_terminal()
    }
}

fn place(record: &Record, here: &Here) -> Place {
    let known = |a: &str, b: &str| !a.is_empty() && !b.is_empty();
    let same_machine =
        if known(&record.machine_id, &here.machine_id) { record.machine_id == here.machine_id } else { record.host == here.host };
    match (same_machine, record.boot_id == here.boot_id, record.pid_ns == here.pid_ns) {
        // Containers of one machine share its boot and may have machine ids of their own.
        (_, true, false) => Place::OtherContainer,
        (false, ..) => Place::OtherHost,
        (true, true, true) => Place::Here,
        (true, false, _) => Place::EarlierBoot,
    }
}

/// Looks at job `id`: its record, then its lock, and where the lock is free the record again, since a supervisor writes
/// the verdict before it lets go. `None` when there is no record.
///
/// # Errors
/// Why the record can't be used.
pub fn observe(dir: &StateDir, id: &str, here: &Here) -> Result<Option<Observed>, Unreadable> {
    let Some(read) = read(dir, id)? else { return Ok(None) };
    let place = place(&read.0, here);
    let observed = |(record, stored), state, supervised, note| Observed { record, stored, state, supervised, place, note };
    if read.0.state.is_terminal() {
        let state = read.0.state;
        return Ok(Some(observed(read, state, false, None)));
    }
    if place == Place::OtherHost {
        let (state, note) = (read.0.state, format!("on host {}, not verified here", read.0.host));
        return Ok(Some(observed(read, state, false, Some(note))));
    }
    match probe(dir, id).map_err(|error| Unreadable::Io(format!("its lock: {error}")))? {
        Probe::Held => {
            let (state, note) = (read.0.state, ending(&read.0, place));
            Ok(Some(observed(read, state, true, note)))
        }
        Probe::Free | Probe::Absent => {
            let Some(read) = self::read(dir, id)? else { return Ok(None) };
            let (state, note) = unsupervised(&read.0, place);
            Ok(Some(observed(read, state, false, note)))
        }
    }
}

fn read(dir: &StateDir, id: &str) -> Result<Option<(Record, Vec<u8>)>, Unreadable> {
    let Some(bytes) = dir.record_bytes(id)? else { return Ok(None) };
    Ok(Some((parse(id, &bytes)?, bytes)))
}

/// A supervisor that holds the lock while its process is gone is about to write the verdict, or can't.
fn ending(record: &Record, place: Place) -> Option<String> {
    let gone = place == Place::Here && record.state == State::Running && record.process().is_some_and(|process| !process.alive());
    gone.then(|| "its process has ended, the verdict is not written yet".to_owned())
}

/// What is true where no supervisor is.
fn unsupervised(record: &Record, place: Place) -> (State, Option<String>) {
    if record.state.is_terminal() {
        return (record.state, None);
    }
    match place {
        Place::EarlierBoot => (State::Lost, Some("the machine was booted since".into())),
        Place::OtherContainer => (record.state, Some("of another container, its supervisor is gone; not verified here".into())),
        Place::OtherHost => (record.state, None),
        Place::Here => match record.process().map(Handle::open) {
            Some(Ok(Some(_))) => (State::Running, Some("runs without a supervisor: its end will not be recorded".into())),
            Some(Err(error)) => (State::Lost, Some(format!("its supervisor is gone, its process can't be looked at: {error}"))),
            Some(Ok(None)) => (State::Lost, Some("its supervisor was killed; how the command ended is not known".into())),
            None if record.run > 0 => (State::Lost, Some("its supervisor is gone since the end of its last run".into())),
            None => (State::Lost, Some("its supervisor was killed before the command was started".into())),
        },
    }
}

impl StateDir {
    /// Whether a supervisor holds the job's lock.
    ///
    /// # Errors
    /// As `open(2)` and `fcntl(2)`.
    pub fn is_supervised(&self, id: &str) -> io::Result<bool> {
        Ok(probe(self, id)? == Probe::Held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Here {
        Here { host: "gpu1".into(), machine_id: "m1".into(), boot_id: "b1".into(), pid_ns: 7 }
    }

    fn record(machine: &str, host: &str, boot: &str, pid_ns: u64) -> Record {
        Record { machine_id: machine.into(), host: host.into(), boot_id: boot.into(), pid_ns, ..Record::default() }
    }

    #[test]
    fn pids_mean_something_only_in_their_own_place() {
        let of = |machine, host, boot, ns| place(&record(machine, host, boot, ns), &here());
        assert_eq!(of("m1", "gpu1", "b1", 7), Place::Here);
        assert_eq!(of("m1", "renamed", "b1", 7), Place::Here);
        assert_eq!(of("m1", "gpu1", "b0", 7), Place::EarlierBoot);
        assert_eq!(of("m1", "gpu1", "b1", 8), Place::OtherContainer);
        assert_eq!(of("", "5ad1f0", "b1", 8), Place::OtherContainer);
        assert_eq!(of("m2", "gpu1", "b0", 7), Place::OtherHost);
        assert_eq!(of("", "gpu2", "b0", 7), Place::OtherHost);
    }
}
