//! How decisions and verdicts are printed.

use std::io::Write;

use serde::Serialize;

use crate::checkpoint::plan::{Action, Decision, Reason};
use crate::checkpoint::scan::Nanos;
use crate::checkpoint::stock::Known;
use crate::checkpoint::verdict::{Proof, Verdict};
use crate::text::{Text, show, shown};

/// A checkpoint as `--json` prints it.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    name: Text,
    series: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons: Option<&'a [Reason]>,
    verdict: Verdict,
    proof: Proof,
    layout: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    notes: &'a [String],
    size_bytes: u64,
    saved: String,
}

impl<'a> Row<'a> {
    pub(super) fn new(known: &'a Known, decision: Option<&'a Decision>) -> Self {
        let judgement = &known.judgement;
        Self {
            name: (*known.unit.name).into(),
            series: (*known.unit.series).into(),
            step: known.unit.key.step(),
            action: decision.map(|decision| decision.action),
            reasons: decision.map(|decision| &*decision.reasons),
            verdict: judgement.verdict,
            proof: judgement.proof,
            layout: judgement.layout,
            why: &judgement.why,
            notes: &judgement.notes,
            size_bytes: known.size,
            saved: time(known.saved),
        }
    }

    pub(super) fn line(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }
}

fn time(nanos: Nanos) -> String {
    let time = jiff::Timestamp::from_nanosecond(nanos).unwrap_or_default();
    crate::clock::rfc3339(&time.to_zoned(jiff::tz::TimeZone::system()))
}

/// One line of a plan.
pub(super) fn decision(line: &mut String, known: &Known, decision: &Decision) {
    line.push_str(match decision.action {
        Action::Keep => "keep    ",
        Action::Remove => "remove  ",
        Action::Leave => "leave   ",
    });
    show(&*known.unit.name, line);
    for (place, reason) in decision.reasons.iter().enumerate() {
        line.push_str(if place == 0 { "  " } else { "; " });
        show(&**reason, line);
    }
    line.push('\n');
}

/// A verdict on a line: name, verdict, how far the checks went or what is wrong.
pub(super) fn verdict(out: &mut dyn Write, known: &Known, width: usize) -> anyhow::Result<()> {
    let judgement = &known.judgement;
    let name = shown(&*known.unit.name);
    write!(out, "{name:<width$}  {:<10}  {:>9}  ", judgement.verdict, bytes(known.size))?;
    if judgement.verdict == Verdict::Good {
        write!(out, "{} ({})", judgement.proof, judgement.layout)?;
    } else {
        write!(out, "{}", shown(&judgement.why))?;
    }
    for note in &judgement.notes {
        write!(out, "; {}", shown(note))?;
    }
    writeln!(out)?;
    Ok(())
}

/// Bytes for people.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "K", "M", "G", "T", "P"];
    let mut unit = 0;
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = count as f64;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count}B") } else { format!("{value:.1}{}", UNITS[unit]) }
}
