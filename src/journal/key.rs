//! A key: a tuple of texts, and its one spelling in memory.
//!
//! In memory a key is its texts with a NUL between two of them. No text may hold a NUL, so that no two keys share a
//! spelling, and comparing the bytes compares the tuples: the order of `LC_ALL=C sort -t C -k1,1 -k2,2 …`.

use std::fmt::Write as _;

/// Stands between two texts of a key in memory.
pub const BETWEEN: u8 = 0;

/// Why a text can't be part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It isn't UTF-8.
    NotUtf8,
    /// It holds a NUL.
    Nul,
}

impl Refused {
    /// The reason, to follow a name.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotUtf8 => "a key is UTF-8 text, and this isn't",
            Self::Nul => "a key can't hold a NUL",
        }
    }
}

/// Whether `text` may be part of a key.
///
/// # Errors
/// The reason why not.
pub fn checked(text: &[u8]) -> Result<&str, Refused> {
    if memchr::memchr(BETWEEN, text).is_some() {
        return Err(Refused::Nul);
    }
    std::str::from_utf8(text).map_err(|_| Refused::NotUtf8)
}

/// The texts of a key.
pub fn texts(key: &[u8]) -> impl Iterator<Item = &str> {
    // Only texts that were checked make a key, so nothing is ever dropped here.
    key.split(|byte| *byte == BETWEEN).map(|text| std::str::from_utf8(text).unwrap_or_default())
}

/// How many texts the key has.
#[must_use]
pub fn arity(key: &[u8]) -> usize {
    memchr::memchr_iter(BETWEEN, key).count() + 1
}

/// Whether every text is empty: a variable that wasn't set, not an item.
#[must_use]
pub fn is_empty(key: &[u8]) -> bool {
    key.iter().all(|byte| *byte == BETWEEN)
}

/// Whether the text is the digits of an integer as JSON writes it: no sign but a minus, no leading zero.
#[must_use]
pub fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    match digits {
        [] => false,
        [b'0'] => text.len() == 1,
        [first, rest @ ..] => first.is_ascii_digit() && *first != b'0' && rest.iter().all(u8::is_ascii_digit),
    }
}

/// The key as a JSON array. A text stands without quotes where `integers` names its place and it is one.
#[must_use]
pub fn json(key: &[u8], integers: &[usize]) -> String {
    let mut out = String::with_capacity(key.len() + 16);
    for (place, text) in texts(key).enumerate() {
        out.push(if place == 0 { '[' } else { ',' });
        value(&mut out, text, integers.contains(&place));
    }
    out.push(']');
    out
}

/// The key as a JSON object of these fields.
#[must_use]
pub fn object(key: &[u8], fields: &[String], integers: &[usize]) -> String {
    let mut out = String::with_capacity(key.len() + 64);
    for (place, (text, field)) in texts(key).zip(fields).enumerate() {
        out.push(if place == 0 { '{' } else { ',' });
        value(&mut out, field, false);
        out.push(':');
        value(&mut out, text, integers.contains(&place));
    }
    out.push('}');
    out
}

fn value(out: &mut String, text: &str, integer: bool) {
    if integer && is_integer(text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// The key as people type it: its texts with a TAB between; JSON where a text itself holds a TAB or a line break.
#[must_use]
pub fn typed(key: &[u8]) -> String {
    if breaks_lines(key) {
        return json(key, &[]);
    }
    texts(key).collect::<Vec<_>>().join("\t")
}

/// Whether the key can't stand on a line of TAB-separated columns.
#[must_use]
pub fn breaks_lines(key: &[u8]) -> bool {
    memchr::memchr3(b'\t', b'\n', b'\r', key).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_spelling_of_json_is_an_integer() {
        let yes: Vec<&str> = ["0", "7", "-1", "10", "123456789012345678901"].into_iter().filter(|t| is_integer(t)).collect();
        assert_eq!(yes.len(), 5);
        assert!(!["", "-", "00", "-0", "01", "+1", "1.0", "1e3", " 1", "٣"].into_iter().any(is_integer));
    }

    #[test]
    fn bytes_compare_as_tuples_do() {
        let mut keys = vec!["ab\0c", "a\0z", "a", "ab", "a\0b", "a!\0a"];
        keys.sort_unstable();
        assert_eq!(keys, ["a", "a\0b", "a\0z", "a!\0a", "ab", "ab\0c"]);
    }
}
