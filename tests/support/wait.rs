//! Waiting for an event, with a limit and a name.

use std::time::{Duration, Instant};

/// Generous, since a loaded machine is no failure; a test that needs longer is one.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Waits until `event` is true, or fails naming it.
#[track_caller]
pub fn until(what: &str, mut event: impl FnMut() -> bool) {
    until_some(what, || event().then_some(()));
}

/// Waits until `event` gives a value, or fails naming it.
#[track_caller]
pub fn until_some<T>(what: &str, mut event: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = event() {
            return value;
        }
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} for: {what}");
        std::thread::park_timeout(Duration::from_millis(3));
    }
}

/// Lets time pass in which something must *not* happen; nothing is waited for with it.
pub fn undisturbed(span: Duration) {
    let end = Instant::now() + span;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}
