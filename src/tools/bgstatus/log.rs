//! `--log` and `--follow`: a job's output as it is.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::Context;

use super::select::Row;
use super::{Args, readable};
use crate::entry::Out;
use crate::exit::Exit;
use crate::state_dir::StateDir;
use crate::text::shown;
use crate::tools::waiting::{Follow, Wait, Waited, open_log, status_of};

/// Prints the logs of these jobs, one after the other.
pub(super) fn print(args: &Args, dir: &StateDir, rows: &[Row], out: &mut Out) -> anyhow::Result<Exit> {
    let mut exit = Exit::Done;
    for row in rows {
        let job = readable(row)?;
        let path: &Path = job.record.log.as_os_str().as_ref();
        if !args.follow {
            copy(path, out)?;
            continue;
        }
        let follow = Some(Follow::new(path)?);
        let wait = Wait { dir, id: &job.record.id, limit: args.timeout, interrupt: None, follow };
        match wait.run(out)? {
            Waited::Ended(job) if args.wait => exit = status_of(&job),
            Waited::Ended(_) => {}
            Waited::TimedOut | Waited::Interrupted => return Ok(Exit::TimedOut),
        }
    }
    Ok(exit)
}

fn copy(path: &Path, out: &mut Out) -> anyhow::Result<()> {
    let cannot = || format!("cannot read the log '{}'", shown(path));
    let mut file = open_log(path).with_context(cannot)?;
    let mut block = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut block).with_context(cannot)?;
        if n == 0 {
            return Ok(());
        }
        out.write_all(&block[..n])?;
    }
}
