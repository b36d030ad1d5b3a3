//! Numbered files, each of which is in use while its lock is held. They are never removed; a free one is used again.

use std::fs::File;
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;

use nix::fcntl::{FcntlArg, fcntl};
use serde::Serialize;

use super::{Place, lock, place};

/// The files of one kind in a place.
#[derive(Clone, Copy)]
pub struct Slots<'a> {
    place: &'a Place,
    kind: &'static str,
}

/// A file in use by someone.
#[derive(Debug)]
pub struct Live {
    /// Its name.
    pub name: String,
    /// Device and inode: who holds a descriptor of it holds the slot.
    pub inode: (u64, u64),
    /// What it says; the reason when it can't be read.
    pub text: Result<String, String>,
}

/// A file in use by this process.
#[derive(Debug)]
pub struct Slot {
    file: File,
}

impl<'a> Slots<'a> {
    /// The files named `KIND-N`.
    #[must_use]
    pub const fn new(place: &'a Place, kind: &'static str) -> Self {
        Self { place, kind }
    }

    /// Those in use.
    ///
    /// # Errors
    /// When the directory can't be read.
    pub fn live(self) -> io::Result<Vec<Live>> {
        let mut live = Vec::new();
        for (_, name) in self.numbered()? {
            match self.look(&name) {
                Ok(Some(one)) => live.push(one),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => live.push(Live { name, inode: (0, 0), text: Err(error.to_string()) }),
            }
        }
        Ok(live)
    }

    /// Takes a free one, or makes one. Only behind the turnstile: what is read in between is half written.
    ///
    /// # Errors
    /// When none can be made.
    pub fn take(self) -> io::Result<Slot> {
        let numbered = self.numbered()?;
        for (_, name) in &numbered {
            // Another user's that may not be opened, or a directory of that name, is no reason to stop.
            if let Ok(file) = self.place.file(name, true)
                && lock::take(&file)?
            {
                return Ok(Slot { file });
            }
        }
        let mut number = numbered.last().map_or(0, |(number, _)| number + 1);
        loop {
            match self.place.make(&format!("{}-{number}", self.kind)) {
                Ok(file) if lock::take(&file)? => return Ok(Slot { file }),
                Ok(_) => number += 1,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn numbered(self) -> io::Result<Vec<(u64, String)>> {
        let number = |name: &str| name.strip_prefix(self.kind)?.strip_prefix('-')?.parse::<u64>().ok();
        let mut names: Vec<(u64, String)> =
            self.place.names()?.into_iter().filter_map(|name| Some((number(&name)?, name))).collect();
        names.sort();
        Ok(names)
    }

    fn look(self, name: &str) -> io::Result<Option<Live>> {
        let file = self.place.file(name, false)?;
        if !lock::is_held(&file)? {
            return Ok(None);
        }
        let meta = file.metadata()?;
        let text = place::contents(&file).map_err(|error| error.to_string());
        Ok(Some(Live { name: name.to_owned(), inode: (meta.dev(), meta.ino()), text }))
    }
}

impl Slot {
    /// Replaces what the file says.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&text)
    }

    /// Moves the descriptor to a high number, where no program expects one of its own: a shell takes 10 and up.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn high(self) -> io::Result<Self> {
        let lowest = if nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?.0 > 256 { 200 } else { 20 };
        // Where so few descriptors are allowed, any number has to do.
        let Ok(fd) = fcntl(&self.file, FcntlArg::F_DUPFD_CLOEXEC(lowest)) else { return Ok(self) };
        let high = crate::sys::inherited(fd)?;
        Ok(Self { file: high })
    }

    /// The descriptor's number.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Lets the descriptor, and with it the slot, live through exec and in every child.
    ///
    /// # Errors
    /// As `fcntl(2)`.
    pub fn keep_through_exec(&self) -> io::Result<()> {
        crate::sys::keep_on_exec(self.fd())
    }
}
