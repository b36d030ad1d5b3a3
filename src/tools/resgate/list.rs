//! `--list-claims`: who was promised what.

use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::NAME;
use crate::claims::{Candidate, Held, Ledger, Place, Turnstile};
use crate::entry::{Out, complain};
use crate::exit::Exit;
use crate::table::{Cell, render};
use crate::text::command_line;
use crate::{size, user};

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
            line["user"] = json!(user::name(held.claim.uid));
            writeln!(out, "{line}")?;
        }
        return Ok(Exit::Done);
    }
    if !ledger.held.is_empty() {
        let rows: Vec<Vec<Cell>> = ledger.held.iter().map(row).collect();
        let width = if out.is_terminal() { crate::sys::terminal_columns(std::io::stdout()) } else { None };
        write!(out, "{}", render(&["PID", "USER", "SINCE", "MEMORY", "GPUS", "COMMAND"], &rows, width, false))?;
    }
    Ok(Exit::Done)
}

fn row(held: &Held) -> Vec<Cell> {
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
    let since = claim.since.get(..19).unwrap_or(&claim.since);
    let pid = claim.holder.pid.to_string();
    vec![pid.into(), user::name(claim.uid).into(), since.into(), memory.into(), gpus.into(), command_line(&words).into()]
}
