//! The job's process: started beside the supervisor, held at a gate until its record is durable, then exec'd.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use super::{OOM_SCORE_ADJ, Spec};
use crate::exit::{Exit, Failure};
use crate::process::{Identity, Stat};
use crate::sys::{Berth, Beside, Memory, Orders, Step};
use crate::text::{Text, shown};

/// Why the command didn't start.
#[derive(Clone, Copy, Debug)]
pub struct Refused {
    /// What its process was doing; nothing where it was killed before it could.
    step: Option<Step>,
    errno: Errno,
}

impl Refused {
    /// The failure that bgrun ends with.
    #[must_use]
    pub fn failure(self, cmd: &[Text]) -> Failure {
        let why = self.errno.desc();
        let of = |exit, what: String| Failure::new(exit, format!("{what}: {why}"));
        match self.step {
            None => Failure::new(Exit::Broken, "the job's process was killed before it became the command"),
            Some(Step::Prepare | Step::Gate) => of(Exit::Broken, "cannot prepare the job's process".into()),
            Some(Step::Nice) => of(Exit::Broken, "cannot set the nice value".into()),
            Some(Step::Ionice) => of(Exit::Broken, "cannot set the I/O class".into()),
            Some(Step::Exec) => {
                let name = shown(cmd.first().map_or(OsStr::new(""), Text::as_os_str));
                let exit = if self.errno == Errno::ENOENT { Exit::NotFound } else { Exit::CannotRun };
                of(exit, format!("cannot run '{name}'"))
            }
        }
    }
}

/// What a supervisor starts a job's process with.
pub struct Means {
    /// What was set up for it before.
    pub berth: Berth,
    /// The score that it inherits.
    pub raised: Raised,
    /// The signals that the supervisor may ignore, bit 0 for signal 1.
    pub ignored: u64,
    /// Where it lives until its exec.
    pub memory: Memory,
}

/// A process that waits to become the command.
#[derive(Debug)]
pub struct Gated {
    /// Who it is; its group and session have the same number.
    pub identity: Identity,
    process: Beside,
    /// While it shares this memory.
    raised: Option<Raised>,
}

impl Gated {
    /// Starts it. Its standard output and error are `log`, its input and its `oom_score_adj` are the supervisor's.
    ///
    /// # Errors
    /// As `clone(2)`; `EINVAL` where a word of the command has a zero byte.
    pub fn new(spec: &Spec, log: &File, environment: Vec<CString>, means: Means) -> io::Result<Self> {
        let Means { berth, raised, ignored, memory } = means;
        let words: Vec<CString> =
            spec.cmd.iter().map(|word| CString::new(word.as_os_str().as_bytes())).collect::<Result<_, _>>()?;
        let name = words.first().ok_or(io::ErrorKind::InvalidInput)?;
        let searched = !name.as_bytes().contains(&b'/');
        let files = if searched { search(name, &environment) } else { vec![name.clone()] };
        let orders = Orders {
            log: log.as_raw_fd(),
            kept: spec.claims.clone(),
            ignored,
            nice: spec.nice,
            ionice: spec.ionice,
            files,
            searched,
            words,
            environment,
        };
        let process = Beside::new(berth, orders, memory)?;
        let raised = Some(raised).filter(|_| memory == Memory::Shared);
        let Some(identity) = Identity::of(process.pid) else {
            let _ = Opened(process, raised).outcome();
            return Err(io::ErrorKind::NotFound.into());
        };
        Ok(Self { identity, process, raised })
    }

    /// Opens the gate. What comes of it is read from what is given back, that the process was refused or killed before
    /// included.
    ///
    /// # Errors
    /// As `write(2)`.
    pub fn open(mut self) -> io::Result<Opened> {
        let opened = self.process.open();
        let behind = Opened(self.process, self.raised);
        if let Err(error) = opened {
            let _ = behind.outcome();
            return Err(error);
        }
        Ok(behind)
    }

    /// Closes the gate, and returns when the process is gone: it never was the command. Says why it couldn't have been, where
    /// that was found out.
    #[must_use]
    pub fn abandon(self) -> Option<Refused> {
        let refused = Opened(self.process, self.raised).outcome().err();
        refused.filter(|refused| !matches!(refused.step, None | Some(Step::Gate)))
    }
}

/// A process behind its gate. Exec closes its report without a word, and so does a SIGKILL.
#[derive(Debug)]
pub struct Opened(Beside, Option<Raised>);

impl Opened {
    /// Waits for its exec. Nobody has reaped it.
    ///
    /// # Errors
    /// Why the command can't be run.
    pub fn outcome(self) -> Result<(), Refused> {
        let pid = self.0.pid;
        let said = self.0.outcome();
        drop(self.1);
        let refused = match said {
            Ok(Some((step, errno))) => Refused { step: Some(step), errno },
            Ok(None) if Stat::read(pid).is_some_and(|stat| !stat.forked_only) => return Ok(()),
            Ok(None) => Refused { step: None, errno: Errno::UnknownErrno },
            Err(error) => {
                Refused { step: Some(Step::Prepare), errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)) }
            }
        };
        // It became no command.
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
        Err(refused)
    }
}

const SCORE: &str = "/proc/self/oom_score_adj";

/// This process's `oom_score_adj` is what its job is to inherit; dropped, it is its own again. Whoever shares its memory shares
/// its score, so that it is dropped when nobody does any more.
#[derive(Debug)]
pub struct Raised {
    before: String,
}

impl Raised {
    /// Sets what the job is to have: where nothing else is wanted [`OOM_SCORE_ADJ`], or more where it may not be lowered to that.
    ///
    /// # Errors
    /// Where what is wanted takes a privilege.
    pub fn to(wanted: Option<i32>) -> Result<Self, Failure> {
        let before = fs::read_to_string(SCORE).map_err(|error| cannot_set(&error))?;
        let raised = Self { before };
        raised.set(wanted)?;
        Ok(raised)
    }

    /// Sets another.
    ///
    /// # Errors
    /// As [`Raised::to`].
    pub fn set(&self, wanted: Option<i32>) -> Result<(), Failure> {
        match fs::write(SCORE, wanted.unwrap_or(OOM_SCORE_ADJ).to_string()) {
            Err(error) if wanted.is_some() || error.kind() != io::ErrorKind::PermissionDenied => Err(cannot_set(&error)),
            _ => Ok(()),
        }
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        if !be_the_last_to_die() {
            let _ = fs::write(SCORE, &self.before);
        }
    }
}

fn cannot_set(error: &io::Error) -> Failure {
    Failure::new(Exit::Broken, format!("cannot set oom_score_adj: {error}"))
        .hint("only a privileged process may lower it; --oom-score-adj takes 0 to 1000 from anybody")
}

/// Lowers this process's score, as far as that is allowed: a supervisor must outlive what it watches, also where it is started
/// from inside a job. Says whether it was.
#[must_use]
pub fn be_the_last_to_die() -> bool {
    fs::write(SCORE, "0").is_ok()
}

/// Where the command may be: `PATH` is the job's own.
fn search(name: &CString, environment: &[CString]) -> Vec<CString> {
    let path = environment.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
    let folders = path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin").split(|b| *b == b':');
    let file = |folder: &[u8]| CString::new([folder, if folder.is_empty() { b"." } else { b"" }, b"/", name.as_bytes()].concat());
    folders.filter_map(|folder| file(folder).ok()).collect()
}
