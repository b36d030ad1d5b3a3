//! What people and programs are told.

use std::io::{ErrorKind, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::NAME;
use super::args::{Manner, Unknown};
use crate::clock;
use crate::entry::{Out, complain};
use crate::gate::queue::Ticket;
use crate::gate::{Check, Look, Verdict};
use crate::text::shown;

/// How much is said, and what was said last.
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Show {
    quiet: bool,
    verbose: bool,
    json: bool,
    skip_unknown: bool,
    started: Instant,
    /// The reasons as they were last told, by name.
    told: Vec<String>,
    /// The line that is redrawn on a terminal.
    line: Option<String>,
    terminal: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    verdict: Verdict,
    checks: &'a [Check],
}

impl Show {
    pub(super) fn new(manner: &Manner) -> Self {
        Self {
            quiet: manner.quiet,
            verbose: manner.verbose,
            json: manner.json,
            skip_unknown: manner.unknown == Unknown::Open,
            started: Instant::now(),
            told: Vec::new(),
            line: None,
            terminal: !manner.quiet && std::io::stderr().is_terminal(),
        }
    }

    /// The last look: every check with `-v` or `--json`, else what keeps the gate from being open.
    pub(super) fn verdict(&mut self, look: &Look, out: &mut Out) -> anyhow::Result<()> {
        self.clear();
        if self.json {
            let line = serde_json::to_string(&Report { verdict: look.verdict, checks: &look.checks })?;
            // Nobody has to read it: the exit code is the answer.
            match writeln!(out, "{line}").and_then(|()| out.flush()) {
                Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
                _ => {}
            }
        }
        for check in &look.checks {
            if let Some(line) = self.said_of(check) {
                complain(NAME, &line);
            }
        }
        Ok(())
    }

    fn said_of(&self, check: &Check) -> Option<String> {
        let line = check.line();
        match check.verdict {
            Verdict::Unknown if self.skip_unknown => Some(format!("left out: {line}")),
            Verdict::Unknown => Some(format!("unknown: {line}")),
            Verdict::Never => Some(line),
            _ if self.verbose => Some(format!("{}: {line}", if check.verdict == Verdict::Open { "open" } else { "closed" })),
            Verdict::Closed if !self.quiet => Some(line),
            _ => None,
        }
    }

    /// The gate was closed, or not open for long enough: tells the reasons when they aren't those told last.
    pub(super) fn waiting(&mut self, look: &Look) {
        let closed: Vec<&Check> = look.checks.iter().filter(|check| check.verdict == Verdict::Closed).collect();
        let names = closed.iter().map(|check| check.name.to_owned()).collect();
        let lines = if closed.is_empty() {
            vec!["open, waiting for it to stay so".to_owned()]
        } else {
            closed.iter().map(|check| check.line()).collect()
        };
        self.tell(names, &lines);
    }

    /// Others came first.
    pub(super) fn behind(&mut self, ahead: &[Ticket]) {
        let pids: Vec<String> = ahead.iter().map(|ticket| format!("pid {}", ticket.holder.pid)).collect();
        self.tell(vec![format!("behind {}", pids.join(" "))], &[format!("waiting behind {}", pids.join(", "))]);
    }

    /// The one before was let in a moment ago, and what it takes can't be seen yet.
    pub(super) fn settling(&mut self) {
        self.tell(vec!["settling".into()], &["first in line, waiting for the one before to show its load".into()]);
    }

    /// The time is up.
    pub(super) fn gave_up(&mut self, limit: Duration) {
        self.clear();
        if !self.quiet {
            complain(NAME, &format!("gave up after {}", clock::brief(limit)));
        }
    }

    fn tell(&mut self, names: Vec<String>, lines: &[String]) {
        if self.terminal {
            self.line = Some(lines.join("; "));
        } else if names != self.told && !self.quiet {
            for line in lines {
                complain(NAME, line);
            }
        }
        self.told = names;
    }

    /// How long to sleep at most before the line on a terminal has to be drawn anew.
    pub(super) fn nap(&self) -> Option<Duration> {
        self.terminal.then_some(Duration::from_secs(1))
    }

    /// Draws the line with the time left.
    pub(super) fn draw(&self, deadline: Option<Instant>) {
        let Some(line) = &self.line else { return };
        let waited = clock::brief(self.started.elapsed());
        let left = deadline.map(|at| format!(", {} left", clock::brief(at.saturating_duration_since(Instant::now()))));
        let text = shown(format!("{NAME}: waiting {waited}{}: {line}", left.unwrap_or_default()));
        let columns = crate::sys::terminal_columns(std::io::stderr()).filter(|columns| *columns > 0);
        let width = columns.unwrap_or(80).saturating_sub(1);
        let _ = write!(std::io::stderr(), "\r\x1b[K{}", text.chars().take(width).collect::<String>());
    }

    fn clear(&mut self) {
        if self.line.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
