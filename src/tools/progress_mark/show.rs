//! `show`: done, left, the rate of this session, the time left.
#![expect(clippy::cast_precision_loss, reason = "counts of items and seconds: 2^53 of them is enough")]

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;
use clap::Args as ClapArgs;
use serde_json::json;

use super::{Global, NAME};
use crate::clock;
use crate::entry::{Out, complain};
use crate::exit::Exit;
use crate::journal::{Mark, now};
use crate::progress::{bar, eta_text, rate_text};
use crate::text::shown;

#[derive(ClapArgs)]
pub(super) struct Args {
    /// How many items there are
    #[arg(long, value_name = "N")]
    total: Option<u64>,
}

/// What the marks of this session say. What was done before it, and came from the file, doesn't count.
#[derive(Debug, Default, PartialEq)]
struct Session {
    items: u64,
    seconds: f64,
    /// Items a second, over the session and lately.
    rates: Option<(f64, f64)>,
    /// How long there was nothing, where that is more than three usual gaps.
    stalled: Option<f64>,
}

impl Session {
    fn of(mark: &Mark, now: f64) -> Self {
        let seconds = mark.last - mark.since;
        let rates = (seconds > 0.0 && mark.gap > 0.0).then(|| (mark.items as f64 / seconds, mark.each / mark.gap));
        let silence = now - mark.last;
        let stalled = (rates.is_some() && silence > (3.0 * mark.gap).max(2.0)).then_some(silence);
        Self { items: mark.first + mark.items, seconds, rates, stalled }
    }

    fn eta(&self, left: u64) -> Option<(f64, f64)> {
        let (a, b) = self.rates.filter(|_| self.stalled.is_none())?;
        Some((left as f64 / a.max(b), left as f64 / a.min(b)))
    }
}

pub(super) fn run(global: &Global, args: &Args, out: &mut Out) -> Result<Exit> {
    let place = global.place()?;
    let loaded = global.load(&place)?;
    loaded.keep();
    let done = loaded.set.len();
    let session =
        loaded.mark().filter(|(mark, _)| mark.last > 0.0).map(|(mark, _)| Session::of(&mark, now())).unwrap_or_default();
    let left = args.total.map(|total| total.saturating_sub(done));
    let percent = args.total.filter(|total| *total > 0).map(|total| (100.0 * done as f64 / total as f64).min(100.0));
    let eta = left.filter(|left| *left > 0).and_then(|left| session.eta(left));
    if global.json {
        let object = json!({
            "file": shown(&place.file), "done": done, "total": args.total, "left": left, "percent": percent,
            "session": {"items": session.items, "seconds": session.seconds},
            "rate_per_s": session.rates.map(|(_, lately)| lately), "eta_s": eta.map(|(fast, slow)| [fast, slow]),
            "stalled_s": session.stalled, "saved": loaded.reading.saved, "damaged": loaded.reading.damaged,
        });
        writeln!(out, "{object}")?;
        return Ok(Exit::Done);
    }
    match (args.total, left, percent) {
        (Some(total), Some(left), Some(percent)) => writeln!(out, "done     {done} of {total} ({percent:.1}%)\nleft     {left}")?,
        _ => writeln!(out, "done     {done}")?,
    }
    let mut line = percent.map_or_else(String::new, |percent| format!("[{}] {percent:.0}%", bar(percent, 30)));
    if let Some((overall, lately)) = session.rates {
        let span = clock::brief(Duration::from_secs_f64(session.seconds.max(0.0)));
        writeln!(
            out,
            "rate     {} now, {} in this session ({} items in {span})",
            rate_text(lately),
            rate_text(overall),
            session.items
        )?;
        let _ = write!(line, "  {}", rate_text(lately));
    }
    if let Some(silence) = session.stalled.filter(|_| left != Some(0)) {
        let silence = clock::brief(Duration::from_secs_f64(silence));
        writeln!(out, "stalled  nothing was marked for {silence}")?;
        let _ = write!(line, "  stalled for {silence}");
    }
    if let Some(eta) = eta {
        writeln!(out, "ETA      {}", eta_text(eta))?;
        let _ = write!(line, "  {}", eta_text(eta));
    }
    if !line.is_empty() && io::stderr().is_terminal() && !global.quiet {
        out.flush()?;
        complain(NAME, &line);
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call of `items` each `gap` seconds.
    fn mark(calls: u32, gap: f64, items: u64) -> Mark {
        let mut mark = Mark::default();
        for n in 1..=calls {
            mark.pace(items, 1000.0 + f64::from(n) * gap);
        }
        mark
    }

    #[test]
    fn a_session_has_a_rate_and_a_range() {
        let mut mark = mark(11, 10.0, 5);
        let steady = Session::of(&mark, mark.last);
        assert_eq!((steady.items, steady.rates, steady.stalled), (55, Some((0.5, 0.5)), None));
        assert_eq!(steady.eta(50), Some((100.0, 100.0)));
        // Twice as fast lately: the range opens.
        for _ in 0..10 {
            mark.pace(5, mark.last + 5.0);
        }
        let (fast, slow) = Session::of(&mark, mark.last).eta(100).unwrap();
        assert!(fast < slow && fast > 100.0 && slow < 200.0, "{fast} {slow}");
    }

    #[test]
    fn silence_is_a_stall_after_three_usual_gaps() {
        let mark = mark(5, 10.0, 1);
        assert_eq!(Session::of(&mark, mark.last + 29.0).stalled, None);
        let stalled = Session::of(&mark, mark.last + 31.0);
        assert!(stalled.stalled.is_some() && stalled.eta(1).is_none());
    }

    #[test]
    fn a_long_pause_begins_a_new_session() {
        let mut mark = mark(5, 10.0, 1);
        mark.pace(7, mark.last + 7200.0);
        let session = Session::of(&mark, mark.last);
        assert_eq!((session.items, session.rates), (7, None));
    }
}
