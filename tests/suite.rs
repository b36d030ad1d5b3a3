//! The one integration test binary: each module is a topic, `support` is what they share.
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod architecture;
mod callers;
mod cancel;
mod ckpt;
mod completions;
mod cookbook;
mod dagster;
mod drift;
mod faults;
mod formats;
mod gate;
mod gate_claims;
mod gate_gpu;
mod gate_kernel;
mod gate_machines;
mod gate_wait;
mod isolation;
mod kills;
mod launch;
mod make_install;
mod make_targets;
mod package;
mod pipeline;
mod pipelines;
mod progress_faults;
mod progress_journal;
mod progress_todo;
mod queues;
mod readme;
mod records;
mod recover;
mod runs;
mod sessions;
mod skips;
mod strangers;
mod support;
mod swap_extend;
mod test_deps;
mod units;
mod verdict;
