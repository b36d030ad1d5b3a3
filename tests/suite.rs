//! The one integration test binary: each module is a topic, `support` is what they share.
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::unwrap_used,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod callers;
mod faults;
mod kills;
mod launch;
mod records;
mod support;
mod verdict;
