//! The directory of the claims: one for all users of the machine where that is possible.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, access};

use crate::state_dir::refuse_network;

/// A directory that may be used.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Where.
    pub path: PathBuf,
    /// Made for all users (mode 1777), or for one (0700).
    pub shared: bool,
}

/// The directory in use.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    dir: OwnedFd,
}

/// More than any honest file of ours holds.
const LONGEST: u64 = 1 << 20;

impl Place {
    /// The first candidate that is there and can be written to; with `make`, one that isn't there is made. `None`: there
    /// is none yet, so nothing was claimed.
    ///
    /// # Errors
    /// When the last one can't be made, or is on a network file system.
    pub fn find(candidates: &[Candidate], make: bool) -> io::Result<Option<Self>> {
        let mut refused = None;
        for candidate in candidates {
            match Self::open(&candidate.path) {
                Ok(place) => return Ok(Some(place)),
                Err(error) if error.kind() == ErrorKind::NotFound && make => match candidate.make() {
                    Ok(place) => return Ok(Some(place)),
                    Err(error) => refused = Some((candidate, error)),
                },
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => refused = Some((candidate, error)),
            }
        }
        match refused {
            Some((candidate, error)) if make => {
                Err(io::Error::new(error.kind(), format!("cannot use '{}': {error}", candidate.path.display())))
            }
            _ => Ok(None),
        }
    }

    fn open(path: &Path) -> io::Result<Self> {
        let dir = open(path, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY, Mode::empty())?;
        access(path, AccessFlags::W_OK | AccessFlags::X_OK)?;
        refuse_network(&dir)?;
        Ok(Self { path: path.to_owned(), dir })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names in it.
    pub(super) fn names(&self) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.path)?;
        entries
            .map(|entry| Ok(entry?.file_name()))
            .filter_map(|name| name.map(|name| name.into_string().ok()).transpose())
            .collect()
    }

    /// Opens a file for reading, or for the lock too. Never waits, follows no link.
    pub(super) fn file(&self, name: &str, write: bool) -> io::Result<File> {
        let way = if write { OFlag::O_RDWR } else { OFlag::O_RDONLY };
        let file = File::from(openat(&self.dir, name, way | COMMON, Mode::empty())?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
    }

    /// Makes a file that every user can open. `fs.protected_regular` refuses `O_CREAT` on another user's file, so this is
    /// for names that aren't there.
    pub(super) fn make(&self, name: &str) -> io::Result<File> {
        let before = nix::sys::stat::umask(Mode::empty());
        let made =
            openat(&self.dir, name, OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | COMMON, Mode::from_bits_truncate(0o666));
        nix::sys::stat::umask(before);
        Ok(File::from(made?))
    }
}

const COMMON: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC).union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY);

/// The text of a file of ours.
pub(super) fn contents(file: &File) -> io::Result<String> {
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

impl Candidate {
    fn make(&self) -> io::Result<Place> {
        let mode = if self.shared { 0o1777 } else { 0o700 };
        match std::fs::DirBuilder::new().recursive(!self.shared).mode(mode).create(&self.path) {
            Ok(()) if self.shared => {
                let place = Place::open(&self.path)?;
                // The umask took its part. The directory was just made here, and it is changed by its descriptor.
                File::from(place.dir.try_clone()?).set_permissions(std::fs::Permissions::from_mode(mode))?;
                Ok(place)
            }
            Ok(()) => Place::open(&self.path),
            Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => Place::open(&self.path),
            Err(error) => Err(error),
        }
    }
}
