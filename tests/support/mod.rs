//! What every topic needs: the tools, strict about what they print; events with a limit; faults at a system call.
#![allow(dead_code, reason = "each topic uses its part")]

pub mod catalogue;
pub mod enclosed;
pub mod faults;
pub mod gpus;
pub mod jobs;
pub mod project;
pub mod root;
pub mod run;
pub mod running;
pub mod space;
pub mod tracer;
pub mod wait;

use std::path::PathBuf;

pub use enclosed::Enclosed;
pub use gpus::Gpus;
pub use jobs::Jobs;
pub use project::Project;
pub use root::needs_root;
#[allow(unused_imports, reason = "each topic uses its part")]
pub use run::{Ran, Run, bin_dir, path_of, tool};
pub use running::Running;
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

/// A program built from a C source below `tests/`, once for all tests of a run.
pub fn built(source: &str, name: &str, flags: &[&str]) -> PathBuf {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let source = root().join("tests").join(source);
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("built").join(name);
    let age = |path: &std::path::Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    if age(&target) < age(&source) || age(&target).is_none() {
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        let made = std::process::Command::new("cc").args(flags).arg("-O1").arg("-o").arg(&target).arg(&source).status();
        assert!(made.unwrap().success(), "cc {}", source.display());
    }
    target
}

/// The folder of the machine that `tests/lab/qemu.sh run` boots, built where it isn't there yet.
pub fn machine() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("machine");
    let ran = Run::new(root().join("tests/lab/qemu.sh")).arg("build").arg(&folder).run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    folder
}
