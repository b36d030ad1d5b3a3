//! A jobs directory of a test's own, and what lives from it: nothing of it outlives the value.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;

use super::{Run, scratch, tool, until, until_some};

/// The variable by which a test's processes are found again, whatever they did to leave their parents.
const OWNER: &str = "BGTOOLS_TEST";

/// A directory with jobs in it.
pub struct Jobs {
    tmp: tempfile::TempDir,
}

impl Jobs {
    pub fn new() -> Self {
        Self { tmp: scratch() }
    }

    /// Beside the jobs directory: for what a test makes itself.
    pub fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    /// Where those lie.
    pub fn tmp(&self) -> &Path {
        self.tmp.path()
    }

    /// The jobs directory.
    pub fn dir(&self) -> PathBuf {
        self.path("jobs")
    }

    /// A tool that works on this directory.
    pub fn tool(&self, name: &str) -> Run {
        self.at(name, &self.dir())
    }

    /// A tool that works on that directory; its processes are this test's.
    pub fn at(&self, name: &str, dir: &Path) -> Run {
        self.owned(tool(name)).env("BGTOOLS_DIR", dir)
    }

    /// Marks what is run as this test's, so that nothing of it is left in the end.
    pub fn owned(&self, run: Run) -> Run {
        run.env(OWNER, self.tmp.path())
    }

    /// `bgrun` with these options and words.
    pub fn bgrun<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Run {
        self.tool("bgrun").args(words)
    }

    /// `bgstatus` with these options and words.
    pub fn bgstatus<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Run {
        self.tool("bgstatus").args(words)
    }

    /// Starts a job; gives its id.
    #[track_caller]
    pub fn start<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> String {
        let said = self.bgrun(words).ok();
        let id = said.strip_suffix('\n').unwrap();
        assert!(!id.contains('\n'), "only the id is printed: {said:?}");
        id.to_owned()
    }

    /// Starts a job that ends with `code` when it is told to.
    #[track_caller]
    pub fn start_held(&self, name: &str, code: u8) -> Held<'_> {
        self.start_held_with(&[], name, code)
    }

    /// The same with further options.
    #[track_caller]
    pub fn start_held_with(&self, options: &[&str], name: &str, code: u8) -> Held<'_> {
        let gate = self.path(&format!("{name}.gate"));
        mkfifo(&gate, Mode::S_IRWXU).unwrap();
        let script = r#"read -r word < "$1"; exit "$2""#;
        let code = code.to_string();
        let words: [&OsStr; 9] = [
            "-n".as_ref(),
            name.as_ref(),
            "--".as_ref(),
            "sh".as_ref(),
            "-c".as_ref(),
            script.as_ref(),
            "sh".as_ref(),
            gate.as_ref(),
            code.as_ref(),
        ];
        let words = options.iter().map(OsStr::new).chain(words);
        Held { id: self.start(words), gate, jobs: self }
    }

    /// A record's file.
    pub fn file(&self, id: &str) -> PathBuf {
        self.dir().join(format!("{id}.json"))
    }

    /// A record as it is stored.
    #[track_caller]
    pub fn record(&self, id: &str) -> Value {
        serde_json::from_slice(&fs::read(self.file(id)).unwrap()).unwrap()
    }

    /// Changes a record behind everybody's back.
    #[track_caller]
    pub fn edit(&self, id: &str, change: impl FnOnce(&mut Value)) {
        let mut record = self.record(id);
        change(&mut record);
        fs::write(self.file(id), record.to_string()).unwrap();
    }

    /// A record once it has its verdict and its supervisor is done with it.
    #[track_caller]
    pub fn ended(&self, id: &str) -> Value {
        until_some(&format!("the end of {id}"), || {
            let lock = self.dir().join(format!("{id}.lock"));
            (!lock.exists()).then(|| self.record(id)).filter(|record| record["ended"].is_string())
        })
    }

    /// What `bgstatus --json` says of a job.
    #[track_caller]
    pub fn truth(&self, id: &str) -> Value {
        serde_json::from_str(&self.bgstatus(["--json", id]).ok()).unwrap()
    }

    /// The state that is true of a job.
    #[track_caller]
    pub fn state(&self, id: &str) -> String {
        self.truth(id)["state"].as_str().unwrap().to_owned()
    }

    /// A job's log.
    #[track_caller]
    pub fn log(&self, id: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.record(id)["log"].as_str().unwrap()).unwrap()).into_owned()
    }

    /// The supervisor of a job, as it stays: a moment after the launch it executes itself.
    #[track_caller]
    pub fn supervisor(&self, id: &str) -> i32 {
        let pid = pid_in(&self.record(id)["supervisor"]["pid"]);
        let executed = |words: &[u8]| words.is_empty() || words.split(|b| *b == 0).any(|w| w.starts_with(b"--supervisor="));
        until("a supervisor's exec", || fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |words| executed(&words)));
        pid
    }

    /// The command's process of a job.
    #[track_caller]
    pub fn pid(&self, id: &str) -> i32 {
        pid_in(&self.record(id)["pid"])
    }

    /// Kills the supervisor of a job, and sees it gone.
    #[track_caller]
    pub fn kill_supervisor(&self, id: &str) {
        let pid = self.supervisor(id);
        send(pid, Signal::SIGKILL);
        super::until("the supervisor's end", || !alive(pid));
    }

    /// Every path below the jobs directory, relative to it and sorted.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.dir(), &self.dir(), &mut found);
        found.sort();
        found
    }

    /// That nothing is left of any launch: no record, no lock, no log, no temporary, no process.
    #[track_caller]
    pub fn assert_nothing(&self, when: &str) {
        let files: Vec<String> = self.files().into_iter().filter(|file| file != "logs/").collect();
        assert!(files.is_empty(), "{when}: {files:?} is left");
        let left = self.processes();
        assert!(left.is_empty(), "{when}: processes are left: {left:?}");
    }

    /// What lives of all that this test started, but for zombies.
    pub fn processes(&self) -> Vec<i32> {
        let mark = format!("{OWNER}={}", self.tmp.path().display());
        processes_with(mark.as_bytes())
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        // A supervisor whose job was killed has its verdict to write, so it is killed as well.
        for _ in 0..1000 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for pid in left {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
    }
}

/// A job that waits to be told to end.
pub struct Held<'a> {
    pub id: String,
    gate: PathBuf,
    jobs: &'a Jobs,
}

impl Held<'_> {
    /// Lets it end.
    pub fn release(&self) {
        fs::write(&self.gate, "\n").unwrap();
    }

    /// Lets it end; gives its record with the verdict.
    #[track_caller]
    pub fn end(&self) -> Value {
        self.release();
        self.jobs.ended(&self.id)
    }
}

/// The processes that were started with this entry in their environment, but for zombies.
pub fn processes_with(entry: &[u8]) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let bears = |pid: &i32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|b| *b == 0).any(|found| found == entry)
    };
    pids.filter(bears).filter(|pid| alive(*pid)).collect()
}

/// Whether a process lives; a zombie doesn't.
pub fn alive(pid: i32) -> bool {
    status_of(pid, "State").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// A line of `/proc/PID/status`.
pub fn status_of(pid: i32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// Signals a process of this test's own.
#[track_caller]
pub fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

fn pid_in(value: &Value) -> i32 {
    i32::try_from(value.as_i64().unwrap()).unwrap()
}

fn list(top: &Path, dir: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(top).unwrap().display().to_string();
        if path.is_dir() && !path.is_symlink() {
            found.push(format!("{name}/"));
            list(top, &path, found);
        } else {
            found.push(name);
        }
    }
}
