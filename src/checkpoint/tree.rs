//! What a checkpoint consists of: every file in it, what it takes on disk, when it was written.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use walkdir::WalkDir;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::dir::Dir;
use super::entry::{holds_state, in_flight};
use super::scan::{Nanos, Stat, Unit};

/// A file of a checkpoint.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its path below the directory.
    pub path: PathBuf,
    /// What it is on disk.
    pub stat: Stat,
}

impl Node {
    /// Its name without its path.
    #[must_use]
    pub fn name(&self) -> &str {
        name(&self.path)
    }
}

/// What stands behind the last slash of a path that was put together here.
fn name(path: &Path) -> &str {
    let bytes = path.as_os_str().as_bytes();
    let from = memchr::memrchr(b'/', bytes).map_or(0, |slash| slash + 1);
    std::str::from_utf8(&bytes[from..]).unwrap_or("")
}

/// A checkpoint's files.
#[derive(Debug, Default)]
pub struct Tree {
    /// Regular files.
    pub files: Vec<Node>,
    /// Symbolic links inside; never followed.
    pub links: Vec<PathBuf>,
    /// Sockets, pipes, devices.
    pub specials: Vec<PathBuf>,
    /// A mount inside, or what else can't be entered, and why.
    pub closed: Option<(PathBuf, String)>,
    /// Names of work in progress inside.
    pub in_flight: Vec<PathBuf>,
    /// Bytes on disk.
    pub allocated: u64,
    /// Bytes of content.
    pub len: u64,
    /// The newest change of content.
    pub newest: Nanos,
    /// When its state was written: the newest file that holds some, so that an evaluation added later changes nothing.
    pub saved: Nanos,
    /// A `.keep` file inside.
    pub pinned: bool,
}

impl Tree {
    /// A value that changes when any file of it does.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        // Each file by itself, so that the order in which they are listed says nothing.
        let mut all = self.files.iter().fold(0_u64, |all, node| all.wrapping_add(fingerprint(&node.path, &node.stat)));
        for (kind, others) in [(1, &self.links), (2, &self.specials)] {
            for path in others {
                all = all.wrapping_add(xxh3_64_with_seed(path.as_os_str().as_bytes(), kind));
            }
        }
        all
    }

    /// The file of that name directly in the unit, or a member of that name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Node> {
        let ends = move |node: &&Node| node.path.as_os_str().as_bytes().ends_with(name.as_bytes());
        self.files.iter().filter(ends).filter(move |node| node.name() == name)
    }
}

/// What one file adds to the fingerprint of its checkpoint, of which it may be the whole.
#[must_use]
pub fn fingerprint(path: &Path, stat: &Stat) -> u64 {
    let mut bytes = Vec::with_capacity(256);
    for number in [stat.dev, stat.ino, stat.len] {
        bytes.extend_from_slice(&number.to_ne_bytes());
    }
    bytes.extend_from_slice(&stat.mtime.to_ne_bytes());
    bytes.extend_from_slice(path.as_os_str().as_bytes());
    xxh3_64(&bytes)
}

/// Lists a checkpoint's files.
///
/// # Errors
/// When a member is gone; what can't be entered is in the answer.
pub fn survey(dir: &Dir, unit: &Unit) -> io::Result<Tree> {
    let stats: io::Result<Vec<Stat>> = unit.members.iter().map(|member| Ok(dir.stat(&member.name)?.into())).collect();
    Ok(listed(dir, unit, stats?.into_iter()))
}

/// Lists the files of a checkpoint that was scanned a moment ago.
#[must_use]
pub fn survey_scanned(dir: &Dir, unit: &Unit) -> Tree {
    listed(dir, unit, unit.members.iter().map(|member| member.stat))
}

fn listed(dir: &Dir, unit: &Unit, stats: impl Iterator<Item = Stat>) -> Tree {
    let mut tree = Tree { files: Vec::with_capacity(unit.members.len()), ..Tree::default() };
    for (member, stat) in unit.members.iter().zip(stats) {
        tree.newest = tree.newest.max(stat.mtime);
        tree.allocated += stat.allocated;
        if stat.is_dir() {
            walk(dir, member.name.as_ref(), &mut tree);
        } else {
            add(&mut tree, PathBuf::from(&*member.name), stat, false);
        }
    }
    if let [only] = tree.files.as_slice() {
        tree.saved = only.stat.mtime;
        return tree;
    }
    let saved = tree.files.iter().filter(|node| holds_state(node.name())).map(|node| node.stat.mtime).max();
    let manifest = ["SHA256SUMS", "B3SUMS"].iter().flat_map(|name| tree.named(name)).map(|node| node.stat.mtime).max();
    let any = tree.files.iter().map(|node| node.stat.mtime).max();
    tree.saved = manifest.or(saved).or(any).unwrap_or(tree.newest);
    tree
}

fn add(tree: &mut Tree, path: PathBuf, stat: Stat, in_flight: bool) {
    match stat.kind {
        libc::S_IFREG => {
            tree.len += stat.len;
            tree.pinned |= name(&path) == ".keep";
            if in_flight {
                tree.in_flight.push(path.clone());
            }
            tree.files.push(Node { path, stat });
        }
        libc::S_IFLNK => tree.links.push(path),
        _ => tree.specials.push(path),
    }
}

fn walk(dir: &Dir, top: &Path, tree: &mut Tree) {
    let handle = match dir.open(top, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Ok(handle) => handle,
        Err(error) => return close(tree, top, &error),
    };
    let root = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
    let mut walker = WalkDir::new(&root).min_depth(1).follow_links(false).into_iter();
    while let Some(entry) = walker.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().map_or(top.to_owned(), |path| below(top, &root, path));
                let gone = error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound);
                if !gone {
                    close(tree, &path, &error.into());
                }
                continue;
            }
        };
        let path = below(top, &root, entry.path());
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => continue,
            Err(error) => {
                close(tree, &path, &error.into());
                continue;
            }
        };
        let stat = Stat {
            dev: metadata.dev(),
            ino: metadata.ino(),
            len: metadata.len(),
            allocated: metadata.blocks() * 512,
            mtime: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
            ctime: i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec()),
            kind: metadata.mode() & libc::S_IFMT,
        };
        tree.newest = tree.newest.max(stat.mtime);
        tree.allocated += stat.allocated;
        if metadata.is_dir() {
            // A mount of the same file system shows only here.
            if let Err(error) = dir.open(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
                close(tree, &path, &error);
                walker.skip_current_dir();
            }
        } else {
            let going_on = in_flight(name(&path));
            add(tree, path, stat, going_on);
        }
    }
}

fn below(top: &Path, root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).map_or_else(|_| top.to_owned(), |rest| top.join(rest))
}

fn close(tree: &mut Tree, path: &Path, error: &io::Error) {
    let why = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EXDEV) => "another file system is mounted there".to_owned(),
        _ => error.to_string(),
    };
    tree.closed.get_or_insert_with(|| (path.to_owned(), why));
}
