//! `--save`: a copy that has its name only when it is whole and on disk.
//!
//! It is built under a temporary name in the same directory, under a lock that says its maker lives. Files are copied,
//! compared with their source afterwards, and synced; the manifest is written last; the rename never replaces.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise, readlinkat};
use nix::sys::stat::{Mode, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::symlinkat;
use walkdir::WalkDir;

use super::digest::{Algorithm, Cache, Digest, Running};
use super::dir::Dir;
use super::entry::holds_state;
use super::formats::holes;
use super::listing::names;
use super::manifest::{self, Listed};
use super::scan::Stat;
use super::temporary::{Temporary, replace_link};

/// Room beyond the files themselves that a copy needs: names, the manifest.
const SLACK: u64 = 1 << 20;

/// How a file's content comes into the snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Copying {
    /// Shared blocks where the file system can, else a copy.
    #[default]
    Reflink,
    /// A second name for the same file: a trainer that rewrites it in place destroys the snapshot.
    Hardlink,
}

/// Why a snapshot wasn't made.
#[derive(Debug)]
pub enum Refused {
    /// The source isn't good, or can't be copied as it is.
    Source(String),
    /// The source changed while it was copied.
    Changed(String),
    /// There is no room.
    Room(String),
    /// Something failed.
    Io(String, io::Error),
}

/// The source of a snapshot: a directory, or one file.
#[derive(Debug)]
pub struct Source {
    root: PathBuf,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Relative to the snapshot.
    path: PathBuf,
    kind: Kind,
    stat: Stat,
    mode: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Dir,
    File,
    Link(PathBuf),
}

impl Source {
    /// Lists what is to be copied.
    ///
    /// # Errors
    /// When it can't be read, or holds what can't be copied: a link that leads outside, a socket.
    pub fn list(path: &Path) -> Result<Self, Refused> {
        let at = |error| Refused::Io(format!("cannot read '{}'", path.display()), error);
        let root = fs::canonicalize(path).map_err(at)?;
        let metadata = fs::metadata(&root).map_err(at)?;
        if metadata.is_file() {
            let Some((folder, name)) = root.parent().zip(root.file_name()) else {
                return Err(Refused::Source(format!("'{}' has no name", path.display())));
            };
            let entry = Entry { path: name.into(), kind: Kind::File, stat: stat(&metadata), mode: metadata.mode() };
            return Ok(Self { root: folder.to_owned(), entries: vec![entry] });
        }
        if !metadata.is_dir() {
            return Err(Refused::Source(format!("'{}' is neither a file nor a directory", path.display())));
        }
        let mut entries = Vec::new();
        for entry in WalkDir::new(&root).min_depth(1).follow_links(false).sort_by_file_name() {
            let entry = entry.map_err(|error| at(error.into()))?;
            let metadata = entry.metadata().map_err(|error| at(error.into()))?;
            let relative = entry.path().strip_prefix(&root).unwrap_or(entry.path()).to_owned();
            entries.push(Entry {
                kind: kind(&root, entry.path(), &relative, &metadata)?,
                path: relative,
                stat: stat(&metadata),
                mode: metadata.mode(),
            });
        }
        if !entries.iter().any(|entry| entry.kind == Kind::File) {
            return Err(Refused::Source(format!("'{}' holds no file", path.display())));
        }
        Ok(Self { root, entries })
    }

    /// Bytes of all its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.kind == Kind::File).map(|entry| entry.stat.len).sum()
    }
}

fn is_manifest(path: &Path) -> bool {
    manifest::NAMES.iter().any(|(name, _)| path.as_os_str() == *name)
}

fn kind(root: &Path, path: &Path, relative: &Path, metadata: &fs::Metadata) -> Result<Kind, Refused> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Ok(Kind::Dir);
    }
    if kind.is_file() {
        return Ok(Kind::File);
    }
    if kind.is_symlink() {
        let shown = relative.display();
        let target = fs::read_link(path).map_err(|error| Refused::Io(format!("cannot read '{shown}'"), error))?;
        let inside = target.is_relative() && fs::canonicalize(path).is_ok_and(|target| target.starts_with(root));
        return if inside {
            Ok(Kind::Link(target))
        } else {
            Err(Refused::Source(format!("'{shown}' is a link to '{}', outside of what is saved", target.display())))
        };
    }
    let what = if kind.is_socket() {
        "socket"
    } else if kind.is_fifo() {
        "pipe"
    } else {
        "device"
    };
    Err(Refused::Source(format!("'{}' is a {what}", relative.display())))
}

fn stat(metadata: &fs::Metadata) -> Stat {
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Stat {
        dev: metadata.dev(),
        ino: metadata.ino(),
        len: metadata.len(),
        allocated: metadata.blocks() * 512,
        mtime: nanos(metadata.mtime(), metadata.mtime_nsec()),
        ctime: nanos(metadata.ctime(), metadata.ctime_nsec()),
        kind: metadata.mode() & libc::S_IFMT,
    }
}

/// A snapshot that is whole, synced, and has no name yet. Dropping it takes it away.
#[derive(Debug)]
pub struct Built<'a>(Temporary<'a>);

/// Copies `source` into the directory under a temporary name, with its manifest.
///
/// # Errors
/// Says why not; nothing of it stays.
pub fn build<'a>(
    dir: &'a Dir,
    source: &Source,
    copying: Copying,
    cache: &Cache,
    read: &dyn Fn(u64),
) -> Result<Built<'a>, Refused> {
    let needed = source.bytes() + SLACK;
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| full_or(&what, error)
    };
    let available = dir.available().map_err(failed("cannot ask for free space"))?;
    if copying != Copying::Hardlink && available < needed && !shares_blocks(dir, source) {
        return Err(Refused::Room(format!("{needed} bytes are needed, {available} are free")));
    }
    let built = Built(Temporary::new(dir).map_err(failed("cannot make a directory for the snapshot"))?);
    let promised = promises(source)?;
    let mut listed = Vec::new();
    for entry in &source.entries {
        let to = built.name().join(&entry.path);
        let at = format!("cannot copy '{}'", entry.path.display());
        match &entry.kind {
            Kind::Dir => {
                mkdirat(dir, &to, Mode::S_IRWXU).map_err(io::Error::from).map_err(failed(&at))?;
            }
            Kind::Link(target) => symlinkat(target.as_path(), dir, &to).map_err(io::Error::from).map_err(failed(&at))?,
            Kind::File if is_manifest(&entry.path) => {}
            Kind::File => {
                let digest = copy(dir, source, entry, &to, copying, &promised, read)?;
                listed.push(Listed { name: entry.path.clone(), digest, size: Some(entry.stat.len) });
                if let Ok(stat) = dir.stat(&to) {
                    cache.put(Algorithm::Sha256, &stat.into(), digest);
                }
            }
        }
    }
    unchanged(source)?;
    finish(dir, &built, source, &listed).map_err(failed("cannot write the snapshot"))?;
    Ok(built)
}

fn full_or(what: &str, error: io::Error) -> Refused {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => Refused::Room(format!("{what}: {error}")),
        _ => Refused::Io(what.to_owned(), error),
    }
}

/// Whether a first try shows that copies take no room here.
fn shares_blocks(dir: &Dir, source: &Source) -> bool {
    let try_one = || -> io::Result<()> {
        let largest = source.entries.iter().filter(|entry| entry.kind == Kind::File).max_by_key(|entry| entry.stat.len);
        let Some(largest) = largest else { return Err(io::ErrorKind::NotFound.into()) };
        let from = open_source(source, largest)?;
        let trial = Temporary::new(dir)?;
        let to = create(dir, &trial.name().join("trial"))?;
        crate::sys::reflink(from.as_fd(), to.as_fd())
    };
    try_one().is_ok()
}

/// What the source's own manifests say of its files: what is copied must match it.
type Promises = Vec<(Algorithm, Listed)>;

fn promises(source: &Source) -> Result<Promises, Refused> {
    let mut promises = Vec::new();
    for (name, algorithm) in manifest::NAMES {
        if !source.entries.iter().any(|entry| entry.path.as_os_str() == name) {
            continue;
        }
        let file = File::open(source.root.join(name)).map_err(|error| Refused::Io(format!("cannot read {name}"), error))?;
        let listed = manifest::read(file).map_err(|fault| Refused::Source(fault.to_string()))?;
        if let Some(missing) = listed.iter().find(|listed| !source.entries.iter().any(|entry| entry.path == listed.name)) {
            return Err(Refused::Source(format!("'{}', which {name} lists, is missing", missing.name.display())));
        }
        promises.extend(listed.into_iter().map(|listed| (algorithm, listed)));
    }
    Ok(promises)
}

fn open_source(source: &Source, entry: &Entry) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(source.root.join(&entry.path))
}

fn create(dir: &Dir, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(File::from(nix::fcntl::openat(dir, path, flags, Mode::from_bits_truncate(0o600))?))
}

/// Copies one file; gives its SHA-256. Source and copy are compared by what `stat` says before and after, and the content
/// with what the source's own manifest promises.
fn copy(
    dir: &Dir,
    source: &Source,
    entry: &Entry,
    to: &Path,
    copying: Copying,
    manifests: &Promises,
    read: &dyn Fn(u64),
) -> Result<Digest, Refused> {
    let shown = entry.path.display().to_string();
    let failed = |error: io::Error| full_or(&format!("cannot copy '{shown}'"), error);
    let changed = || Refused::Changed(format!("'{shown}' changed while it was copied"));
    let promised: Vec<&(Algorithm, Listed)> = manifests.iter().filter(|(_, listed)| listed.name == entry.path).collect();
    let mut from = open_source(source, entry).map_err(failed)?;
    if !is_unchanged(&from, entry).map_err(failed)? {
        return Err(changed());
    }
    if promised.is_empty()
        && holds_state(&entry.path.file_name().unwrap_or_default().to_string_lossy())
        && let Some(why) = holes(&from, &entry.stat)
    {
        return Err(Refused::Source(format!("'{shown}' is suspect: {why}")));
    }
    from.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut target = None;
    if copying == Copying::Hardlink {
        let path = source.root.join(&entry.path);
        nix::unistd::linkat(nix::fcntl::AT_FDCWD, &path, dir, to, nix::fcntl::AtFlags::empty())
            .map_err(io::Error::from)
            .map_err(failed)?;
        from.sync_all().map_err(failed)?;
    } else {
        let file = create(dir, to).map_err(failed)?;
        if crate::sys::reflink(from.as_fd(), file.as_fd()).is_ok() {
            // What is shared is digested from the copy: that is what the manifest speaks of.
            from = file.try_clone().map_err(failed)?;
            keep_metadata(&file, entry).map_err(failed)?;
        } else {
            target = Some(file);
        }
    }
    let _ = posix_fadvise(&from, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL);
    let mut running = Running::new(Algorithm::Sha256);
    let mut second =
        promised.iter().any(|(algorithm, _)| *algorithm == Algorithm::Blake3).then(|| Running::new(Algorithm::Blake3));
    let mut buffer = vec![0; 1 << 18];
    let mut copied = 0;
    loop {
        let count = from.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            break;
        }
        running.update(&buffer[..count]);
        if let Some(second) = &mut second {
            second.update(&buffer[..count]);
        }
        if let Some(target) = &mut target {
            target.write_all(&buffer[..count]).map_err(failed)?;
        }
        copied += count as u64;
        read(count as u64);
    }
    if copied != entry.stat.len {
        return Err(changed());
    }
    if let Some(target) = &target {
        if !is_unchanged(&from, entry).map_err(failed)? {
            return Err(changed());
        }
        keep_metadata(target, entry).map_err(failed)?;
    }
    let digest = running.finish();
    let second = second.map(Running::finish);
    let kept = |promise: &(Algorithm, Listed)| {
        promise.1.digest == if promise.0 == Algorithm::Sha256 { digest } else { second.unwrap_or_default() }
    };
    if promised.iter().all(|promise| kept(promise)) {
        Ok(digest)
    } else {
        Err(Refused::Source(format!("'{shown}' doesn't match its digest in the manifest")))
    }
}

/// Whether a file's content is what was listed. What it takes on disk isn't asked: a file that was just written gets its
/// blocks only when the kernel writes it back.
fn is_unchanged(file: &File, entry: &Entry) -> io::Result<bool> {
    let now = stat(&file.metadata()?);
    Ok(Stat { allocated: entry.stat.allocated, ..now } == entry.stat)
}

/// Gives a copy its source's mode and time, and makes it durable.
fn keep_metadata(copy: &File, entry: &Entry) -> io::Result<()> {
    copy.set_permissions(fs::Permissions::from_mode(entry.mode & 0o777 | 0o600))?;
    let seconds = i64::try_from(entry.stat.mtime.div_euclid(1_000_000_000)).unwrap_or(0);
    let nanos = i64::try_from(entry.stat.mtime.rem_euclid(1_000_000_000)).unwrap_or(0);
    let time = TimeSpec::new(seconds, nanos);
    futimens(copy, &time, &time)?;
    copy.sync_all()
}

/// The source must still hold what it held before the first byte was read.
fn unchanged(source: &Source) -> Result<(), Refused> {
    let single =
        source.entries.len() == 1 && source.entries[0].kind == Kind::File && source.entries[0].path.components().count() == 1;
    for entry in &source.entries {
        let path = source.root.join(&entry.path);
        let now = fs::symlink_metadata(&path).map(|metadata| stat(&metadata));
        // A hard link changes a file's ctime; content shows in the others.
        let same = now.is_ok_and(|now| {
            (now.ino, now.len, now.mtime, now.kind) == (entry.stat.ino, entry.stat.len, entry.stat.mtime, entry.stat.kind)
        });
        if !same {
            return Err(Refused::Changed(format!("'{}' changed while it was copied", entry.path.display())));
        }
    }
    if !single {
        let count = WalkDir::new(&source.root).min_depth(1).follow_links(false).into_iter().flatten().count();
        if count != source.entries.len() {
            return Err(Refused::Changed("files came or went while it was copied".to_owned()));
        }
    }
    Ok(())
}

/// Syncs the folders, writes the manifest last, and syncs the snapshot itself.
fn finish(dir: &Dir, built: &Built<'_>, source: &Source, listed: &[Listed]) -> io::Result<()> {
    for entry in source.entries.iter().rev().filter(|entry| entry.kind == Kind::Dir) {
        let folder = dir.open(built.name().join(&entry.path), OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        folder.set_permissions(fs::Permissions::from_mode(entry.mode & 0o777 | 0o700))?;
        folder.sync_all()?;
    }
    let mut file = create(dir, &built.name().join("SHA256SUMS"))?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(manifest::write(listed).as_bytes())?;
    file.sync_all()?;
    built.0.handle().set_permissions(fs::Permissions::from_mode(0o755))?;
    built.0.handle().sync_all()
}

impl Built<'_> {
    /// Its temporary name.
    #[must_use]
    pub fn name(&self) -> &Path {
        self.0.name()
    }

    /// Gives the snapshot its name, durably: `name`, or where that or a number of it is taken `name_N` above them all, so that
    /// the last one of a second has the highest, whatever was rotated away meanwhile.
    ///
    /// # Errors
    /// When the directory can't be listed, or it can't be renamed or synced.
    pub fn publish(mut self, name: &str) -> io::Result<String> {
        let standing = names(self.0.dir().open(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)?;
        let number = |standing: &OsStr| match standing.to_str()?.strip_prefix(name)? {
            "" => Some(1),
            rest => rest.strip_prefix('_')?.parse::<u32>().ok(),
        };
        let highest = standing.iter().filter_map(|(standing, _)| number(standing)).max().unwrap_or(0);
        for n in highest.saturating_add(1)..=u32::MAX {
            let candidate = if n == 1 { name.to_owned() } else { format!("{name}_{n}") };
            match self.0.publish(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::EEXIST.into())
    }
}

/// Makes the link `latest` point at `name`, in one step; a file of that name that is no link stays.
///
/// # Errors
/// When something else has that name, or the link can't be made.
pub fn link_latest(dir: &Dir, name: &str) -> io::Result<()> {
    const LATEST: &str = "latest";
    match readlinkat(dir, LATEST) {
        Ok(_) | Err(Errno::ENOENT) => replace_link(dir, LATEST, name),
        Err(Errno::EINVAL) => Err(io::Error::other("there is something called 'latest' that is no link")),
        Err(error) => Err(error.into()),
    }
}
