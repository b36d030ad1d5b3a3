//! Writing a record, with room for the next one set aside: a disk that fills up can't cost the verdict.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, RenameFlags, fallocate, renameat2};
use nix::sys::statvfs::fstatvfs;

use super::file::{create_new, remove};
use super::{StateDir, record_name};
use crate::record::{Record, amend, line};

/// Room for what a record grows by until its end: fifty runs with reasons, and evidence.
const GROWTH: usize = 16 << 10;

/// The record of a job whose lock the caller holds.
#[derive(Debug)]
pub struct RecordFile<'a> {
    dir: &'a StateDir,
    id: String,
    spare: Option<File>,
    foreign: bool,
}

impl<'a> RecordFile<'a> {
    /// For the holder of the job's lock. Nothing is written yet.
    #[must_use]
    pub fn new(dir: &'a StateDir, id: &str) -> Self {
        Self { dir, id: id.to_owned(), spare: None, foreign: false }
    }

    /// For a record that is published: sets room aside for the next one, as far as there is any.
    #[must_use]
    pub fn with_room(dir: &'a StateDir, record: &Record) -> Self {
        let mut file = Self::new(dir, &record.id);
        let _ = file.set_aside(line(record).len());
        file
    }

    /// The same with room that was set aside before an exec.
    #[must_use]
    pub fn resumed(dir: &'a StateDir, id: &str, spare: File) -> Self {
        Self { spare: Some(spare), ..Self::new(dir, id) }
    }

    /// The file with the room, where there was any.
    #[must_use]
    pub const fn spare(&self) -> Option<&File> {
        self.spare.as_ref()
    }

    /// The record is another supervisor's, perhaps of a later program: what this one doesn't know of it stays.
    #[must_use]
    pub const fn of_another(mut self) -> Self {
        self.foreign = true;
        self
    }

    /// Publishes the first record; durable when it returns. A crash before that leaves the whole record or none, and perhaps a temporary that the next launch of that id passes by.
    ///
    /// # Errors
    /// `EEXIST` when a record of that id is there: it is never replaced. Else as `write(2)`, `fdatasync(2)`, `rename(2)`.
    pub fn publish(&mut self, record: &Record) -> io::Result<()> {
        let bytes = line(record);
        let room = fstatvfs(self.dir.as_fd())?;
        // Where a file system says how much there is. The verdict's room is set aside while the command begins.
        if room.blocks() > 0 && room.blocks_available() * room.fragment_size() < (bytes.len() + GROWTH) as u64 {
            return Err(Errno::ENOSPC.into());
        }
        self.spare = Some(self.make_spare()?);
        self.write(&bytes, RenameFlags::RENAME_NOREPLACE)
    }

    /// Replaces the record; durable when it returns. After a failure the old one stands and a further try is welcome.
    ///
    /// # Errors
    /// As `write(2)`, `fdatasync(2)`, `rename(2)`.
    pub fn replace(&mut self, record: &Record) -> io::Result<()> {
        let amended = || amend(&self.id, &self.dir.record_bytes(&self.id).ok()??, |stored| stored.clone_from(record)).ok();
        let bytes = self.foreign.then(amended).flatten().unwrap_or_else(|| line(record));
        self.replace_bytes(&bytes, record.state.is_terminal())
    }

    /// The same for a record that is serialised already; after the `last` one no room is set aside.
    ///
    /// # Errors
    /// As [`RecordFile::replace`].
    pub fn replace_bytes(&mut self, bytes: &[u8], last: bool) -> io::Result<()> {
        if self.spare.is_none() {
            self.set_aside(bytes.len())?;
        }
        self.write(bytes, RenameFlags::empty())?;
        if !last {
            // Should there be no room now, there may be some when it is needed.
            let _ = self.set_aside(bytes.len());
        }
        Ok(())
    }

    /// Removes what was set aside, and, where `published`, the record itself with a request to cancel it: the job was
    /// never started.
    pub fn withdraw(&mut self, published: bool) {
        self.spare = None;
        let _ = remove(self.dir.as_fd(), &self.spare_name());
        if published {
            let _ = remove(self.dir.as_fd(), &record_name(&self.id));
            self.dir.forget_request(&self.id);
        }
    }

    fn spare_name(&self) -> String {
        format!(".{}.json.next", self.id)
    }

    /// Makes the file that is to be the next record; one that a killed supervisor has left gives way.
    fn make_spare(&self) -> io::Result<File> {
        let (dir, name) = (self.dir.as_fd(), self.spare_name());
        match create_new(dir, name.as_str(), false) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove(dir, &name)?;
                create_new(dir, name.as_str(), false)
            }
            made => made,
        }
    }

    fn set_aside(&mut self, len: usize) -> io::Result<()> {
        let file = self.make_spare()?;
        let room = i64::try_from(len + GROWTH).map_err(io::Error::other)?;
        match fallocate(&file, FallocateFlags::empty(), 0, room) {
            Ok(()) => {}
            // A file system that can't promise room gets real bytes instead.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => file.write_all_at(&vec![b' '; len + GROWTH], 0)?,
            Err(error) => return Err(error.into()),
        }
        self.spare = Some(file);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], flags: RenameFlags) -> io::Result<()> {
        let spare = self.spare.as_ref().ok_or(io::ErrorKind::NotFound)?;
        spare.write_all_at(bytes, 0)?;
        // What was set aside is longer.
        if spare.metadata()?.len() != bytes.len() as u64 {
            spare.set_len(bytes.len() as u64)?;
        }
        spare.sync_data()?;
        let dir = self.dir.as_fd();
        match renameat2(dir, self.spare_name().as_str(), dir, record_name(&self.id).as_str(), flags) {
            Ok(()) => self.spare = None,
            // Somebody removed the file that was set aside: the next try makes another.
            Err(Errno::ENOENT) => {
                self.spare = None;
                return Err(Errno::ENOENT.into());
            }
            Err(error) => return Err(error.into()),
        }
        self.dir.sync()
    }
}
