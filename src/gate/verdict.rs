//! What one check found, and the sum of all.

use serde::{Serialize, Serializer};

use crate::size;

/// A gate's answer. The order is that of their weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// There is room.
    Open,
    /// There is none now.
    Closed,
    /// It can't be said.
    Unknown,
    /// There can never be: no such card in this machine.
    #[serde(rename = "closed")]
    Never,
}

/// A measured value or a limit in its own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// Of a whole.
    Percent(f64),
    /// A load average.
    Load(f64),
    /// Of memory or disk.
    Bytes(u64),
    /// Files that can still be made.
    Inodes(u64),
    /// Cards.
    Gpus(u64),
}

impl Amount {
    /// The unit's name in JSON.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Percent(_) => "percent",
            Self::Load(_) => "load",
            Self::Bytes(_) => "bytes",
            Self::Inodes(_) => "inodes",
            Self::Gpus(_) => "gpus",
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Percent(value) | Self::Load(value) => serializer.serialize_f64((value * 100.0).round() / 100.0),
            Self::Bytes(value) | Self::Inodes(value) | Self::Gpus(value) => serializer.serialize_u64(*value),
        }
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Percent(value) if value.fract() == 0.0 => write!(f, "{value} %"),
            Self::Percent(value) => write!(f, "{value:.1} %"),
            Self::Load(value) => write!(f, "{value:.2}"),
            Self::Bytes(value) => f.write_str(&size::shown(*value)),
            Self::Inodes(1) => write!(f, "1 inode"),
            Self::Inodes(value) => write!(f, "{value} inodes"),
            Self::Gpus(1) => write!(f, "1 GPU"),
            Self::Gpus(value) => write!(f, "{value} GPUs"),
        }
    }
}

/// One limit, held against what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Which limit.
    pub name: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// What was measured.
    pub value: Option<Amount>,
    /// The limit.
    pub limit: Option<Amount>,
    /// The unit of both.
    pub unit: Option<&'static str>,
    /// Where it was read.
    pub source: Option<String>,
    /// The same in words.
    pub reason: String,
}

impl Check {
    /// A check that was made.
    #[must_use]
    pub fn made(name: &'static str, holds: bool, value: Amount, limit: Amount, source: &str, reason: String) -> Self {
        let verdict = if holds { Verdict::Open } else { Verdict::Closed };
        let source = Some(source.to_owned());
        Self { name, verdict, value: Some(value), limit: Some(limit), unit: Some(limit.unit()), source, reason }
    }

    /// At most `limit`; `used` says of what: `in use`.
    #[must_use]
    pub fn at_most(name: &'static str, value: Amount, limit: Amount, source: &str, used: &str) -> Self {
        let holds = match (value, limit) {
            (Amount::Percent(value), Amount::Percent(limit)) | (Amount::Load(value), Amount::Load(limit)) => value <= limit,
            _ => false,
        };
        Self::made(name, holds, value, limit, source, format!("{value}{used}, at most {limit}"))
    }

    /// At least `limit`.
    #[must_use]
    pub fn at_least(name: &'static str, value: Amount, limit: Amount, source: &str, what: &str) -> Self {
        let holds = match (value, limit) {
            (Amount::Bytes(value), Amount::Bytes(limit)) | (Amount::Inodes(value), Amount::Inodes(limit)) => value >= limit,
            _ => false,
        };
        Self::made(name, holds, value, limit, source, format!("{value} free{what}, {limit} wanted"))
    }

    /// A gauge that gave no answer.
    #[must_use]
    pub fn unknown(name: &'static str, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Unknown, ..Self::without_value(name, why) }
    }

    /// A limit that doesn't apply here.
    #[must_use]
    pub fn without_value(name: &'static str, why: impl Into<String>) -> Self {
        let reason = why.into();
        Self { name, verdict: Verdict::Open, value: None, limit: None, unit: None, source: None, reason }
    }

    /// The same check with its limit, where there is a limit and no value.
    #[must_use]
    pub fn of(mut self, limit: Amount) -> Self {
        self.limit = Some(limit);
        self.unit = Some(limit.unit());
        self
    }

    /// For people: what, why, and where it was read.
    #[must_use]
    pub fn line(&self) -> String {
        let source = self.source.as_ref().map_or_else(String::new, |source| format!(" ({source})"));
        format!("{}: {}{source}", self.name, self.reason)
    }
}

/// The sum of all checks: one unknown makes the whole unknown, since a broken gauge must not look like a busy machine.
#[must_use]
pub fn overall(checks: &[Check], skip_unknown: bool) -> Verdict {
    let counted = checks.iter().map(|check| check.verdict).filter(|verdict| !(skip_unknown && *verdict == Verdict::Unknown));
    counted.max().unwrap_or(Verdict::Open)
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Closed, Never, Open, Unknown};
    use super::*;

    #[test]
    fn a_limit_holds_when_it_is_just_met() {
        let percent = |value| Check::at_most("cpu", Amount::Percent(value), Amount::Percent(90.0), "", "").verdict;
        assert_eq!([percent(90.0), percent(90.1), percent(f64::NAN)], [Verdict::Open, Verdict::Closed, Verdict::Closed]);
        let bytes = |value| Check::at_least("disk", Amount::Bytes(value), Amount::Bytes(5), "", "").verdict;
        assert_eq!([bytes(5), bytes(4)], [Verdict::Open, Verdict::Closed]);
    }

    #[test]
    fn unknown_outweighs_closed_unless_it_is_skipped() {
        let checks = |verdicts: &[Verdict]| -> Vec<Check> {
            verdicts.iter().map(|verdict| Check { verdict: *verdict, ..Check::unknown("", "") }).collect()
        };
        assert_eq!(overall(&checks(&[Open, Closed, Unknown]), false), Unknown);
        assert_eq!(overall(&checks(&[Open, Closed, Unknown]), true), Closed);
        assert_eq!(overall(&checks(&[Open, Unknown]), true), Open);
        assert_eq!(overall(&checks(&[Never, Unknown]), true), Never);
        assert_eq!(overall(&[], false), Open);
    }
}
