//! What a supervisor tells its launcher: one line over a socket pair. The launcher has nothing to say: that it lives is its
//! consent.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::record::{Record, line};

/// What the supervisor answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The command has been exec'd.
    Started(Box<Record>),
    /// Nothing is left.
    Failed {
        /// The code to end with.
        code: u8,
        /// One line.
        message: String,
        /// What can be done.
        hint: Option<String>,
    },
}

impl From<&Failure> for Answer {
    fn from(failure: &Failure) -> Self {
        Self::Failed { code: failure.exit.code(), message: failure.message.clone(), hint: failure.hint.clone() }
    }
}

/// One end of the socket pair.
#[derive(Debug)]
pub struct Talk {
    socket: BufReader<File>,
    /// Where the system lets us have such a file; only tidying up after a SIGKILL needs it.
    tried: Option<File>,
}

impl Talk {
    /// Both ends, closed by an exec.
    ///
    /// # Errors
    /// As `socketpair(2)`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        let tried = memfd_create("tried", MFdFlags::MFD_CLOEXEC).ok().map(File::from);
        let end = |socket, tried| Self { socket: BufReader::new(File::from(socket)), tried };
        Ok((end(ours, tried.as_ref().and_then(|file| file.try_clone().ok())), end(theirs, tried)))
    }

    /// Its descriptors.
    #[must_use]
    pub fn descriptors(&self) -> Vec<RawFd> {
        std::iter::once(self.socket.get_ref().as_raw_fd()).chain(self.tried.iter().map(AsRawFd::as_raw_fd)).collect()
    }

    /// Notes the id that is about to be tried: whatever happens to the supervisor now, the launcher can tidy up. It isn't
    /// said, since a launcher that hears something wakes up for it, on the processor that the job's process could have.
    pub fn note(&self, id: &str) {
        if let Some(tried) = &self.tried {
            let _ = tried.write_all_at(format!("{id}\n").as_bytes(), 0);
        }
    }

    /// The id that was tried last.
    #[must_use]
    pub fn tried(&mut self) -> Option<String> {
        let mut noted = String::new();
        let tried = self.tried.as_mut()?;
        tried.rewind().ok()?;
        tried.read_to_string(&mut noted).ok()?;
        noted.split_once('\n').map(|(id, _)| id.to_owned())
    }

    /// Says something.
    ///
    /// # Errors
    /// `EPIPE` when the other is gone.
    pub fn say(&mut self, what: &impl Serialize) -> io::Result<()> {
        self.socket.get_mut().write_all(&line(what))
    }

    /// Hears what the supervisor says; `None` when it is gone.
    ///
    /// # Errors
    /// As `read(2)`.
    pub fn hear(&mut self) -> io::Result<Option<Answer>> {
        let mut said = String::new();
        match self.socket.read_line(&mut said) {
            Ok(0) => Ok(None),
            // It died with our last word unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            // It died in the middle of a word.
            Ok(_) if !said.ends_with('\n') => Ok(None),
            Ok(_) => Ok(Some(serde_json::from_str(&said)?)),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Talk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

/// A failure as the launcher was told of it.
pub(super) fn failure(code: u8, message: String, hint: Option<String>) -> Failure {
    Failure { exit: Exit::Status(code), message, hint }
}
