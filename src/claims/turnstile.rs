//! One at a time: whoever looks at what is promised and promises more holds this lock meanwhile.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::Place;
use crate::sys;

const NAME: &str = "turnstile";

/// The lock; dropping it lets the next one in.
#[derive(Debug)]
pub struct Turnstile(#[expect(dead_code, reason = "held for its lock")] File);

impl Turnstile {
    /// Goes in, after `limit` at the latest: a stopped process may be inside. With `alone` nobody else is in; without,
    /// only readers are.
    ///
    /// # Errors
    /// `TimedOut` when `limit` has passed.
    pub fn enter(place: &Place, alone: bool, limit: Duration) -> io::Result<Self> {
        let file = open(place)?;
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        loop {
            let locked = if alone { fs2::FileExt::try_lock_exclusive(&file) } else { fs2::FileExt::try_lock_shared(&file) };
            match locked {
                Ok(()) => return Ok(Self(file)),
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                    // flock(2) can wait, but not for so long and no longer.
                    sys::pass(pause);
                    pause = (pause * 2).min(Duration::from_millis(8));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let held = format!("'{}' is held by another process", place.path().join(NAME).display());
                    return Err(io::Error::new(ErrorKind::TimedOut, held));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn open(place: &Place) -> io::Result<File> {
    match place.file(NAME, true) {
        Err(error) if error.kind() == ErrorKind::NotFound => match place.make(NAME) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => place.file(NAME, true),
            made => made,
        },
        opened => opened,
    }
}
