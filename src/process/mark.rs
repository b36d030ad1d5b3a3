//! Whose a process is, by the environment that it shows: the one it was started with, as a rule.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use super::Stat;

/// The variable that every process of a job inherits; its value is the record's `key`.
pub const JOB_KEY: &str = "BG_JOB_KEY";
/// The variable that a supervisor bears instead.
pub const SUPERVISOR_MARK: &str = "BG_SUPERVISOR";

/// Larger environments than this are cut.
const LARGEST_ENVIRONMENT: u64 = 4 << 20;

/// How often, and how long each time, is waited in all for those in the middle of an exec: a program comes from a disk.
pub(super) const MOST_WAITS: u32 = 500;
const A_WAIT: Duration = Duration::from_millis(1);

/// What a process's environment says about whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The supervisor of the job with this key.
    Supervisor(Vec<u8>),
    /// A process of the job with this key.
    Job(Vec<u8>),
    /// Neither; or it was cleaned.
    None,
    /// It can't be read: another user's, or gone.
    Unreadable,
}

impl Mark {
    /// Reads the environment that process `pid` shows.
    #[must_use]
    pub fn of(pid: i32) -> Self {
        Self::within(pid, &mut MOST_WAITS.clone())
    }

    /// The same with so many waits left for somebody in the middle of an exec: between its old memory and its new one a
    /// process has no environment to show.
    pub(super) fn within(pid: i32, waits: &mut u32) -> Self {
        let mut bytes = environment(pid);
        while bytes.as_ref().is_ok_and(Vec::is_empty) {
            let in_exec = Stat::read(pid).is_some_and(|stat| stat.in_exec) && *waits > 0;
            if in_exec {
                *waits -= 1;
                crate::sys::pass(A_WAIT);
            }
            bytes = environment(pid);
            if !in_exec {
                break;
            }
        }
        let Ok(bytes) = bytes else { return Self::Unreadable };
        let value = |name: &str| {
            let find = |entry: &[u8]| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
            bytes.split(|b| *b == 0).find_map(find)
        };
        match value(SUPERVISOR_MARK) {
            Some(key) => Self::Supervisor(key),
            None => value(JOB_KEY).map_or(Self::None, Self::Job),
        }
    }
}

fn environment(pid: i32) -> io::Result<Vec<u8>> {
    let file = File::open(Path::new("/proc").join(pid.to_string()).join("environ"))?;
    let mut bytes = Vec::new();
    file.take(LARGEST_ENVIRONMENT).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_in_the_middle_of_an_exec_keeps_its_mark() {
        let forever = r#"exec sh -c "$FOREVER""#;
        let mut shell = std::process::Command::new("sh");
        let mut child = shell.args(["-c", forever]).env_clear().env("FOREVER", forever).env(JOB_KEY, "k").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let marks: Vec<Mark> = (0..3000).map(|_| Mark::of(pid)).filter(|mark| *mark != Mark::Job(b"k".to_vec())).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(marks, []);
    }
}
