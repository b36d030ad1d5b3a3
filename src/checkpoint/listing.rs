//! A directory's entries in shares, the names of each in one text: ten thousand names are then a few allocations, and
//! several threads can look at them side by side.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use nix::dir::{Dir as Reader, OwningIter, Type};
use nix::fcntl::OFlag;

use super::dir::Dir;

/// So many entries are a share: to look at them takes some ten times as long as to start a thread.
const SHARE: usize = 1024;

/// `.` and `..`, which are listed and are no entries.
const DOTS: usize = 2;

/// A name, cut out of the text of its share.
#[derive(Clone)]
pub struct Name {
    text: Arc<str>,
    at: u32,
    end: u32,
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text[self.at as usize..self.end as usize]
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self { end: u32::try_from(name.len()).unwrap_or(u32::MAX), text: name.into(), at: 0 }
    }
}

impl AsRef<Path> for Name {
    fn as_ref(&self) -> &Path {
        Path::new(&**self)
    }
}

impl AsRef<OsStr> for Name {
    fn as_ref(&self) -> &OsStr {
        OsStr::new(&**self)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl Name {
    /// The name of what it is a part of: its own beginning, mostly.
    pub(super) fn whole(&self, name: &str) -> Self {
        let end = self.at as usize + name.len();
        if self.starts_with(name) { Self { end: u32::try_from(end).unwrap_or(self.end), ..self.clone() } } else { name.into() }
    }
}

/// Some of a directory's entries, each with its type where the file system says it.
pub(super) struct Share {
    names: String,
    entries: Vec<(u32, Option<Type>)>,
    /// Names that aren't UTF-8, which no checkpoint has.
    pub(super) odd: Vec<(OsString, Option<Type>)>,
}

impl Share {
    fn new() -> Self {
        Self { names: String::with_capacity(SHARE * 24), entries: Vec::with_capacity(SHARE), odd: Vec::new() }
    }

    fn add(&mut self, name: &[u8], kind: Option<Type>) -> io::Result<()> {
        match std::str::from_utf8(name) {
            Ok("." | "..") => {}
            Ok(name) => {
                self.names.push_str(name);
                self.entries.push((u32::try_from(self.names.len()).map_err(io::Error::other)?, kind));
            }
            Err(_) => self.odd.push((OsStr::from_bytes(name).to_owned(), kind)),
        }
        Ok(())
    }

    /// Whether there is likely to be another.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() + self.odd.len() + DOTS >= SHARE
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (Name, Option<Type>)> {
        let text: Arc<str> = self.names.as_str().into();
        let mut at = 0;
        self.entries.iter().map(move |(end, kind)| {
            let name = Name { text: Arc::clone(&text), at, end: *end };
            at = *end;
            (name, *kind)
        })
    }
}

/// A directory being listed, by however many threads ask for the next share.
pub(super) struct Listing {
    reader: OwningIter,
    taken: usize,
}

impl Listing {
    /// Begins.
    ///
    /// # Errors
    /// When it can't be opened.
    pub(super) fn new(dir: &Dir) -> io::Result<Self> {
        let reader = Reader::from_fd(dir.open(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?.into())?;
        Ok(Self { reader: reader.into_iter(), taken: 0 })
    }

    /// The next share and its place among them; `None` when all are taken.
    ///
    /// # Errors
    /// When it can't be listed.
    pub(super) fn next(&mut self) -> io::Result<Option<(usize, Share)>> {
        let mut share = Share::new();
        for entry in self.reader.by_ref().take(SHARE) {
            let entry = entry?;
            share.add(entry.file_name().to_bytes(), entry.file_type())?;
        }
        self.taken += 1;
        Ok((!share.entries.is_empty() || !share.odd.is_empty()).then_some((self.taken, share)))
    }
}

/// All the entries of an open directory, for those who want them at once.
///
/// # Errors
/// When it can't be listed.
pub(super) fn names(listed: File) -> io::Result<Vec<(OsString, Option<Type>)>> {
    let mut all = Vec::new();
    for entry in Reader::from_fd(listed.into())? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            all.push((OsStr::from_bytes(name).to_owned(), entry.file_type()));
        }
    }
    Ok(all)
}
