//! Who has a claim, and what they use of it: every process with the claim's descriptor, and all that descend from
//! them, since a child may have closed it.
//!
//! What can't be seen counts as not used. The claim then stands in full beside what its holders use, which promises too
//! little and never too much.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::Claim;
use crate::process::{Stat, all};

/// The processes of this moment.
pub struct Processes {
    all: Vec<Stat>,
    pid_ns: u64,
    /// Which file a process has open under a claim's number, asked once for each number.
    open: HashMap<i32, HashMap<(u64, u64), Vec<i32>>>,
}

impl Processes {
    /// Looks.
    #[must_use]
    pub fn look() -> Self {
        let pid_ns = fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino());
        Self { all: all(), pid_ns, open: HashMap::new() }
    }

    /// The holders of a claim whose file has this device and inode.
    pub fn holding(&mut self, claim: &Claim, inode: (u64, u64)) -> HashSet<i32> {
        let mut holders: HashSet<i32> = self.open_under(claim.fd).get(&inode).into_iter().flatten().copied().collect();
        if claim.pid_ns == self.pid_ns && claim.holder.alive() {
            holders.insert(claim.holder.pid);
        }
        // Parents come before their children only by chance, so this goes on until nothing is added.
        loop {
            let before = holders.len();
            let children: Vec<i32> = self.all.iter().filter(|stat| holders.contains(&stat.ppid)).map(|stat| stat.pid).collect();
            holders.extend(children);
            if holders.len() == before {
                return holders;
            }
        }
    }

    fn open_under(&mut self, fd: i32) -> &HashMap<(u64, u64), Vec<i32>> {
        let all = &self.all;
        self.open.entry(fd).or_insert_with(|| {
            let mut open: HashMap<(u64, u64), Vec<i32>> = HashMap::new();
            for stat in all {
                if let Ok(meta) = fs::metadata(format!("/proc/{}/fd/{fd}", stat.pid)) {
                    open.entry((meta.dev(), meta.ino())).or_default().push(stat.pid);
                }
            }
            open
        })
    }
}

/// The memory that these processes hold and the kernel could not take back, in bytes: at least that much, never more.
#[must_use]
pub(super) fn memory_of(pids: &HashSet<i32>) -> u64 {
    if let [pid] = pids.iter().collect::<Vec<_>>()[..] {
        return resident(*pid);
    }
    let shares: Option<Vec<u64>> = pids.iter().map(|pid| proportional(*pid)).collect();
    // Pages that forks share are in each one's resident set, so those can't be added up: the largest is certain.
    shares.map_or_else(|| pids.iter().map(|pid| resident(*pid)).max().unwrap_or(0), |shares| shares.iter().sum())
}

/// A process's anonymous and shared memory. Mapped files can be read again, and `MemAvailable` counts them as free.
fn resident(pid: i32) -> u64 {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return 0 };
    sum(&status, ["RssAnon:", "RssShmem:"]).unwrap_or(0)
}

/// The same, with each shared page divided among those who share it; `None` where it may not be read. A process that has
/// ended holds nothing.
fn proportional(pid: i32) -> Option<u64> {
    match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(rollup) => sum(&rollup, ["Pss_Anon:", "Pss_Shmem:"]),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {
            (!std::path::Path::new(&format!("/proc/{pid}/smaps")).exists()).then_some(0)
        }
        Err(_) => None,
    }
}

/// The sum of fields in kB, in bytes; `None` when one isn't there.
fn sum(text: &str, keys: [&str; 2]) -> Option<u64> {
    let field = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        value.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Some((field(keys[0])? + field(keys[1])?) * 1024)
}
