//! First come, first served: the waiting calls of a machine stand in line, so that one that needs much isn't overtaken for ever by
//! those that need little.
//!
//! A place in the line is a numbered file like a claim's, and ends with its process or its exec. Calls that wait for
//! different things don't wait for each other.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::{Deserialize, Serialize};

use super::{Demand, Limit, TURNS};
use crate::claims::{CLAIMS, Candidate, Place, Slot, Slots, Turnstile};
use crate::process::Identity;
use crate::sys;

const TICKETS: &str = "ticket";

/// A call that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// 1.
    pub version: u32,
    /// The process that waits.
    #[serde(flatten)]
    pub holder: Identity,
    /// Its number in the line.
    pub number: u64,
    /// What it waits for.
    pub resources: BTreeSet<String>,
}

/// This call's place in the line.
pub struct Queue {
    place: Place,
    patience: Duration,
    ticket: Ticket,
    #[expect(dead_code, reason = "held for its lock")]
    slot: Slot,
}

impl Queue {
    /// Joins the line at its end.
    ///
    /// # Errors
    /// When the directory can't be used.
    pub fn join(places: &[Candidate], demand: &Demand, patience: Duration) -> io::Result<Self> {
        let place = Place::find(places, true)?.ok_or_else(|| io::Error::other("there is no directory for it"))?;
        let turnstile = Turnstile::enter(&place, true, patience * TURNS)?;
        let number = tickets(&place)?.iter().map(|ticket| ticket.number).max().unwrap_or(0) + 1;
        let ticket = Ticket { version: 1, holder: Identity::own(), number, resources: resources(demand) };
        let mut slot = Slots::new(&place, TICKETS).take()?;
        slot.write(&ticket)?;
        drop(turnstile);
        Ok(Self { place, patience, ticket, slot })
    }

    /// The calls before this one that wait for any of the same things.
    ///
    /// # Errors
    /// When the line can't be read.
    pub fn ahead(&self) -> io::Result<Vec<Ticket>> {
        let _turnstile = Turnstile::enter(&self.place, false, self.patience * TURNS)?;
        let mut ahead = tickets(&self.place)?;
        ahead.retain(|other| other.number < self.ticket.number && !other.resources.is_disjoint(&self.ticket.resources));
        ahead.sort_by_key(|ticket| ticket.number);
        Ok(ahead)
    }

    /// Begins to watch, before a look: what is given up from now on ends the sleep that follows the look.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .and_then(|watch| watch.add_watch(self.place.path(), AddWatchFlags::IN_CLOSE_WRITE).map(|_| watch));
        Watch(watch.ok())
    }

    /// Sleeps until `until`, or until a claim or a place in the line was given up since the watch began: its last
    /// descriptor is closed, and the kernel says so; `true` then. Nothing runs meanwhile.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn sleep(&self, watch: &Watch, until: Instant) -> io::Result<bool> {
        let left = || until.saturating_duration_since(Instant::now());
        let Some(watch) = &watch.0 else {
            // The kernel allows a user so many watches. Without one, the next look is at its time.
            sys::pass(left());
            return Ok(false);
        };
        while !left().is_zero() {
            let ms = i32::try_from(left().as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            if sys::readable(&[watch.as_fd()], ms)?[0] {
                let closed = match watch.read_events() {
                    Ok(events) => events.into_iter().filter_map(|event| event.name?.into_string().ok()).collect(),
                    Err(Errno::EAGAIN | Errno::EINTR) => BTreeSet::new(),
                    Err(error) => return Err(error.into()),
                };
                if closed.iter().any(|name: &String| name.starts_with(CLAIMS) || name.starts_with(TICKETS)) {
                    self.settle(&closed)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The event comes a moment before the kernel lets the lock go. One that stays locked was only looked at by a process
    /// that sought a free one.
    fn settle(&self, closed: &BTreeSet<String>) -> io::Result<()> {
        let patience = Instant::now() + Duration::from_millis(100);
        while Instant::now() < patience {
            let claims = Slots::new(&self.place, CLAIMS).live()?;
            let tickets = Slots::new(&self.place, TICKETS).live()?;
            if !claims.iter().chain(&tickets).any(|live| closed.contains(&live.name)) {
                break;
            }
            sys::pass(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// What was given up since a moment.
pub struct Watch(Option<Inotify>);

/// The live tickets that can be read: one that can't has no number to stand in line by.
fn tickets(place: &Place) -> io::Result<Vec<Ticket>> {
    let live = Slots::new(place, TICKETS).live()?;
    let ticket = |text: String| serde_json::from_str::<Ticket>(&text).ok().filter(|ticket| ticket.version == 1);
    Ok(live.into_iter().filter_map(|live| live.text.ok().and_then(ticket)).collect())
}

/// What a demand waits for.
fn resources(demand: &Demand) -> BTreeSet<String> {
    let mut resources: BTreeSet<String> = demand
        .limits
        .iter()
        .map(|limit| match limit {
            Limit::Cpu(_) | Limit::Load(_) => "cpu",
            Limit::Memory(_) | Limit::FreeMemory(_) | Limit::Swap(_) => "memory",
            Limit::Pressure(kind, _) => kind.name(),
            Limit::Disk(..) | Limit::Inodes(..) => "disk",
            Limit::GpuMemory { .. } => "gpu",
        })
        .map(str::to_owned)
        .collect();
    if demand.cards.is_some() {
        resources.insert("gpu".into());
    }
    if demand.memory.is_some() {
        resources.insert("memory".into());
    }
    resources
}
