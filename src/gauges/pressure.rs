//! Pressure: the share of the last ten seconds in which something had to wait for CPU, memory or I/O.

use super::cgroup::{self, Tree};
use super::{Gauge, Reading, not_understood, text, text_if_any};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A CPU.
    Cpu,
    /// Memory: reclaim, swapping, thrashing.
    Memory,
    /// A disk.
    Io,
}

impl Kind {
    /// As the kernel's files and the command line spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
        }
    }
}

/// The higher of the machine's and this process's own group's, in percent.
///
/// # Errors
/// When the machine's can't be read, as with a kernel that keeps no account of it.
pub fn some_avg10(kind: Kind) -> Gauge<Reading<f64>> {
    let path = format!("/proc/pressure/{}", kind.name());
    let machine = parsed(&text(&path)?).ok_or_else(|| not_understood(&path))?;
    let mut highest = Reading { value: machine, source: path };
    if let Some(own) = cgroup::own(Tree::Unified)?.first() {
        let path = own.dir.join(format!("{}.pressure", kind.name()));
        if let Some(text) = text_if_any(&path)? {
            let value = parsed(&text).ok_or_else(|| not_understood(&path))?;
            if value > highest.value {
                highest = Reading { value, source: path.display().to_string() };
            }
        }
    }
    Ok(highest)
}

/// `some avg10=1.23 avg60=…`
fn parsed(text: &str) -> Option<f64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let value: f64 = some.split(' ').find_map(|field| field.strip_prefix("avg10="))?.parse().ok()?;
    value.is_finite().then_some(value)
}
