//! The options, and what they ask of the gate.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, ValueEnum};

use crate::gate::{Cards, Demand, Limit};
use crate::gauges::pressure::Kind;
use crate::{clock, size};

/// Says whether the machine has room now, and hands out what it promises.
#[derive(Debug, Parser)]
#[command(
    name = "resgate",
    version,
    about = "Say whether the machine has room now; run a command with the GPUs and memory it is promised",
    override_usage = "resgate [OPTIONS] [-- COMMAND [ARG]...]"
)]
pub struct Args {
    #[command(flatten)]
    pub(super) limits: Limits,
    #[command(flatten)]
    pub(super) waiting: Waiting,
    #[command(flatten)]
    pub(super) manner: Manner,
    /// What to become when the gate is open
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "Limits")]
pub(super) struct Limits {
    /// At most PCT percent of the CPUs in use that this process may use
    #[arg(long, value_name = "PCT", value_parser = percent, allow_negative_numbers = true)]
    max_cpu: Option<f64>,
    /// At most PCT percent of the memory in use or promised, of the machine or of a tighter control group
    #[arg(long, value_name = "PCT", value_parser = percent, allow_negative_numbers = true)]
    max_mem: Option<f64>,
    /// At most PCT percent of the swap space in use
    #[arg(long, value_name = "PCT", value_parser = percent, allow_negative_numbers = true)]
    max_swap: Option<f64>,
    /// At most LOAD as the load average of the last minute
    #[arg(long, value_name = "LOAD", value_parser = load, allow_negative_numbers = true)]
    max_load: Option<f64>,
    /// At most PCT percent of the last ten seconds spent waiting for cpu, memory or io
    #[arg(long, value_name = "KIND=PCT", value_parser = pressure)]
    max_pressure: Vec<(Kind, f64)>,
    /// At least SIZE of memory free and not promised
    #[arg(long, value_name = "SIZE", value_parser = size::parse, allow_negative_numbers = true)]
    min_mem: Option<u64>,
    /// At least SIZE free on the disk of PATH, by default of the current directory
    #[arg(long, value_name = "SIZE[:PATH]", value_parser = disk, allow_negative_numbers = true)]
    min_disk: Vec<(u64, Option<PathBuf>)>,
    /// At least N inodes free on the disk of PATH, by default of the current directory
    #[arg(long, value_name = "N[:PATH]", value_parser = inodes, allow_negative_numbers = true)]
    min_inodes: Vec<(u64, Option<PathBuf>)>,
    /// At least SIZE of memory free on a GPU; with --gpus, on each, which is then shared
    #[arg(long, value_name = "SIZE", value_parser = size::parse, allow_negative_numbers = true)]
    min_gpu_mem: Option<u64>,
    /// N GPUs for the command alone, or a share of each with --min-gpu-mem
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), allow_negative_numbers = true)]
    gpus: Option<u16>,
    /// SIZE of memory for the command, promised to nobody else while it runs
    #[arg(long, value_name = "SIZE", value_parser = size::parse, allow_negative_numbers = true)]
    claim_mem: Option<u64>,
    /// The default limits as well: CPU and memory 90 %, 1 GiB of disk, 2 GiB on a GPU if there is one
    #[arg(long)]
    defaults: bool,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "Waiting")]
pub(super) struct Waiting {
    /// Wait until the gate is open, for TIMEOUT at most
    #[expect(clippy::option_option, reason = "not given, given without a value, given with one")]
    #[arg(long, value_name = "TIMEOUT", num_args = 0..=1, value_parser = clock::duration, allow_negative_numbers = true)]
    pub(super) wait: Option<Option<Duration>>,
    /// How often to look while waiting
    #[arg(long, value_name = "DURATION", value_parser = positive, default_value = "60s", allow_negative_numbers = true)]
    pub(super) interval: Duration,
    /// Wait until the gate has been open for DURATION without a break
    #[arg(long, value_name = "DURATION", value_parser = clock::duration, requires = "wait", allow_negative_numbers = true)]
    pub(super) steady: Option<Duration>,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "Manner")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Manner {
    /// How the command is told its GPUs: by index or by UUID
    #[arg(long, value_name = "FORM", value_enum, default_value_t = GpuEnv::Index)]
    pub(super) gpu_env: GpuEnv,
    /// Stay as the command's parent and hold its claims
    #[arg(long, requires = "command")]
    pub(super) supervise: bool,
    /// Show who was promised what, and nothing else
    #[arg(long, conflicts_with_all = ["command", "wait", "supervise"])]
    pub(super) list_claims: bool,
    /// Keep and see claims in DIR, not in the machine's directory
    #[arg(long, value_name = "DIR", env = "BGTOOLS_CLAIM_DIR", hide_env = true)]
    pub(super) claim_dir: Option<PathBuf>,
    /// The directory of the jobs, where claims are kept when the machine and the session have none
    #[arg(long, value_name = "DIR", env = "BGTOOLS_DIR", hide_env = true)]
    pub(super) dir: Option<PathBuf>,
    /// What a gauge without an answer means: an error, or a limit left out
    #[arg(long, value_name = "MEANING", value_enum, default_value_t = Unknown::Error)]
    pub(super) unknown: Unknown,
    /// How long a GPU or a file system may take to answer
    #[arg(long, value_name = "DURATION", value_parser = positive, default_value = "5s", allow_negative_numbers = true)]
    pub(super) probe_timeout: Duration,
    /// The exit code for closed
    #[arg(short = 'E', long, value_name = "CODE", value_parser = clap::value_parser!(u8).range(1..), default_value_t = 75, allow_negative_numbers = true)]
    pub(super) closed_code: u8,
    /// Exit 255 on a failure of its own, for `ExecCondition=` of systemd
    #[arg(long)]
    pub(super) fail_loud: bool,
    /// Say nothing when the gate is closed
    #[arg(short, long, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Show every check on standard error
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// Print every check as JSON on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// See the machine whose /proc and /sys are below DIR
    #[arg(long, value_name = "DIR", hide = true)]
    pub(super) root: Option<PathBuf>,
}

/// The form of `CUDA_VISIBLE_DEVICES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum GpuEnv {
    /// `0,2`
    Index,
    /// `GPU-…`
    Uuid,
}

/// What a gauge without an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Unknown {
    /// The call fails
    Error,
    /// The limit is left out, and that is said
    Open,
}

/// The default limits of the contract.
const DEFAULT_PERCENT: f64 = 90.0;
const DEFAULT_DISK: u64 = 1 << 30;
const DEFAULT_GPU: u64 = 2 << 30;

impl Limits {
    /// What is asked of the gate; paths without a name mean `here`.
    pub(super) fn demand(&self, here: &std::path::Path) -> Demand {
        let gpus = self.gpus.map(usize::from);
        let path = |path: &Option<PathBuf>| path.clone().unwrap_or_else(|| here.to_owned());
        let mut limits: Vec<Limit> = [
            self.max_cpu.map(Limit::Cpu),
            self.max_mem.map(Limit::Memory),
            self.max_swap.map(Limit::Swap),
            self.max_load.map(Limit::Load),
            self.min_mem.map(Limit::FreeMemory),
            self.min_gpu_mem.filter(|_| gpus.is_none()).map(|bytes| Limit::GpuMemory { bytes, required: true }),
        ]
        .into_iter()
        .flatten()
        .collect();
        limits.extend(self.max_pressure.iter().map(|(kind, most)| Limit::Pressure(*kind, *most)));
        limits.extend(self.min_disk.iter().map(|(bytes, at)| Limit::Disk(*bytes, path(at))));
        limits.extend(self.min_inodes.iter().map(|(count, at)| Limit::Inodes(*count, path(at))));
        let asked = !limits.is_empty() || gpus.is_some() || self.claim_mem.is_some();
        if self.defaults || !asked {
            self.add_defaults(&mut limits, here);
        }
        let cards = gpus.map(|count| Cards { count, bytes: self.min_gpu_mem });
        Demand { limits, cards, memory: self.claim_mem }
    }

    /// What was given by name stands in place of its default.
    fn add_defaults(&self, limits: &mut Vec<Limit>, here: &std::path::Path) {
        let defaults = [
            self.max_cpu.is_none().then_some(Limit::Cpu(DEFAULT_PERCENT)),
            self.max_mem.is_none().then_some(Limit::Memory(DEFAULT_PERCENT)),
            self.min_disk.is_empty().then(|| Limit::Disk(DEFAULT_DISK, here.to_owned())),
            (self.gpus.is_none() && self.min_gpu_mem.is_none())
                .then_some(Limit::GpuMemory { bytes: DEFAULT_GPU, required: false }),
        ];
        limits.extend(defaults.into_iter().flatten());
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    number.parse().ok().filter(|value| (0.0..=100.0).contains(value)).ok_or_else(|| "not a percentage from 0 to 100".into())
}

fn load(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0).ok_or_else(|| "not a load average".into())
}

fn pressure(text: &str) -> Result<(Kind, f64), String> {
    let (kind, most) = text.split_once('=').ok_or("not of the form cpu=PCT, memory=PCT or io=PCT")?;
    let kinds = [Kind::Cpu, Kind::Memory, Kind::Io];
    let kind = kinds.into_iter().find(|known| known.name() == kind).ok_or("the kinds of pressure are cpu, memory and io")?;
    Ok((kind, percent(most)?))
}

fn disk(text: &str) -> Result<(u64, Option<PathBuf>), String> {
    let (bytes, path) = with_path(text)?;
    Ok((size::parse(bytes)?, path))
}

fn inodes(text: &str) -> Result<(u64, Option<PathBuf>), String> {
    let (count, path) = with_path(text)?;
    Ok((count.parse().map_err(|_| "not a number of inodes")?, path))
}

fn with_path(text: &str) -> Result<(&str, Option<PathBuf>), String> {
    match text.split_once(':') {
        Some((_, "")) => Err("no path behind the colon".into()),
        Some((amount, path)) => Ok((amount, Some(path.into()))),
        None => Ok((text, None)),
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    match clock::duration(text)? {
        Duration::ZERO => Err("has to be longer than nothing".into()),
        duration => Ok(duration),
    }
}
