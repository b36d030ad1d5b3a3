//! A jobs directory of a test's own, in a pid namespace of its own, and what tests ask of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{Ran, Run, Space, path_of, scratch, until, until_some};

pub struct Enclosed {
    // Dropped first: what runs inside may still write into the directory.
    pub space: Space,
    scratch: tempfile::TempDir,
}

impl Enclosed {
    pub fn new() -> Self {
        let scratch = scratch();
        // Some tests are other users as well.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { space: Space::new(), scratch }
    }

    /// A place for what jobs write: pids, mostly.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn dir(&self) -> PathBuf {
        self.path("jobs")
    }

    /// A tool inside, on this directory. `$T` names the scratch folder in scripts.
    pub fn tool(&self, name: &str) -> Run {
        self.space.run(path_of(name)).env("BGTOOLS_DIR", self.dir()).env("T", self.scratch())
    }

    /// Starts a job of this name that runs the script; gives its id.
    pub fn start(&self, name: &str, script: &str) -> String {
        self.start_with(&[], name, script)
    }

    pub fn start_with(&self, options: &[&str], name: &str, script: &str) -> String {
        let run = self.tool("bgrun").args(options).args(["-n", name, "--", "bash", "-c", script]);
        run.ok().trim_end().to_owned()
    }

    pub fn cancel(&self, args: &[&str]) -> Run {
        self.tool("bgcancel").args(args)
    }

    pub fn record_path(&self, id: &str) -> PathBuf {
        self.dir().join(format!("{id}.json"))
    }

    pub fn lock_path(&self, id: &str) -> PathBuf {
        self.dir().join(format!("{id}.lock"))
    }

    pub fn record(&self, id: &str) -> Value {
        read_json(&self.record_path(id))
    }

    /// Changes the record behind everybody's back.
    pub fn edit(&self, id: &str, change: impl FnOnce(&mut Value)) {
        edit_json(&self.record_path(id), change);
    }

    /// What bgstatus says of the job.
    pub fn state(&self, id: &str) -> String {
        let shown: Value = serde_json::from_str(&self.tool("bgstatus").args(["--json", id]).ok()).unwrap();
        shown["state"].as_str().unwrap().to_owned()
    }

    pub fn supervisor(&self, id: &str) -> i32 {
        pid_in(&self.record(id)["supervisor"]["pid"])
    }

    pub fn process(&self, id: &str) -> i32 {
        pid_in(&self.record(id)["pid"])
    }

    /// The pid that a script wrote into `$T/NAME`.
    pub fn pid(&self, name: &str) -> i32 {
        let path = self.path(name);
        until_some(&format!("a pid in {name}"), || {
            let text = fs::read_to_string(&path).ok()?;
            text.ends_with('\n').then(|| text.trim().parse().ok()).flatten()
        })
    }

    /// Field 3 of `/proc/PID/stat`; `None` when there is no such process.
    pub fn process_state(&self, pid: i32) -> Option<char> {
        let stat = fs::read_to_string(self.space.proc(pid, "stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    pub fn alive(&self, pid: i32) -> bool {
        self.process_state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// Field 22 of `/proc/PID/stat`.
    pub fn start_ticks(&self, pid: i32) -> u64 {
        let stat = fs::read_to_string(self.space.proc(pid, "stat")).unwrap();
        stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap()
    }

    /// Sends a signal to a process inside; it must be there.
    pub fn signal(&self, signal: &str, pid: i32) {
        self.space.run("kill").args(["-s", signal, &pid.to_string()]).silent(0);
    }

    /// SIGKILLs the job's supervisor and waits for its end.
    pub fn kill_supervisor(&self, id: &str) -> i32 {
        let pid = self.supervisor(id);
        self.signal("KILL", pid);
        until("the supervisor's end", || !self.alive(pid));
        pid
    }

    /// The record says `state`, nothing holds or marks the job as live, and every one of these is gone.
    #[track_caller]
    pub fn is_over(&self, id: &str, state: &str, pids: &[i32]) {
        for pid in pids {
            assert!(!self.alive(*pid), "process {pid} of {id} is alive: {:?}", self.process_state(*pid));
        }
        let record = self.record(id);
        assert_eq!(record["state"], state, "{record:#}");
        // A reader may see the verdict before its writer has let go of the job.
        until("the end of the job's lock", || !self.lock_path(id).exists());
        assert_eq!(self.state(id), state);
    }

    /// How many living processes inside bear the job's key.
    pub fn members_left(&self, id: &str) -> usize {
        let key = format!("BG_JOB_KEY={}", self.record(id)["key"].as_str().unwrap());
        let pids =
            fs::read_dir(self.space.proc(1, "..")).unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let bears = |pid: &i32| {
            let environ = fs::read(self.space.proc(*pid, "environ")).unwrap_or_default();
            environ.split(|b| *b == 0).any(|entry| entry == key.as_bytes()) && self.alive(*pid)
        };
        pids.filter(bears).count()
    }

    /// Nothing is left of a launch that failed.
    pub fn nothing_left(&self) {
        let mut left: Vec<PathBuf> = Vec::new();
        for dir in [self.dir(), self.dir().join("logs")] {
            left.extend(fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).filter(|path| !path.is_dir()));
        }
        assert!(left.is_empty(), "{left:?}");
    }
}

/// An ordinary user with a jobs directory of its own in the same scratch folder.
pub struct Nobody<'a> {
    jobs: &'a Enclosed,
    pub home: PathBuf,
}

impl<'a> Nobody<'a> {
    const ID: u32 = 65534;

    pub fn new(jobs: &'a Enclosed) -> Self {
        let (home, bin) = (jobs.path("home"), jobs.path("bin"));
        fs::create_dir(&home).unwrap();
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::chown(&home, Some(Self::ID), Some(Self::ID)).unwrap();
        // The build's own folder may be closed to others.
        for tool in ["bgrun", "bgcancel", "bgstatus"] {
            fs::copy(path_of(tool), bin.join(tool)).unwrap();
        }
        Self { jobs, home }
    }

    pub fn dir(&self) -> PathBuf {
        self.home.join("jobs")
    }

    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>) -> Run {
        let id = Self::ID.to_string();
        let run = self.jobs.space.run("setpriv").args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(program);
        run.env("BGTOOLS_DIR", self.dir()).env("T", self.jobs.scratch()).env("HOME", &self.home)
    }

    pub fn tool(&self, name: &str) -> Run {
        self.run(self.jobs.path("bin").join(name))
    }

    pub fn record_path(&self, id: &str) -> PathBuf {
        self.dir().join(format!("{id}.json"))
    }

    pub fn record(&self, id: &str) -> Value {
        read_json(&self.record_path(id))
    }

    pub fn supervisor(&self, id: &str) -> i32 {
        pid_in(&self.record(id)["supervisor"]["pid"])
    }

    pub fn process(&self, id: &str) -> i32 {
        pid_in(&self.record(id)["pid"])
    }
}

pub fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub fn edit_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = read_json(path);
    change(&mut value);
    let mut bytes = serde_json::to_vec(&value).unwrap();
    bytes.push(b'\n');
    fs::write(path, bytes).unwrap();
}

pub fn pid_in(value: &Value) -> i32 {
    value.as_i64().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_else(|| panic!("no pid: {value}"))
}

/// Runs all at once and gives what each did.
pub fn at_once(runs: Vec<Run>) -> Vec<Ran> {
    let handles: Vec<_> = runs.into_iter().map(|run| std::thread::spawn(move || run.run())).collect();
    handles.into_iter().map(|handle| handle.join().unwrap()).collect()
}

/// Starts a program that a test reaps itself.
pub fn spawn(run: Run) -> std::process::Child {
    let mut command: Command = run.command();
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
}
