//! What every topic needs: the tools, strict about what they print; events with a limit; faults at a system call.
#![allow(dead_code, reason = "each topic uses its part")]

pub mod catalogue;
pub mod faults;
pub mod jobs;
pub mod project;
pub mod root;
pub mod run;
pub mod tracer;
pub mod wait;

use std::path::PathBuf;

pub use jobs::Jobs;
pub use project::Project;
pub use root::needs_root;
pub use run::{Run, tool};
pub use wait::{until, until_some};

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A directory of the test's own on disk, gone with the value.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bgtools-test.").tempdir().unwrap()
}
