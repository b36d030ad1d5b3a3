//! Which jobs directory a call means.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::state_dir::{StateDir, refuse_network};
use crate::text::shown;

/// The options that every tool has for the directory.
#[derive(Args, Clone, Debug)]
pub(crate) struct DirArgs {
    /// The jobs directory
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

impl DirArgs {
    /// `--dir`, `$BGTOOLS_DIR`, `$XDG_STATE_HOME/bgtools`, `~/.local/state/bgtools`: the first that is given, absolute.
    pub(crate) fn path(&self) -> anyhow::Result<PathBuf> {
        let named = self.dir.clone().or_else(|| variable("BGTOOLS_DIR"));
        if let Some(named) = named {
            return absolute(&named);
        }
        let state = variable("XDG_STATE_HOME").filter(|path| path.is_absolute());
        // systemd gives a system's service no HOME.
        let home = || variable("HOME").or_else(|| crate::user::home(nix::unistd::geteuid().as_raw()));
        let state = state.or_else(|| home().map(|home| home.join(".local/state")));
        let state = state.context("no jobs directory: set HOME or BGTOOLS_DIR, or give --dir")?;
        absolute(&state.join("bgtools"))
    }

    /// Opens the directory for reading; `None` where there is none yet, so no job either.
    pub(crate) fn open(&self) -> anyhow::Result<Option<StateDir>> {
        let path = self.path()?;
        match StateDir::open(&path) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot open the jobs directory '{}'", shown(&path))),
        }
    }

    /// Opens the directory for a new job, made where it is absent; one on a network file system is refused.
    pub(crate) fn open_or_make(&self, unsafe_lock: bool) -> anyhow::Result<StateDir> {
        let path = self.path()?;
        let cannot = || format!("cannot use the jobs directory '{}'", shown(&path));
        let dir = StateDir::open_or_make(&path).with_context(cannot)?;
        if !unsafe_lock && let Err(error) = refuse_network(&dir) {
            let failure = crate::exit::Failure::new(crate::exit::Exit::Broken, format!("{}: {error}", cannot()));
            return Err(failure.hint("name a local one with --dir or BGTOOLS_DIR; --unsafe-lock insists").into());
        }
        Ok(dir)
    }
}

/// A variable that is set and not empty, as a path.
pub(crate) fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The path from the root; relative ones start at the current directory, which may be gone.
pub(crate) fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot make '{}' absolute", shown(path)))
}
