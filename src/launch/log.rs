//! The log: made before the id is sure, and never another job's file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{LogPlace, Spec};
use crate::exit::{Exit, Failure};
use crate::text::shown;

/// The log, claimed together with the id.
#[derive(Debug)]
pub struct LogFile<'a> {
    spec: &'a Spec,
    /// Open for appending.
    pub file: File,
    refused: Option<PathBuf>,
}

impl<'a> LogFile<'a> {
    /// Makes it under a name that is nobody else's, in its directory.
    ///
    /// # Errors
    /// A [`Failure`] that names the log or its directory.
    pub fn new(spec: &'a Spec) -> Result<Self, Failure> {
        let unclaimed = spec.log.unclaimed(&spec.key);
        let mut made = new_log(&unclaimed);
        if let (Err(error), LogPlace::Directory(dir)) = (&made, &spec.log)
            && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        {
            let cannot = |error| broken(format!("cannot make the log directory '{}'", shown(dir)), error);
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(cannot)?;
            made = new_log(&unclaimed);
        }
        let file = made.map_err(|error| broken(cannot_make(&spec.log.file(&spec.name)), error))?;
        Ok(Self { spec, file, refused: None })
    }

    /// Makes it the log of this id; `false` when a file of that name is there, whosesoever it is.
    ///
    /// # Errors
    /// As `rename(2)`.
    pub fn claim(&mut self, id: &str) -> io::Result<bool> {
        let path = self.spec.log.file(id);
        match self.rename(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && matches!(self.spec.log, LogPlace::Directory(_)) => {
                Ok(false)
            }
            Err(error) => {
                self.refused = Some(path);
                Err(error)
            }
        }
    }

    fn rename(&mut self, path: &Path) -> io::Result<()> {
        let unclaimed = self.spec.log.unclaimed(&self.spec.key);
        match renameat2(AT_FDCWD, &unclaimed, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE) {
            // NFS and some others rename only over what is there.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                self.file = new_log(path)?;
                fs::remove_file(unclaimed)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Removes what wasn't claimed, and says which file it was that refused, where it was the log.
    #[must_use]
    pub fn blame(&self, error: io::Error, otherwise: impl FnOnce(io::Error) -> Failure) -> Failure {
        let _ = fs::remove_file(self.spec.log.unclaimed(&self.spec.key));
        match &self.refused {
            Some(path) => broken(cannot_make(path), error),
            None => otherwise(error),
        }
    }
}

fn cannot_make(log: &Path) -> String {
    format!("cannot make the log '{}'", shown(log))
}

fn new_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY).open(path)
}

/// Opens a job's log for its next run, with a line between the two. One that was removed meanwhile is made again.
///
/// # Errors
/// As `open(2)`; a file of another kind, or a symlink, is refused.
pub fn reopen(path: &Path, line: Option<&str>) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let mut file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut last = [b'\n'];
    if meta.len() > 0 {
        file.read_exact_at(&mut last, meta.len() - 1)?;
    }
    let before = if last == [b'\n'] { "" } else { "\n" };
    if let Some(line) = line {
        file.write_all(format!("{before}{line}\n").as_bytes())?;
    }
    // The command appends through a description that blocks, as any log's does.
    OpenOptions::new().append(true).open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)))
}

fn broken(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Broken, format!("{what}: {error}"))
}
