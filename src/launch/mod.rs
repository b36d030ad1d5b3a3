//! From a command line to a running command: all or nothing.
//!
//! ```text
//! bgrun (launcher)            supervisor                        the job's process
//!   a fork in a fork ───────▶  own session
//!   reads its command line     makes itself ready
//!   an order ───────────────▶  locks a new id
//!   looks around ───────────▶  starts beside itself ────────────▶ own session, waits at the gate
//!                              publishes the record
//!   (lives? ) ◀────────────── opens the gate ──────────────────▶ exec
//!            ◀── started ────  (or failed, and all is withdrawn)
//!                              executes itself
//! ```
//!
//! Nothing runs before the record is durable, nothing is left when a step fails, and a launcher that dies before
//! the gate opens (Ctrl-C, SIGKILL) leaves nothing either; a supervisor without an order ends. The
//! supervisor shows its own mark in its environment
//! from its first instant, and a moment after the launch executes this program again: its memory is clean from then on.

mod command;
mod detach;
mod environment;
mod log;
mod talk;

pub use command::{Gated, Means, Opened, Raised, Refused, be_the_last_to_die};
pub use detach::{Standby, ignored_after, start_supervisor};
pub use environment::job_environment;
pub use log::{LogFile, reopen};
pub use talk::{Answer, Talk};

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::isolation::{Wish, machine_oom_kills};
use crate::process::{Here, cgroup, ignored_signals};
use crate::record::{Policy, Record, Settings};
use crate::text::{Text, as_text};

/// Everything that the launcher knows of a job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The job's name, checked.
    pub name: String,
    /// The command and its arguments, at least one.
    pub cmd: Vec<Text>,
    /// Where it is to run; the launcher's own directory when absent.
    pub chdir: Option<Text>,
    /// The jobs directory, absolute.
    #[serde(with = "as_text")]
    pub dir: PathBuf,
    /// Where the log goes.
    pub log: LogPlace,
    /// What `--env` gave.
    pub env: BTreeMap<String, Text>,
    /// What `--env-secret` named.
    pub env_secret: Vec<String>,
    /// One thread a library and two arenas, where not set already.
    pub memsafe: bool,
    /// Added to the scheduling priority.
    pub nice: Option<i32>,
    /// I/O class and level.
    pub ionice: Option<(u8, u8)>,
    /// How willingly the kernel kills it for memory: this, or at least [`OOM_SCORE_ADJ`].
    pub oom_score_adj: Option<i32>,
    /// What keeps it apart from its caller, and its limits.
    pub isolation: Wish,
    /// Keep the environment, so that the job can be started again in it.
    pub recover_env: bool,
    /// Refuse while a job of this name is live.
    pub unique: bool,
    /// Go on where locks can't be trusted.
    pub unsafe_lock: bool,
    /// What its supervisor is to do.
    pub policy: Policy,
    /// `BG_JOB_KEY`.
    pub key: String,
    /// The job from inside of which this one is started.
    pub parent: Option<String>,
    /// It was started with claims.
    pub claimed: bool,
    /// Descriptors of claims, which the job is to hold: the only ones of the caller's that reach it.
    pub claims: Vec<RawFd>,
}

/// What a launcher looks up while its supervisor claims an id: it is the same for both.
#[derive(Debug, Serialize, Deserialize)]
pub struct Surroundings {
    /// The signals that the caller has left ignored, bit 0 for signal 1: the job ignores none.
    pub ignored: u64,
    /// Where both run.
    pub here: Here,
    /// As whom.
    pub user: String,
    /// In which control group: the job is in it as well unless it is moved.
    pub cgroup: Option<String>,
    /// How often the kernel had killed for memory before the command ran.
    pub oom_kills: Option<u64>,
}

impl Surroundings {
    fn look() -> Self {
        Self {
            ignored: ignored_signals(),
            here: Here::look(),
            user: crate::user::name(nix::unistd::geteuid().as_raw()),
            cgroup: cgroup(crate::sys::pid()),
            oom_kills: machine_oom_kills(),
        }
    }
}

/// Where a job's output goes. No file that is there is ever opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum LogPlace {
    /// `ID.log` in this directory, made where it is absent.
    Directory(#[serde(with = "as_text")] PathBuf),
    /// This very file.
    File(#[serde(with = "as_text")] PathBuf),
}

impl LogPlace {
    /// The log of job `id`.
    #[must_use]
    pub fn file(&self, id: &str) -> PathBuf {
        match self {
            Self::Directory(dir) => dir.join(format!("{id}.log")),
            Self::File(path) => path.clone(),
        }
    }

    /// The log before its id is sure, beside its place. It is there before the first id is tried and becomes the log by a
    /// rename that replaces nothing, so that whoever tidies up knows whose the log is: this one's where this is gone.
    #[must_use]
    pub fn unclaimed(&self, key: &str) -> PathBuf {
        self.file("").with_file_name(format!(".{key}.log"))
    }
}

/// How willingly the kernel kills a job for memory, unless told otherwise: before the terminal that it was started from.
pub const OOM_SCORE_ADJ: i32 = 500;

impl Spec {
    /// As the record keeps it.
    #[must_use]
    pub const fn settings(&self) -> Settings {
        Settings {
            memsafe: self.memsafe,
            nice: self.nice,
            ionice: self.ionice,
            oom_score_adj: self.oom_score_adj,
            isolate: self.isolation.how,
            limits: self.isolation.limits,
            unique: self.unique,
            claimed: self.claimed,
        }
    }

    /// That of a further run, as far as its record knows.
    #[must_use]
    pub fn of_record(record: &Record, dir: &Path) -> Self {
        let Settings { memsafe, nice, ionice, oom_score_adj, isolate, limits, unique, claimed } = record.settings;
        Self {
            name: record.name.clone(),
            cmd: record.cmd.clone(),
            chdir: record.cwd.clone(),
            dir: dir.to_owned(),
            log: LogPlace::File(record.log.as_os_str().into()),
            env: record.env.clone(),
            env_secret: record.env_secret.clone(),
            memsafe,
            nice,
            ionice,
            oom_score_adj,
            isolation: Wish { how: isolate, limits, runtime_dir: None },
            recover_env: false,
            unique,
            claimed,
            unsafe_lock: false,
            policy: record.policy.clone(),
            key: record.key.clone(),
            parent: record.parent.clone(),
            claims: Vec::new(),
        }
    }
}
