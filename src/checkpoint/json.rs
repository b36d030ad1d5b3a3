//! JSON as Python writes it: `NaN` and `Infinity` stand bare where a number should. Here they read as `null`, which is
//! what they mean for us: not known.

use std::io::{self, Read};

/// Passes JSON on with Python's bare words turned into `null`.
#[derive(Debug)]
pub struct Strict<R> {
    inner: R,
    ready: Vec<u8>,
    at: usize,
    in_string: bool,
    escaped: bool,
    /// A sign whose number hasn't begun.
    minus: bool,
    /// Letters of a replaced word that are still to come.
    skip: usize,
}

impl<R: Read> Strict<R> {
    /// Reads from `inner`.
    pub const fn new(inner: R) -> Self {
        Self { inner, ready: Vec::new(), at: 0, in_string: false, escaped: false, minus: false, skip: 0 }
    }

    fn pass(&mut self, byte: u8) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        if self.in_string {
            self.in_string = byte != b'"' || self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            self.ready.push(byte);
            return;
        }
        match byte {
            b'N' | b'I' => {
                self.skip = if byte == b'N' { 2 } else { 7 };
                self.minus = false;
                self.ready.extend_from_slice(b"null");
                return;
            }
            _ if self.minus => self.ready.push(b'-'),
            _ => {}
        }
        self.minus = byte == b'-';
        self.in_string = byte == b'"';
        if !self.minus {
            self.ready.push(byte);
        }
    }
}

impl<R: Read> Read for Strict<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.ready.len() {
            let mut chunk = [0; 8192];
            let count = self.inner.read(&mut chunk)?;
            if count == 0 {
                return Ok(0);
            }
            self.ready.clear();
            self.at = 0;
            for byte in &chunk[..count] {
                self.pass(*byte);
            }
        }
        let count = buf.len().min(self.ready.len() - self.at);
        buf[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_of_python_are_null() {
        let text = br#"{"NaN": "Infinity \" NaN", "a": NaN, "b": -Infinity, "c": [Infinity, -1.5e-3], "d": "\\"}"#;
        let read: serde_json::Value = serde_json::from_reader(Strict::new(&text[..])).unwrap();
        assert_eq!(read, serde_json::json!({"NaN": "Infinity \" NaN", "a": null, "b": null, "c": [null, -0.0015], "d": "\\"}));
    }

    proptest! {
        #[test]
        fn strict_json_passes_unchanged(value in proptest::collection::btree_map(".{0,12}", any::<i32>(), 0..6)) {
            let text = serde_json::to_string(&value).unwrap();
            let mut out = String::new();
            Strict::new(text.as_bytes()).read_to_string(&mut out).unwrap();
            prop_assert_eq!(out, text);
        }
    }
}
