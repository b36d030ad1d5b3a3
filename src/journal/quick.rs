//! Lines as this tool writes them, and as `json.dumps` does, read in one pass over their bytes. `None` says nothing of a
//! line but that it has to go the slow way.

use super::key::BETWEEN;

fn space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// The end of a record: nothing may follow but space, and the CR of a file from elsewhere.
fn ends(bytes: &[u8], at: usize) -> bool {
    bytes[at..].iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

/// A string without escapes, or an integer; `None` sends the line the slow way.
fn scalar(bytes: &[u8], at: usize, key: &mut Vec<u8>) -> Option<usize> {
    if bytes.get(at) == Some(&b'"') {
        let text = &bytes[at + 1..];
        let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
        if text[end] != b'"' {
            return None;
        }
        key.extend_from_slice(&text[..end]);
        return Some(at + end + 2);
    }
    let number = &bytes[at.min(bytes.len())..];
    let sign = usize::from(number.first() == Some(&b'-'));
    let digits = number[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let plain = digits == 1 && (number[sign] != b'0' || sign == 0) || digits > 1 && number[sign] != b'0';
    if !plain || matches!(number.get(sign + digits), Some(b'.' | b'e' | b'E')) {
        return None;
    }
    key.extend_from_slice(&number[..sign + digits]);
    Some(at + sign + digits)
}

/// The key of a list of flat values.
pub(super) fn array(bytes: &[u8], key: &mut Vec<u8>) -> Option<()> {
    let mut at = 1;
    loop {
        at = space(bytes, scalar(bytes, space(bytes, at), key)?);
        match bytes.get(at)? {
            b',' => key.push(BETWEEN),
            b']' => return ends(bytes, at + 1).then_some(()),
            _ => return None,
        }
        at += 1;
    }
}

/// The key of an object whose first fields are the key's, in their order, and whose others are flat.
pub(super) fn object(bytes: &[u8], fields: &[String], key: &mut Vec<u8>) -> Option<()> {
    let mut at = 1;
    let mut next = fields.iter();
    let mut other = Vec::new();
    loop {
        at = space(bytes, at);
        let name = quoted(&bytes[at..])?;
        at = space(bytes, at + name.len() + 2);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        at = space(bytes, at + 1);
        at = if let Some(field) = next.next() {
            if name != field.as_bytes() {
                return None;
            }
            if !std::ptr::eq(field, &raw const fields[0]) {
                key.push(BETWEEN);
            }
            scalar(bytes, at, key)?
        } else {
            if fields.iter().any(|field| field.as_bytes() == name) || name == b"undo" {
                return None;
            }
            scalar(bytes, at, &mut other)?
        };
        at = space(bytes, at);
        match bytes.get(at)? {
            b',' => at += 1,
            b'}' => return (next.as_slice().is_empty() && ends(bytes, at + 1)).then_some(()),
            _ => return None,
        }
    }
}

fn quoted(bytes: &[u8]) -> Option<&[u8]> {
    let text = bytes.strip_prefix(b"\"")?;
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    (text[end] == b'"').then_some(&text[..end])
}
