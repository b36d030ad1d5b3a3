//! Where this process runs: only records from here may be probed, signalled or recovered.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

/// A machine, its boot and the pid namespace: what a pid needs beside it to mean anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Here {
    /// The host's name, for people.
    pub host: String,
    /// `/etc/machine-id`; empty where there is none.
    pub machine_id: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The inode of `/proc/self/ns/pid`.
    pub pid_ns: u64,
}

impl Here {
    /// This process's own place.
    #[must_use]
    pub fn look() -> Self {
        let text = |path: &str| super::proc_file(path).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let line = |path: &str| text(path).trim().to_owned();
        Self {
            host: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            machine_id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            pid_ns: fs::metadata("/proc/self/ns/pid").map_or(0, |meta| meta.ino()),
        }
    }
}
