//! Where a journal lies, and what lies beside it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statfs::statfs;

/// A journal's file with those beside it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The journal, with symbolic links followed: a replacement must not replace the link.
    pub file: PathBuf,
    /// Its directory.
    pub dir: PathBuf,
}

impl Place {
    /// The place of the journal that a user calls `name`.
    ///
    /// # Errors
    /// When its directory isn't there or can't be looked at.
    pub fn of(name: &Path) -> io::Result<Self> {
        let file = match fs::canonicalize(name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = fs::read_link(name).map_or_else(
                    |_| name.to_owned(),
                    |target| name.parent().map_or_else(|| target.clone(), |parent| parent.join(&target)),
                );
                let parent = name.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let base = name.file_name().ok_or(io::ErrorKind::InvalidInput)?;
                fs::canonicalize(parent)?.join(base)
            }
            Err(error) => return Err(error),
        };
        let dir = file.parent().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        Ok(Self { file, dir })
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(self.file.as_os_str());
        name.push(suffix);
        PathBuf::from(name)
    }

    /// The lock, which is never renamed or removed, with the mark of the last writer in it.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.beside(".lock")
    }

    /// The leases.
    #[must_use]
    pub fn claims(&self) -> PathBuf {
        self.beside(".claims")
    }

    /// The cache.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.beside(".idx")
    }

    /// Where a torn tail and damaged lines go: nothing of them is thrown away.
    #[must_use]
    pub fn torn(&self) -> PathBuf {
        self.beside(".torn")
    }

    /// What is written under the lock to take the journal's place. A leftover of a killed writer is overwritten.
    #[must_use]
    pub fn next(&self) -> PathBuf {
        self.beside(".new")
    }

    /// The kind of network file system it lies on, where flock can't be trusted.
    ///
    /// # Errors
    /// As `statfs(2)`.
    pub fn network(&self) -> io::Result<Option<&'static str>> {
        Ok(network(statfs(&self.dir)?.filesystem_type().0))
    }
}

/// File systems whose flock may be local to each machine, or absent; `statfs(2)`.
const fn network(magic: i64) -> Option<&'static str> {
    match magic & 0xffff_ffff {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x564c => Some("NCP"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x7375_7245 => Some("Coda"),
        0x0102_1997 => Some("9p"),
        0x6573_5546 => Some("FUSE"),
        0x00c3_6400 => Some("Ceph"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x4750_4653 => Some("GPFS"),
        0x1983_0326 => Some("BeeGFS"),
        0x00c0_ffee => Some("a hostfs"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        let (ext4, tmpfs, btrfs, xfs, overlay) = (0xef53, 0x0102_1994, 0x9123_683e, 0x5846_5342, 0x794c_7630);
        assert!([ext4, tmpfs, btrfs, xfs, overlay].into_iter().all(|magic| network(magic).is_none()));
        // statfs sign-extends on some machines.
        assert_eq!([network(0x6969), network(-11_317_950), network(0x0102_1997)], [Some("NFS"), Some("SMB"), Some("9p")]);
    }
}
