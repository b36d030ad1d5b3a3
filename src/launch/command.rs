//! The job's process: forked, held at a gate until its record is durable, then exec'd.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, execve, pipe2, setsid};

use super::{OOM_SCORE_ADJ, Spec};
use crate::exit::{Exit, Failure};
use crate::process::{Identity, Stat};
use crate::sys;
use crate::text::{Text, shown};

/// What the process was doing when it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Setting up its session and its files.
    Prepare = 1,
    /// Raising or setting `oom_score_adj`.
    OomScore = 2,
    /// Setting its nice value.
    Nice = 3,
    /// Setting its I/O class.
    Ionice = 4,
    /// Executing the command.
    Exec = 5,
    /// It was killed before it could.
    Killed = 6,
}

/// Why the command didn't start.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    step: Step,
    errno: i32,
}

impl Refused {
    fn of(step: Step, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    /// The failure that bgrun ends with.
    #[must_use]
    pub fn failure(self, cmd: &[Text]) -> Failure {
        let why = Errno::from_raw(self.errno).desc();
        let of = |exit, what: String| Failure::new(exit, format!("{what}: {why}"));
        match self.step {
            Step::Killed => Failure::new(Exit::Broken, "the job's process was killed before it became the command"),
            Step::Prepare => of(Exit::Broken, "cannot prepare the job's process".into()),
            Step::OomScore => of(Exit::Broken, "cannot set oom_score_adj".into())
                .hint("only a privileged process may lower it; --oom-score-adj takes 0 to 1000 from anybody"),
            Step::Nice => of(Exit::Broken, "cannot set the nice value".into()),
            Step::Ionice => of(Exit::Broken, "cannot set the I/O class".into()),
            Step::Exec => {
                let name = shown(cmd.first().map_or(OsStr::new(""), Text::as_os_str));
                let exit = if self.errno == libc::ENOENT { Exit::NotFound } else { Exit::CannotRun };
                of(exit, format!("cannot run '{name}'"))
            }
        }
    }
}

/// A process that waits to become the command.
#[derive(Debug)]
pub struct Gated {
    /// Who it is; its group and session have the same number.
    pub identity: Identity,
    gate: OwnedFd,
    report: File,
}

impl Gated {
    /// Forks it. Its standard output and error are `log`, its input is `/dev/null`; `environment` is built in the child,
    /// so that the supervisor keeps no copy.
    ///
    /// # Errors
    /// As `pipe2(2)` and `fork(2)`.
    pub fn new(spec: &Spec, log: &File, environment: impl FnOnce() -> Vec<CString>) -> io::Result<Self> {
        let (opened, gate) = pipe2(OFlag::O_CLOEXEC)?;
        let (report, told) = pipe2(OFlag::O_CLOEXEC)?;
        match sys::fork()? {
            ForkResult::Child => {
                // Close-on-exec isn't close-on-fork: a lock held here would outlive a supervisor that is killed now.
                let kept = [&[opened.as_raw_fd(), told.as_raw_fd(), log.as_raw_fd()], &spec.claims[..]].concat();
                std::mem::forget((gate, report));
                let closed = sys::close_all_but(&kept).map_err(|error| Refused::of(Step::Prepare, &error));
                let refused = closed.map_or_else(|refused| refused, |()| become_command(spec, log, opened, environment));
                let errno = refused.errno.to_le_bytes();
                let _ = File::from(told).write_all(&[&[refused.step as u8], &errno[..]].concat());
                sys::exit_now()
            }
            ForkResult::Parent { child } => {
                let identity = Identity::of(child.as_raw()).ok_or(io::ErrorKind::NotFound)?;
                Ok(Self { identity, gate, report: File::from(report) })
            }
        }
    }

    /// Opens the gate. What comes of it is read from what is given back, that the process was refused or killed before
    /// included.
    ///
    /// # Errors
    /// As `write(2)`.
    pub fn open(self) -> io::Result<Report> {
        match File::from(self.gate).write_all(b"\n") {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(Report(self.report)),
        }
    }

    /// Closes the gate, and returns when the process is gone: it never was the command. Says why it couldn't have been, where
    /// that was found out.
    #[must_use]
    pub fn abandon(self) -> Option<Refused> {
        let Self { identity, gate, report } = self;
        drop(gate);
        let refused = Report(report).read(identity.pid).err();
        refused.filter(|refused| refused.step != Step::Killed && refused.errno != libc::ECANCELED)
    }
}

/// Waits for the end of a child that became no command.
fn gone(pid: i32) {
    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
}

/// Where a process says why it couldn't become the command. Exec closes it without a word, and so does a SIGKILL.
#[derive(Debug)]
pub struct Report(File);

impl Report {
    /// Waits for the exec of the process `pid`, which nobody has reaped.
    ///
    /// # Errors
    /// Why the command can't be run.
    pub fn read(mut self, pid: i32) -> Result<(), Refused> {
        let mut said = Vec::new();
        self.0.read_to_end(&mut said).map_err(|error| Refused::of(Step::Prepare, &error))?;
        let refused = Self::judge(&said, pid);
        if refused.is_err() {
            gone(pid);
        }
        refused
    }

    fn judge(said: &[u8], pid: i32) -> Result<(), Refused> {
        let broken = |errno| Err(Refused { step: Step::Prepare, errno });
        match *said {
            [] if Stat::read(pid).is_none_or(|stat| stat.forked_only) => Err(Refused { step: Step::Killed, errno: 0 }),
            [] => Ok(()),
            [step, a, b, c, d] => {
                let step = [Step::OomScore, Step::Nice, Step::Ionice, Step::Exec].into_iter().find(|s| *s as u8 == step);
                Err(Refused { step: step.unwrap_or(Step::Prepare), errno: i32::from_le_bytes([a, b, c, d]) })
            }
            _ => broken(libc::EIO),
        }
    }
}

fn become_command(spec: &Spec, log: &File, gate: OwnedFd, environment: impl FnOnce() -> Vec<CString>) -> Refused {
    if let Err(refused) = prepare(spec, log) {
        return refused;
    }
    let environment = environment();
    // All that can be done before is done before: behind the gate somebody waits.
    if File::from(gate).read_exact(&mut [0]).is_err() {
        // The supervisor died or withdrew: nobody would know of this process.
        return Refused { step: Step::Prepare, errno: libc::ECANCELED };
    }
    Refused { step: Step::Exec, errno: exec(spec, &environment) as i32 }
}

/// What a process does before it waits at its gate.
fn prepare(spec: &Spec, log: &File) -> Result<(), Refused> {
    let at = |step: Step| move |error: Errno| Refused { step, errno: error as i32 };
    let io_at = |step: Step| move |error: io::Error| Refused::of(step, &error);
    setsid().map_err(at(Step::Prepare))?;
    let null = File::open("/dev/null").map_err(io_at(Step::Prepare))?;
    dup2_stdin(&null).map_err(at(Step::Prepare))?;
    dup2_stdout(log).map_err(at(Step::Prepare))?;
    dup2_stderr(log).map_err(at(Step::Prepare))?;
    drop(null);
    sys::default_signals();
    oom_score(spec.oom_score_adj).map_err(io_at(Step::OomScore))?;
    if let Some(nice) = spec.nice {
        sys::nice(nice).map_err(io_at(Step::Nice))?;
    }
    if let Some((class, level)) = spec.ionice {
        sys::ioprio_set(class, level).map_err(io_at(Step::Ionice))?;
    }
    Ok(())
}

fn oom_score(wanted: Option<i32>) -> io::Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let value = match wanted {
        Some(value) => value,
        None => fs::read_to_string(FILE)?.trim().parse::<i32>().map_err(io::Error::other)?.max(OOM_SCORE_ADJ),
    };
    fs::write(FILE, value.to_string())
}

/// Executes the command as given: no shell, and `PATH` is the job's own.
fn exec(spec: &Spec, environment: &[CString]) -> Errno {
    let words: Result<Vec<CString>, _> = spec.cmd.iter().map(|word| CString::new(word.as_os_str().as_bytes())).collect();
    let Ok(words) = words else { return Errno::EINVAL };
    let Some(name) = words.first() else { return Errno::EINVAL };
    if name.as_bytes().contains(&b'/') {
        return refusal(execve(name, &words, environment));
    }
    let path = environment.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
    let mut refused = Errno::ENOENT;
    for folder in path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin").split(|b| *b == b':') {
        let Ok(file) = CString::new([folder, if folder.is_empty() { b"." } else { b"" }, b"/", name.as_bytes()].concat()) else {
            continue;
        };
        match refusal(execve::<CString, CString>(&file, &words, environment)) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => refused = Errno::EACCES,
            other => return other,
        }
    }
    refused
}

fn refusal(executed: nix::Result<std::convert::Infallible>) -> Errno {
    match executed {
        Err(errno) => errno,
    }
}
