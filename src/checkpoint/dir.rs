//! The directory that everything happens in: opened once, proved, and the base of every later step, so that a path
//! that comes to mean something else meanwhile changes nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, RenameFlags, ResolveFlag, openat2, renameat2};
use nix::sys::stat::{FileStat, Mode, fstatat};
use nix::sys::statfs::fstatfs;

/// Directories that are never a stock of checkpoints, whatever lies in them.
const SYSTEM: [&str; 22] = [
    "/", "/bin", "/boot", "/dev", "/dev/shm", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root",
    "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/tmp",
];

/// Why a directory isn't taken.
#[derive(Debug)]
pub enum Refusal {
    /// It is a directory that nobody keeps checkpoints in.
    System,
    /// It is somebody's home.
    Home,
    /// It can't be opened as a directory.
    Io(io::Error),
}

/// A proved directory.
#[derive(Debug)]
pub struct Dir {
    file: File,
    /// As the caller gave it, for messages and results.
    pub path: PathBuf,
}

impl Dir {
    /// Opens `path`, which must be a directory and neither a system directory nor one of `homes`.
    ///
    /// # Errors
    /// Says why it is refused.
    pub fn prove(path: &Path, homes: &[PathBuf]) -> Result<Self, Refusal> {
        let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC);
        let fd = openat2(AT_FDCWD, path, how).or_else(|error| match error {
            Errno::ENOSYS | Errno::EPERM => {
                nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            }
            error => Err(error),
        });
        let file = File::from(fd.map_err(|error| Refusal::Io(error.into()))?);
        let dir = file.metadata().map_err(Refusal::Io)?;
        let is = |other: &Path| fs::metadata(other).is_ok_and(|other| (other.dev(), other.ino()) == (dir.dev(), dir.ino()));
        if homes.iter().any(|home| is(home)) && !is(Path::new("/")) {
            return Err(Refusal::Home);
        }
        if SYSTEM.iter().any(|system| is(Path::new(system)) && !is_volume(system, &dir)) {
            return Err(Refusal::System);
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// Opens the same directory once more, for a thread of its own: on one descriptor they would wait for each other.
    ///
    /// # Errors
    /// As `openat2(2)`.
    pub fn again(&self) -> io::Result<Self> {
        Ok(Self { file: self.open(".", OFlag::O_RDONLY | OFlag::O_DIRECTORY)?, path: self.path.clone() })
    }

    /// Whether its file system is shared between machines, which makes a lock on it a local affair.
    ///
    /// # Errors
    /// As `fstatfs(2)`.
    pub fn is_on_network(&self) -> io::Result<bool> {
        // The kernel's magic numbers: NFS, SMB, CIFS, SMB2, 9p, AFS, Ceph, Coda, Lustre, GPFS, OCFS2, GFS2, FUSE.
        const SHARED: [u32; 13] = [
            0x6969,
            0x517b,
            0xff53_4d42,
            0xfe53_4d42,
            0x0102_1997,
            0x5346_414f,
            0x00c3_6400,
            0x7375_7245,
            0x0bd0_0bd0,
            0x4750_4653,
            0x7461_636f,
            0x0116_1970,
            0x6573_5546,
        ];
        let kind = fstatfs(&self.file)?.filesystem_type().0;
        Ok(u32::try_from(kind & 0xffff_ffff).is_ok_and(|kind| SHARED.contains(&kind)))
    }

    /// A path that leads into the directory through its descriptor, whatever its name means by now.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd())).join(name)
    }

    /// The path of an entry as the caller would write it.
    #[must_use]
    pub fn shown(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Opens what lies at `path` below the directory, through no link and across no mount.
    ///
    /// # Errors
    /// `ELOOP` and `EXDEV` where a link or a mount is in the way; else as `openat2(2)`.
    pub fn open(&self, path: impl AsRef<Path>, flags: OFlag) -> io::Result<File> {
        beneath(self.file.as_fd(), path.as_ref(), flags)
    }

    /// The status of an entry itself, not of what a link leads to.
    ///
    /// # Errors
    /// As `fstatat(2)`.
    pub fn stat(&self, name: impl AsRef<Path>) -> io::Result<FileStat> {
        Ok(fstatat(&self.file, name.as_ref(), AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// Renames within the directory; never over something that is there.
    ///
    /// # Errors
    /// `EEXIST` when `to` is taken; else as `renameat2(2)`.
    pub fn rename_new(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        Ok(renameat2(&self.file, from.as_ref(), &self.file, to.as_ref(), RenameFlags::RENAME_NOREPLACE)?)
    }

    /// Makes what happened to the directory's entries durable.
    ///
    /// # Errors
    /// As `fsync(2)`.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Makes the entries of a directory below durable.
    ///
    /// # Errors
    /// As `fsync(2)`.
    pub fn sync_below(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?.sync_all()
    }

    /// Locks the directory against another rotation; the lock is on its own descriptor, so no file is made, and it goes
    /// with this value. `false`: somebody else has it.
    ///
    /// # Errors
    /// As `flock(2)`.
    pub fn try_lock(&self) -> io::Result<bool> {
        lock_result(fs2::FileExt::try_lock_exclusive(&self.file))
    }

    /// Bytes that an ordinary user can still write to its file system.
    ///
    /// # Errors
    /// As `statvfs(3)`.
    pub fn available(&self) -> io::Result<u64> {
        let stat = nix::sys::statvfs::fstatvfs(&self.file)?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// `/mnt` or `/media` with a file system of its own mounted on it is a volume's root, and that is fine.
fn is_volume(system: &str, dir: &fs::Metadata) -> bool {
    let own = |parent: &str| fs::metadata(parent).is_ok_and(|parent| parent.dev() != dir.dev());
    ["/mnt", "/media", "/srv", "/opt"].contains(&system) && own("/")
}

/// Whether a lock was taken; that another holds it is no error.
///
/// # Errors
/// Any other failure of `flock(2)`.
pub fn lock_result(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens `path` below `base`, through no link and across no mount.
///
/// # Errors
/// As `openat2(2)`. Kernels before 5.6 and some sandboxes lack it; then every component is opened by itself.
pub fn beneath(base: BorrowedFd<'_>, path: &Path, flags: OFlag) -> io::Result<File> {
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    match openat2(base, path, OpenHow::new().flags(flags).resolve(resolve)) {
        Ok(fd) => Ok(File::from(fd)),
        Err(Errno::ENOSYS | Errno::EPERM) => step_by_step(base, path, flags),
        Err(error) => Err(error.into()),
    }
}

fn step_by_step(base: BorrowedFd<'_>, path: &Path, flags: OFlag) -> io::Result<File> {
    let device = File::from(base.try_clone_to_owned()?).metadata()?.dev();
    let mut at = File::from(base.try_clone_to_owned()?);
    let mut components = path.components().peekable();
    while let Some(component) = components.next() {
        let name: &OsStr = component.as_os_str();
        if name == ".." {
            return Err(Errno::EXDEV.into());
        }
        let step = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let flags = if components.peek().is_none() { flags } else { step };
        at = File::from(nix::fcntl::openat(&at, name, flags, Mode::empty())?);
        if at.metadata()?.dev() != device {
            return Err(Errno::EXDEV.into());
        }
    }
    Ok(at)
}
