//! Bytes that people and files give us: kept without loss in JSON, shown without harm on a terminal.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A string of any bytes. In JSON it is a string where it is UTF-8, else `{"base64": "…"}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(pub OsString);

impl Text {
    /// The bytes as the system calls take them.
    #[must_use]
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

impl<T: Into<OsString>> From<T> for Text {
    fn from(value: T) -> Self {
        Self(value.into())
    }
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    base64: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stored {
    Plain(String),
    Encoded(Encoded),
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.to_str() {
            Some(plain) => serializer.serialize_str(plain),
            None => Encoded { base64: STANDARD.encode(self.0.as_bytes()) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Stored::deserialize(deserializer)? {
            Stored::Plain(plain) => Ok(Self(plain.into())),
            Stored::Encoded(encoded) => {
                let bytes = STANDARD.decode(encoded.base64).map_err(D::Error::custom)?;
                Ok(Self(OsString::from_vec(bytes)))
            }
        }
    }
}

/// For `#[serde(with)]`: a path as [`Text`], where serde would refuse bytes that aren't UTF-8.
pub mod as_text {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Text;

    /// Writes it.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        Text::from(path).serialize(serializer)
    }

    /// Reads it.
    ///
    /// # Errors
    /// The deserializer's.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Text::deserialize(deserializer).map(|text| text.0.into())
    }
}

/// Text that is safe on a terminal and in a log: control characters, the invisible ones that reorder a line, and bytes
/// that aren't UTF-8 are written as escapes.
#[must_use]
pub fn shown(text: impl AsRef<OsStr>) -> String {
    let mut out = String::new();
    show(text.as_ref(), &mut out);
    out
}

/// The same, added to a line.
pub fn show(text: impl AsRef<OsStr>, out: &mut String) {
    let bytes = text.as_ref().as_bytes();
    // Nearly all that is shown is plain, and lists of it are long.
    let plain = bytes.iter().fold(true, |plain, b| plain & matches!(b, b' '..=b'~'));
    if let (true, Ok(plain)) = (plain, std::str::from_utf8(bytes)) {
        return out.push_str(plain);
    }
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                c if c.is_control() || reorders(c) => {
                    let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

/// Line separators, and the marks of the Unicode bidirectional algorithm that can make a line read backwards.
const fn reorders(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A command as a person could type it into a shell; each word is shown harmless.
#[must_use]
pub fn command_line<S: AsRef<OsStr>>(words: &[S]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word.as_ref())).collect();
    quoted.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_-+=:,./@%".contains(b) || *b >= 0x80;
    let shown = shown(word);
    if !word.is_empty() && word.as_bytes().iter().all(plain) { shown } else { format!("'{}'", shown.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_survive_json(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = Text(OsString::from_vec(bytes));
            let json = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text);
        }

        #[test]
        fn nothing_shown_controls_a_terminal(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!shown(OsString::from_vec(bytes)).chars().any(|c| c.is_control() || reorders(c)));
        }
    }

    #[test]
    fn words_are_quoted_only_where_a_shell_needs_it() {
        assert_eq!(command_line(&["python", "a b", "it's", ""]), r"python 'a b' 'it'\''s' ''");
    }
}
