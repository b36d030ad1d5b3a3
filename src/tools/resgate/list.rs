//! `--list-claims`: who was promised what.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::NAME;
use crate::claims::{Candidate, Held, Ledger, Place, Turnstile};
use crate::entry::{Out, complain};
use crate::exit::Exit;
use crate::size;
use crate::text::{command_line, shown};

/// Lists the live claims; those that can't be read are named on standard error.
pub(super) fn claims(places: &[Candidate], json: bool, patience: Duration, out: &mut Out) -> anyhow::Result<Exit> {
    let Some(place) = Place::find(places, false)? else { return Ok(Exit::Done) };
    let turnstile = Turnstile::enter(&place, false, patience).context("cannot see the claims")?;
    let mut ledger = Ledger::read(&place).context("cannot read the claims")?;
    drop(turnstile);
    ledger.damaged.iter().for_each(|claim| complain(NAME, &format!("a live claim can't be read: {claim}")));
    ledger.held.sort_by(|a, b| (&a.claim.since, a.claim.holder.pid).cmp(&(&b.claim.since, b.claim.holder.pid)));
    if json {
        for held in &ledger.held {
            let mut line = json!(held.claim);
            line["memory_used_bytes"] = json!(held.claim.memory_bytes.map(|_| held.memory_used));
            line["user"] = json!(user(held.claim.uid));
            writeln!(out, "{line}")?;
        }
        return Ok(Exit::Done);
    }
    if ledger.held.is_empty() {
        return Ok(Exit::Done);
    }
    let head = ["PID", "USER", "SINCE", "MEMORY", "GPUS", "COMMAND"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(head).chain(ledger.held.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| unicode_width::UnicodeWidthStr::width(&*row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            let blanks = width.saturating_sub(unicode_width::UnicodeWidthStr::width(&**cell));
            write!(out, "{cell}{:blanks$}  ", "")?;
        }
        writeln!(out, "{}", row[5])?;
    }
    Ok(Exit::Done)
}

fn row(held: &Held) -> [String; 6] {
    let claim = &held.claim;
    let memory = claim
        .memory_bytes
        .map_or_else(|| "-".into(), |bytes| format!("{} ({} used)", size::shown(bytes), size::shown(held.memory_used)));
    let share = |share: &crate::claims::Share| match share.bytes {
        Some(bytes) => format!("{}:{}", share.index, size::shown(bytes)),
        None => share.index.to_string(),
    };
    let gpus: Vec<String> = claim.gpus.iter().map(share).collect();
    let gpus = if gpus.is_empty() { "-".into() } else { gpus.join(",") };
    let words: Vec<&std::ffi::OsStr> = claim.command.iter().map(crate::text::Text::as_os_str).collect();
    let since = shown(claim.since.get(..19).unwrap_or(&claim.since));
    [claim.holder.pid.to_string(), user(claim.uid), since, memory, gpus, command_line(&words)]
}

/// The user's name, or the number of one who has none.
fn user(uid: u32) -> String {
    let known = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    known.map_or_else(|| uid.to_string(), |user| shown(user.name))
}
