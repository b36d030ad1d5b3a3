//! Small files of ours, always replaced whole.

use std::io::{self, Write};
use std::path::PathBuf;

use nix::fcntl::{OFlag, RenameFlags, renameat2};
use nix::sys::stat::Mode;

use super::dir::Dir;

/// What a half-written replacement is called. Rotation takes away those that a killed process left.
pub const PREFIX: &str = ".ckpt-rotate.new.";

/// Replaces a file of the directory. When `durable`, it survives a power cut once this returns; before, the old one does.
///
/// # Errors
/// When it can't be written; the old file is then as it was.
pub fn file(dir: &Dir, name: &str, bytes: &[u8], durable: bool) -> io::Result<()> {
    let temporary = PathBuf::from(format!("{PREFIX}{}", crate::sys::pid()));
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mut file = std::fs::File::from(nix::fcntl::openat(dir, &temporary, flags, Mode::from_bits_truncate(0o644))?);
    let written = file.write_all(bytes).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
    let replaced =
        written.and_then(|()| Ok(renameat2(dir, &temporary, dir, name, RenameFlags::empty()).map_err(io::Error::from)?));
    if replaced.is_err() {
        let _ = nix::unistd::unlinkat(dir, &temporary, nix::unistd::UnlinkatFlags::NoRemoveDir);
    }
    replaced.and_then(|()| if durable { dir.sync() } else { Ok(()) })
}
