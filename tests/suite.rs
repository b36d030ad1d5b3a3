//! The one integration test binary: each module is a topic, `support` is what they share.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod architecture;
mod callers;
mod completions;
mod drift;
mod formats;
mod kills;
mod launch;
mod make_install;
mod make_targets;
mod progress_faults;
mod progress_journal;
mod progress_todo;
mod readme;
mod skips;
mod support;
mod test_deps;
