//! Leases on items: who works on one now, so that no two workers get the same.
//!
//! A lease belongs to a process and ends with it, at its time, or when its item is done: nothing has to be given back
//! after a crash. They lie in one file of JSON lines that is only read and written under the journal's lock. They
//! need not survive a power cut, for no process does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::journal::{self, each_line, key, record};
use crate::process::{Here, Identity};
use crate::text::shown;

/// Whose a lease is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: i32,
    /// Its start, in clock ticks since boot.
    pub start_ticks: u64,
    /// The boot it belongs to.
    pub boot_id: String,
    /// The pid namespace its number is of.
    pub pid_ns: u64,
}

/// A line of the file: a holder takes leases until a time, or gives them back (`until` 0).
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    holder: Holder,
    /// Seconds since 1970; none: as long as the holder lives.
    until: Option<f64>,
    keys: Vec<Box<serde_json::value::RawValue>>,
}

/// The leases on the items of one journal, in memory.
pub struct Leases {
    path: PathBuf,
    here: Here,
    held: HashMap<Vec<u8>, Vec<(Holder, f64)>>,
    /// Whether a holder lives is asked once in the life of this value.
    alive: RefCell<HashMap<Holder, bool>>,
    lines: usize,
}

impl Holder {
    /// The holder that this process is.
    #[must_use]
    pub fn of(identity: Identity, here: &Here) -> Self {
        let Identity { pid, start_ticks } = identity;
        Self { pid, start_ticks, boot_id: here.boot_id.clone(), pid_ns: here.pid_ns }
    }

    /// Whether the process lives. Of one in another pid namespace only its lease's time can tell.
    fn alive(&self, here: &Here) -> bool {
        let own = Identity { pid: self.pid, start_ticks: self.start_ticks };
        self.boot_id == here.boot_id && (self.pid_ns != here.pid_ns || own.alive())
    }
}

impl Leases {
    /// Reads the leases of the journal whose claims file this is. Needs the journal's lock.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn read(path: &Path, here: &Here) -> Result<Self> {
        let mut leases =
            Self { path: path.to_owned(), here: here.clone(), held: HashMap::new(), alive: RefCell::default(), lines: 0 };
        let bytes = journal::read_whole(path).with_context(|| format!("cannot read '{}'", shown(path)))?;
        let mut key = Vec::new();
        each_line(&bytes, |line, _| {
            // A torn line is a lease whose taker never got the item.
            let Some(line) = line.ok().and_then(|line| serde_json::from_str::<Line>(line).ok()) else { return };
            leases.lines += 1;
            for raw in &line.keys {
                if matches!(record::parse(raw.get(), None, &mut key), Ok(record::Record::Done)) {
                    leases.note(&key, &line.holder, line.until.unwrap_or(f64::INFINITY));
                }
            }
        });
        Ok(leases)
    }

    fn note(&mut self, key: &[u8], holder: &Holder, until: f64) {
        let holders = self.held.entry(key.to_vec()).or_default();
        holders.retain(|(other, _)| other != holder);
        if until > 0.0 {
            holders.push((holder.clone(), until));
        }
    }

    /// Who holds the item now.
    #[must_use]
    pub fn holder(&self, key: &[u8], now: f64) -> Option<&Holder> {
        self.holders(key, now).next()
    }

    /// All who hold the item now.
    pub fn holders(&self, key: &[u8], now: f64) -> impl Iterator<Item = &Holder> {
        let held = self.held.get(key).map_or([].as_slice(), Vec::as_slice);
        held.iter().filter(move |(holder, until)| *until > now && self.lives(holder)).map(|(holder, _)| holder)
    }

    fn lives(&self, holder: &Holder) -> bool {
        let mut alive = self.alive.borrow_mut();
        *alive.entry(holder.clone()).or_insert_with(|| holder.alive(&self.here))
    }

    /// Writes down that `holder` has these items until then; none: as long as it lives. Needs the journal's lock.
    ///
    /// # Errors
    /// When it can't be written: then nobody has them.
    pub fn take(&mut self, keys: &[Vec<u8>], holder: &Holder, until: Option<f64>, now: f64) -> Result<()> {
        if self.lines > 64 && self.lines > 2 * self.held.len() {
            self.rewrite(now).with_context(|| format!("cannot replace '{}'", shown(&self.path)))?;
        }
        self.append(keys, holder, until).with_context(|| format!("cannot write to '{}'", shown(&self.path)))?;
        for key in keys {
            self.note(key, holder, until.unwrap_or(f64::INFINITY));
        }
        Ok(())
    }

    /// Gives items back. Needs the journal's lock.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn give_back(&mut self, keys: &[Vec<u8>], holder: &Holder) -> Result<()> {
        self.take(keys, holder, Some(0.0), 0.0)
    }

    fn append(&mut self, keys: &[Vec<u8>], holder: &Holder, until: Option<f64>) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&self.path)?;
        let size = file.metadata()?.len();
        let mut line = Vec::new();
        if size > 0 {
            // A torn line must not swallow this one.
            line.push(b'\n');
        }
        line.extend(self::line(keys, holder, until)?);
        line.push(b'\n');
        self.lines += 1;
        file.write_all(&line).inspect_err(|_| drop(file.set_len(size)))
    }

    /// Writes only those that still hold.
    fn rewrite(&mut self, now: f64) -> io::Result<()> {
        let mut by_holder: HashMap<(Holder, u64), Vec<Vec<u8>>> = HashMap::new();
        for (key, holders) in &self.held {
            for (holder, until) in holders {
                if self.lives(holder) && *until > now {
                    by_holder.entry((holder.clone(), until.to_bits())).or_default().push(key.clone());
                }
            }
        }
        let mut next = self.path.clone().into_os_string();
        next.push(".new");
        let mut file = File::create(&next)?;
        for ((holder, until), keys) in &by_holder {
            let until = f64::from_bits(*until);
            let mut line = self::line(keys, holder, until.is_finite().then_some(until))?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        std::fs::rename(&next, &self.path)?;
        self.lines = by_holder.len();
        Ok(())
    }
}

fn line(keys: &[Vec<u8>], holder: &Holder, until: Option<f64>) -> io::Result<Vec<u8>> {
    let raw = |key: &Vec<u8>| serde_json::value::RawValue::from_string(key::json(key, &[]));
    let keys = keys.iter().map(raw).collect::<Result<_, _>>()?;
    Ok(serde_json::to_vec(&Line { holder: holder.clone(), until, keys })?)
}
