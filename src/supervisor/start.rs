//! From a spec to a running command, or to nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::getppid;

use super::signals::Signals;
use crate::clock;
use crate::exit::{Exit, Failure};
use crate::launch::{Answer, Gated, LogPlace, Report, Spec, Talk, job_environment};
use crate::process::{Here, Identity};
use crate::record::{Policy, Record, RunRecord, State, Supervisor, VERSION};
use crate::state_dir::{Claim, Lock, RecordFile, StateDir, observe};
use crate::sys;
use crate::text::{Text, shown};

/// A job whose gate was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) record: Record,
    pub(super) lock: Lock,
    pub(super) report: Report,
}

fn broken(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Broken, format!("{what}: {error}"))
}

/// Starts the job, step by step; a step that fails takes back the ones before.
pub(super) fn start(spec: &Spec, dir: &StateDir, talk: &mut Talk) -> Result<Opened, Failure> {
    let signals = prepare().map_err(|error| broken("cannot prepare the supervisor", error))?;
    if let Some(chdir) = &spec.chdir {
        std::env::set_current_dir(chdir)
            .map_err(|error| broken(format!("cannot change to directory '{}'", shown(chdir)), error))?;
    }
    let mut unique = unique_lock(spec, dir)?;
    let mut log = LogFile::new(spec)?;
    let created = clock::now();
    let trying = |id: &str| drop(talk.say(&Answer::Trying(id.to_owned(), spec.log.file(id))));
    let claim = Claim::new(dir, &spec.name, &clock::stamp(&created), trying, |id| log.claim(id))
        .map_err(|error| log.blame(error, |error| broken(format!("cannot claim an id in '{}'", shown(dir.path())), error)))?;
    let Claim { id, lock } = claim;
    let log_path = spec.log.file(&id);
    let log = log.file;
    let mut file = RecordFile::new(dir, &id);

    let environment = || job_environment(std::env::vars_os(), spec, &id, 1, &log_path);
    let gated = match Gated::new(spec, &log, environment) {
        Ok(gated) => gated,
        Err(error) => {
            let _ = fs::remove_file(&log_path);
            let _ = lock.remove(dir);
            return Err(broken("cannot fork", error));
        }
    };
    let record = first_record(spec, &id, &log_path, &created, gated.identity);
    if let Err(error) = file.publish(&record) {
        gated.abandon();
        file.withdraw(error.kind() != ErrorKind::AlreadyExists);
        let _ = fs::remove_file(&log_path);
        let _ = lock.remove(dir);
        return Err(broken(format!("cannot write the record of job '{id}' in '{}'", shown(dir.path())), error));
    }
    // From here on another `--unique` sees this job.
    drop(unique.take());
    // A cancel that came before the gate opens is heard: the command never runs.
    let opened = if agreed(talk, &signals) && dir.cancel_request(&id).is_none() {
        gated.open().map_err(|error| broken("cannot open the gate", error))
    } else {
        gated.abandon();
        Err(Failure::new(Exit::Broken, "the launch was called off"))
    };
    match opened {
        Ok(report) => Ok(Opened { record, lock, report }),
        Err(failure) => {
            withdraw(dir, &record, lock);
            Err(failure)
        }
    }
}

/// Takes back a published record: its command never ran.
pub(super) fn withdraw(dir: &StateDir, record: &Record, lock: Lock) {
    RecordFile::new(dir, &record.id).withdraw(true);
    let _ = fs::remove_file(record.log.as_os_str());
    let _ = lock.remove(dir);
}

/// Becomes the parent of what its command leaves behind.
fn prepare() -> io::Result<Signals> {
    nix::sys::prctl::set_child_subreaper(true)?;
    // Started from inside a job it has inherited a raised score; it must outlive what it watches.
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    Signals::new()
}

/// Whether nobody has called the launch off: the launcher lives, and no SIGTERM came. One that dies later has launched.
fn agreed(talk: &Talk, signals: &Signals) -> bool {
    signals.drain().is_none() && sys::readable(&[talk.as_fd()], 0).is_ok_and(|hung_up| !hung_up[0])
}

/// With `--unique`: the directory's lock, from the look to the publication, so that of two only one finds no live job.
fn unique_lock(spec: &Spec, dir: &StateDir) -> Result<Option<File>, Failure> {
    if !spec.unique {
        return Ok(None);
    }
    let cannot = |error: io::Error| broken(format!("cannot look for a live job in '{}'", shown(dir.path())), error);
    // A description of its own: unlocked when it is closed, whoever else holds the directory open.
    let locked = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&dir.as_fd()))).map_err(cannot)?;
    fs2::FileExt::lock_exclusive(&locked).map_err(cannot)?;
    let here = Here::look();
    let listing = dir.list().map_err(cannot)?;
    for id in crate::state_dir::Listing::of_name(&listing.locks, &spec.name) {
        let live = match observe(dir, id, &here) {
            Ok(Some(seen)) => seen.is_live(),
            // Being launched this instant; or a record that only a later version can judge.
            Ok(None) | Err(_) => dir.is_supervised(id).unwrap_or(true),
        };
        if live {
            return Err(Failure::new(Exit::NotNow, format!("a job named '{}' is live: {id}", spec.name)));
        }
    }
    Ok(Some(locked))
}

/// The log, claimed together with the id.
struct LogFile<'a> {
    spec: &'a Spec,
    file: File,
    refused: Option<PathBuf>,
}

impl<'a> LogFile<'a> {
    /// Makes it under a name that is nobody else's, in its directory.
    fn new(spec: &'a Spec) -> Result<Self, Failure> {
        if let LogPlace::Directory(dir) = &spec.log
            && let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(dir)
        {
            return Err(broken(format!("cannot make the log directory '{}'", shown(dir)), error));
        }
        let made = new_log(&spec.log.unclaimed(&spec.key));
        let file = made.map_err(|error| broken(cannot_make(&spec.log.file(&spec.name)), error))?;
        Ok(Self { spec, file, refused: None })
    }

    /// Makes it the log of this id; `false` when a file of that name is there, whosesoever it is.
    fn claim(&mut self, id: &str) -> io::Result<bool> {
        let path = self.spec.log.file(id);
        match self.rename(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && matches!(self.spec.log, LogPlace::Directory(_)) => {
                Ok(false)
            }
            Err(error) => {
                self.refused = Some(path);
                Err(error)
            }
        }
    }

    fn rename(&mut self, path: &Path) -> io::Result<()> {
        let unclaimed = self.spec.log.unclaimed(&self.spec.key);
        match renameat2(AT_FDCWD, &unclaimed, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE) {
            // NFS and some others rename only over what is there.
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                self.file = new_log(path)?;
                fs::remove_file(unclaimed)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Removes what wasn't claimed, and says which file it was that refused, where it was the log.
    fn blame(&self, error: io::Error, otherwise: impl FnOnce(io::Error) -> Failure) -> Failure {
        let _ = fs::remove_file(self.spec.log.unclaimed(&self.spec.key));
        match &self.refused {
            Some(path) => broken(cannot_make(path), error),
            None => otherwise(error),
        }
    }
}

fn cannot_make(log: &Path) -> String {
    format!("cannot make the log '{}'", shown(log))
}

fn new_log(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY).open(path)
}

fn first_record(spec: &Spec, id: &str, log: &Path, created: &jiff::Zoned, command: Identity) -> Record {
    let here = Here::look();
    let own = Identity::own();
    let started = clock::rfc3339(&clock::now());
    Record {
        version: VERSION,
        id: id.to_owned(),
        name: spec.name.clone(),
        state: State::Running,
        cmd: spec.cmd.clone(),
        cwd: std::env::current_dir().ok().map(Text::from),
        env: spec.env.clone(),
        env_secret: spec.env_secret.clone(),
        log: log.into(),
        user: crate::user::name(nix::unistd::geteuid().as_raw()),
        host: here.host,
        machine_id: here.machine_id,
        boot_id: here.boot_id,
        pid_ns: here.pid_ns,
        key: spec.key.clone(),
        parent: spec.parent.clone(),
        isolation: "session".into(),
        cgroup: crate::process::cgroup(command.pid),
        supervisor: Some(Supervisor { identity: own, reaper: getppid().as_raw() }),
        pid: Some(command.pid),
        pgid: Some(command.pid),
        sid: Some(command.pid),
        start_ticks: Some(command.start_ticks),
        created: clock::rfc3339(created),
        started: Some(started.clone()),
        run: 1,
        runs: vec![RunRecord { n: 1, started: Some(started), ..RunRecord::default() }],
        policy: Policy { grace_s: spec.grace_s, ..Policy::default() },
        ..Record::default()
    }
}
