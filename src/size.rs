//! Sizes as people type and read them.

/// The units by their spelling in lower case: a bare letter and `iB` are powers of 1024, `B` after a letter powers of 1000.
const UNITS: [(&str, u64); 17] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
    ("p", 1 << 50),
    ("pib", 1 << 50),
    ("pb", 1_000_000_000_000_000),
];

/// Reads a size in bytes: `2G` and `2GiB` are 2^31, `2GB` is 2·10^9, `1.5G` and a bare number of bytes are fine.
///
/// # Errors
/// Says why the text is no size.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = |why: &str| format!("{why} (a size is like 500M, 2G, 2GiB or 2GB)");
    let text = text.trim();
    if text.starts_with('-') {
        return Err(wrong("a size can't be negative"));
    }
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    if !number.contains(|c: char| c.is_ascii_digit()) {
        return Err(wrong("no number"));
    }
    let unit = unit.trim().to_ascii_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or_else(|| wrong("unknown unit"))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong("the number is too large"))? };
    let bytes = whole.checked_mul(factor).ok_or_else(|| wrong("the size is too large"))?;
    bytes.checked_add(part(fraction, factor).ok_or_else(|| wrong("no number"))?).ok_or_else(|| wrong("the size is too large"))
}

/// The digits behind a decimal point as a share of `factor`, rounded down. Digits past the 15th are below a byte.
fn part(digits: &str, factor: u64) -> Option<u64> {
    let digits = digits.get(..15).unwrap_or(digits);
    if digits.is_empty() {
        return Some(0);
    }
    let numerator = u128::from(digits.parse::<u64>().ok()?) * u128::from(factor);
    u64::try_from(numerator / 10_u128.pow(u32::try_from(digits.len()).ok()?)).ok()
}

/// A size for people: `512 MiB`, `1.5 GiB`, `17 bytes`. Rounded down, so that a limit just missed never looks met.
#[must_use]
pub fn shown(bytes: u64) -> String {
    const NAMES: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let power = usize::try_from(bytes.ilog2() / 10).unwrap_or(1).min(NAMES.len());
    let unit = 1_u64 << (10 * power);
    let (whole, tenth) = (bytes / unit, bytes % unit * 10 / unit);
    let name = NAMES[power - 1];
    if tenth == 0 || whole >= 100 { format!("{whole} {name}") } else { format!("{whole}.{tenth} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_powers_of_1024_unless_written_as_si() {
        let sizes = ["2G", "2GiB", "2gib", "2GB", "500M", "1.5k", "42", "0", "7 MiB", "1.9999999999999999999K"].map(parse);
        let expected = [2 << 30, 2 << 30, 2 << 30, 2_000_000_000, 500 << 20, 1536, 42, 0, 7 << 20, 2047].map(Ok::<u64, String>);
        assert_eq!(sizes, expected);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "-1", "1X", "NaN", "inf", "G", ".", "1e3", "1..2", "99999999999999999999", "99999999P", "0x10", "1.2.3G"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_with_at_most_one_decimal() {
        assert_eq!(
            [0, 1023, 1024, 1536, 300 << 20, (1 << 30) - 1].map(shown),
            ["0 bytes", "1023 bytes", "1 KiB", "1.5 KiB", "300 MiB", "1023 MiB"]
        );
    }

    proptest! {
        #[test]
        fn a_shown_size_is_never_more_than_the_size(bytes in any::<u64>()) {
            let text = shown(bytes).replace(" bytes", "");
            prop_assert!(parse(&text).unwrap() <= bytes);
        }
    }
}
