//! What every topic needs: the tools, strict about what they print; events with a limit; faults at a system call.
#![allow(dead_code, reason = "each topic uses its part")]

pub mod faults;
pub mod jobs;
pub mod run;
pub mod space;
pub mod wait;

use std::path::PathBuf;

pub use jobs::Jobs;
#[allow(unused_imports, reason = "each topic uses its part")]
pub use run::tool;
pub use run::{Ran, Run, path_of};
pub use space::Space;
pub use wait::{until, until_some};

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A directory of the test's own on disk, gone with the value.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bgtools-test.").tempdir().unwrap()
}

/// Whether the tests run as root. Another user gets what can't run then named as skipped.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// `true` for root; for another user says that the test is skipped, and why.
pub fn root_only(test: &str, why: &str) -> bool {
    if !is_root() {
        eprintln!("skipped: {test}: {why}");
    }
    is_root()
}
