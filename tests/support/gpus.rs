//! A machine with the GPUs that a file describes: the stand-in library of `tests/fake_nvml` behind the real loader.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Run, built, scratch, tool};

/// The cards, and a directory of claims of the test's own.
pub struct Gpus {
    dir: tempfile::TempDir,
    library: PathBuf,
}

impl Gpus {
    /// `description` is in the words of `tests/fake_nvml/fake_nvml.c`.
    pub fn new(description: &str) -> Self {
        Self::with(description, "new", &[])
    }

    /// A driver without the newer memory call.
    pub fn old(description: &str) -> Self {
        Self::with(description, "old", &["-DOLD"])
    }

    fn with(description: &str, name: &str, flags: &[&str]) -> Self {
        let flags = [&["-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1"], flags].concat();
        let library = built("fake_nvml/fake_nvml.c", &format!("nvml-{name}/libnvidia-ml.so.1"), &flags);
        let gpus = Self { dir: scratch(), library: library.parent().unwrap().to_owned() };
        gpus.become_(description);
        gpus
    }

    /// Changes the cards, whole at once.
    pub fn become_(&self, description: &str) {
        let new = self.dir.path().join("cards.new");
        fs::write(&new, description).unwrap();
        fs::rename(new, self.dir.path().join("cards")).unwrap();
    }

    pub fn claims(&self) -> PathBuf {
        self.dir.path().join("claims")
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// resgate on this machine.
    pub fn resgate(&self) -> Run {
        tool("resgate")
            .env("LD_LIBRARY_PATH", &self.library)
            .env("FAKE_NVML_FILE", self.dir.path().join("cards"))
            .env("BGTOOLS_CLAIM_DIR", self.claims())
    }
}
