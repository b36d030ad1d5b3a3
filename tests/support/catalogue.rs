//! The public commands, in one place: a new tool is one entry here, and its page, its completions and its help are tested.

use bgtools::tools::{bgcancel, bgrun, bgstatus, ckpt_rotate, progress_mark, resgate};
use clap::{Command, CommandFactory};

/// Which jobs a `JOB` on the command line can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    Live,
    Any,
}

/// One public command.
pub struct Public {
    pub name: &'static str,
    options: fn() -> Command,
    /// The codes that its EXIT STATUS has, out of [`CODES`].
    pub codes: &'static [&'static str],
    pub jobs: Jobs,
}

/// Every code of the contract, in the order of its table.
pub const CODES: [&str; 9] = ["0", "1", "2", "75", "124", "125", "126", "127", "128+n"];

/// All of them.
pub fn tools() -> Vec<Public> {
    vec![
        Public {
            name: "bgrun",
            options: bgrun::Args::command,
            codes: &["0", "75", "124", "125", "126", "127", "128+n"],
            jobs: Jobs::Any,
        },
        Public { name: "bgcancel", options: bgcancel::Args::command, codes: &["0", "1", "2", "75", "125"], jobs: Jobs::Live },
        Public {
            name: "bgstatus",
            options: bgstatus::Args::command,
            codes: &["0", "1", "2", "124", "125", "128+n"],
            jobs: Jobs::Any,
        },
        Public {
            name: "resgate",
            options: resgate::Args::command,
            codes: &["0", "75", "124", "125", "126", "127", "128+n"],
            jobs: Jobs::Any,
        },
        Public {
            name: "ckpt-rotate",
            options: ckpt_rotate::Args::command,
            codes: &["0", "1", "2", "75", "125", "126", "127", "128+n"],
            jobs: Jobs::Any,
        },
        Public {
            name: "progress-mark",
            options: progress_mark::Args::command,
            codes: &["0", "1", "2", "75", "125", "126", "127", "128+n"],
            jobs: Jobs::Live,
        },
    ]
}

impl Public {
    /// Its options as clap has them, `--help` and `--version` included.
    pub fn command(&self) -> Command {
        let mut command = (self.options)();
        command.build();
        command
    }

    /// Its section 1 page.
    pub fn page(&self) -> std::path::PathBuf {
        super::root().join("man").join(format!("{}.1", self.name))
    }
}
