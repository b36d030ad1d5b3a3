//! One pass over the directory: its checkpoints, and everything else by what it is.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

use nix::dir::Type;
use nix::sys::stat::FileStat;

use super::dir::Dir;
use super::entry::{Class, Patterns, classify};
use super::listing::{Listing, Name, Share};
use super::name::Key;

/// Nanoseconds since the epoch; negative before it.
pub type Nanos = i128;

/// An entry of the directory that belongs to a checkpoint.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name in the directory.
    pub name: Name,
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
    pub name: Name,
    /// The series it belongs to; its checkpoints share the text.
    pub series: Arc<str>,
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

/// No more threads than that: beyond, they wait for each other in the kernel.
const MOST_THREADS: usize = 4;

/// So many full shares are worth more than one thread.
const WORTH_THREADS: usize = 2;

/// Reads the directory; a large one with several threads, since to ask for the status of every entry takes longest.
///
/// # Errors
/// When it can't be listed; an entry that goes meanwhile is passed over.
pub fn scan(dir: &Dir, patterns: &Patterns) -> io::Result<Scan> {
    let mut listing = Listing::new(dir)?;
    let mut first = Vec::new();
    while first.len() < WORTH_THREADS
        && let Some(share) = listing.next()?
    {
        first.push(share);
    }
    let threads = match first.last() {
        Some((WORTH_THREADS, share)) if share.is_full() => {
            thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS)
        }
        _ => 1,
    };
    let listing = Mutex::new(listing);
    let mut shares = thread::scope(|scope| {
        let others: Vec<_> =
            (1..threads).map(|_| scope.spawn(|| seen_in(&dir.again()?, patterns, Vec::new(), &listing))).collect();
        let mut shares = seen_in(dir, patterns, first, &listing)?;
        for other in others {
            shares.extend(other.join().map_err(|_| io::Error::other("a thread ended early"))??);
        }
        io::Result::Ok(shares)
    })?;
    shares.sort_by_key(|(place, _)| *place);
    let mut seen = Seen::default();
    for (_, share) in shares {
        seen.join(share);
    }
    let mut found = seen.scan;
    found.units = seen.series.into_values().flat_map(grouped).collect();
    attach(dir, &mut found, seen.beside)?;
    for name in &found.in_flight {
        let marked = name.to_str().and_then(|name| name.strip_suffix("-unfinished"));
        for unit in found.units.iter_mut().filter(|unit| Some(&*unit.name) == marked) {
            unit.unfinished = true;
        }
    }
    Ok(found)
}

/// Looks at these shares and then at whatever others are left.
fn seen_in(
    dir: &Dir,
    patterns: &Patterns,
    first: Vec<(usize, Share)>,
    listing: &Mutex<Listing>,
) -> io::Result<Vec<(usize, Seen)>> {
    let mut all = Vec::new();
    for (place, share) in first {
        all.push((place, Seen::of(dir, patterns, &share)?));
    }
    let next = || listing.lock().map_err(|_| io::Error::other("a thread ended early"))?.next();
    while let Some((place, share)) = next()? {
        all.push((place, Seen::of(dir, patterns, &share)?));
    }
    Ok(all)
}

/// What a share of the directory holds.
#[derive(Default)]
struct Seen {
    /// All but the units.
    scan: Scan,
    /// Every part of a checkpoint as a unit of its own.
    series: BTreeMap<Arc<str>, Units>,
    /// What may stand beside a checkpoint, and whose name that has.
    beside: Vec<(Name, Vec<String>)>,
}

impl Seen {
    fn of(dir: &Dir, patterns: &Patterns, share: &Share) -> io::Result<Self> {
        let mut seen = Self::default();
        for (name, kind) in share.entries() {
            if let Some(is_dir) = seen.kind(dir, name.as_ref(), kind)? {
                seen.entry(dir, name, is_dir, patterns)?;
            }
        }
        for (name, kind) in &share.odd {
            if seen.kind(dir, name, *kind)?.is_some() {
                seen.scan.others.push(name.clone());
            }
        }
        for parts in seen.series.values_mut() {
            parts.sort_unstable_by(|a, b| newest_first(a, b));
        }
        Ok(seen)
    }

    /// Whether it is a directory; `None` when it is a link, which is noted, or gone.
    fn kind(&mut self, dir: &Dir, name: &OsStr, kind: Option<Type>) -> io::Result<Option<bool>> {
        let mode = match kind {
            Some(Type::Symlink) => libc::S_IFLNK,
            Some(kind) => return Ok(Some(kind == Type::Directory)),
            None => match present(dir, name)? {
                Some(stat) => stat.kind,
                None => return Ok(None),
            },
        };
        if mode == libc::S_IFLNK {
            self.scan.links.push(name.to_owned());
            return Ok(None);
        }
        Ok(Some(mode == libc::S_IFDIR))
    }

    fn entry(&mut self, dir: &Dir, name: Name, is_dir: bool, patterns: &Patterns) -> io::Result<()> {
        let owned = || OsString::from(&*name);
        match classify(&name, is_dir, patterns) {
            Class::Own => self.scan.own.push(owned()),
            Class::InFlight => self.scan.in_flight.push(owned()),
            Class::Beside(of) => self.beside.push((name, of)),
            Class::Other => {
                if !is_dir && super::pointers::may_point(name.as_ref()) {
                    self.scan.notes.push(owned());
                }
                self.scan.others.push(owned());
            }
            Class::Part(part) => {
                let Some(stat) = present(dir, &name)? else { return Ok(()) };
                let of = part.parsed.series.as_str();
                let units = match self.series.get_mut(of) {
                    Some(units) => units,
                    None => self.series.entry(of.into()).or_default(),
                };
                units.push(Box::new(Unit {
                    name: name.whole(&part.unit),
                    series: units.first().map_or_else(|| of.into(), |unit| Arc::clone(&unit.series)),
                    key: part.parsed.key,
                    members: vec![Member { name, stat }],
                    unfinished: false,
                    pinned_beside: false,
                }));
            }
        }
        Ok(())
    }

    /// Adds what stands after this in the list.
    fn join(&mut self, other: Self) {
        self.scan.links.extend(other.scan.links);
        self.scan.notes.extend(other.scan.notes);
        self.scan.in_flight.extend(other.scan.in_flight);
        self.scan.own.extend(other.scan.own);
        self.scan.others.extend(other.scan.others);
        self.beside.extend(other.beside);
        for (series, units) in other.series {
            self.series.entry(series).or_default().extend(units);
        }
    }
}

/// One unit for the parts of each name, every part of which came as a unit of its own.
fn grouped(mut parts: Units) -> Units {
    // Each share was sorted where it was read, and this sort only merges what is in order.
    parts.sort_by(|a, b| newest_first(a, b));
    let entries = parts.len();
    parts.dedup_by(|part, unit| {
        let same = *unit.name == *part.name && unit.is_dir() == part.is_dir();
        if same {
            unit.members.append(&mut part.members);
        }
        same
    });
    if parts.len() < entries {
        for unit in &mut parts {
            order_members(unit);
        }
    }
    parts
}

fn order_members(unit: &mut Unit) {
    unit.members.sort_by_cached_key(|member| (leads(&member.name), member.name.to_string()));
}

fn newest_first(a: &Unit, b: &Unit) -> Ordering {
    b.key.cmp(&a.key).then_with(|| (&*b.name, b.is_dir()).cmp(&(&*a.name, a.is_dir())))
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
fn attach(dir: &Dir, found: &mut Scan, beside: Vec<(Name, Vec<String>)>) -> io::Result<()> {
    if beside.is_empty() {
        return Ok(());
    }
    let mut owners: HashMap<String, Option<usize>> = HashMap::new();
    for (at, unit) in found.units.iter().enumerate() {
        let own = unit.members.iter().map(|member| &*member.name).chain([&*unit.name]);
        for name in own.flat_map(|name| [name, super::entry::split(name).0]) {
            // A stem that two checkpoints share names neither.
            owners.entry(name.to_owned()).and_modify(|owner| *owner = owner.filter(|owner| *owner == at)).or_insert(Some(at));
        }
    }
    for (name, of) in beside {
        let owner = of.iter().find_map(|of| owners.get(of).copied().flatten());
        let (Some(owner), Some(stat)) = (owner, present(dir, &name)?) else {
            if super::pointers::may_point(name.as_ref()) {
                found.notes.push(OsString::from(&*name));
            }
            found.others.push(OsString::from(&*name));
            continue;
        };
        let unit = &mut found.units[owner];
        unit.pinned_beside |= name.rsplit_once('.').is_some_and(|(_, extension)| extension == "keep");
        unit.members.push(Member { name, stat });
        order_members(unit);
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// More than one thread reads it, and the parts of a group lie in shares of different threads.
    #[test]
    fn a_large_directory_is_seen_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let make = |name: String| std::fs::write(scratch.path().join(name), "x").unwrap();
        for n in 0..500 {
            (1..=8).for_each(|shard| make(format!("step_{n}-{shard:05}-of-00008.safetensors")));
            make(format!("model_{n}.pt"));
            make(format!("notes {n}"));
        }
        let dir = Dir::prove(scratch.path(), &[]).unwrap();
        let found = scan(&dir, &Patterns::default()).unwrap();
        let names: Vec<String> = found.units.iter().map(|unit| unit.name.to_string()).collect();
        let newest = |form: &str| (0..500).rev().map(|n| form.replace('#', &n.to_string())).collect::<Vec<_>>();
        assert_eq!(names, [newest("model_#.pt"), newest("step_#.safetensors")].concat());
        for unit in &found.units[500..] {
            assert_eq!(unit.members.len(), 8, "{unit:?}");
            assert!(unit.members.is_sorted_by_key(|member| member.name.to_string()));
            let size = |member: &Member| std::fs::metadata(scratch.path().join::<&Path>(member.name.as_ref())).unwrap().len();
            assert!(unit.members.iter().all(|member| member.stat.len == size(member)));
        }
        assert_eq!(found.others.len(), 500);
    }
}
