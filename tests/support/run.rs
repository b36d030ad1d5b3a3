//! One run of a program, strict by default: what a test doesn't state must not be printed, and the code is exact.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

/// The built tool of that name.
pub fn tool(name: &str) -> Run {
    Run::new(path_of(name))
}

/// Where the built tool lies: beside the test binary's own build.
pub fn path_of(name: &str) -> PathBuf {
    let built = option_env!("CARGO_BIN_EXE_bgrun")
        .or(option_env!("CARGO_BIN_EXE_ckpt-rotate"))
        .or(option_env!("CARGO_BIN_EXE_resgate"))
        .or(option_env!("CARGO_BIN_EXE_progress-mark"))
        .map_or_else(|| PathBuf::from("target/debug/none"), PathBuf::from);
    built.with_file_name(name)
}

/// The folder of the built tools, to stand first in a `PATH`.
pub fn bin_dir() -> PathBuf {
    path_of("any").parent().unwrap().to_owned()
}

/// A program about to be run.
pub struct Run {
    command: Command,
    stdin: Option<Vec<u8>>,
}

/// What it did.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub output: Output,
}

impl Run {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        // What the caller of the tests has set must not reach the tools.
        for name in [
            "BGTOOLS_DIR",
            "BGTOOLS_LOG_DIR",
            "BG_JOB_ID",
            "BG_JOB_KEY",
            "GRAV_BG_JOB",
            "MAKEFLAGS",
            "MFLAGS",
            "CKPT_DIR",
            "PROGRESS_FILE",
            "BG_CLAIM_FDS",
            "BGTOOLS_CLAIM_DIR",
            "CUDA_DEVICE_ORDER",
            "CUDA_VISIBLE_DEVICES",
        ] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        Self { command, stdin: None }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// The command as std has it, for what this type doesn't do.
    pub fn command(self) -> Command {
        self.command
    }

    /// Runs it to its end; states nothing.
    #[track_caller]
    pub fn run(mut self) -> Ran {
        self.command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            self.command.spawn().unwrap_or_else(|e| panic!("cannot start {}: {e}", self.command.get_program().display()));
        let feeder = self.stdin.map(|bytes| {
            let mut pipe = child.stdin.take().unwrap();
            // A tool may stop reading: that is for its exit code to say.
            thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        let output = child.wait_with_output().unwrap();
        if let Some(feeder) = feeder {
            feeder.join().unwrap();
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr), output }
    }

    /// Ends 0, prints nothing on stderr; gives stdout.
    #[track_caller]
    pub fn ok(self) -> String {
        let ran = self.run();
        assert!(ran.code == Some(0) && ran.stderr.is_empty(), "{ran:?}");
        ran.stdout
    }

    /// Ends with `code` and prints nothing at all.
    #[track_caller]
    pub fn silent(self, code: i32) {
        let ran = self.run();
        assert!(ran.code == Some(code) && ran.stdout.is_empty() && ran.stderr.is_empty(), "{ran:?}");
    }

    /// Ends with `code`, prints nothing on stdout and one line on stderr (a hint may follow) that holds every word.
    #[track_caller]
    pub fn fails(self, code: i32, words: &[&str]) -> String {
        let ran = self.run();
        assert!(ran.code == Some(code) && ran.stdout.is_empty(), "wanted {code}: {ran:?}");
        assert!((1..=2).contains(&ran.stderr.lines().count()), "one line and perhaps a hint: {ran:?}");
        let first = ran.stderr.lines().next().unwrap();
        for word in words {
            assert!(first.contains(word), "{first:?} lacks {word:?}");
        }
        assert!(!ran.stderr.chars().any(|c| c.is_control() && c != '\n'), "{ran:?}");
        ran.stderr
    }
}
