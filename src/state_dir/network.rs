//! Network file systems, whose locks prove nothing across machines.

use std::io;
use std::os::fd::AsFd;

use nix::sys::statfs::fstatfs;

/// statfs(2)'s magic numbers of file systems that several machines can write at once, or whose server we can't see.
const NETWORK: [(i64, &str); 11] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x517b, "SMB"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x6573_5546, "FUSE"),
];

/// Refuses a file on a network file system, by name.
///
/// # Errors
/// Names the kind of file system; or as `fstatfs(2)`.
pub fn refuse_network(file: impl AsFd) -> io::Result<()> {
    let kind = fstatfs(&file)?.filesystem_type().0 & 0xffff_ffff;
    match NETWORK.iter().find(|(magic, _)| *magic == kind) {
        Some((_, name)) => {
            Err(io::Error::other(format!("it is on a network file system ({name}), where locks can't be trusted")))
        }
        None => Ok(()),
    }
}
