//! `bgrun [options] -- CMD [ARG…]`: start a command as a supervised background job.

mod policy;
mod recover;

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::fd::{AsFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::place::{DirArgs, absolute, variable};
use super::waiting::{Follow, Wait, Waited, status_of};
use crate::clock;
use crate::entry::{self, Out, Tool, complain};
use crate::exit::{Exit, Failure};
use crate::isolation::{How, Limits, Wish};
use crate::launch::{LogPlace, Spec, Standby};
use crate::process::Here;
use crate::record::{CancelRequest, Policy, Record, base_name, check_name, line};
use crate::state_dir::{StateDir, observe};
use crate::supervisor;
use crate::text::{Text, shown};

/// The tool as [`crate::entry::main`] runs it.
pub const TOOL: Tool<Args> = Tool { name: "bgrun", usage: Exit::Broken, run };

/// Start a command as a supervised background job
#[derive(Debug, Parser)]
#[command(name = "bgrun", version, max_term_width = 100)]
pub struct Args {
    /// The job's name (default: the command's base name)
    #[arg(short, long, value_name = "NAME", value_parser = job_name)]
    name: Option<String>,
    /// Set a variable for the job and record it; repeatable
    #[arg(short, long, value_name = "K=V")]
    env: Vec<OsString>,
    /// Pass a variable of the environment and record only its name; repeatable
    #[arg(long, value_name = "K")]
    env_secret: Vec<OsString>,
    /// Run in this directory
    #[arg(short = 'C', long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    chdir: Option<PathBuf>,
    /// One thread for each numeric library and two malloc arenas, where not set already
    #[arg(long)]
    memsafe: bool,
    /// Add to the scheduling priority, -20 to 19
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(i32).range(-40..=40))]
    nice: Option<i32>,
    /// I/O class: idle, best-effort[:0-7] or realtime[:0-7]
    #[arg(long, value_name = "CLASS", value_parser = io_class)]
    ionice: Option<(u8, u8)>,
    /// How willingly the kernel kills it for memory, -1000 to 1000 (default: at least 500)
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    oom_score_adj: Option<i32>,
    /// What keeps the job apart from its caller
    #[arg(long, value_name = "HOW", default_value = "auto", hide_possible_values = true)]
    isolate: How,
    /// Slow the job down and take memory back above this size
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse)]
    memory_high: Option<u64>,
    /// Kill in the job above this size, and nowhere else
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse)]
    memory_max: Option<u64>,
    /// Give the job so much swap at most
    #[arg(long, value_name = "SIZE", value_parser = crate::size::parse)]
    memory_swap_max: Option<u64>,
    /// Give the job the time of so many processors at most, 0.01 or more
    #[arg(long, value_name = "N", value_parser = processors)]
    cpus: Option<f64>,
    /// Let the job have so many processes and threads at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pids_max: Option<u64>,
    /// Exit 75 when a job of that name is live
    #[arg(long)]
    unique: bool,
    /// Wait for the end and exit with the job's status
    #[arg(short, long)]
    wait: bool,
    /// Show the log meanwhile (implies --wait); the id goes to standard error
    #[arg(short, long)]
    follow: bool,
    /// Print the job's record instead of its id
    #[arg(long)]
    json: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Say what would be started and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    policy: policy::PolicyArgs,
    #[command(flatten)]
    dir: DirArgs,
    /// Put ID.log into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "log", value_hint = clap::ValueHint::DirPath)]
    log_dir: Option<PathBuf>,
    /// Log to this very file, which must not be there yet
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    log: Option<PathBuf>,
    /// Use a jobs directory on a network file system, where locks prove nothing to other hosts
    #[arg(long)]
    unsafe_lock: bool,
    /// Adopt the jobs whose supervisor was killed, and start those again that asked for it
    #[arg(long)]
    recover: bool,
    /// Keep the environment in the jobs directory, so that --recover can start the job in it
    #[arg(long)]
    recover_env: bool,
    /// The command and its arguments, executed as given, without a shell
    #[arg(value_name = "CMD", required_unless_present_any = ["recover", "slots"], conflicts_with = "recover", trailing_var_arg = true, value_hint = clap::ValueHint::CommandWithArguments)]
    cmd: Vec<OsString>,
}

fn job_name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

fn processors(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.01..=1e6).contains(number));
    number.ok_or_else(|| "a number of processors is 0.01 or more".into())
}

/// A class of `ioprio_set(2)` with its level.
fn io_class(text: &str) -> Result<(u8, u8), String> {
    let (class, level) = text.split_once(':').map_or((text, None), |(class, level)| (class, Some(level)));
    let level = level.map(str::parse).transpose().ok().filter(|level| level.is_none_or(|level: u8| level < 8));
    match (class, level) {
        ("idle", Some(None)) => Ok((3, 0)),
        ("best-effort", Some(level)) => Ok((2, level.unwrap_or(4))),
        ("realtime", Some(level)) => Ok((1, level.unwrap_or(4))),
        _ => Err("an I/O class is idle, best-effort[:0-7] or realtime[:0-7]".into()),
    }
}

/// What reading a command line takes of memory.
const A_COMMAND_LINE: usize = 96 << 10;

/// The tool as a program: its supervisor makes itself ready while the command line is read.
#[must_use]
pub fn main() -> Exit {
    let standby = stand_by();
    crate::sys::expect_to_use(A_COMMAND_LINE);
    entry::outcome_of(&TOOL, |args, out| run_with(args, out, standby))
}

fn run(args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    run_with(args, out, stand_by())
}

fn stand_by() -> anyhow::Result<Standby> {
    Standby::new(random_key()?, claims(), supervisor::stand_by).context("cannot start the supervisor")
}

fn run_with(args: Args, out: &mut Out, standby: anyhow::Result<Standby>) -> anyhow::Result<Exit> {
    if args.recover {
        drop(standby);
        return recover::run(&args, out);
    }
    if args.cmd.is_empty() {
        // Only --slots may stand alone.
        if !args.dry_run {
            args.policy.prepare_queue(&args.dir.open_or_make(args.unsafe_lock)?)?;
        }
        return Ok(Exit::Done);
    }
    let standby = standby?;
    let mut spec = spec(&args, &standby)?;
    if args.dry_run {
        writeln!(out, "{}: {}", spec.name, crate::text::command_line(&words(&spec)))?;
        return Ok(Exit::Done);
    }
    let dir = args.dir.open_or_make(args.unsafe_lock)?;
    spec.policy = args.policy.policy(&dir, spec.parent.as_deref())?;
    args.policy.prepare_queue(&dir)?;
    let waiting = args.wait || args.follow;
    // Blocked from here on, read while waiting: a Ctrl-C that comes early cancels the job as well.
    let interrupts = waiting.then(interrupts).transpose().context("cannot listen to signals")?;
    let record = standby.launch(&spec, &dir)?;
    announce(&args, out, &record);
    match interrupts {
        Some(interrupts) => wait(&args, out, &dir, &record, &interrupts),
        None => Ok(Exit::Done),
    }
}

fn words(spec: &Spec) -> Vec<&OsStr> {
    spec.cmd.iter().map(Text::as_os_str).collect()
}

fn spec(args: &Args, standby: &Standby) -> anyhow::Result<Spec> {
    let cmd: Vec<Text> = args.cmd.iter().map(|word| Text(word.clone())).collect();
    let first = args.cmd.first().filter(|word| !word.is_empty()).context("no command was given: it is empty")?;
    Ok(Spec {
        name: args.name.clone().unwrap_or_else(|| base_name(first)),
        cmd,
        chdir: args.chdir.as_deref().map(absolute).transpose()?.map(Text::from),
        dir: args.dir.path()?,
        log: log_place(args)?,
        env: given(&args.env)?,
        env_secret: secrets(&args.env_secret)?,
        memsafe: args.memsafe,
        nice: args.nice,
        ionice: args.ionice,
        oom_score_adj: args.oom_score_adj,
        isolation: wish(args),
        recover_env: args.recover_env,
        unique: args.unique,
        unsafe_lock: args.unsafe_lock,
        policy: Policy::default(),
        key: standby.key().to_owned(),
        claimed: !standby.claims().is_empty(),
        claims: standby.claims().to_vec(),
        parent: env::var("BG_JOB_ID").ok().filter(|id| crate::record::parse_id(id).is_some()),
    })
}

fn wish(args: &Args) -> Wish {
    let limits = Limits {
        memory_high: args.memory_high,
        memory_max: args.memory_max,
        memory_swap_max: args.memory_swap_max,
        cpus: args.cpus,
        pids_max: args.pids_max,
    };
    Wish { how: args.isolate, limits, runtime_dir: variable("XDG_RUNTIME_DIR").map(Text::from) }
}

/// The descriptors by which resgate(1) keeps its promises: `resgate --gpus 1 -- bgrun …` promises to the job.
fn claims() -> Vec<RawFd> {
    let named = env::var(crate::claims::FDS).unwrap_or_default();
    let numbers = named.split(',').filter_map(|number| number.parse().ok());
    numbers.filter(|fd| *fd > libc::STDERR_FILENO && crate::sys::keep_on_exec(*fd).is_ok()).collect()
}

/// 128 random bits in hexadecimal.
fn random_key() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    crate::sys::random(&mut bytes).context("cannot make the job's key")?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

fn log_place(args: &Args) -> anyhow::Result<LogPlace> {
    if let Some(file) = &args.log {
        return Ok(LogPlace::File(absolute(file)?));
    }
    let dir = match args.log_dir.clone().or_else(|| variable("BGTOOLS_LOG_DIR")) {
        Some(dir) => absolute(&dir)?,
        None => args.dir.path()?.join("logs"),
    };
    Ok(LogPlace::Directory(dir))
}

fn given(pairs: &[OsString]) -> anyhow::Result<BTreeMap<String, Text>> {
    let mut env = BTreeMap::new();
    for pair in pairs {
        let bytes = pair.as_bytes();
        let at = bytes.iter().position(|b| *b == b'=').filter(|at| *at > 0);
        let at = at.with_context(|| format!("cannot set '{}': it is not of the form K=V", shown(pair)))?;
        let name = variable_name(OsStr::from_bytes(&bytes[..at]))?;
        env.insert(name, Text(OsString::from_vec(bytes[at + 1..].to_vec())));
    }
    Ok(env)
}

fn secrets(names: &[OsString]) -> anyhow::Result<Vec<String>> {
    let passed = |name: &OsString| {
        anyhow::ensure!(env::var_os(name).is_some(), "cannot pass the secret '{}': it is not in the environment", shown(name));
        variable_name(name)
    };
    names.iter().map(passed).collect()
}

fn variable_name(name: &OsStr) -> anyhow::Result<String> {
    let text = name.to_str().filter(|text| !text.is_empty() && !text.contains('='));
    text.map(str::to_owned).with_context(|| format!("'{}' is no name of a variable", shown(name)))
}

/// Says the id. The job runs by now: that it can't be said is no reason to claim that nothing happened.
fn announce(args: &Args, out: &mut Out, record: &Record) {
    if args.quiet {
        return;
    }
    if args.follow {
        complain(TOOL.name, &record.id);
        return;
    }
    let said = if args.json { out.write_all(&line(record)) } else { writeln!(out, "{}", record.id) };
    if let Err(error) = said.and_then(|()| out.flush())
        && !out.is_closed()
    {
        complain(TOOL.name, &format!("job '{}' runs, but its id can't be printed: {error}", record.id));
        out.forget();
    }
}

/// SIGINT, SIGTERM and SIGHUP, waiting to be read.
fn interrupts() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)
}

/// Waits for the job; SIGINT and SIGTERM cancel it. A terminal that goes away leaves it running.
fn wait(args: &Args, out: &mut Out, dir: &StateDir, record: &Record, interrupts: &SignalFd) -> anyhow::Result<Exit> {
    let follow = if args.follow { Some(Follow::new(record.log.as_os_str().as_ref())?) } else { None };
    let wait = Wait { dir, id: &record.id, limit: None, interrupt: Some(interrupts.as_fd()), follow };
    match wait.run(out)? {
        Waited::Ended(job) => Ok(status_of(&job)),
        Waited::TimedOut => Ok(Exit::TimedOut),
        Waited::Interrupted => {
            let signal = interrupts.read_signal()?.map_or(libc::SIGTERM, |info| info.ssi_signo.cast_signed());
            if signal != libc::SIGHUP {
                stop(dir, record, signal)?;
            }
            Ok(Exit::Status((128 + signal).to_le_bytes()[0]))
        }
    }
}

fn stop(dir: &StateDir, record: &Record, signal: i32) -> anyhow::Result<()> {
    let here = Here::look();
    let Ok(Some(job)) = observe(dir, &record.id, &here) else { return Ok(()) };
    if !job.is_live() {
        return Ok(());
    }
    let request = CancelRequest {
        signal: libc::SIGTERM,
        grace_s: record.policy.grace_s,
        by: format!("{} (bgrun --wait, pid {})", crate::user::name(nix::unistd::getuid().as_raw()), crate::sys::pid()),
        reason: Some(format!("bgrun --wait received {}", crate::signal::name(signal))),
        at: clock::rfc3339(&clock::now()),
    };
    match crate::cancel::cancel(dir, &job, &request, &here)? {
        crate::cancel::Outcome::Gone(_) => Ok(()),
        crate::cancel::Outcome::Survived(who) | crate::cancel::Outcome::Unproved(who) => {
            let who = who.join("; ");
            Err(Failure::new(Exit::Broken, format!("cannot stop all of job '{}': {who}", record.id)).into())
        }
    }
}
