//! One line of a journal: what it says, or why it says nothing.
//!
//! What the quick way can't read and is still JSON (escapes, nested extra fields, fields in another order) goes through
//! `serde_json`.

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::key::{self, BETWEEN};
use super::quick::{array, object};

/// The newest format that this program writes.
pub const VERSION: u64 = 1;

/// Names that mark a record's kind, and so can't be key fields.
pub const RESERVED: [&str; 3] = ["progress_mark", "undo", "saved"];

/// What the first line of a journal may say of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The format's version.
    pub version: u64,
    /// The key's fields, where it has names.
    pub fields: Option<Vec<String>>,
    /// Which of the key's texts are written as integers, by place.
    pub integers: Vec<usize>,
    /// Up to which byte the records are in the order of their keys.
    pub sorted: Option<u64>,
}

impl Header {
    /// The header's line, without a line break.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!("{{\"progress_mark\":{}", self.version);
        if let Some(fields) = &self.fields {
            let _ = write!(line, ",\"key\":{}", list(fields.iter()));
            if !self.integers.is_empty() {
                let named = self.integers.iter().filter_map(|place| fields.get(*place));
                let _ = write!(line, ",\"integers\":{}", list(named));
            }
        }
        if let Some(sorted) = self.sorted {
            // Of one length whatever the number, so that it can be known before the line is.
            let _ = write!(line, ",\"sorted\":{sorted:>15}");
        }
        line + "}"
    }
}

/// Names as a JSON list of strings: what a key looks like, too.
fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    key::json(names.join("\0").as_bytes(), &[])
}

/// What a line says. The key of [`Record::Done`] and [`Record::Undo`] is in the buffer that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The item is done.
    Done,
    /// The item is not done any more.
    Undo,
    /// So many items were done when the caller last saved.
    Saved(u64),
    /// Says how the others are to be read.
    Header(Header),
    /// Nothing but space.
    Blank,
}

/// Why a line is no record.
pub type Damage = &'static str;

/// Reads one line, without its line break. `fields` are the key's fields, once a header named them.
///
/// # Errors
/// Why it is no record.
pub fn parse(line: &str, fields: Option<&[String]>, key: &mut Vec<u8>) -> Result<Record, Damage> {
    key.clear();
    let bytes = line.as_bytes();
    let quick = match bytes.first() {
        Some(b'[') => array(bytes, key),
        Some(b'{') => fields.and_then(|fields| object(bytes, fields, key)),
        _ => None,
    };
    let record = if quick.is_some() { Record::Done } else { slow(line, fields, key)? };
    let has_key = matches!(record, Record::Done | Record::Undo);
    if has_key && fields.is_some_and(|fields| fields.len() != key::arity(key)) {
        return Err("it has another number of fields than the header's key");
    }
    Ok(record)
}

/// Reads the key of a JSON line that isn't a journal's: an array, or an object with these fields.
///
/// # Errors
/// Why it holds no key.
pub fn parse_key(line: &str, fields: &[String], key: &mut Vec<u8>) -> Result<(), Damage> {
    key.clear();
    let bytes = line.as_bytes();
    let quick = match bytes.first() {
        Some(b'[') => array(bytes, key),
        Some(b'{') => object(bytes, fields, key),
        _ => None,
    };
    if quick.is_none() {
        key.clear();
        key_of(&json(line)?, Some(fields), key)?;
    }
    if key::arity(key) == fields.len() { Ok(()) } else { Err("it has another number of fields than the key") }
}

/// Whether the key's texts stand in the line as integers, by place; the line holds a key that was read.
#[must_use]
pub fn integers(line: &str, fields: Option<&[String]>) -> Vec<bool> {
    let json = json(line);
    match &json {
        Ok(Json::Array(values)) => values.iter().map(|value| key::is_integer(value.get())).collect(),
        Ok(Json::Object(pairs)) => {
            let values = fields.and_then(|fields| named_values(pairs, fields).ok()).unwrap_or_default();
            values.into_iter().map(|value| key::is_integer(value.get())).collect()
        }
        Err(_) => Vec::new(),
    }
}

/// The fields of a JSON object in their order, each as it is written; `None` when it is none.
#[must_use]
pub fn fields_of(text: &str) -> Option<Vec<(String, Box<RawValue>)>> {
    match json(text) {
        Ok(Json::Object(pairs)) => Some(pairs),
        _ => None,
    }
}

/// JSON taken apart one level deep: fields as they are written, repeated ones too, numbers with all their digits.
enum Json {
    Object(Vec<(String, Box<RawValue>)>),
    Array(Vec<Box<RawValue>>),
}

fn json(text: &str) -> Result<Json, Damage> {
    if text.contains('\0') {
        return Err("it holds NUL bytes");
    }
    serde_json::from_str(text).map_err(|_| "it isn't a JSON list or object")
}

fn slow(line: &str, fields: Option<&[String]>, key: &mut Vec<u8>) -> Result<Record, Damage> {
    key.clear();
    if line.trim().is_empty() {
        return Ok(Record::Blank);
    }
    let json = json(line)?;
    if let Json::Object(pairs) = &json {
        if pairs.iter().any(|(name, _)| name == "progress_mark") {
            return header(line).map(Record::Header);
        }
        if let [(name, value)] = pairs.as_slice() {
            match name.as_str() {
                "undo" => return key_of(&self::json(value.get())?, fields, key).map(|()| Record::Undo),
                "saved" => return value.get().parse().map(Record::Saved).map_err(|_| "'saved' isn't a count"),
                _ => {}
            }
        }
    }
    key_of(&json, fields, key).map(|()| Record::Done)
}

/// Of an object in a file whose header names no key fields.
pub const NO_FIELDS: Damage = "it is an object, and no header names the key's fields";

#[derive(Deserialize)]
struct StoredHeader {
    progress_mark: u64,
    key: Option<Vec<String>>,
    #[serde(default)]
    integers: Vec<String>,
    sorted: Option<u64>,
}

fn header(line: &str) -> Result<Header, Damage> {
    let stored: StoredHeader = serde_json::from_str(line).map_err(|_| "it isn't a header that this version reads")?;
    if stored.key.as_deref().is_some_and(|fields| !well_named(fields)) {
        return Err("the header's key isn't a list of different names");
    }
    let place = |name: &String| stored.key.as_ref()?.iter().position(|field| field == name);
    let integers = stored.integers.iter().filter_map(place).collect();
    Ok(Header { version: stored.progress_mark, fields: stored.key, integers, sorted: stored.sorted })
}

/// Whether these can be key fields: at least one, each once, none that marks another kind of record.
#[must_use]
pub fn well_named(fields: &[String]) -> bool {
    let once = |(at, field): (usize, &String)| !fields[..at].contains(field) && !RESERVED.contains(&field.as_str());
    !fields.is_empty() && fields.iter().enumerate().all(once)
}

fn key_of(json: &Json, fields: Option<&[String]>, key: &mut Vec<u8>) -> Result<(), Damage> {
    let values: Vec<&RawValue> = match json {
        Json::Array(values) => values.iter().map(AsRef::as_ref).collect(),
        Json::Object(pairs) => named_values(pairs, fields.ok_or(NO_FIELDS)?)?,
    };
    if values.is_empty() {
        return Err("its key has no fields");
    }
    for (place, value) in values.into_iter().enumerate() {
        if place > 0 {
            key.push(BETWEEN);
        }
        text(value.get(), key)?;
    }
    Ok(())
}

fn named_values<'a>(pairs: &'a [(String, Box<RawValue>)], fields: &[String]) -> Result<Vec<&'a RawValue>, Damage> {
    let value = |field: &String| {
        let mut found = pairs.iter().filter(|(name, _)| name == field);
        let (_, value) = found.next().ok_or("a field of its key is missing")?;
        if found.next().is_some() {
            return Err("a field of its key is there twice");
        }
        Ok(value.as_ref())
    };
    fields.iter().map(value).collect()
}

fn text(raw: &str, key: &mut Vec<u8>) -> Result<(), Damage> {
    if key::is_integer(raw) {
        key.extend_from_slice(raw.as_bytes());
        return Ok(());
    }
    let text: String = serde_json::from_str(raw).map_err(|_| "a field of its key is neither a text nor an integer")?;
    if text.contains('\0') {
        return Err("a text of its key holds a NUL");
    }
    key.extend_from_slice(text.as_bytes());
    Ok(())
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Outermost)
    }
}

struct Outermost;

impl<'de> Visitor<'de> for Outermost {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array or object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Json::Object(pairs))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str, fields: &[&str]) -> Result<(Record, String), Damage> {
        let fields: Vec<String> = fields.iter().map(ToString::to_string).collect();
        let mut key = Vec::new();
        let record = parse(line, (!fields.is_empty()).then_some(&fields[..]), &mut key)?;
        Ok((record, key::texts(&key).collect::<Vec<_>>().join("|")))
    }

    #[test]
    fn a_key_is_the_same_in_every_form() {
        let fields = ["task", "round"];
        for line in [
            r#"["a",0]"#,
            r#"["a","0"]"#,
            r#" [ "a" , 0 ] "#,
            "[\"a\",0]\r",
            r#"["\u0061","0"]"#,
            r#"{"task":"a","round":0}"#,
            r#"{"round": "0", "task": "a"}"#,
            r#"{"task":"a","round":0,"seconds":1.5,"by":{"host":["x"]}}"#,
        ] {
            assert_eq!(read(line, &fields), Ok((Record::Done, "a|0".to_owned())), "{line}");
        }
        assert_eq!(read(r#"{"undo":["a",0]}"#, &fields), Ok((Record::Undo, "a|0".to_owned())));
        assert_eq!(read(r#"{"undo":{"task":"a","round":0}}"#, &fields), Ok((Record::Undo, "a|0".to_owned())));
    }

    #[test]
    fn what_is_no_record_says_why() {
        let fields = ["task", "round"];
        for (line, why) in [
            (r#"["a",0"#, "JSON"),
            (r#"["a",0]]"#, "JSON"),
            ("\"a\"", "JSON"),
            ("[]", "no fields"),
            (r#"["a"]"#, "another number"),
            (r#"["a",1.0]"#, "neither"),
            (r#"["a",01]"#, "JSON"),
            (r#"["a",null]"#, "neither"),
            (r#"["a","\u0000"]"#, "NUL"),
            ("\0\0\0[\"a\",0]", "NUL"),
            (r#"{"task":"a"}"#, "missing"),
            (r#"{"task":"a","task":"b","round":0}"#, "twice"),
            (r#"{"task":"a","round":0,"task":"b"}"#, "twice"),
            (r#"{"saved":-1}"#, "count"),
            (r#"{"progress_mark":"x"}"#, "header"),
        ] {
            let damage = read(line, &fields).unwrap_err();
            assert!(damage.contains(why), "{line}: {damage}");
        }
        assert_eq!(read(r#"{"task":"a"}"#, &[]), Err(NO_FIELDS));
    }

    #[test]
    fn a_header_reads_back() {
        let fields = Some(vec!["a".to_owned(), "b \" c".to_owned()]);
        let header = Header { version: 1, fields, integers: vec![1], sorted: Some(12_345) };
        assert_eq!(slow(&header.line(), None, &mut Vec::new()), Ok(Record::Header(header)));
    }

    proptest! {
        /// The quick way and the slow way never disagree, and what is written reads back.
        #[test]
        fn every_key_survives_its_line(texts in proptest::collection::vec("[^\0]{0,12}|-?[0-9]{1,25}", 1..4), as_integers in any::<bool>()) {
            let key = texts.join("\0").into_bytes();
            let integers: Vec<usize> = if as_integers { (0..texts.len()).collect() } else { Vec::new() };
            let fields: Vec<String> = (0..texts.len()).map(|n| format!("f{n}")).collect();
            for line in [key::json(&key, &integers), key::object(&key, &fields, &integers)] {
                let (mut quick, mut slowly) = (Vec::new(), Vec::new());
                prop_assert_eq!(parse(&line, Some(&fields), &mut quick), Ok(Record::Done));
                prop_assert_eq!(slow(&line, Some(&fields), &mut slowly), Ok(Record::Done));
                prop_assert_eq!(&quick, &key);
                prop_assert_eq!(&slowly, &key);
            }
        }

        #[test]
        fn no_line_breaks_the_reader(line in "[\\[\\]{}\",:a0-9\\\\ \\-.eu\0]{0,24}") {
            let fields = vec!["a".to_owned()];
            let (mut quick, mut slowly) = (Vec::new(), Vec::new());
            // Who reads a list the quick way has seen its bracket.
            let line = format!("[{line}");
            if array(line.as_bytes(), &mut quick).is_some() {
                prop_assert_eq!(slow(&line, Some(&fields), &mut slowly), Ok(Record::Done));
                prop_assert_eq!(quick, slowly);
            }
        }
    }
}
