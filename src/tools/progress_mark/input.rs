//! Keys out of what people type and pipe in: columns of text, or JSON Lines.

use clap::Args as ClapArgs;

use super::context::usage;
use crate::exit::{Exit, Failure};
use crate::journal::key::{self, BETWEEN, Refused};
use crate::journal::{Header, record};
use crate::text::shown;

/// How keys are written.
#[derive(ClapArgs, Clone, Default)]
pub(super) struct InputArgs {
    /// The columns that make the key, as in cut(1) but in the order given: 1,3 or 2-4
    #[arg(id = "columns", short = 'k', long = "key", value_name = "LIST")]
    columns: Option<String>,
    /// What separates columns: one character [default: TAB]
    #[arg(short = 't', long, value_name = "C")]
    separator: Option<String>,
    /// Keys are JSON Lines: objects with the key's fields, or lists
    #[arg(long, conflicts_with_all = ["columns", "separator"])]
    jsonl: bool,
}

/// Takes keys out of lines.
pub(super) struct Keys {
    how: How,
    /// How many texts a key has, where the header says it.
    arity: Option<usize>,
}

enum How {
    Columns { separator: u8, picked: Option<Vec<(usize, usize)>> },
    Json { fields: Vec<String> },
}

/// Why a line has no key.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It has no column of this number.
    NoColumn(usize),
    /// It has another number of fields than the journal's key.
    Arity(usize, usize),
    /// A text can't be part of a key.
    Text(Refused),
    /// It isn't JSON with a key.
    Json(&'static str),
}

impl Wrong {
    /// The failure; `line` says which line or argument it is.
    pub(super) fn failure(&self, line: &str) -> anyhow::Error {
        let (exit, reason) = match self {
            Self::NoColumn(column) => (Exit::Broken, format!("it has no column {column}")),
            Self::Arity(has, wants) => (Exit::Broken, format!("it has {has} fields, and the journal's key has {wants}")),
            Self::Text(refused) => (Exit::Usage, refused.reason().to_owned()),
            Self::Json(why) => (Exit::Broken, (*why).to_owned()),
        };
        Failure::new(exit, format!("cannot use {line}: {reason}")).into()
    }
}

impl InputArgs {
    /// The way to take keys for a journal with this header.
    pub(super) fn keys(&self, header: &Header, fields: Option<&[String]>) -> anyhow::Result<Keys> {
        let named = header.fields.as_deref().or(fields);
        let how = if self.jsonl {
            let fields =
                fields.or(named).ok_or_else(|| usage("--jsonl needs the key's fields: give --fields, the journal names none"))?;
            How::Json { fields: fields.to_vec() }
        } else {
            let separator = match self.separator.as_deref().map(str::as_bytes) {
                None | Some(b"\\t") => b'\t',
                Some([byte]) if *byte != BETWEEN && *byte != b'\n' => *byte,
                Some(_) => {
                    return Err(usage(format!(
                        "-t takes one character, not '{}'",
                        shown(self.separator.as_deref().unwrap_or(""))
                    )));
                }
            };
            How::Columns { separator, picked: self.columns.as_deref().map(columns).transpose()? }
        };
        Ok(Keys { how, arity: named.map(<[String]>::len) })
    }

    pub(super) const fn is_jsonl(&self) -> bool {
        self.jsonl
    }
}

impl Keys {
    /// Takes the key out of one line, without its line break.
    pub(super) fn take(&self, line: &[u8], key: &mut Vec<u8>) -> Result<(), Wrong> {
        key.clear();
        self.append(line, key)
    }

    /// Appends the key to what is in `key` already; after an error that is garbage.
    pub(super) fn append(&self, line: &[u8], key: &mut Vec<u8>) -> Result<(), Wrong> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let start = key.len();
        match &self.how {
            How::Json { fields } => {
                let mut own = Vec::new();
                let line = key::checked(line).map_err(Wrong::Text)?;
                record::parse_key(line, fields, &mut own).map_err(Wrong::Json)?;
                key.extend_from_slice(&own);
            }
            How::Columns { separator, picked: None } => {
                if memchr::memchr(BETWEEN, line).is_some() {
                    return Err(Wrong::Text(Refused::Nul));
                }
                key.extend_from_slice(line);
                for byte in &mut key[start..] {
                    *byte = if *byte == *separator { BETWEEN } else { *byte };
                }
            }
            How::Columns { separator, picked: Some(picked) } => {
                for (nth, range) in picked.iter().enumerate() {
                    if nth > 0 {
                        key.push(BETWEEN);
                    }
                    pick(line, *separator, *range, key)?;
                }
            }
        }
        let own = &key[start..];
        // ASCII is by far the usual case.
        if !own.is_ascii() && std::str::from_utf8(own).is_err() {
            return Err(Wrong::Text(Refused::NotUtf8));
        }
        match self.arity {
            Some(wants) if key::arity(own) != wants => Err(Wrong::Arity(key::arity(own), wants)),
            _ => Ok(()),
        }
    }
}

/// Appends columns `from` to `to`, counted from 1.
fn pick(line: &[u8], separator: u8, (from, to): (usize, usize), key: &mut Vec<u8>) -> Result<(), Wrong> {
    let mut found = 0;
    for (at, column) in line.split(|byte| *byte == separator).enumerate().skip(from - 1).take(to - from + 1) {
        if memchr::memchr(BETWEEN, column).is_some() {
            return Err(Wrong::Text(Refused::Nul));
        }
        if at >= from {
            key.push(BETWEEN);
        }
        key.extend_from_slice(column);
        found += 1;
    }
    // An open range takes what there is, but at least its first column.
    let enough = if to == usize::MAX - 1 { found > 0 } else { found == to - from + 1 };
    if enough { Ok(()) } else { Err(Wrong::NoColumn(from + found)) }
}

/// A list of columns as cut(1) takes it: `1,3`, `2-4`, `-2`, `3-`.
fn columns(list: &str) -> anyhow::Result<Vec<(usize, usize)>> {
    let wrong = || usage(format!("-k takes columns like 1,3 or 2-4, not '{}'", shown(list)));
    let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n > 0).ok_or_else(wrong);
    let range = |part: &str| {
        let (from, to) = match part.split_once('-') {
            None => (number(part)?, number(part)?),
            Some(("", to)) => (1, number(to)?),
            Some((from, "")) => (number(from)?, usize::MAX - 1),
            Some((from, to)) => (number(from)?, number(to)?),
        };
        if from <= to { Ok((from, to)) } else { Err(wrong()) }
    };
    list.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(list: Option<&str>, separator: Option<&str>, line: &[u8]) -> Result<String, String> {
        let args = InputArgs { columns: list.map(str::to_owned), separator: separator.map(str::to_owned), jsonl: false };
        let keys = args.keys(&Header::default(), None).map_err(|error| error.to_string())?;
        let mut key = Vec::new();
        keys.take(line, &mut key).map_err(|wrong| format!("{wrong:?}"))?;
        Ok(key::texts(&key).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn columns_are_picked_as_cut_does() {
        let line = b"a\tb\tc\td";
        for (list, expected) in [("1", "a"), ("1,3", "a|c"), ("2-3", "b|c"), ("-2", "a|b"), ("3-", "c|d"), ("3,1", "c|a")] {
            assert_eq!(key(Some(list), None, line), Ok(expected.to_owned()), "{list}");
        }
        assert_eq!(key(None, None, line), Ok("a|b|c|d".to_owned()));
        assert_eq!(key(None, Some(","), b"a,b\r"), Ok("a|b".to_owned()));
        assert_eq!(key(Some("2"), Some(","), b"a,,c"), Ok(String::new()));
    }

    #[test]
    fn what_has_no_key_is_refused() {
        assert!(key(Some("5"), None, b"a\tb").unwrap_err().contains("NoColumn(5)"));
        assert!(key(Some("1-3"), None, b"a\tb").unwrap_err().contains("NoColumn(3)"));
        assert!(key(Some("3-"), None, b"a\tb").unwrap_err().contains("NoColumn(3)"));
        assert!(key(None, None, b"a\xff").unwrap_err().contains("NotUtf8"));
        assert!(key(None, None, b"a\0b").unwrap_err().contains("Nul"));
        for list in ["0", "", "2-1", "a", "1,,2", "-"] {
            assert!(key(Some(list), None, b"a").is_err(), "{list}");
        }
        assert!(key(None, Some(",,"), b"a").is_err() && key(None, Some(""), b"a").is_err());
    }
}
