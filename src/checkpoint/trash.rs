//! The way out: a checkpoint leaves its name in one rename, and only then loses its content.
//!
//! `.ckpt-rotate.trash/` holds batches, one a run: `UNTIL.PID.N`, whose content may go once the clock passes UNTIL (seconds
//! since the epoch). A batch that is being emptied is first renamed to `….gone`, durably, so that nothing of it is ever
//! brought back in part. A crash leaves batches, which the next run empties.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use nix::dir::Type;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::dir::{Dir, beneath};
use super::listing::names;
use super::scan::Unit;

/// Where what was removed waits.
pub const TRASH: &str = ".ckpt-rotate.trash";

/// The list of a batch's groups, so that one that was taken away in part is taken whole by the next run.
const GROUPS: &str = ".groups";

/// What a batch that is being emptied is called besides.
const GONE: &str = ".gone";

/// Unlinking beside each other.
const WORKERS: usize = 2;

/// A batch that is being filled.
#[derive(Debug)]
pub struct Batch {
    path: PathBuf,
    filled: bool,
}

impl Batch {
    /// Makes a batch; nothing of it is in the directory until the first checkpoint moves.
    ///
    /// # Errors
    /// When the trash can't be made.
    pub fn new(dir: &Dir, until: u64) -> io::Result<Self> {
        make(dir, Path::new(TRASH))?;
        for n in 0_u32.. {
            let path = Path::new(TRASH).join(format!("{until}.{}.{n}", crate::sys::pid()));
            match mkdirat(dir, &path, Mode::from_bits_truncate(0o700)) {
                Ok(()) => return Ok(Self { path, filled: false }),
                Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Errno::EEXIST.into())
    }

    /// Moves a checkpoint here. The caller holds its lock and has checked it.
    ///
    /// # Errors
    /// When a rename fails, or what was moved isn't what was meant; everything is then back where it was.
    pub fn take(&mut self, dir: &Dir, unit: &Unit) -> io::Result<()> {
        if unit.members.len() > 1 {
            self.note_group(dir, unit)?;
        }
        self.filled = true;
        for (moved, member) in unit.members.iter().enumerate() {
            let to = self.path.join(&*member.name);
            let result = dir.rename_new(&member.name, &to).and_then(|()| {
                let stat = dir.stat(&to)?;
                // Somebody put another thing under the name in the last moment.
                let same = (stat.st_dev, stat.st_ino) == (member.stat.dev, member.stat.ino);
                if same { Ok(()) } else { dir.rename_new(&to, &member.name).and(Err(io::Error::other("it changed meanwhile"))) }
            });
            if let Err(error) = result {
                for member in &unit.members[..moved] {
                    dir.rename_new(self.path.join(&*member.name), &member.name)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn note_group(&self, dir: &Dir, unit: &Unit) -> io::Result<()> {
        let members: Vec<(&str, u64)> = unit.members.iter().map(|member| (&*member.name, member.stat.ino)).collect();
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_APPEND | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        let mut file = File::from(nix::fcntl::openat(dir, &self.path.join(GROUPS), flags, Mode::from_bits_truncate(0o600))?);
        let mut line = serde_json::to_vec(&members)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.sync_all()?;
        dir.sync_below(&self.path)
    }

    /// Makes the removals durable. Until this returns a power cut may bring a name back, with all of its content.
    ///
    /// # Errors
    /// When a directory can't be synced; then nothing must be unlinked.
    pub fn seal(&self, dir: &Dir) -> io::Result<()> {
        if !self.filled {
            let _ = unlinkat(dir, &self.path, UnlinkatFlags::RemoveDir);
            return Ok(());
        }
        dir.sync_below(&self.path)?;
        dir.sync_below(TRASH)?;
        dir.sync()
    }
}

fn make(dir: &Dir, path: &Path) -> io::Result<()> {
    match mkdirat(dir, path, Mode::from_bits_truncate(0o700)) {
        Ok(()) | Err(Errno::EEXIST) => {
            // A link or a file of that name is somebody's trap, or mistake.
            dir.open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY).map(drop)
        }
        Err(error) => Err(error.into()),
    }
}

/// What waits in the trash.
fn batches(dir: &Dir) -> io::Result<Vec<OsString>> {
    match dir.open(TRASH, OFlag::O_RDONLY | OFlag::O_DIRECTORY) {
        Ok(trash) => Ok(names(trash)?.into_iter().map(|(name, _)| name).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Takes away the rest of groups that a killed run had begun to move.
///
/// # Errors
/// When a rename fails.
pub fn finish_groups(dir: &Dir) -> io::Result<()> {
    for batch in batches(dir)? {
        let path = Path::new(TRASH).join(&batch);
        let mut text = String::new();
        match dir.open(path.join(GROUPS), OFlag::O_RDONLY) {
            Ok(file) => drop(file.take(1 << 26).read_to_string(&mut text)?),
            Err(_) => continue,
        }
        // A last line that is cut was never acted on: it is synced before the first rename.
        for members in text.lines().filter_map(|line| serde_json::from_str::<Vec<(String, u64)>>(line).ok()) {
            let is = |path: &Path, ino: u64| dir.stat(path).is_ok_and(|stat| stat.st_ino == ino);
            if members.iter().any(|(name, ino)| is(&path.join(name), *ino)) {
                for (name, _) in members.iter().filter(|(name, ino)| is(Path::new(name), *ino)) {
                    dir.rename_new(name, path.join(name))?;
                }
            }
        }
    }
    Ok(())
}

/// What emptying the trash did.
#[derive(Debug, Default)]
pub struct Emptied {
    /// What couldn't be unlinked, and why.
    pub failed: Vec<String>,
}

/// Unlinks what the batches hold whose time has come, all of it when `now` is `None`.
///
/// # Errors
/// When the trash can't be read or a batch can't be marked; single failures are in the answer.
pub fn empty(dir: &Dir, now: Option<u64>) -> io::Result<Emptied> {
    let mut gone = Vec::new();
    for batch in batches(dir)? {
        let path = Path::new(TRASH).join(&batch);
        if ends_with(&batch, GONE) {
            gone.push(path);
        } else if now.is_none_or(|now| until(&batch).is_none_or(|until| until <= now)) {
            let mut name = batch;
            name.push(GONE);
            let to = Path::new(TRASH).join(name);
            dir.rename_new(&path, &to)?;
            gone.push(to);
        }
    }
    if gone.is_empty() {
        // A run that was killed before it made a batch, or after its last one went, leaves the empty folder.
        let _ = unlinkat(dir, TRASH, UnlinkatFlags::RemoveDir);
        return Ok(Emptied::default());
    }
    dir.sync_below(TRASH)?;
    let mut work = Vec::new();
    for batch in &gone {
        let listed = names(dir.open(batch, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)?;
        work.extend(listed.into_iter().map(|(name, _)| batch.join(name)));
    }
    let emptied = beside_each_other(dir, work);
    for batch in &gone {
        // What couldn't be unlinked keeps it there.
        let _ = unlinkat(dir, batch, UnlinkatFlags::RemoveDir);
    }
    let _ = unlinkat(dir, TRASH, UnlinkatFlags::RemoveDir);
    Ok(emptied)
}

fn beside_each_other(dir: &Dir, mut work: Vec<PathBuf>) -> Emptied {
    work.reverse();
    let workers = WORKERS.min(work.len());
    let work = Mutex::new(work);
    let failed = Mutex::new(Vec::new());
    let lock = |mutex: &Mutex<Vec<PathBuf>>| mutex.lock().map(|mut work| work.pop()).ok().flatten();
    let run = || {
        // Idle: a save that goes on meanwhile comes first. Where that isn't allowed, it is no reason to stop.
        let _ = crate::sys::ioprio_set(3, 7);
        while let Some(path) = lock(&work) {
            if let Err(error) = remove(dir, &path)
                && let Ok(mut failed) = failed.lock()
            {
                failed.push(format!("{}: {error}", path.display()));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(run);
        }
    });
    Emptied { failed: failed.into_inner().unwrap_or_default() }
}

/// Removes a tree below the directory, through no link and across no mount.
///
/// # Errors
/// The first thing that couldn't be removed; what stands before it is gone.
pub fn remove(dir: &Dir, path: &Path) -> io::Result<()> {
    let parent = dir.open(
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        OFlag::O_RDONLY | OFlag::O_DIRECTORY,
    )?;
    remove_in(&parent, path.file_name().unwrap_or_default(), None)
}

fn remove_in(parent: &File, name: &OsStr, kind: Option<Type>) -> io::Result<()> {
    if kind != Some(Type::Directory) {
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR | Errno::EPERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let inner = beneath(parent.as_fd(), Path::new(name), OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    // The mode that a copy of a read-only tree has must not keep it here for ever.
    let _ = fchmod(&inner, Mode::S_IRWXU);
    for (entry, kind) in names(inner.try_clone()?)? {
        remove_in(&inner, &entry, kind)?;
    }
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn ends_with(name: &OsStr, end: &str) -> bool {
    name.to_str().is_some_and(|name| name.ends_with(end))
}

fn until(batch: &OsStr) -> Option<u64> {
    batch.to_str()?.split('.').next()?.parse().ok()
}

/// What bringing back did.
#[derive(Debug, Default)]
pub struct Restored {
    /// Names that are back.
    pub back: Vec<String>,
    /// Names that couldn't be brought back, and why.
    pub failed: Vec<String>,
}

/// Brings back everything that is still whole in the trash; never over something that is there.
///
/// # Errors
/// When the trash can't be read, or what was brought back can't be made durable.
pub fn undo(dir: &Dir) -> io::Result<Restored> {
    let mut restored = Restored::default();
    for batch in batches(dir)?.into_iter().filter(|batch| !ends_with(batch, GONE)) {
        let path = Path::new(TRASH).join(&batch);
        for (name, _) in names(dir.open(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?)? {
            if name == GROUPS {
                continue;
            }
            let shown = name.to_string_lossy().into_owned();
            match dir.rename_new(path.join(&name), &name) {
                Ok(()) => restored.back.push(shown),
                Err(error) => restored.failed.push(format!("{shown}: {error}")),
            }
        }
        dir.sync_below(&path)?;
        if restored.failed.is_empty() {
            let _ = unlinkat(dir, &path.join(GROUPS), UnlinkatFlags::NoRemoveDir);
            let _ = unlinkat(dir, &path, UnlinkatFlags::RemoveDir);
        }
    }
    dir.sync()?;
    let _ = unlinkat(dir, TRASH, UnlinkatFlags::RemoveDir);
    Ok(restored)
}

/// Takes away what killed runs left under temporary names: their makers held a lock for as long as they lived.
///
/// # Errors
/// When a leftover can't be removed.
pub fn sweep(dir: &Dir, own: &[OsString]) -> io::Result<()> {
    for name in own.iter().filter(|name| name.to_str().is_some_and(|name| name.starts_with(super::temporary::PREFIX))) {
        let Ok(file) = dir.open(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY) else { continue };
        if super::dir::lock_result(fs2::FileExt::try_lock_exclusive(&file))? {
            remove(dir, Path::new(name))?;
        }
    }
    Ok(())
}
