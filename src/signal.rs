//! Signals by name and number.

use nix::sys::signal::Signal;

/// `SIGTERM`, or `signal 40` for one that has no name.
#[must_use]
pub fn name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

/// A signal as people give it to `kill(1)`: `TERM`, `SIGTERM`, `term` or `15`.
///
/// # Errors
/// Says that there is no such signal.
pub fn parse(text: &str) -> Result<i32, String> {
    let upper = text.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    let number = match text.parse::<i32>() {
        Ok(number) => Some(number).filter(|n| (1..=64).contains(n)),
        Err(_) => full.parse::<Signal>().ok().map(|signal| signal as i32),
    };
    number.ok_or_else(|| "no such signal (one is like TERM, INT or 15)".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_read_as_kill_reads_it() {
        assert_eq!([parse("TERM"), parse("sigterm"), parse("15")], [Ok(15), Ok(15), Ok(15)]);
        assert!(["", "0", "65", "-9", "TERMX"].iter().all(|text| parse(text).is_err()));
        assert_eq!(name(9), "SIGKILL");
    }
}
