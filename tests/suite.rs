//! The one integration test binary: each module is a topic, `support` is what they share.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod architecture;
mod callers;
mod completions;
mod drift;
mod formats;
mod gate;
mod gate_claims;
mod gate_gpu;
mod gate_kernel;
mod gate_machines;
mod gate_wait;
mod kills;
mod launch;
mod make_install;
mod make_targets;
mod readme;
mod skips;
mod support;
mod test_deps;
