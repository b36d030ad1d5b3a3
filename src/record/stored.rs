//! The stored form, version 1. Times are RFC 3339 with offset and milliseconds.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Policy;
use crate::isolation::{How, Limits};
use crate::process::Identity;
use crate::text::Text;

/// The version that this program writes and the highest it reads.
pub const VERSION: u64 = 1;

/// Where a job stands. All but the first three are terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Accepted, not started yet.
    Queued,
    /// Its command runs.
    #[default]
    Running,
    /// Between two runs.
    Waiting,
    /// The command ended with 0.
    Succeeded,
    /// The command ended otherwise.
    Failed,
    /// Stopped on request.
    Cancelled,
    /// Stopped at its time limit.
    TimedOut,
    /// Killed by the kernel for memory, with proof.
    OomKilled,
    /// What it waited for failed.
    Skipped,
    /// The truth can't be known.
    Lost,
}

impl State {
    /// Whether nothing can follow.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Waiting)
    }

    /// The word that records and tables have for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed-out",
            Self::OomKilled => "oom-killed",
            Self::Skipped => "skipped",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// How a command ended: a code and a signal are never mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum End {
    /// It called exit.
    Code {
        /// The code, 0 to 255.
        code: u8,
    },
    /// A signal ended it.
    Signal {
        /// The signal's number.
        signal: i32,
        /// Whether it dumped core.
        core: bool,
    },
}

impl End {
    /// From the status that `wait4(2)` gives of a process that ended.
    #[must_use]
    pub fn from_wait(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal { signal: libc::WTERMSIG(status), core: libc::WCOREDUMP(status) }
        } else {
            // A status that is passed on has eight bits; WEXITSTATUS masks them.
            Self::Code { code: libc::WEXITSTATUS(status).to_le_bytes()[0] }
        }
    }

    /// The status a shell would pass on: the code, or 128+n.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Code { code } => code,
            Self::Signal { signal, .. } => (128 + signal).to_le_bytes()[0],
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code { code } => write!(f, "exit {code}"),
            Self::Signal { signal, core } => {
                let dumped = if core { " (core dumped)" } else { "" };
                write!(f, "{}{dumped}", crate::signal::name(signal))
            }
        }
    }
}

/// What a verdict rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who learnt of the end and how: `wait` (the supervisor reaped the process), `cancel`, `recovery`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How often the kernel killed something for memory, machine-wide, while the job ran: a hint and no proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills_machine: Option<u64>,
    /// How often the kernel killed a process of the job for memory, by its own control group's count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
    /// The most memory that the group ever had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    /// What it was allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max_bytes: Option<u64>,
    /// The kernel's own line on the end of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_log: Option<String>,
    /// How many processes of the job were still alive when the verdict was written; they were left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_running: Option<u32>,
    /// Why the verdict came late, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<String>,
    /// Processes that a cancel could not stop, while there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub survivors: Vec<String>,
    /// What came of the commands that were to hear of it (`--on-end`, `--on-fail`, `--on-stuck`), one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<String>,
    /// The request that ended the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelRequest>,
}

/// What a run used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// From the command's start to its end.
    pub wall_s: f64,
    /// User time of the command and of the processes that were reaped with it, or of all in its control group.
    pub user_s: f64,
    /// System time of the same.
    pub sys_s: f64,
    /// The largest resident set of one process among them.
    pub max_rss_bytes: u64,
    /// The most memory that the job's control group had, page cache included; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
}

/// One run of the command.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Counted from 1.
    pub n: u32,
    /// When it was started.
    pub started: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// How it ended.
    pub exit: Option<End>,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// What it used.
    pub usage: Usage,
}

/// The record of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The format's version.
    pub version: u64,
    /// `NAME_YYYYmmdd_HHMMSS`, for ever this job's.
    pub id: String,
    /// The name it was given.
    pub name: String,
    /// Where it stands, as its supervisor last wrote it.
    pub state: State,
    /// The command and its arguments.
    pub cmd: Vec<Text>,
    /// Where it was started; null when that directory had no name any more.
    pub cwd: Option<Text>,
    /// What `--env` gave, and nothing else of the environment.
    pub env: BTreeMap<String, Text>,
    /// The names that `--env-secret` passed, without their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_secret: Vec<String>,
    /// The file that holds its output.
    pub log: Text,
    /// The name of the user, or the number where there is no name.
    pub user: String,
    /// The host's name.
    pub host: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// The boot in which the pids below mean something.
    pub boot_id: String,
    /// The pid namespace in which they do.
    pub pid_ns: u64,
    /// The value of `BG_JOB_KEY`, by which its processes are known.
    pub key: String,
    /// The job from inside of which it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// What keeps it apart from its caller: `session`, `systemd`, `cgroup` or `cgroup-v1`.
    pub isolation: String,
    /// The control group in which its processes were born.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// The scope of systemd that the run is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Who watches over it.
    pub supervisor: Option<Supervisor>,
    /// The command's process.
    pub pid: Option<i32>,
    /// Its process group.
    pub pgid: Option<i32>,
    /// Its session.
    pub sid: Option<i32>,
    /// Its start, in clock ticks since boot.
    pub start_ticks: Option<u64>,
    /// When the job was accepted.
    pub created: String,
    /// When the present run was started.
    pub started: Option<String>,
    /// When the job ended.
    pub ended: Option<String>,
    /// How the last run ended.
    pub exit: Option<End>,
    /// One line for people.
    pub reason: Option<String>,
    /// What the verdict rests on.
    pub evidence: Option<Evidence>,
    /// The number of the present run, from 1.
    pub run: u32,
    /// The last 50 runs, the present one included.
    pub runs: Vec<RunRecord>,
    /// What all runs together used.
    pub usage: Usage,
    /// What its supervisor was told.
    pub policy: Policy,
    /// How the command is started, where that was said.
    #[serde(default, skip_serializing_if = "Settings::is_plain")]
    pub settings: Settings,
}

impl Record {
    /// The command's process, where it has been started.
    #[must_use]
    pub fn process(&self) -> Option<Identity> {
        Some(Identity { pid: self.pid?, start_ticks: self.start_ticks? })
    }
}

/// How the command is started, so that it can be started so again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// One thread a library and two arenas, where not set already.
    #[serde(default)]
    pub memsafe: bool,
    /// Added to the scheduling priority.
    #[serde(default)]
    pub nice: Option<i32>,
    /// I/O class and level, as `ioprio_set(2)` numbers them.
    #[serde(default)]
    pub ionice: Option<(u8, u8)>,
    /// Its `oom_score_adj`, where it was given.
    #[serde(default)]
    pub oom_score_adj: Option<i32>,
    /// What is to keep it apart from its caller.
    #[serde(default)]
    pub isolate: How,
    /// What it may use at most.
    #[serde(default)]
    pub limits: Limits,
    /// Only while no other job of its name is live.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unique: bool,
    /// It held claims of `resgate`, which end with its supervisor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
}

impl Settings {
    fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// The process that holds the job's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervisor {
    /// The process.
    #[serde(flatten)]
    pub identity: Identity,
    /// Who inherits its children should it die: its parent when it had been started.
    #[serde(default)]
    pub reaper: i32,
    /// The job was another supervisor's, which was killed: what it left behind is not this one's child.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

/// `ID.d/cancel.json`: who wants the job stopped, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// The polite signal's number.
    pub signal: i32,
    /// From it to SIGKILL.
    pub grace_s: f64,
    /// Who asked: user and process.
    pub by: String,
    /// Why, in the asker's words.
    pub reason: Option<String>,
    /// When.
    pub at: String,
}

impl Usage {
    /// Both together; of memory the larger.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            wall_s: self.wall_s + other.wall_s,
            user_s: self.user_s + other.user_s,
            sys_s: self.sys_s + other.sys_s,
            max_rss_bytes: self.max_rss_bytes.max(other.max_rss_bytes),
            memory_peak_bytes: self.memory_peak_bytes.max(other.memory_peak_bytes),
        }
    }
}
