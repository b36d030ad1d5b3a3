//! What a supervisor is told to do, as the record keeps it. Durations are seconds.

use serde::{Deserialize, Serialize};

use crate::text::Text;

/// When the command is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It runs once.
    #[default]
    Never,
    /// After a run that didn't end with 0.
    OnFailure,
    /// After every run.
    Always,
}

/// A signal some time before the time limit, so that the command can save its work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warn {
    /// The signal's number.
    pub signal: i32,
    /// How long before the limit.
    pub before_s: f64,
}

/// The circuit breaker: so many failures within so long, and nothing is started again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breaker {
    /// How many failures.
    pub failures: u32,
    /// Within which time.
    pub within_s: f64,
}

/// When a run that lives counts as stuck.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watchdog {
    /// So long without log output, without progress and, unless `any_cpu`, without work.
    pub after_s: f64,
    /// The processor time doesn't count: one that spins in silence is stuck as well.
    pub any_cpu: bool,
}

/// Which queue a job stands in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The queue's name.
    pub queue: String,
    /// Higher ones are served first; of equal ones who came first.
    pub priority: i32,
}

/// What the supervisor was told to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Between the polite signal and SIGKILL.
    pub grace_s: f64,
    /// The limit of a run; none.
    #[serde(default)]
    pub timeout_s: Option<f64>,
    /// The signal before the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<Warn>,
    /// `never`, `on-failure` or `always`.
    #[serde(default)]
    pub restart: Restart,
    /// How many restarts after failures in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<u32>,
    /// The first pause before a restart, doubled each time, and the longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff_s: Option<(f64, f64)>,
    /// The circuit breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// From one start to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_s: Option<f64>,
    /// How many runs in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runs: Option<u32>,
    /// How long before the first run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_s: Option<f64>,
    /// When a run counts as stuck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<Watchdog>,
    /// The jobs that must have succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// The jobs that must have ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_any: Vec<String>,
    /// The queue it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What sh(1) runs when the job has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_end: Option<Text>,
    /// What it runs after a failure that no restart follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_fail: Option<Text>,
    /// What it runs when the watchdog has stopped a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_stuck: Option<Text>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            grace_s: 10.0,
            timeout_s: None,
            warn: None,
            restart: Restart::Never,
            max_restarts: None,
            backoff_s: None,
            breaker: None,
            every_s: None,
            max_runs: None,
            delay_s: None,
            watchdog: None,
            after: Vec::new(),
            after_any: Vec::new(),
            place: None,
            on_end: None,
            on_fail: None,
            on_stuck: None,
        }
    }
}

impl Policy {
    /// Whether more than one run may come of it.
    #[must_use]
    pub const fn repeats(&self) -> bool {
        !matches!(self.restart, Restart::Never) || self.every_s.is_some()
    }

    /// Whether its first run has to wait for something.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.waits_first() || self.place.is_some()
    }

    /// Whether it has to wait for something before it may stand in a queue.
    #[must_use]
    pub const fn waits_first(&self) -> bool {
        self.delay_s.is_some() || !self.after.is_empty() || !self.after_any.is_empty()
    }
}
