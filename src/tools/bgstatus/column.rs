//! The columns that a table can have.

use std::time::Duration;

use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::clock;
use crate::record::{Progress, State};
use crate::state_dir::Observed;
use crate::table::{Cell, Tone};
use crate::text::{Text, command_line};

/// One column, as `-o` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]

pub(super) enum Column {
    Id,
    Name,
    State,
    Exit,
    Pid,
    Run,
    Created,
    Started,
    Ended,
    Elapsed,
    Cpu,
    Peak,
    Progress,
    Reason,
    Info,
    Cmd,
    Cwd,
    Log,
    User,
    Host,
}

impl Column {
    /// The columns of the plain table.
    pub(super) const PLAIN: [Self; 7] = [Self::Id, Self::State, Self::Exit, Self::Started, Self::Elapsed, Self::Peak, Self::Info];

    /// Its head.
    pub(super) const fn head(self) -> &'static str {
        match self {
            Self::Id => "ID",
            Self::Name => "NAME",
            Self::State => "STATE",
            Self::Exit => "EXIT",
            Self::Pid => "PID",
            Self::Run => "RUN",
            Self::Created => "CREATED",
            Self::Started => "STARTED",
            Self::Ended => "ENDED",
            Self::Elapsed => "ELAPSED",
            Self::Cpu => "CPU",
            Self::Peak => "PEAK",
            Self::Progress => "PROGRESS",
            Self::Reason => "REASON",
            Self::Info => "INFO",
            Self::Cmd => "CMD",
            Self::Cwd => "CWD",
            Self::Log => "LOG",
            Self::User => "USER",
            Self::Host => "HOST",
        }
    }

    /// Its cell for a job.
    pub(super) fn cell(self, job: &Observed, progress: Option<&Progress>, now: &Zoned) -> Cell {
        let record = &job.record;
        let text = |value: Option<String>| value.map_or_else(|| "-".into(), Cell::from);
        let time = |value: Option<&str>| text(value.and_then(|value| near(value, now)));
        match self {
            Self::Id => Cell::from(&record.id),
            Self::Name => Cell::from(&record.name),
            Self::State => Cell::toned(job.state.word(), tone(job.state)),
            Self::Exit => text(record.exit.map(|end| end.to_string().trim_start_matches("exit ").to_owned())),
            Self::Pid => text(record.pid.filter(|_| job.is_live()).map(|pid| pid.to_string())),
            Self::Run => Cell::from(record.run.to_string()),
            Self::Created => time(Some(&record.created)),
            Self::Started => time(record.started.as_deref()),
            Self::Ended => time(record.ended.as_deref()),
            Self::Elapsed => text(elapsed(job).map(clock::brief)),
            Self::Cpu => text(ended(job).map(|()| clock::brief(seconds(record.usage.user_s + record.usage.sys_s)))),
            Self::Peak => text(ended(job).map(|()| bytes(record.usage.max_rss_bytes))),
            Self::Progress => text(progress.map(words)),
            Self::Reason => text(record.reason.clone().or_else(|| job.note.clone())),
            Self::Info => Cell::from(info(job, progress)),
            Self::Cmd => Cell::from(command(job)),
            Self::Cwd => record.cwd.as_ref().map_or_else(|| "-".into(), |cwd| Cell::from(cwd.as_os_str())),
            Self::Log => Cell::from(record.log.as_os_str()),
            Self::User => Cell::from(&record.user),
            Self::Host => Cell::from(&record.host),
        }
    }
}

const fn tone(state: State) -> Tone {
    match state {
        State::Running => Tone::Good,
        State::Queued | State::Waiting => Tone::Open,
        State::Succeeded => Tone::Faint,
        State::Cancelled | State::Skipped => Tone::Plain,
        State::Failed | State::TimedOut | State::OomKilled | State::Lost => Tone::Bad,
    }
}

/// Usage is known once the command was reaped.
fn ended(job: &Observed) -> Option<()> {
    job.record.exit.map(drop)
}

fn seconds(s: f64) -> Duration {
    Duration::try_from_secs_f64(s).unwrap_or_default()
}

/// How long it ran, or has been running.
fn elapsed(job: &Observed) -> Option<Duration> {
    if job.record.exit.is_some() {
        return Some(seconds(job.record.usage.wall_s));
    }
    let started = clock::parse(job.record.started.as_deref()?)?;
    let until = if job.is_live() { Timestamp::now() } else { clock::parse(job.record.ended.as_deref()?)? };
    Duration::try_from(until.duration_since(started)).ok()
}

/// What matters most beside the state: why it ended or isn't well, how far it is, else what it does.
fn info(job: &Observed, progress: Option<&Progress>) -> String {
    let note = job.note.clone().or_else(|| job.record.reason.clone());
    let left = job.record.evidence.as_ref().and_then(|evidence| evidence.left_running).filter(|n| *n > 0);
    let left = left.map(|n| format!("{n} of its processes left running"));
    let progress = progress.filter(|_| job.is_live()).map(words);
    let said: Vec<String> = [note, left, progress].into_iter().flatten().collect();
    if said.is_empty() { command(job) } else { said.join("; ") }
}

fn command(job: &Observed) -> String {
    let words: Vec<_> = job.record.cmd.iter().map(Text::as_os_str).collect();
    command_line(&words)
}

/// A job's own words on how far it is.
fn words(progress: &Progress) -> String {
    let percent = progress.percent.filter(|percent| percent.is_finite()).map(|percent| format!("{percent:.0}%"));
    let count = progress.done.zip(progress.total).map(|(done, total)| format!("{done}/{total}"));
    let said: Vec<String> = [percent, count, progress.note.clone()].into_iter().flatten().collect();
    said.join(" ")
}

/// A time without what today makes plain.
fn near(text: &str, now: &Zoned) -> Option<String> {
    let time = clock::parse(text)?.to_zoned(TimeZone::system());
    let format = match (time.date() == now.date(), time.year() == now.year()) {
        (true, _) => "%H:%M:%S",
        (false, true) => "%m-%d %H:%M",
        (false, false) => "%Y-%m-%d",
    };
    Some(time.strftime(format).to_string())
}

/// Bytes for people, in powers of 1024.
fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let mut unit = 0;
    let mut whole = n;
    let mut rest = 0;
    while whole >= 1024 && unit + 1 < UNITS.len() {
        rest = whole % 1024;
        whole /= 1024;
        unit += 1;
    }
    if whole < 10 && unit > 0 {
        format!("{whole}.{}{}", rest * 10 / 1024, UNITS[unit])
    } else {
        format!("{whole}{}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_brief() {
        let sizes = [0, 1023, 1024, 10 << 20, 1_610_612_736, u64::MAX];
        assert_eq!(sizes.map(bytes), ["0B", "1023B", "1.0K", "10M", "1.5G", "16777215T"]);
    }
}
