//! What is left on a file system: bytes and inodes. A dead file server never answers `statvfs(2)`, so this is asked in
//! a [probe](crate::probe).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};

use super::Gauge;
use crate::probe::{Answers, Ending, Probe};
use crate::text::shown;

/// What is left for an unprivileged user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Bytes that can still be written.
    pub bytes: u64,
    /// Files that can still be made.
    pub inodes: u64,
    /// All files there can be; 0 where the file system has no such limit.
    pub all_inodes: u64,
}

/// The paths that are being asked about.
pub struct Asked {
    probe: Probe,
    paths: Vec<PathBuf>,
}

/// Asks about every path, in a child that has `limit` to answer.
///
/// # Errors
/// When no child can be started.
pub fn ask(paths: Vec<PathBuf>, limit: Duration) -> Gauge<Asked> {
    let work = |answers: &mut Answers| {
        for path in &paths {
            answers.say(&left(path));
        }
    };
    let probe = Probe::start(limit, work).map_err(|error| format!("cannot start a process that asks: {error}"))?;
    Ok(Asked { probe, paths })
}

impl Asked {
    /// The answer for each path.
    #[must_use]
    pub fn answers(self) -> Vec<(PathBuf, Gauge<Left>)> {
        let (mut answers, ending) = self.probe.finish::<Gauge<Left>>();
        let missing = match ending {
            Ending::Late(limit) => format!("no answer within {}", humantime::format_duration(limit)),
            Ending::Whole | Ending::Broken => "the process that asked died".into(),
        };
        let given = answers.len();
        answers.extend((given..self.paths.len()).map(|_| Err(missing.clone())));
        self.paths.into_iter().zip(answers).collect()
    }
}

fn left(path: &Path) -> Gauge<Left> {
    let bytes = fs2::available_space(path).map_err(|error| error.to_string())?;
    let stat = statvfs(path).map_err(|error| error.desc().to_owned())?;
    Ok(Left { bytes, inodes: stat.files_available(), all_inodes: stat.files() })
}

/// A path as an error and a source show it.
#[must_use]
pub fn quoted(path: &Path) -> String {
    format!("'{}'", shown(OsStr::from_bytes(path.as_os_str().as_bytes())))
}
