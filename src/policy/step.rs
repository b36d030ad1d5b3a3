//! The table: state and event to action.

use crate::record::State;

/// Where a job stands, as far as its supervisor's next step depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Accepted, its first run not started.
    Queued,
    /// Its command runs.
    Running,
    /// It was told to end, and has not.
    Stopping,
    /// Between two runs.
    Waiting,
}

/// Why a run is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Somebody asked for the job's end.
    Cancel,
    /// The run's time is up.
    Limit,
    /// The watchdog found it stuck.
    Silence,
}

/// What happens to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// All that it waited for is so.
    Due,
    /// What it waits for can't come any more.
    Unmet,
    /// Somebody asks for its end.
    Cancel,
    /// The time limit is near.
    Warn,
    /// The time limit is reached.
    Limit,
    /// The watchdog has heard nothing for its time.
    Silence,
    /// The command has ended.
    End,
}

/// What its supervisor does about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Ignore,
    /// The next run.
    Start,
    /// Sends the warning signal.
    Warn,
    /// Stops everything of the run.
    Stop(Why),
    /// Asks [`super::judge()`] what follows.
    Judge,
    /// Writes the verdict: no run follows.
    Conclude(State),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With 0.
    Succeeded,
    /// With another code, or by a signal.
    Failed,
    /// With 75: not now.
    NotNow,
    /// Stopped at its time limit.
    TimedOut,
    /// Stopped by the watchdog.
    Stuck,
    /// Killed by the kernel for memory.
    OomKilled,
    /// The command couldn't be executed.
    CannotRun,
    /// Nobody knows: its supervisor was killed meanwhile.
    Unknown,
    /// Stopped on request.
    Cancelled,
}

impl Outcome {
    /// The state of a job whose last run ended so.
    #[must_use]
    pub const fn state(self) -> State {
        match self {
            Self::Succeeded => State::Succeeded,
            Self::Failed | Self::NotNow | Self::Stuck | Self::CannotRun => State::Failed,
            Self::TimedOut => State::TimedOut,
            Self::OomKilled => State::OomKilled,
            Self::Unknown => State::Lost,
            Self::Cancelled => State::Cancelled,
        }
    }
}

/// The table of the room's head.
#[must_use]
pub const fn step(phase: Phase, event: Event) -> Action {
    use Event::{Cancel, Due, End, Limit, Silence, Unmet, Warn};
    use Phase::{Queued, Running, Stopping, Waiting};
    match (phase, event) {
        (Queued | Waiting, Due) => Action::Start,
        (Queued, Unmet) => Action::Conclude(State::Skipped),
        (Queued | Waiting, Cancel) => Action::Conclude(State::Cancelled),
        (Running | Stopping, Cancel) => Action::Stop(Why::Cancel),
        (Running, Limit) => Action::Stop(Why::Limit),
        (Running, Silence) => Action::Stop(Why::Silence),
        (Running, Warn) => Action::Warn,
        (Running | Stopping, End) => Action::Judge,
        (Queued | Waiting, Warn | Limit | Silence | End)
        | (Running | Stopping, Due | Unmet)
        | (Stopping, Warn | Limit | Silence)
        | (Waiting, Unmet) => Action::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The drawn table and the code are one.
    #[test]
    fn the_table_in_the_documentation_is_the_code() {
        let phases = [Phase::Queued, Phase::Running, Phase::Stopping, Phase::Waiting];
        let events = [Event::Due, Event::Unmet, Event::Cancel, Event::Warn, Event::Limit, Event::Silence, Event::End];
        let word = |action| match action {
            Action::Ignore => "–",
            Action::Start => "start",
            Action::Warn => "warn",
            Action::Stop(_) => "stop",
            Action::Judge => "judge",
            Action::Conclude(_) => "conclude",
        };
        let rows = include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! | ")).skip(2);
        let drawn: Vec<Vec<&str>> = rows.map(|row| row.trim_end_matches(" |").split(" | ").skip(1).collect()).collect();
        let coded = phases.map(|phase| events.map(|event| word(step(phase, event))).to_vec());
        assert_eq!(drawn, coded);
    }
}
