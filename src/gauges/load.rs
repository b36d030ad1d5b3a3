//! The load average: how many processes run, want to, or wait for a disk, over the last minute.

use sysinfo::System;

use super::{Gauge, Reading, not_understood, text};

/// The average over one minute.
///
/// # Errors
/// When `/proc/loadavg` can't be read.
pub fn one_minute() -> Gauge<Reading<f64>> {
    let path = "/proc/loadavg";
    // sysinfo gives 0 for what it doesn't understand; an idle machine must not be made of that.
    let first = text(path)?.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    first.filter(|load| load.is_finite()).ok_or_else(|| not_understood(path))?;
    let average = System::load_average().map_err(|error| format!("cannot read '{path}': {error}"))?;
    Ok(Reading { value: average.one, source: path.into() })
}
