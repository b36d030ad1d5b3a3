//! What a launcher and its supervisor tell each other: lines over a socket pair. Behind its order, and what it has found
//! around both, the launcher has nothing to say: that it lives is its consent.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, recvmsg, sendmsg, shutdown,
    socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Spec, Surroundings};
use crate::exit::{Exit, Failure};
use crate::record::{Record, line};
use crate::state_dir::StateDir;
use crate::sys::SharedNote;

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

/// More is read in more than one piece.
const AN_ORDER: usize = 4 << 10;

/// One end of the socket pair.
#[derive(Debug)]
pub struct Talk {
    socket: BufReader<File>,
    /// Where the system lets us have such memory; only tidying up after a SIGKILL needs it.
    tried: Option<Arc<SharedNote>>,
}

impl Talk {
    /// Both ends, closed by an exec.
    ///
    /// # Errors
    /// As `socketpair(2)`.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        let tried = SharedNote::new().ok().map(Arc::new);
        let end = |socket| Self { socket: BufReader::new(File::from(socket)), tried: tried.clone() };
        Ok((end(ours), end(theirs)))
    }

    /// Its descriptor.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.socket.get_ref().as_raw_fd()
    }

    /// Notes the id that is about to be tried: whatever happens to the supervisor now, the launcher can tidy up. It isn't
    /// said, since a launcher that hears something wakes up for it, on the processor that the job's process could have.
    pub fn note(&self, id: &str) {
        if let Some(tried) = &self.tried {
            tried.write(id);
        }
    }

    /// The id that was tried last.
    #[must_use]
    pub fn tried(&self) -> Option<String> {
        self.tried.as_ref()?.read()
    }

    /// Orders a launch, in this very directory.
    ///
    /// # Errors
    /// `EPIPE` when the supervisor is gone.
    pub(super) fn order(&mut self, spec: &Spec, dir: &StateDir) -> io::Result<()> {
        let (order, given) = (line(spec), [dir.file().as_raw_fd()]);
        let with = [ControlMessage::ScmRights(&given)];
        let socket = self.socket.get_mut();
        let sent = sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(&order)], &with, MsgFlags::MSG_NOSIGNAL, None)?;
        socket.write_all(&order[sent..])
    }

    /// Waits for the order; `None` when the launcher has none or is gone.
    ///
    /// # Errors
    /// As `recvmsg(2)`; one that can't be understood.
    pub fn wait_for_order(&mut self) -> io::Result<Option<(Spec, StateDir)>> {
        let mut order = vec![0; AN_ORDER];
        let mut space = nix::cmsg_space!([RawFd; 1]);
        let socket = self.socket.get_ref().as_raw_fd();
        let (length, dir) = {
            let mut pieces = [IoSliceMut::new(&mut order)];
            let heard = recvmsg::<()>(socket, &mut pieces, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
            let given = heard.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::ScmRights(given) => given.first().copied(),
                _ => None,
            });
            (heard.bytes, given)
        };
        order.truncate(length);
        let Some(dir) = dir else {
            // An order without its directory: no descriptor was left for that.
            return if order.is_empty() { Ok(None) } else { Err(nix::errno::Errno::EMFILE.into()) };
        };
        let dir = crate::sys::inherited(dir)?;
        if !order.ends_with(b"\n") {
            self.socket.read_until(b'\n', &mut order)?;
        }
        if !order.ends_with(b"\n") {
            return Ok(None);
        }
        let spec: Spec = serde_json::from_slice(&order)?;
        let dir = StateDir::from_open(dir, spec.dir.clone());
        Ok(Some((spec, dir)))
    }

    /// Hears what the launcher has found around both; `None` when it is gone.
    ///
    /// # Errors
    /// As `read(2)`.
    pub fn surroundings(&mut self) -> io::Result<Option<Surroundings>> {
        self.line()
    }

    /// Leaves a supervisor without an order.
    pub(super) fn say_no_more(&self) {
        let _ = shutdown(self.socket.get_ref().as_raw_fd(), Shutdown::Write);
    }

    /// Waits until nothing is left, that process included: its end closes the socket.
    pub(super) fn wait_for_its_end(&mut self) {
        while self.hear().is_ok_and(|answer| answer.is_some()) {}
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
        self.line()
    }

    fn line<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
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
