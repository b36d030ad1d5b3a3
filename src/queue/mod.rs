//! Queues without a daemon: so many jobs of a queue run at a time, the others wait for their turn.
//!
//! ```text
//! .queue/NAME/slots.json        how many; absent: one
//!             queued.3.0.ID     waits: its number of arrival, its priority
//!             granted.1.0.ID    has a slot
//! ```
//!
//! A ticket says what its job wants, never that it lives: that is told as of any job, by its record, its lock and its
//! process. So nothing has to be let go for a slot to be free. A member whose supervisor was killed holds its slot while its
//! command provably runs; one that is lost or over holds none, and whoever looks next removes its ticket.
//!
//! Who waits looks for itself: it may go when fewer live members than slots stand before it. It takes the slot by a
//! rename of its ticket, under the folder's lock and after a second look under it, so that no two take the last one. Killed after
//! that and before its command runs, it is lost like any other.
//!
//! Until then it sleeps over the lives of as many members before it as there are slots (while all of them live it can't be its
//! turn), and over the folder, for those that leave and for changes of the slots.

mod line;
mod slots;
mod ticket;
mod watch;

pub use line::Line;
pub use watch::Watch;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fs2::FileExt;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use self::ticket::Ticket;
use crate::process::{Handle, Here};
use crate::record::Place;
use crate::state_dir::{self, StateDir, create_new, observe};
use crate::sys;

const FOLDER: &str = ".queue";

/// A process that is stopped while it holds the folder's lock keeps a launch from its end for so long.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(5);
/// Until the next look, where no event would tell: the folder can't be watched, or a member's life can't.
pub const BLIND: Duration = Duration::from_secs(30);
/// Until the next look at a job whose supervisor has ended and whose lock hasn't gone yet.
const ENDING: Duration = Duration::from_millis(20);

/// A queue of a jobs directory.
#[derive(Debug)]
pub struct Queue<'a> {
    dir: &'a StateDir,
    name: &'a str,
    folder: File,
}

/// What comes of a look for one's turn.
#[derive(Debug)]
pub enum Turn {
    /// It has come: the slot is this job's until it leaves.
    Granted,
    /// Not yet.
    Wait {
        /// With the end of any of these it may come.
        lives: Vec<Handle>,
        /// And it is worth a look after this time, where no event would tell.
        within: Option<Duration>,
    },
}

/// What is true of a member.
enum Seen {
    /// It is over or lost, or never was.
    Over,
    /// Of another host, another queue, or a later version, and without a supervisor: not for us to judge.
    Elsewhere,
    /// It lives, as long as this process where there is one to see.
    Lives(Option<Handle>),
    /// Its supervisor has ended this instant.
    Ending,
}

/// A look at what stands before a job.
struct Survey {
    own: Ticket,
    free: bool,
    over: Vec<Ticket>,
    lives: Vec<Handle>,
    within: Option<Duration>,
}

impl<'a> Queue<'a> {
    /// Opens a queue; `None` when there is none of that name.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open(dir: &'a StateDir, name: &'a str) -> io::Result<Option<Self>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let open = |at: &dyn AsFd, name: &str| openat(at.as_fd(), name, flags, Mode::empty());
        match open(dir, FOLDER).and_then(|queues| open(&queues, name)) {
            Ok(folder) => Ok(Some(Self { dir, name, folder: folder.into() })),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a queue, made with one slot where it is absent.
    ///
    /// # Errors
    /// As `mkdir(2)` and `open(2)`.
    pub fn open_or_make(dir: &'a StateDir, name: &'a str) -> io::Result<Self> {
        for path in [FOLDER.to_owned(), format!("{FOLDER}/{name}")] {
            match mkdirat(dir.as_fd(), path.as_str(), Mode::S_IRWXU) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Self::open(dir, name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Joins its end, or that of its priority. A crash can lose the ticket, together with all who could wait behind it.
    ///
    /// # Errors
    /// As `open(2)`; `TimedOut` where somebody keeps the folder locked.
    pub fn join(&self, id: &str, priority: i32) -> io::Result<()> {
        let _lock = self.lock_within(PATIENCE)?;
        self.append(id, priority)
    }

    /// Under the lock.
    fn append(&self, id: &str, priority: i32) -> io::Result<()> {
        let mut last = 0;
        for ticket in self.tickets()? {
            if ticket.id == id {
                // Of an earlier life: a job that was lost is started again under its id.
                self.remove(&ticket)?;
            }
            last = last.max(ticket.arrival);
        }
        let arrival = last.checked_add(1).ok_or_else(|| io::Error::other("its tickets have run out of numbers"))?;
        let ticket = Ticket { granted: false, arrival, priority, id: id.to_owned() };
        create_new(self.folder.as_fd(), ticket.name().as_str(), false).map(drop)
    }

    /// Looks whether the turn of job `id` has come, and takes the slot then. A job that isn't in the queue joins it; one
    /// that has its slot keeps it. `None` when somebody else takes one this instant: to be asked again soon.
    ///
    /// # Errors
    /// As `readdir(3)`, `rename(2)` and `open(2)`.
    pub fn turn(&self, id: &str, priority: i32, here: &Here) -> io::Result<Option<Turn>> {
        match self.survey(id, here)? {
            Some(survey) if survey.own.granted => return Ok(Some(Turn::Granted)),
            Some(survey) if !survey.free && survey.over.is_empty() => return Ok(Some(survey.wait())),
            _ => {}
        }
        let Some(_lock) = self.try_lock()? else { return Ok(None) };
        let mut survey = self.survey(id, here)?;
        if survey.is_none() {
            self.append(id, priority)?;
            survey = self.survey(id, here)?;
        }
        let survey = survey.ok_or(io::ErrorKind::NotFound)?;
        for ticket in &survey.over {
            // One that stays is passed by all the same.
            let _ = self.remove(ticket);
        }
        if !survey.free {
            return Ok(Some(survey.wait()));
        }
        let granted = Ticket { granted: true, ..survey.own.clone() };
        renameat(&self.folder, survey.own.name().as_str(), &self.folder, granted.name().as_str())?;
        Ok(Some(Turn::Granted))
    }

    /// Looks at those before job `id`, until as many of them live as there are slots; `None` when it has no ticket.
    fn survey(&self, id: &str, here: &Here) -> io::Result<Option<Survey>> {
        let slots = usize::try_from(self.slots().unwrap_or(1)).unwrap_or(usize::MAX);
        let mut tickets = self.tickets()?;
        let Some(at) = tickets.iter().position(|ticket| ticket.id == id) else { return Ok(None) };
        tickets.truncate(at + 1);
        let Some(own) = tickets.pop() else { return Ok(None) };
        let mut survey = Survey { own, free: true, over: Vec::new(), lives: Vec::new(), within: None };
        let mut live = 0;
        for ticket in tickets {
            let seen = self.seen(&ticket.id, here);
            let within = match seen {
                Seen::Over => {
                    survey.over.push(ticket);
                    continue;
                }
                Seen::Elsewhere => continue,
                Seen::Lives(Some(handle)) => {
                    survey.lives.push(handle);
                    None
                }
                Seen::Lives(None) => Some(BLIND),
                Seen::Ending => Some(ENDING),
            };
            survey.within = survey.within.into_iter().chain(within).min();
            live += 1;
            if live >= slots {
                survey.free = false;
                break;
            }
        }
        Ok(Some(survey))
    }

    fn seen(&self, id: &str, here: &Here) -> Seen {
        let job = match observe(self.dir, id, here) {
            Ok(Some(job)) => job,
            unknown => {
                return match self.dir.is_supervised(id) {
                    Ok(false) if unknown.is_ok() => Seen::Over,
                    Ok(false) => Seen::Elsewhere,
                    Ok(true) | Err(_) => Seen::Lives(None),
                };
            }
        };
        if job.state.is_terminal() {
            return Seen::Over;
        }
        let here = job.place == state_dir::Place::Here;
        if job.record.policy.place.as_ref().is_none_or(|place| place.queue != self.name) || !(job.supervised || here) {
            return Seen::Elsewhere;
        }
        match job.lives_with().map(Handle::open) {
            Some(Ok(Some(handle))) => Seen::Lives(Some(handle)),
            Some(Ok(None)) => Seen::Ending,
            Some(Err(_)) | None => Seen::Lives(None),
        }
    }

    /// All tickets, each job's once, in the order in which they are served.
    fn tickets(&self) -> io::Result<Vec<Ticket>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut tickets = Vec::new();
        for entry in Dir::openat(self.folder.as_fd(), ".", flags, Mode::empty())?.iter() {
            tickets.extend(entry?.file_name().to_str().ok().and_then(Ticket::parse));
        }
        tickets.sort_by(|a, b| a.rank().cmp(&b.rank()));
        // One that is renamed meanwhile may be listed under both names.
        let mut seen = std::collections::HashSet::new();
        tickets.retain(|ticket| seen.insert(ticket.id.clone()));
        Ok(tickets)
    }

    fn remove(&self, ticket: &Ticket) -> io::Result<()> {
        match unlinkat(self.folder.as_fd(), ticket.name().as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder's lock, through a description of its own: it is let go when that is dropped.
    fn try_lock(&self) -> io::Result<Option<File>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let file = File::from(openat(self.folder.as_fd(), ".", flags, Mode::empty())?);
        match FileExt::try_lock_exclusive(&file) {
            Ok(()) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn lock_within(&self, limit: Duration) -> io::Result<File> {
        let until = Instant::now() + limit;
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            if Instant::now() >= until {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process keeps it locked"));
            }
            sys::pass(RETRY);
        }
    }
}

impl Survey {
    fn wait(self) -> Turn {
        Turn::Wait { lives: self.lives, within: self.within }
    }
}

/// What the record of a job says that waits in a queue.
#[must_use]
pub fn reason(name: &str) -> String {
    format!("in queue {name}")
}

/// Gives up a job's place, or its slot. That it can't be is no harm: a job that is over holds none.
pub fn leave(dir: &StateDir, place: &Place, id: &str) {
    if let Ok(Some(queue)) = Queue::open(dir, &place.queue)
        && let Ok(tickets) = queue.tickets()
    {
        for ticket in tickets.iter().filter(|ticket| ticket.id == id) {
            let _ = queue.remove(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_somebody_grants_nobody_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path()).unwrap();
        let queue = Queue::open_or_make(&dir, "q").unwrap();
        let lock = queue.try_lock().unwrap().unwrap();
        let (id, here) = ("a_20251129_120300", Here::look());
        assert!(queue.turn(id, 0, &here).unwrap().is_none());
        drop(lock);
        assert!(matches!(queue.turn(id, 0, &here), Ok(Some(Turn::Granted))));
    }
}
