//! What every topic needs: the tools, strict about what they print; events with a limit; faults at a system call.
#![allow(dead_code, reason = "each topic uses its part")]

pub mod catalogue;
pub mod enclosed;
pub mod faults;
pub mod jobs;
pub mod project;
pub mod root;
pub mod run;
pub mod space;
pub mod tracer;
pub mod wait;

use std::path::PathBuf;

pub use enclosed::Enclosed;
pub use jobs::Jobs;
pub use project::Project;
pub use root::needs_root;
#[allow(unused_imports, reason = "each topic uses its part")]
pub use run::{Ran, Run, path_of, tool};
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
