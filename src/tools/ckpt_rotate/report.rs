//! How decisions and verdicts are printed.

use std::io::Write;

use serde::Serialize;

use crate::checkpoint::plan::{Action, Decision};
use crate::checkpoint::scan::Nanos;
use crate::checkpoint::stock::Known;
use crate::checkpoint::verdict::{Proof, Verdict};
use crate::text::{Text, shown};

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
    reasons: Option<&'a [String]>,
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
            name: known.unit.name.as_str().into(),
            series: known.unit.series.as_str().into(),
            step: known.unit.step,
            action: decision.map(|decision| decision.action),
            reasons: decision.map(|decision| decision.reasons.as_slice()),
            verdict: judgement.verdict,
            proof: judgement.proof,
            layout: judgement.layout,
            why: &judgement.why,
            notes: &judgement.notes,
            size_bytes: known.facts.size,
            saved: time(known.facts.saved),
        }
    }

    pub(super) fn print(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        writeln!(out)?;
        Ok(())
    }
}

fn time(nanos: Nanos) -> String {
    let time = jiff::Timestamp::from_nanosecond(nanos).unwrap_or_default();
    crate::clock::rfc3339(&time.to_zoned(jiff::tz::TimeZone::system()))
}

/// One line of a plan.
pub(super) fn decision(out: &mut dyn Write, known: &Known, decision: &Decision) -> anyhow::Result<()> {
    let action = match decision.action {
        Action::Keep => "keep",
        Action::Remove => "remove",
        Action::Leave => "leave",
    };
    writeln!(out, "{action:<7} {}  {}", shown(&known.unit.name), shown(decision.reasons.join("; ")))?;
    Ok(())
}

/// A verdict on a line: name, verdict, how far the checks went or what is wrong.
pub(super) fn verdict(out: &mut dyn Write, known: &Known, width: usize) -> anyhow::Result<()> {
    let judgement = &known.judgement;
    let name = shown(&known.unit.name);
    write!(out, "{name:<width$}  {:<10}  {:>9}  ", judgement.verdict, bytes(known.facts.size))?;
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
