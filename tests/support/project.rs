//! A project with a Makefile, and real make in it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::run::path_of;
use super::{Run, root, scratch};

/// What bg.mk needs on the PATH.
const TOOLS: [&str; 3] = ["bgrun", "bgcancel", "bgstatus"];

/// A directory of its own with a Makefile, the tools on the PATH as installed ones are.
pub struct Project {
    scratch: TempDir,
    dir: PathBuf,
}

impl Project {
    /// With this Makefile, which includes contrib/bg.mk before all else.
    pub fn new(makefile: &str) -> Self {
        Self::in_folder("project", makefile)
    }

    /// The same in a folder of that name.
    pub fn in_folder(folder: &str, makefile: &str) -> Self {
        let project = Self::empty(folder);
        let text = format!("include {}\n{makefile}", root().join("contrib/bg.mk").display());
        fs::write(project.dir.join("Makefile"), text).unwrap();
        project
    }

    /// Without a Makefile.
    pub fn empty(folder: &str) -> Self {
        let scratch = scratch();
        let (dir, bin) = (scratch.path().join(folder), scratch.path().join("bin"));
        fs::create_dir(&dir).unwrap();
        fs::create_dir(&bin).unwrap();
        for tool in TOOLS {
            symlink(path_of(tool), bin.join(tool)).unwrap();
        }
        Self { scratch, dir }
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The folder on the PATH that holds the tools.
    pub fn bin(&self) -> PathBuf {
        self.scratch.path().join("bin")
    }

    /// A program run in the project as from a new terminal.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = S>) -> Run {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.bin().display());
        let strange = ["MAKELEVEL", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX"];
        let unset = strange.into_iter().flat_map(|name| ["-u", name]);
        let run = Run::new("env").args(unset).arg(program).args(args).cwd(&self.dir);
        run.env("PATH", path).env("PWD", &self.dir)
    }

    pub fn make<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        self.run("make", args)
    }

    /// Starts a job with `make -s` and gives its id.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let said = self.make(args).arg("-s").ok();
        said.strip_suffix('\n').filter(|id| !id.contains(char::is_whitespace)).expect("an id alone").to_owned()
    }

    /// Waits for a job's end, whatever it was; gives its record.
    #[track_caller]
    pub fn end_of(&self, job: &str) -> Value {
        let ran = self.run("bgstatus", ["--wait", "--json", "--", job]).env("BGTOOLS_DIR", self.dir.join("tmp/jobs")).run();
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// What a job that has ended printed.
    #[track_caller]
    pub fn log_of(&self, job: &str) -> String {
        let log = self.end_of(job)["log"].as_str().unwrap().to_owned();
        String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned()
    }
}
