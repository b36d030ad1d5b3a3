//! The exit codes, one table for all tools, and the error that knows its own.

use std::fmt;
use std::process::ExitCode;

/// How a tool ends. "No" and "broken" never share a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done; yes.
    Done,
    /// 1: the answer is no: no such job, not all done, a broken checkpoint found, a threshold crossed.
    No,
    /// 2: wrong command line, for tools that pass no command's status on.
    Usage,
    /// 75: not now, the same call may work later (`EX_TEMPFAIL`).
    NotNow,
    /// 124: gave up waiting; the command timed out (`timeout(1)`).
    TimedOut,
    /// 125: this program failed: it couldn't read, write, measure or start what it had to.
    Broken,
    /// 126: the command can't be run (`env(1)`).
    CannotRun,
    /// 127: the command isn't there (`env(1)`).
    NotFound,
    /// A command's own status, passed on; 128+n where it died of signal n.
    Status(u8),
}

impl Exit {
    /// The number the caller sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::NotNow => 75,
            Self::TimedOut => 124,
            Self::Broken => 125,
            Self::CannotRun => 126,
            Self::NotFound => 127,
            Self::Status(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error with an exit code of its own, and perhaps a hint for a second line. Any other error ends a tool with
/// [`Exit::Broken`].
#[derive(Debug)]
pub struct Failure {
    /// The code to end with.
    pub exit: Exit,
    /// One line: what, which object, why.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// The same failure with a hint for a second line.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
