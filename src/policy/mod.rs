//! What a supervisor does next: one table, and one judgement after each run. Nothing here looks at a clock or a process.
//!
//! | while \ what happens | due | unmet | cancel | warn | limit | silence | end |
//! | --- | --- | --- | --- | --- | --- | --- | --- |
//! | queued | start | conclude | conclude | – | – | – | – |
//! | running | – | – | stop | warn | stop | stop | judge |
//! | stopping | – | – | stop | – | – | – | judge |
//! | waiting | start | – | conclude | – | – | – | – |
//!
//! [`judge()`] says what follows a run: nothing more, or another one at a moment of the monotonic clock.

mod judge;
mod step;

pub use judge::{Cycle, Next, judge, tick_after};
pub use step::{Action, Event, Outcome, Phase, Why, step};

use std::time::Duration;

/// A century: later than that is never.
pub const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Seconds as a record has them; what is no time is none, what is too long a century.
#[must_use]
pub fn span(seconds: f64) -> Duration {
    if seconds > NEVER.as_secs_f64() { NEVER } else { Duration::try_from_secs_f64(seconds).unwrap_or_default() }
}
