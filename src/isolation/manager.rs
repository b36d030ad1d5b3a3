//! A service manager of systemd, asked over its own socket: no bus daemon has to be up, and no answer is waited for longer
//! than the deadline.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::wire::{ANSWER, ERROR, Message, Properties, start_unit, stop_unit};
use crate::sys;

/// A manager that is slower than this is as good as none.
const LIMIT: Duration = Duration::from_secs(10);

/// A unit to start.
pub(super) struct Unit<'a> {
    pub(super) name: &'a str,
    pub(super) properties: Properties,
    /// A unit that is made with it, where it isn't there yet.
    pub(super) beside: Option<(&'a str, Properties)>,
}

/// The connection.
pub(super) struct Manager {
    socket: File,
    received: Vec<u8>,
    serial: u32,
    deadline: Instant,
}

/// Why a unit wasn't started.
#[derive(Debug)]
pub(super) enum Refused {
    /// The manager doesn't know this property, or not on this kind of unit.
    Property(String),
    /// A unit of that name is there.
    Exists(String),
    Other(String),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

impl Refused {
    pub(super) fn why(self) -> String {
        let (Self::Property(why) | Self::Exists(why) | Self::Other(why)) = self;
        why
    }

    fn of(message: &Message) -> Self {
        let why = message.text().unwrap_or_else(|| message.error.clone());
        match message.error.rsplit('.').next() {
            Some("PropertyReadOnly" | "UnknownProperty" | "InvalidArgs") => Self::Property(why),
            Some("UnitExists") => Self::Exists(why),
            _ => Self::Other(why),
        }
    }
}

impl Manager {
    /// Connects, without waiting for one that doesn't accept.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &UnixAddr::new(path)?)?;
        let socket = File::from(socket);
        let mut manager = Self { socket, received: Vec::new(), serial: 0, deadline: Instant::now() + LIMIT };
        let uid = nix::unistd::geteuid().as_raw().to_string();
        let uid: Vec<String> = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        // In one piece: where a call follows BEGIN so closely that systemd reads both at once, it doesn't look at the call
        // before more comes. What is sent after its answer can't.
        manager.socket.write_all(format!("\0AUTH EXTERNAL {}\r\nBEGIN\r\n", uid.concat()).as_bytes())?;
        let answer = loop {
            if let Some(end) = manager.received.windows(2).position(|two| two == b"\r\n") {
                break manager.received.drain(..end + 2).collect::<Vec<u8>>();
            }
            manager.receive()?;
        };
        if !answer.starts_with(b"OK ") {
            return Err(io::Error::new(ErrorKind::PermissionDenied, "the manager refuses this user"));
        }
        Ok(manager)
    }

    /// Starts a unit, and waits until that is done.
    pub(super) fn start(&mut self, unit: &Unit<'_>) -> Result<(), Refused> {
        self.serial += 1;
        let beside = unit.beside.as_ref().map(|(name, properties)| (*name, properties));
        self.job(&start_unit(self.serial, unit.name, &unit.properties, beside))
    }

    /// Stops a unit, and waits until that is done.
    pub(super) fn stop(&mut self, unit: &str) -> Result<(), Refused> {
        self.serial += 1;
        self.job(&stop_unit(self.serial, unit))
    }

    fn job(&mut self, call: &[u8]) -> Result<(), Refused> {
        self.socket.write_all(call)?;
        let mut job = None;
        // The end of a job may be told before the call is answered.
        let mut ended = Vec::new();
        loop {
            let Some(message) = Message::take(&mut self.received)? else {
                self.receive()?;
                continue;
            };
            ended.extend(message.job_removed());
            if message.answers == Some(self.serial) {
                match message.kind {
                    ERROR => return Err(Refused::of(&message)),
                    ANSWER => job = message.text(),
                    _ => {}
                }
            }
            if let Some((_, result)) = ended.iter().find(|(ended, _)| Some(ended) == job.as_ref()) {
                return if result == "done" { Ok(()) } else { Err(Refused::Other(format!("its job is {result}"))) };
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        if left.is_zero() {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("the manager doesn't answer within {} s", LIMIT.as_secs())));
        }
        sys::readable(&[self.socket.as_fd()], ms)?;
        let mut chunk = [0; 4096];
        match self.socket.read(&mut chunk) {
            Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the manager closed the connection")),
            Ok(length) => {
                self.received.extend_from_slice(&chunk[..length]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
