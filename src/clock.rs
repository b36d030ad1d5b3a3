//! Times as records hold them, durations as people type them.

use std::time::Duration;

use jiff::{Timestamp, Zoned};

/// Now, in the local time zone.
#[must_use]
pub fn now() -> Zoned {
    Zoned::now()
}

/// How long the machine has been up and awake: what every pause and limit is measured by, since no change of the clock
/// moves it (`CLOCK_MONOTONIC`).
#[must_use]
pub fn monotonic() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// How long ago the machine was booted, the time in which it slept included (`CLOCK_BOOTTIME`).
#[must_use]
pub fn since_boot() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// The time of day of a moment of the monotonic clock, as the clock shows it now; with the date where it isn't today.
#[must_use]
pub fn at(moment: Duration) -> String {
    let ahead = moment.saturating_sub(monotonic());
    let now = now();
    let Ok(then) = now.checked_add(ahead) else { return "the end of time".into() };
    let form = if then.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    then.strftime(form).to_string()
}

/// RFC 3339 with offset and milliseconds, as every record holds it.
#[must_use]
pub fn rfc3339(time: &Zoned) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// `YYYYmmdd_HHMMSS` in local time, the tail of an id.
#[must_use]
pub fn stamp(time: &Zoned) -> String {
    time.strftime("%Y%m%d_%H%M%S").to_string()
}

/// Reads a time that a record holds.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// A duration as typed: `90s`, `1h 30m`, or a bare number of seconds as `sleep(1)` takes it.
///
/// # Errors
/// Says why the text is no duration.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|error| format!("{error} (a duration is like 90s, 10m or 1h30m)"))
}

/// A duration for people, at most two units: `1h 4m`, `12s`, `0.3s`.
#[must_use]
pub fn brief(span: Duration) -> String {
    let s = span.as_secs();
    match s {
        0..10 => format!("{:.1}s", span.as_secs_f64()),
        10..60 => format!("{s}s"),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h {:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {:02}h", s / 86400, s % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_seconds() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("-1").is_err() && duration("soon").is_err() && duration("").is_err());
    }

    #[test]
    fn a_brief_duration_has_two_units_at_most() {
        let brief = |ms| super::brief(Duration::from_millis(ms));
        assert_eq!(
            [brief(300), brief(59_900), brief(61_000), brief(3_600_000), brief(90_000_000)],
            ["0.3s", "59s", "1m 01s", "1h 00m", "1d 01h"]
        );
    }

    #[test]
    fn a_record_time_reads_back() {
        let now = now();
        let read = parse(&rfc3339(&now)).unwrap();
        assert_eq!(read.as_millisecond(), now.timestamp().as_millisecond());
    }
}
