//! What a supervisor tells its launcher, a line each over a socket pair. The launcher has nothing to say: that it lives is
//! its consent.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::record::{Record, line};

/// What the supervisor answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It is about to try this id with this log. Whatever happens to it now, the launcher can tidy up.
    Trying(String, std::path::PathBuf),
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
pub struct Talk(BufReader<File>);

impl Talk {
    /// Over a connected socket.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self(BufReader::new(File::from(socket)))
    }

    /// Says something.
    ///
    /// # Errors
    /// `EPIPE` when the other is gone.
    pub fn say(&mut self, what: &impl Serialize) -> io::Result<()> {
        self.0.get_mut().write_all(&line(what))
    }

    /// Hears what the supervisor says; `None` when it is gone.
    ///
    /// # Errors
    /// As `read(2)`.
    pub fn hear(&mut self) -> io::Result<Option<Answer>> {
        let mut said = String::new();
        match self.0.read_line(&mut said) {
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
        self.0.get_ref().as_fd()
    }
}

/// A failure as the launcher was told of it.
pub(super) fn failure(code: u8, message: String, hint: Option<String>) -> Failure {
    Failure { exit: Exit::Status(code), message, hint }
}
