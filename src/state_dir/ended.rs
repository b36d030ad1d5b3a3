//! `.ended`: ids in the order in which their jobs ended, so that the latest are found among ten thousand without opening
//! each. It is a hint: a line that is missing costs a job its place in the short table, nothing else.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::StateDir;

const NAME: &str = ".ended";
/// Enough for some hundred ids.
const TAIL: u64 = 16 << 10;

impl StateDir {
    /// Notes that the job has ended. Not synced, and no error is one: it's a hint.
    pub fn note_ended(&self, id: &str) {
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        if let Ok(fd) = openat(self.as_fd(), NAME, flags, Mode::S_IRUSR | Mode::S_IWUSR) {
            let _ = File::from(fd).write_all(format!("{id}\n").as_bytes());
        }
    }

    /// The ids at its end, the latest first.
    #[must_use]
    pub fn lately_ended(&self) -> Vec<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let Ok(fd) = openat(self.as_fd(), NAME, flags, Mode::empty()) else { return Vec::new() };
        let file = File::from(fd);
        let len = file.metadata().map_or(0, |meta| meta.len());
        let mut tail = vec![0; usize::try_from(len.min(TAIL)).unwrap_or(0)];
        if file.read_exact_at(&mut tail, len.saturating_sub(TAIL)).is_err() {
            return Vec::new();
        }
        let lines = String::from_utf8_lossy(&tail);
        lines.lines().rev().filter(|id| crate::record::parse_id(id).is_some()).map(str::to_owned).collect()
    }
}
