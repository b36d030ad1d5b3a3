//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser, ValueEnum};

use crate::checkpoint::plan::{Best, Order, Policy, calendar::Period};
use crate::clock;

/// Keep the newest good checkpoints of a directory and remove the rest.
#[derive(Debug, Parser)]
#[command(
    name = "ckpt-rotate",
    version,
    group = ArgGroup::new("action").args(["save", "latest", "verify", "check", "make_room", "apply", "undo", "pin", "unpin", "hold"]),
)]
pub struct Args {
    /// The directory of checkpoints
    #[arg(value_name = "DIR", env = "CKPT_DIR", hide_env = true)]
    pub dir: Option<PathBuf>,

    /// Keep the newest N good checkpoints of each series
    #[arg(short, long, value_name = "N", value_parser = count, help_heading = "What to keep")]
    pub keep: Option<u64>,
    /// Keep every checkpoint whose step is a multiple of STEPS
    #[arg(long, value_name = "STEPS", value_parser = count, help_heading = "What to keep")]
    pub keep_every: Option<u64>,
    /// Keep the newest of each of the last N hours that have any
    #[arg(long, value_name = "N", value_parser = count, help_heading = "What to keep")]
    pub keep_hourly: Option<u64>,
    /// Keep the newest of each of the last N days that have any
    #[arg(long, value_name = "N", value_parser = count, help_heading = "What to keep")]
    pub keep_daily: Option<u64>,
    /// Keep the newest of each of the last N weeks that have any
    #[arg(long, value_name = "N", value_parser = count, help_heading = "What to keep")]
    pub keep_weekly: Option<u64>,
    /// Keep the newest of each of the last N months that have any
    #[arg(long, value_name = "N", value_parser = count, help_heading = "What to keep")]
    pub keep_monthly: Option<u64>,
    /// Keep those at most this much older than the newest
    #[arg(long, value_name = "DURATION", value_parser = span, help_heading = "What to keep")]
    pub keep_within: Option<Duration>,
    /// Keep the best K by --metric
    #[arg(long, value_name = "K", value_parser = count, requires = "metric", help_heading = "What to keep")]
    pub keep_best: Option<u64>,
    /// The measurement of --keep-best, and which end of it is good
    #[arg(long, value_name = "NAME:min|max", value_parser = metric, requires = "keep_best", help_heading = "What to keep")]
    pub metric: Option<(String, Best)>,
    /// Remove more, oldest first, until all take at most SIZE
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "What to keep")]
    pub max_size: Option<u64>,
    /// Remove more, oldest first, until SIZE is free on the file system
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "What to keep")]
    pub min_free: Option<u64>,
    /// Remove broken checkpoints too, where a newer good one exists
    #[arg(long, help_heading = "What to keep")]
    pub drop_broken: bool,
    /// What orders a series where its numbers and times disagree
    #[arg(long, value_name = "number|time", help_heading = "What to keep")]
    pub order: Option<OrderBy>,

    /// Save an atomic snapshot of a file or directory, then rotate if asked to
    #[arg(long, value_name = "SRC", help_heading = "Actions")]
    pub save: Option<PathBuf>,
    /// Print the newest good checkpoint
    #[arg(long, help_heading = "Actions")]
    pub latest: bool,
    /// Judge every checkpoint
    #[arg(long, help_heading = "Actions")]
    pub verify: bool,
    /// Say whether there are enough good and recent checkpoints
    #[arg(long, help_heading = "Actions")]
    pub check: bool,
    /// Free SIZE for the next checkpoint, or as much as the last ones took
    #[arg(long, value_name = "SIZE|auto", value_parser = room, help_heading = "Actions")]
    pub make_room: Option<Room>,
    /// Write what would be removed to FILE, and remove nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["action", "dry_run"], help_heading = "Actions")]
    pub plan: Option<PathBuf>,
    /// Remove what the plan in FILE says, if nothing of it changed
    #[arg(long, value_name = "FILE", help_heading = "Actions")]
    pub apply: Option<PathBuf>,
    /// Bring back what is still in the trash
    #[arg(long, help_heading = "Actions")]
    pub undo: bool,
    /// Never remove NAME
    #[arg(long, value_name = "NAME", help_heading = "Actions")]
    pub pin: Option<String>,
    /// Take back a --pin
    #[arg(long, value_name = "NAME", help_heading = "Actions")]
    pub unpin: Option<String>,
    /// Run CMD, and let no rotation remove NAME meanwhile
    #[arg(long, value_name = "NAME", requires = "cmd", help_heading = "Actions")]
    pub hold: Option<String>,

    /// Append this to the snapshot's name
    #[arg(long, value_name = "TAG", value_parser = tag, requires = "save", help_heading = "Saving")]
    pub tag: Option<String>,
    /// Make the link 'latest' point at the snapshot
    #[arg(long, requires = "save", help_heading = "Saving")]
    pub link_latest: bool,
    /// Link files instead of copying them
    #[arg(long, requires = "save", help_heading = "Saving")]
    pub hardlink: bool,

    /// With --check: how old the newest good one may be
    #[arg(long, value_name = "DURATION", value_parser = span, requires = "check", help_heading = "Checking")]
    pub max_age: Option<Duration>,
    /// With --check: how many good ones there must be
    #[arg(long, value_name = "N", value_parser = count, requires = "check", help_heading = "Checking")]
    pub min_valid: Option<u64>,

    /// Take only names that match GLOB for checkpoints (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub pattern: Vec<String>,
    /// How much is read to judge a checkpoint
    #[arg(long, value_enum, value_name = "quick|deep|off", default_value_t = Level::Quick, hide_default_value = true, hide_possible_values = true)]
    pub level: Level,
    /// Leave alone what is younger than this
    #[arg(long, value_name = "DURATION", value_parser = clock::duration, default_value = "2m")]
    pub min_age: Duration,
    /// Leave the unlinking to the next run without --defer
    #[arg(long, conflicts_with_all = ["max_size", "min_free", "make_room", "trash_for"])]
    pub defer: bool,
    /// Keep what was removed in the trash for so long
    #[arg(long, value_name = "DURATION", value_parser = span, conflicts_with_all = ["max_size", "min_free", "make_room"])]
    pub trash_for: Option<Duration>,
    /// Show what would happen, and do nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print one JSON object a checkpoint
    #[arg(long)]
    pub json: bool,
    /// Print what is kept and removed, and why
    #[arg(short, long)]
    pub verbose: bool,
    /// Don't name what was left alone
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Lock a directory on a network file system all the same
    #[arg(long)]
    pub unsafe_lock: bool,

    /// The command of --hold
    #[arg(last = true, value_name = "CMD", requires = "hold")]
    pub cmd: Vec<OsString>,
}

/// How much is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Structure.
    Quick,
    /// Every byte that a checksum covers.
    Deep,
    /// Nothing; for looking at a policy.
    Off,
}

/// What decides where numbers and times disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OrderBy {
    /// The numbers in the names.
    Number,
    /// The times of the files.
    Time,
}

/// How much room is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// So many bytes.
    Bytes(u64),
    /// As much as the median of the last five took.
    Forecast,
}

impl Args {
    /// The policy that the options make.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let periods = [
            (Period::Hour, self.keep_hourly),
            (Period::Day, self.keep_daily),
            (Period::Week, self.keep_weekly),
            (Period::Month, self.keep_monthly),
        ];
        Policy {
            last: self.keep,
            every: self.keep_every,
            periods: periods.into_iter().filter_map(|(period, count)| Some((period, count?))).collect(),
            within: self.keep_within,
            best: self.keep_best.zip(self.metric.clone()).map(|(count, (name, best))| (count, name, best)),
            max_size: self.max_size,
            min_free: self.min_free,
            drop_broken: self.drop_broken,
            order: match self.order {
                None => Order::Agreed,
                Some(OrderBy::Number) => Order::Number,
                Some(OrderBy::Time) => Order::Time,
            },
        }
    }

    /// Whether an action other than rotation was asked for.
    #[must_use]
    pub const fn has_action(&self) -> bool {
        let flags = self.latest || self.verify || self.check || self.undo;
        let named = self.save.is_some() || self.make_room.is_some() || self.apply.is_some() || self.hold.is_some();
        flags || named || self.pin.is_some() || self.unpin.is_some()
    }

    /// Whether any option says what to keep or how much may stay.
    #[must_use]
    pub fn has_policy(&self) -> bool {
        let policy = self.policy();
        policy != Policy { drop_broken: policy.drop_broken, order: policy.order, ..Policy::default() }
    }
}

/// A number of checkpoints or steps: 1 at least, since 0 means "none" to one reader and "all" to another.
fn count(text: &str) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(0) => Err("0 would keep nothing; give 1 or more".to_owned()),
        Ok(count) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(count),
        _ => Err("it must be a whole number, 1 or more".to_owned()),
    }
}

fn span(text: &str) -> Result<Duration, String> {
    match clock::duration(text)? {
        Duration::ZERO => Err("it must be longer than nothing".to_owned()),
        span => Ok(span),
    }
}

/// Bytes as people write them; the letters count in 1024s, as `du -h` does.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || "a size is like 500M, 200G or 1.5T".to_owned();
    let upper = text.trim().to_ascii_uppercase();
    let number = upper.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match &upper[number.len()..] {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 1,
        "M" | "MB" | "MIB" => 2,
        "G" | "GB" | "GIB" => 3,
        "T" | "TB" | "TIB" => 4,
        "P" | "PB" | "PIB" => 5,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits =
        |text: &str| if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse::<u64>().ok() };
    let unit = 1024_u64.pow(power);
    let parts = digits(whole).zip(digits(fraction).filter(|_| fraction.len() <= 6)).ok_or_else(wrong)?;
    let scale = 10_u64.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let part = u128::from(parts.1) * u128::from(unit) / u128::from(scale);
    let total = u128::from(parts.0) * u128::from(unit) + part;
    match u64::try_from(total) {
        Ok(0) => Err("it must be more than nothing".to_owned()),
        Ok(size) if i64::try_from(size).is_ok() => Ok(size),
        _ => Err("it is too large".to_owned()),
    }
}

fn room(text: &str) -> Result<Room, String> {
    if text == "auto" { Ok(Room::Forecast) } else { size(text).map(Room::Bytes) }
}

fn metric(text: &str) -> Result<(String, Best), String> {
    match text.rsplit_once(':') {
        Some((name, "min")) if !name.is_empty() => Ok((name.to_owned(), Best::Min)),
        Some((name, "max")) if !name.is_empty() => Ok((name.to_owned(), Best::Max)),
        _ => Err("say which end is good: NAME:min or NAME:max".to_owned()),
    }
}

/// A tag follows the rule of job names.
fn tag(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good = (1..=200).contains(&text.len()) && !text.starts_with(['.', '-']) && text.chars().all(fits);
    if good {
        Ok(text.to_owned())
    } else {
        Err("a tag is 1 to 200 bytes of letters, digits, '.', '_' and '-', not beginning with '.' or '-'".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_count_in_1024s() {
        assert_eq!(size("200G"), Ok(200 << 30));
        assert_eq!(size("1.5k"), Ok(1536));
        assert_eq!(size("7"), Ok(7));
        for wrong in ["", "0", "-1", "G", "1..5G", "1e9", "99999999999G", "nan", "inf", "1 G", "0.0T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_number_is_permission() {
        for wrong in ["0", "-1", "+5", "", "all", "NaN", "1.5", "99999999999999999999", "0x5", " 5", "00"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
        assert_eq!(count("5"), Ok(5));
        assert!(metric("loss").is_err() && metric(":min").is_err() && metric("eval:loss:max").is_ok());
        assert!(span("0s").is_err() && span("-1h").is_err());
    }

    proptest! {
        #[test]
        fn a_tag_cannot_leave_the_directory(text in ".{0,30}") {
            if let Ok(tag) = tag(&text) {
                prop_assert!(!tag.contains('/') && !tag.starts_with('.') && !tag.chars().any(char::is_control));
            }
        }
    }
}
