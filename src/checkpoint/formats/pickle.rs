//! Pickles, read without being executed: the opcodes are walked, and where their content matters a machine without
//! imports or calls builds a plain value.

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::rc::Rc;

use super::super::verdict::{Checked, Fault, Passed, Proof, broken};
use super::source::Source;

/// Values that the machine keeps at most; what is larger is walked only.
const VALUES: usize = 400_000;

/// Strings longer than this are passed over.
const STRING: u64 = 1 << 14;

/// What an opcode carries.
enum Carried {
    Nothing,
    Int(i64),
    Text(String),
    Pair(String, String),
    Long,
}

/// Walks pickle after pickle to the end; each must end with STOP.
///
/// # Errors
/// Says where it stops making sense.
pub fn check<R: Read + Seek>(source: &mut Source<R>) -> Checked {
    let mut complete = 0_u64;
    source.seek(0)?;
    while source.left() > 0 {
        let begin = source.position();
        match walk(source) {
            Ok(foreign) if foreign => return Ok(Passed::at(Proof::Kind).note("joblib puts raw arrays between the opcodes")),
            Ok(_) => complete += 1,
            Err(Fault::Broken(_)) if complete > 0 => {
                let extra = source.len() - begin;
                return Ok(Passed::at(Proof::Structure).note(format!("{extra} bytes that are no pickle follow")));
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(Passed::at(Proof::Structure))
}

/// Walks one pickle; true when it is of a kind whose walk proves nothing.
fn walk<R: Read + Seek>(source: &mut Source<R>) -> Checked<bool> {
    loop {
        let (op, carried) = next(source)?;
        match (op, &carried) {
            (b'.', _) => return Ok(false),
            (b'c', Carried::Pair(module, _)) if module.starts_with("joblib") => return Ok(true),
            (0x8c, Carried::Text(text)) if text.starts_with("joblib") => return Ok(true),
            _ => {}
        }
    }
}

fn next<R: Read + Seek>(source: &mut Source<R>) -> Checked<(u8, Carried)> {
    let op = source.u8()?;
    let carried = match op {
        b'('
        | b'0'
        | b'1'
        | b'2'
        | b'.'
        | b'N'
        | b'Q'
        | b'R'
        | b'a'
        | b'b'
        | b'd'
        | b'e'
        | b'l'
        | b'o'
        | b's'
        | b't'
        | b'u'
        | b'}'
        | b']'
        | b')'
        | 0x81
        | 0x85..=0x89
        | 0x8f..=0x94
        | 0x97
        | 0x98 => Carried::Nothing,
        b'K' | b'q' | b'h' | 0x80 | 0x82 => Carried::Int(source.u8()?.into()),
        b'M' | 0x83 => Carried::Int(source.u16()?.into()),
        b'J' => Carried::Int(i32::from_le_bytes(source.array()?).into()),
        b'r' | b'j' | 0x84 => Carried::Int(source.u32()?.into()),
        b'G' | 0x95 => {
            source.skip(8)?;
            Carried::Nothing
        }
        0x8a => {
            let count = source.u8()?;
            int(&source.piece(count.into())?)
        }
        0x8b => {
            let count = source.u32()?;
            source.skip(count.into())?;
            Carried::Long
        }
        b'U' | 0x8c | b'C' => {
            let count = source.u8()?;
            text(source, count.into())?
        }
        b'X' | b'T' | b'B' => {
            let count = source.u32()?;
            text(source, count.into())?
        }
        0x8d | 0x8e | 0x96 => {
            let count = source.u64()?;
            text(source, count)?
        }
        b'c' | b'i' => Carried::Pair(line(source)?, line(source)?),
        b'F' | b'I' | b'L' | b'S' | b'V' | b'P' | b'g' | b'p' => {
            let line = line(source)?;
            line.parse().map_or(Carried::Text(line), Carried::Int)
        }
        other => return broken(format!("byte {} is no pickle opcode (0x{other:02x})", source.position() - 1)),
    };
    Ok((op, carried))
}

fn int(bytes: &[u8]) -> Carried {
    if bytes.len() > 8 {
        return Carried::Long;
    }
    let mut wide = if bytes.last().is_some_and(|b| b & 0x80 != 0) { [0xff; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    Carried::Int(i64::from_le_bytes(wide))
}

fn text<R: Read + Seek>(source: &mut Source<R>, count: u64) -> Checked<Carried> {
    if count > STRING {
        source.skip(count)?;
        return Ok(Carried::Long);
    }
    Ok(Carried::Text(String::from_utf8_lossy(&source.piece(count)?).into_owned()))
}

fn line<R: Read + Seek>(source: &mut Source<R>) -> Checked<String> {
    let mut bytes = Vec::new();
    loop {
        match source.u8()? {
            b'\n' => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            _ if bytes.len() as u64 >= STRING => return broken("a line in it never ends"),
            byte => bytes.push(byte),
        }
    }
}

/// A value as the machine builds it.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing that matters here.
    Other,
    /// An integer.
    Int(i64),
    /// A string or bytes.
    Text(Rc<str>),
    /// A tuple or a list.
    Many(Rc<Vec<Value>>),
    /// A dictionary's keys and values in turn.
    Map(Rc<Vec<Value>>),
    /// An imported name, as `module.name`.
    Global(Rc<str>),
    /// An object of that class, made but not yet filled.
    Object(Rc<str>),
}

/// Something that was seen while a pickle was read.
#[derive(Debug)]
pub enum Seen {
    /// A reference to data outside the pickle.
    Persistent(Value),
    /// An object's class and the state it was given.
    Built(Rc<str>, Value),
}

/// Reads one pickle; gives its value and tells what it saw. `None` when it is too large to hold.
///
/// # Errors
/// Says where it stops making sense.
pub fn read<R: Read + Seek>(source: &mut Source<R>, seen: &mut dyn FnMut(Seen)) -> Checked<Option<Value>> {
    let mut machine = Machine { stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), values: 0 };
    loop {
        let (op, carried) = next(source)?;
        if op == b'.' {
            return Ok(machine.stack.pop());
        }
        machine.step(op, carried, seen)?;
        if machine.values > VALUES {
            while next(source)?.0 != b'.' {}
            return Ok(None);
        }
    }
}

struct Machine {
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<i64, Value>,
    values: usize,
}

impl Machine {
    fn push(&mut self, value: Value) {
        self.values += 1;
        self.stack.push(value);
    }

    fn pop(&mut self) -> Checked<Value> {
        self.stack.pop().ok_or_else(underflow)
    }

    fn pop_many(&mut self, count: usize) -> Checked<Vec<Value>> {
        let from = self.stack.len().checked_sub(count).ok_or_else(underflow)?;
        Ok(self.stack.split_off(from))
    }

    fn pop_mark(&mut self) -> Checked<Vec<Value>> {
        let from = self.marks.pop().filter(|from| *from <= self.stack.len()).ok_or_else(underflow)?;
        Ok(self.stack.split_off(from))
    }

    fn many(&mut self, values: Vec<Value>) {
        self.push(Value::Many(Rc::new(values)));
    }

    /// Adds to the list or dictionary on top.
    fn extend(&mut self, more: Vec<Value>) {
        self.values += more.len();
        if let Some(Value::Many(all) | Value::Map(all)) = self.stack.last_mut() {
            // A memoised container is shared: what the memo holds was read when it was still empty.
            Rc::make_mut(all).extend(more);
        }
    }

    fn step(&mut self, op: u8, carried: Carried, seen: &mut dyn FnMut(Seen)) -> Checked<()> {
        match (op, carried) {
            (b'(', _) => self.marks.push(self.stack.len()),
            (b'0', _) => drop(self.pop()?),
            (b'1', _) => drop(self.pop_mark()?),
            (b'2', _) => {
                let top = self.stack.last().cloned().ok_or_else(underflow)?;
                self.push(top);
            }
            (b')' | b']' | 0x8f, _) => self.many(Vec::new()),
            (b'}', _) => self.push(Value::Map(Rc::default())),
            (b't' | b'l' | 0x91, _) => {
                let values = self.pop_mark()?;
                self.many(values);
            }
            (b'd', _) => {
                let values = self.pop_mark()?;
                self.push(Value::Map(Rc::new(values)));
            }
            (0x85..=0x87, _) => {
                let values = self.pop_many(usize::from(op - 0x84))?;
                self.many(values);
            }
            (b'e' | b'u' | 0x90, _) => {
                let more = self.pop_mark()?;
                self.extend(more);
            }
            (b'a', _) => {
                let more = self.pop_many(1)?;
                self.extend(more);
            }
            (b's', _) => {
                let more = self.pop_many(2)?;
                self.extend(more);
            }
            (b'c', Carried::Pair(module, name)) => self.push(Value::Global(format!("{module}.{name}").into())),
            (0x93, _) => {
                let parts = self.pop_many(2)?;
                let global = match &parts[..] {
                    [Value::Text(module), Value::Text(name)] => Value::Global(format!("{module}.{name}").into()),
                    _ => Value::Other,
                };
                self.push(global);
            }
            (b'R' | 0x81, _) => {
                let parts = self.pop_many(2)?;
                self.push(made(&parts[0], &parts[1]));
            }
            (0x92, _) => {
                let parts = self.pop_many(3)?;
                self.push(made(&parts[0], &parts[1]));
            }
            (b'o' | b'i', _) => {
                self.pop_mark()?;
                self.push(Value::Other);
            }
            (b'b', _) => {
                let state = self.pop()?;
                if let Some(Value::Object(class)) = self.stack.last() {
                    seen(Seen::Built(Rc::clone(class), state));
                }
            }
            (b'Q', _) => {
                let reference = self.pop()?;
                seen(Seen::Persistent(reference));
                self.push(Value::Other);
            }
            (b'q' | b'r' | b'p', Carried::Int(at)) => self.memoise(at)?,
            (0x94, _) => self.memoise(i64::try_from(self.memo.len()).unwrap_or(i64::MAX))?,
            (b'h' | b'j' | b'g', Carried::Int(at)) => {
                let value = self.memo.get(&at).cloned().unwrap_or(Value::Other);
                self.push(value);
            }
            (0x80 | 0x95 | 0x98, _) => {}
            (_, Carried::Int(int)) => self.push(Value::Int(int)),
            (_, Carried::Text(text)) => self.push(Value::Text(text.into())),
            _ => self.push(Value::Other),
        }
        Ok(())
    }

    fn memoise(&mut self, at: i64) -> Checked<()> {
        let top = self.stack.last().cloned().ok_or_else(underflow)?;
        self.values += 1;
        self.memo.insert(at, top);
        Ok(())
    }
}

/// What a call of a global would give: an object of that class, or what it is known to stand for.
fn made(callee: &Value, args: &Value) -> Value {
    match (callee, args) {
        (Value::Global(class), Value::Many(args))
            if &**class == "copyreg._reconstructor" || &**class == "copy_reg._reconstructor" =>
        {
            if let Some(Value::Global(class)) = args.first() { Value::Object(Rc::clone(class)) } else { Value::Other }
        }
        (Value::Global(class), _) => Value::Object(Rc::clone(class)),
        _ => Value::Other,
    }
}

fn underflow() -> Fault {
    Fault::Broken("its pickle is damaged".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn checked(bytes: &[u8]) -> Checked {
        check(&mut Source::new(Cursor::new(bytes), bytes.len() as u64))
    }

    #[test]
    fn a_pickle_ends_with_stop() {
        let whole = b"\x80\x02}q\x00X\x01\x00\x00\x00aq\x01K\x01s.";
        assert_eq!(checked(whole).unwrap().proof, Proof::Structure);
        for cut in 1..whole.len() {
            assert!(matches!(checked(&whole[..cut]), Err(Fault::Broken(_))), "cut at {cut}");
        }
    }

    #[test]
    fn nothing_is_executed_and_everything_bounded() {
        assert!(checked(b"cos\nsystem\n(S'true'\ntR.").is_ok());
        assert!(matches!(checked(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f."), Err(Fault::Broken(_))));
    }
}
