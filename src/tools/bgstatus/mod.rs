//! `bgstatus [JOB…]`: tell the truth about jobs.

mod column;
mod log;
mod select;
mod show;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use self::column::Column;
use self::select::{Row, select};
use super::place::DirArgs;
use super::waiting::{Wait, Waited, status_of};
use crate::clock;
use crate::entry::{Out, Tool, complain};
use crate::exit::Exit;
use crate::process::Here;
use crate::record::State;
use crate::state_dir::{Observed, StateDir};
use crate::text::shown;

/// The tool as [`crate::entry::main`] runs it.
pub const TOOL: Tool<Args> = Tool { name: "bgstatus", usage: Exit::Usage, run };

/// Tell the truth about background jobs
#[derive(Debug, Parser)]
#[command(name = "bgstatus", version, max_term_width = 100)]
pub struct Args {
    /// An id, or a name meaning its newest job
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    /// All jobs, not only the live and the latest; all of a name
    #[arg(short, long)]
    all: bool,
    /// One JSON object a job
    #[arg(long)]
    json: bool,
    /// The columns, separated by commas
    #[arg(short, long, value_name = "COLUMNS", value_delimiter = ',')]
    output: Vec<Column>,
    /// Only jobs in these states, separated by commas
    #[arg(long, value_name = "STATES", value_delimiter = ',')]
    state: Vec<State>,
    /// Only jobs that are live or ended within this time
    #[arg(long, value_name = "DUR", value_parser = clock::duration)]
    since: Option<Duration>,
    /// Wait for the end and exit with the job's status
    #[arg(short, long, requires = "jobs")]
    wait: bool,
    /// Wait no longer than this, then exit 124
    #[arg(long, value_name = "DUR", requires = "wait", value_parser = clock::duration)]
    timeout: Option<Duration>,
    /// Print the log
    #[arg(short, long, requires = "jobs", conflicts_with_all = ["json", "output"])]
    log: bool,
    /// Print the log and what is added to it until the job ends
    #[arg(short, long, requires = "jobs", conflicts_with_all = ["json", "output"])]
    follow: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    dir: DirArgs,
}

fn run(args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    let here = Here::look();
    let Some(dir) = args.dir.open()? else {
        let path: PathBuf = args.dir.path()?;
        return no_directory(&args, &path, out);
    };
    let rows = select(&args, &dir, &here)?;
    if args.log || args.follow {
        return log::print(&args, &dir, &rows, out);
    }
    if args.wait {
        return wait(&args, &dir, &rows, out);
    }
    report_unreadable(&rows);
    let broken = !args.jobs.is_empty() && rows.iter().any(Result::is_err);
    if !args.quiet {
        show::show(&args, &dir, rows, out)?;
    }
    Ok(if broken { Exit::Broken } else { Exit::Done })
}

/// Before the first job there is no directory, and that is no error.
fn no_directory(args: &Args, path: &std::path::Path, out: &mut Out) -> anyhow::Result<Exit> {
    if let Some(job) = args.jobs.first() {
        return Err(super::jobs::no_such(job).into());
    }
    if !args.quiet && !args.json && out.is_terminal() {
        complain(TOOL.name, &format!("no jobs yet in '{}'", shown(path)));
    }
    Ok(Exit::Done)
}

fn report_unreadable(rows: &[Row]) {
    for row in rows {
        if let Err((id, why)) = row {
            complain(TOOL.name, &super::jobs::unreadable(id, why).message);
        }
    }
}

/// Waits for all of them; the status is that of the first that didn't end well.
fn wait(args: &Args, dir: &StateDir, rows: &[Row], out: &mut Out) -> anyhow::Result<Exit> {
    let began = std::time::Instant::now();
    let mut ended: Vec<Row> = Vec::new();
    let mut worst = Exit::Done;
    for row in rows {
        let job = readable(row)?;
        let limit = args.timeout.map(|limit| limit.saturating_sub(began.elapsed()));
        let wait = Wait { dir, id: &job.record.id, limit, interrupt: None, follow: None };
        match wait.run(out)? {
            Waited::Ended(job) => {
                let status = status_of(&job);
                worst = if worst == Exit::Done && status.code() != 0 { status } else { worst };
                ended.push(Ok(*job));
            }
            Waited::TimedOut | Waited::Interrupted => return Ok(Exit::TimedOut),
        }
    }
    if args.json || !args.output.is_empty() {
        show::show(args, dir, ended, out)?;
    }
    Ok(worst)
}

fn readable(row: &Row) -> anyhow::Result<&Observed> {
    row.as_ref().map_err(|(id, why)| super::jobs::unreadable(id, why).into())
}
