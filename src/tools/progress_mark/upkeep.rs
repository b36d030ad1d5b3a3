//! `check`, `repair` and `compact`.

use std::fs::File;
use std::io::Write;

use anyhow::{Context, Result};
use serde_json::json;

use super::Global;
use crate::done_set;
use crate::entry::Out;
use crate::exit::Exit;
use crate::journal::{Bad, Header, Notice, Reading, key, record};
use crate::text::shown;

/// Names every damaged line, and what else is odd. Reads all of it, without the cache.
pub(super) fn check(global: &Global, out: &mut Out) -> Result<Exit> {
    let place = global.place()?;
    let loaded = done_set::load(&place, global.fields.as_deref(), false)?;
    let name = shown(&place.file);
    let reading = &loaded.reading;
    for Bad { line, why } in &reading.bad {
        finding(global, out, &name, *line, "damaged", why)?;
    }
    let unnamed = reading.damaged - reading.bad.len() as u64;
    if unnamed > 0 {
        finding(global, out, &name, 0, "damaged", &format!("{unnamed} more lines are damaged"))?;
    }
    if reading.fragment > 0 {
        let why = format!("{} bytes without a line break: being written now, or torn", reading.fragment);
        finding(global, out, &name, reading.lines + 1, "unfinished", &why)?;
    }
    if reading.header.version > record::VERSION {
        finding(
            global,
            out,
            &name,
            1,
            "newer",
            &format!("it is of version {}: only read, never written", reading.header.version),
        )?;
    }
    if let Some(Notice::Lost(_)) = &loaded.notice {
        let text = loaded.notice.as_ref().map_or_else(String::new, |notice| notice.text(&name));
        finding(global, out, &name, 0, "lost", &text)?;
    }
    let mut mixed = 0;
    if loaded.there {
        let file = File::open(&place.file).with_context(|| format!("cannot read '{name}'"))?;
        for (place, [number, text]) in both_forms(&file, reading)? {
            mixed += 1;
            let why = format!(
                "field {place} is a number in line {number} and the same digits as text in line {text}: one item, two forms"
            );
            finding(global, out, &name, number.max(text), "two forms", &why)?;
        }
    }
    if global.verbose || global.json {
        let (done, lines) = (loaded.set.len(), reading.lines);
        if global.json {
            let summary = json!({"file": name, "lines": lines, "done": done, "damaged": reading.damaged, "two_forms": mixed});
            writeln!(out, "{summary}")?;
        } else {
            writeln!(out, "{name}: {lines} lines, {done} items done")?;
        }
    }
    // Two forms are an oddity, and an unfinished line is how a journal looks while it is written: neither is damage.
    Ok(if reading.damaged > 0 || loaded.notice.is_some() { Exit::No } else { Exit::Done })
}

fn finding(global: &Global, out: &mut Out, name: &str, line: u64, kind: &str, why: &str) -> std::io::Result<()> {
    if global.json {
        writeln!(out, "{}", json!({"file": name, "line": (line > 0).then_some(line), "kind": kind, "reason": why}))
    } else if line > 0 {
        writeln!(out, "{name}:{line}: {kind}: {}", shown(why))
    } else {
        writeln!(out, "{name}: {kind}: {}", shown(why))
    }
}

/// For each field of the key, from 1, that stands as a number in one line and as digits in quotes in another: those lines.
fn both_forms(file: &File, loaded: &Reading) -> Result<Vec<(usize, [u64; 2])>> {
    let mut again = Reading { header: Header { version: 0, ..loaded.header.clone() }, ..Reading::default() };
    let fields = loaded.header.fields.clone();
    let mut seen: Vec<[u64; 2]> = Vec::new();
    let mut starts = Vec::new();
    again.read(file, loaded.offset, None, |entry| {
        if !entry.done || !key::texts(entry.key).any(key::is_integer) {
            return;
        }
        let integers = record::integers(entry.line, fields.as_deref());
        for (at, (text, is_number)) in key::texts(entry.key).zip(integers).enumerate() {
            if seen.len() <= at {
                seen.resize(at + 1, [0; 2]);
            }
            let first = &mut seen[at][usize::from(!is_number)];
            if key::is_integer(text) && *first == 0 {
                // The offset for now: line numbers are counted once, for the few that are named.
                *first = entry.offset + 1;
                starts.push(entry.offset);
            }
        }
    })?;
    let numbers = line_numbers(file, &starts)?;
    let number = |offset: u64| numbers.iter().find(|(at, _)| *at == offset - 1).map_or(0, |(_, number)| *number);
    let both = seen.iter().enumerate().filter(|(_, [a, b])| *a > 0 && *b > 0);
    Ok(both.map(|(at, [a, b])| (at + 1, [number(*a), number(*b)])).collect())
}

fn line_numbers(file: &File, starts: &[u64]) -> Result<Vec<(u64, u64)>> {
    let mut numbers = Vec::new();
    for start in starts {
        let mut before = Reading::default();
        before.read(file, *start, None, |_| {})?;
        numbers.push((*start, before.lines + 1));
    }
    Ok(numbers)
}

pub(super) fn repair(global: &Global, out: &mut Out) -> Result<Exit> {
    let place = global.place()?;
    if !place.file.exists() {
        return Ok(Exit::Done);
    }
    if global.dry_run {
        return check(global, out).map(|_| Exit::Done);
    }
    let mut writer = global.writer(&place)?;
    let repaired = writer.repair(global.fields.as_deref())?;
    // What the cache says of the old text is of no use any more.
    let _ = std::fs::remove_file(place.index());
    global.notices(&place, &writer.notices);
    let name = shown(&place.file);
    for Bad { line, why } in &repaired.moved {
        finding(global, out, &name, *line, "moved to .torn", why)?;
    }
    if repaired.freed > 0 {
        finding(global, out, &name, 0, "freed", &format!("{} lines of the NUL bytes before them", repaired.freed))?;
    }
    Ok(Exit::Done)
}

pub(super) fn compact(global: &Global, out: &mut Out) -> Result<Exit> {
    let place = global.place()?;
    if !place.file.exists() {
        return Ok(Exit::Done);
    }
    let mut writer = global.writer(&place)?;
    if global.dry_run {
        let loaded = global.load(&place)?;
        writeln!(out, "{} lines, {} items done", loaded.reading.lines, loaded.set.len())?;
        return Ok(Exit::Done);
    }
    let compacted = writer.compact();
    global.notices(&place, &writer.notices);
    let done = compacted?;
    let _ = std::fs::remove_file(place.index());
    if global.json {
        let (before, after) =
            (json!({"lines": done.lines.0, "bytes": done.bytes.0}), json!({"lines": done.lines.1, "bytes": done.bytes.1}));
        writeln!(out, "{}", json!({"before": before, "after": after}))?;
    } else if global.verbose {
        writeln!(out, "{} lines before, {} after", done.lines.0, done.lines.1)?;
    }
    Ok(Exit::Done)
}
