//! D-Bus messages, as much of the format as one call to systemd needs.
//!
//! Written here since the crates don't fit a supervisor: `rustbus` waits for the greeting without a deadline, spins when the
//! manager closes the connection meanwhile, and leaves its socket open over an exec; `zbus` brings an async runtime.

use std::io;

/// A property's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(u64),
    Flag(bool),
    Pids(Vec<u32>),
}

/// A unit's properties.
pub(super) type Properties = Vec<(&'static str, Value)>;

const ENDIAN: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };
const METHOD_CALL: u8 = 1;
const VERSION: u8 = 1;
const FIXED: usize = 16;
/// systemd's own messages are some hundred bytes.
const LARGEST: usize = 1 << 20;

/// Bytes with the format's alignment.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn u32(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_ne_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(0));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(text.len().to_le_bytes()[0]);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// An array whose items are aligned to `to`; its length counts from the first item.
    fn array(&mut self, to: usize, items: impl FnOnce(&mut Self)) {
        self.u32(0);
        let length_at = self.0.len() - 4;
        self.align(to);
        let first = self.0.len();
        items(self);
        let length = u32::try_from(self.0.len() - first).unwrap_or(0);
        self.0[length_at..length_at + 4].copy_from_slice(&length.to_ne_bytes());
    }

    fn variant(&mut self, value: &Value) {
        match value {
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Number(number) => {
                self.signature("t");
                self.align(8);
                self.0.extend(number.to_ne_bytes());
            }
            Value::Flag(flag) => {
                self.signature("b");
                self.u32(u32::from(*flag));
            }
            Value::Pids(pids) => {
                self.signature("au");
                self.array(4, |w| pids.iter().for_each(|pid| w.u32(*pid)));
            }
        }
    }

    fn properties(&mut self, properties: &Properties) {
        self.array(8, |w| {
            for (name, value) in properties {
                w.align(8);
                w.text(name);
                w.variant(value);
            }
        });
    }
}

/// `StartTransientUnit(unit, "fail", properties, [(beside, its properties)])` of systemd's manager.
pub(super) fn start_unit(serial: u32, unit: &str, properties: &Properties, beside: Option<(&str, &Properties)>) -> Vec<u8> {
    let mut body = Writer::default();
    body.text(unit);
    body.text("fail");
    body.properties(properties);
    body.array(8, |w| {
        if let Some((unit, properties)) = beside {
            w.text(unit);
            w.properties(properties);
        }
    });
    call(serial, "StartTransientUnit", "ssa(sv)a(sa(sv))", &body.0)
}

/// `StopUnit(unit, "fail")`.
pub(super) fn stop_unit(serial: u32, unit: &str) -> Vec<u8> {
    let mut body = Writer::default();
    body.text(unit);
    body.text("fail");
    call(serial, "StopUnit", "ss", &body.0)
}

fn call(serial: u32, member: &str, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut message = Writer(vec![ENDIAN, METHOD_CALL, 0, VERSION]);
    message.u32(u32::try_from(body.len()).unwrap_or(0));
    message.u32(serial);
    message.array(8, |w| {
        let fields = [
            (1, "o", "/org/freedesktop/systemd1"),
            (2, "s", "org.freedesktop.systemd1.Manager"),
            (3, "s", member),
            (6, "s", "org.freedesktop.systemd1"),
        ];
        for (code, kind, text) in fields {
            w.align(8);
            w.0.push(code);
            w.signature(kind);
            w.text(text);
        }
        w.align(8);
        w.0.push(8);
        w.signature("g");
        w.signature(signature);
    });
    message.align(8);
    message.0.extend(body);
    message.0
}

/// What came from the manager.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Message {
    /// 2 an answer, 3 an error, 4 a signal.
    pub(super) kind: u8,
    pub(super) answers: Option<u32>,
    pub(super) member: String,
    pub(super) error: String,
    body: Vec<u8>,
}

pub(super) const ANSWER: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

impl Message {
    /// Takes the first message from what was received, once all of it is there.
    pub(super) fn take(received: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "the manager's message doesn't read as expected");
        if received.len() < FIXED {
            return Ok(None);
        }
        let mut head = Reader(received, 4);
        let (body_length, _, fields_length) = (head.size(), head.size(), head.size());
        let body_at = fields_length.and_then(|length| FIXED.checked_add(length)?.checked_next_multiple_of(8));
        let end = body_at.zip(body_length).and_then(|(at, length)| at.checked_add(length));
        let end = end.filter(|end| *end <= LARGEST && received[0] == ENDIAN).ok_or_else(wrong)?;
        if received.len() < end {
            return Ok(None);
        }
        let whole: Vec<u8> = received.drain(..end).collect();
        let fields_end = FIXED + fields_length.unwrap_or(0);
        let body = whole[body_at.unwrap_or(end)..].to_vec();
        let mut message = Self { kind: whole[1], body, ..Self::default() };
        let mut fields = Reader(&whole[..fields_end], FIXED);
        while fields.1 < fields_end {
            message.field(&mut fields).ok_or_else(wrong)?;
        }
        Ok(Some(message))
    }

    fn field(&mut self, fields: &mut Reader<'_>) -> Option<()> {
        fields.1 = fields.1.next_multiple_of(8);
        let code = fields.byte()?;
        match (code, fields.signature()?.as_str()) {
            (3, "s") => self.member = fields.text()?,
            (4, "s") => self.error = fields.text()?,
            (_, "s" | "o") => drop(fields.text()?),
            (5, "u") => self.answers = Some(fields.u32()?),
            (_, "u") => drop(fields.u32()?),
            (_, "g") => drop(fields.signature()?),
            _ => return None,
        }
        Some(())
    }

    /// The body's first text: of an error its description, of an answer the job's path.
    pub(super) fn text(&self) -> Option<String> {
        Reader(&self.body, 0).text()
    }

    /// Of the signal `JobRemoved`: the job's path and its result.
    pub(super) fn job_removed(&self) -> Option<(String, String)> {
        let mut body = Reader(&self.body, 4);
        let (job, _unit, result) = (body.text()?, body.text()?, body.text()?);
        (self.kind == SIGNAL && self.member == "JobRemoved").then_some((job, result))
    }
}

struct Reader<'a>(&'a [u8], usize);

impl Reader<'_> {
    fn bytes(&mut self, length: usize) -> Option<&[u8]> {
        let start = self.1;
        self.1 = start.checked_add(length)?;
        self.0.get(start..self.1)
    }

    fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.1 = self.1.next_multiple_of(4);
        self.bytes(4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    fn size(&mut self) -> Option<usize> {
        usize::try_from(self.u32()?).ok()
    }

    fn text(&mut self) -> Option<String> {
        let length = self.size()?;
        let text = String::from_utf8_lossy(self.bytes(length)?).into_owned();
        self.byte()?;
        Some(text)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        let text = String::from_utf8_lossy(self.bytes(length)?).into_owned();
        self.byte()?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_byte_by_byte() {
        let properties = vec![("PIDs", Value::Pids(vec![7, 8])), ("MemoryMax", Value::Number(1 << 33)), ("x", Value::Flag(true))];
        let slice = vec![("Description", Value::Text("ein Grüppchen".into()))];
        let whole = start_unit(3, "a.scope", &properties, Some(("a.slice", &slice)));
        let mut received = Vec::new();
        for (at, byte) in whole.iter().enumerate() {
            received.push(*byte);
            let message = Message::take(&mut received).unwrap();
            assert_eq!(message.is_some(), at == whole.len() - 1, "{at}");
            if let Some(message) = message {
                assert_eq!((message.kind, message.member.as_str()), (METHOD_CALL, "StartTransientUnit"));
                assert_eq!(message.text().unwrap(), "a.scope");
            }
        }
        assert!(received.is_empty());
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let whole = start_unit(1, "a.scope", &vec![], None);
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                if let Ok(Some(message)) = Message::take(&mut damaged) {
                    let _ = (message.text(), message.job_removed());
                }
            }
        }
    }
}
