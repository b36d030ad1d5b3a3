//! One pass over the directory: its checkpoints, and everything else by what it is.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use nix::dir::{Dir as Listing, Type};
use nix::fcntl::OFlag;
use nix::sys::stat::FileStat;

use super::dir::Dir;
use super::entry::{Class, Patterns, classify};
use super::name::Key;

/// Nanoseconds since the epoch; negative before it.
pub type Nanos = i128;

/// An entry of the directory that belongs to a checkpoint.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name in the directory.
    pub name: String,
    /// What it is on disk.
    pub stat: Stat,
}

/// What `stat(2)` says that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stat {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Size in bytes.
    pub len: u64,
    /// Bytes on disk.
    pub allocated: u64,
    /// When its content last changed.
    pub mtime: Nanos,
    /// When anything about it last changed.
    pub ctime: Nanos,
    /// The file type bits of its mode.
    pub kind: u32,
}

impl Stat {
    /// Whether it is a directory.
    #[must_use]
    pub const fn is_dir(&self) -> bool {
        self.kind == libc::S_IFDIR
    }

    /// Whether it is a regular file.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        self.kind == libc::S_IFREG
    }
}

impl From<FileStat> for Stat {
    fn from(stat: FileStat) -> Self {
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            len: u64::try_from(stat.st_size).unwrap_or(0),
            allocated: u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
            mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanos(stat.st_ctime, stat.st_ctime_nsec),
            kind: stat.st_mode & libc::S_IFMT,
        }
    }
}

/// A checkpoint: a directory, a file, or files that belong together.
#[derive(Clone, Debug)]
pub struct Unit {
    /// What it is called: the entry's name, or what the members of a group have in common.
    pub name: String,
    /// The series it belongs to; its checkpoints share the text.
    pub series: Rc<str>,
    /// Its place in the series.
    pub key: Key,
    /// Its entries, what a reader opens first standing first.
    pub members: Vec<Member>,
    /// A file beside it says that it isn't finished.
    pub unfinished: bool,
    /// A `.keep` file beside it.
    pub pinned_beside: bool,
}

impl Unit {
    /// Whether it is one directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.members.first().is_some_and(|member| member.stat.is_dir())
    }
}

/// Checkpoints, boxed: ten thousand of them are sorted and handed on, and they are large to move.
pub type Units = Vec<Box<Unit>>;

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Scan {
    /// Its checkpoints: series by series, and the newest by number first.
    pub units: Units,
    /// Symbolic links: they point at what must stay.
    pub links: Vec<OsString>,
    /// Small files by whose name one may point at a checkpoint.
    pub notes: Vec<OsString>,
    /// Names of work in progress.
    pub in_flight: Vec<OsString>,
    /// Entries of ours.
    pub own: Vec<OsString>,
    /// How many entries are none of our business, and some of their names.
    pub others: Vec<OsString>,
}

/// Reads the directory.
///
/// # Errors
/// When it can't be listed; an entry that goes meanwhile is passed over.
pub fn scan(dir: &Dir, patterns: &Patterns) -> io::Result<Scan> {
    let mut found = Scan::default();
    let mut series: BTreeMap<Rc<str>, Units> = BTreeMap::new();
    let mut beside: Vec<(String, Vec<String>)> = Vec::new();
    for entry in entries(dir)? {
        let (name, kind) = entry?;
        let is_dir = match kind {
            Some(Type::Symlink) => {
                found.links.push(name);
                continue;
            }
            Some(kind) => kind == Type::Directory,
            None => match present(dir, &name)? {
                Some(stat) if stat.kind == libc::S_IFLNK => {
                    found.links.push(name);
                    continue;
                }
                Some(stat) => stat.is_dir(),
                None => continue,
            },
        };
        match classify(&name, is_dir, patterns) {
            Class::Own => found.own.push(name),
            Class::InFlight => found.in_flight.push(name),
            Class::Beside(of) => beside.extend(name.to_str().map(|name| (name.to_owned(), of))),
            Class::Other if is_dir => found.others.push(name),
            Class::Other => {
                if super::pointers::may_point(&name) {
                    found.notes.push(name.clone());
                }
                found.others.push(name);
            }
            Class::Part(part) => {
                let Some(stat) = present(dir, &name)? else { continue };
                let of = part.parsed.series.as_str();
                let of = series.get_key_value(of).map_or_else(|| Rc::from(of), |(of, _)| Rc::clone(of));
                let (unit, key) = (part.unit.into_owned(), part.parsed.key);
                let Ok(name) = name.into_string() else { continue };
                series.entry(Rc::clone(&of)).or_default().push(Box::new(Unit {
                    name: unit,
                    series: of,
                    key,
                    members: vec![Member { name, stat }],
                    unfinished: false,
                    pinned_beside: false,
                }));
            }
        }
    }
    found.units = series.into_values().flat_map(grouped).collect();
    attach(dir, &mut found, beside)?;
    for name in &found.in_flight {
        let marked = name.to_str().and_then(|name| name.strip_suffix("-unfinished"));
        for unit in found.units.iter_mut().filter(|unit| Some(unit.name.as_str()) == marked) {
            unit.unfinished = true;
        }
    }
    for unit in &mut found.units {
        unit.members.sort_by_cached_key(|member| (leads(&member.name), member.name.clone()));
    }
    Ok(found)
}

/// One unit for the parts of each name, every part of which came as a unit of its own.
fn grouped(mut parts: Units) -> Units {
    parts.sort_unstable_by(|a, b| b.key.cmp(&a.key).then_with(|| (&b.name, b.is_dir()).cmp(&(&a.name, a.is_dir()))));
    parts.dedup_by(|part, unit| {
        let same = unit.name == part.name && unit.is_dir() == part.is_dir();
        if same {
            unit.members.append(&mut part.members);
        }
        same
    });
    parts
}

/// An entry's status; `None` when it went since it was listed. Any other failure stops everything: what can't be seen
/// can't be counted.
fn present(dir: &Dir, name: impl AsRef<std::path::Path>) -> io::Result<Option<Stat>> {
    match dir.stat(name) {
        Ok(stat) => Ok(Some(stat.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives every sidecar to the unit it stands beside.
fn attach(dir: &Dir, found: &mut Scan, beside: Vec<(String, Vec<String>)>) -> io::Result<()> {
    if beside.is_empty() {
        return Ok(());
    }
    let mut owners: HashMap<String, Option<usize>> = HashMap::new();
    for (at, unit) in found.units.iter().enumerate() {
        let own = unit.members.iter().map(|member| member.name.as_str()).chain([unit.name.as_str()]);
        for name in own.flat_map(|name| [name, super::entry::split(name).0]) {
            // A stem that two checkpoints share names neither.
            owners.entry(name.to_owned()).and_modify(|owner| *owner = owner.filter(|owner| *owner == at)).or_insert(Some(at));
        }
    }
    for (name, of) in beside {
        let owner = of.iter().find_map(|of| owners.get(of).copied().flatten());
        let (Some(owner), Some(stat)) = (owner, present(dir, &name)?) else {
            if super::pointers::may_point(name.as_ref()) {
                found.notes.push(name.clone().into());
            }
            found.others.push(name.into());
            continue;
        };
        let unit = &mut found.units[owner];
        unit.pinned_beside |= name.rsplit_once('.').is_some_and(|(_, extension)| extension == "keep");
        unit.members.push(Member { name, stat });
    }
    Ok(())
}

/// What is taken away first leaves nothing behind that looks whole: the first shard, then the index, then the rest.
fn leads(name: &str) -> u8 {
    let (stem, extension) = super::entry::split(name);
    let first = super::entry::shard(stem).is_some_and(|(_, (number, _))| number <= 1) || name.contains(".data-00000-of-");
    match extension {
        _ if first || stem.ends_with("-rank0") => 0,
        "index" => 1,
        "json" if name.ends_with(".index.json") => 1,
        "json" | "yaml" | "yml" | "txt" | "sha256" | "md5" | "b3" | "keep" | "log" | "meta" => 3,
        _ => 2,
    }
}

/// Every entry's name and, where the file system says, its type.
///
/// # Errors
/// When the directory can't be listed.
pub fn entries(dir: &Dir) -> io::Result<impl Iterator<Item = io::Result<(OsString, Option<Type>)>>> {
    let listing = Listing::from_fd(dir.open(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?.into())?;
    Ok(listing.into_iter().filter_map(|entry| match entry {
        Ok(entry) => {
            let name = entry.file_name().to_bytes();
            (name != b"." && name != b"..").then(|| Ok((OsString::from(std::ffi::OsStr::from_bytes(name)), entry.file_type())))
        }
        Err(error) => Some(Err(error.into())),
    }))
}
