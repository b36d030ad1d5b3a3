//! Jobs as a table for people and as JSON for programs.

use std::collections::HashMap;
use std::env;
use std::io::Write;

use serde_json::{Value, json};

use super::Args;
use super::column::{Column, seconds_since_1970};
use super::select::Row;
use crate::clock;
use crate::entry::Out;
use crate::process::Here;
use crate::progress::{Progress, pace};
use crate::queue::Line;
use crate::record::line;
use crate::state_dir::{Observed, StateDir};
use crate::table::{Cell, Tone, render};

/// Prints the rows as the options have it.
pub(super) fn show(args: &Args, dir: &StateDir, mut rows: Vec<Row>, out: &mut Out) -> anyhow::Result<()> {
    let positions = positions(dir, &mut rows);
    if args.json {
        for (row, position) in rows.iter().zip(positions) {
            out.write_all(&json_line(dir, row, position))?;
        }
        return Ok(());
    }
    let columns: &[Column] = if args.output.is_empty() { &Column::PLAIN } else { &args.output };
    let heads: Vec<&str> = columns.iter().map(|column| column.head()).collect();
    let now = clock::now();
    let cells: Vec<Vec<Cell>> = rows.iter().map(|row| table_row(dir, row, columns, &now)).collect();
    let terminal = out.is_terminal();
    let plain = env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) || env::var_os("TERM").is_some_and(|term| term == "dumb");
    let width = if terminal { terminal_width() } else { None };
    out.write_all(render(&heads, &cells, width, terminal && !plain).as_bytes())?;
    Ok(())
}

/// Where each stands that waits in a queue. What its record says of it is as old as the record, so it is said anew.
fn positions(dir: &StateDir, rows: &mut [Row]) -> Vec<Option<usize>> {
    let here = Here::look();
    let mut lines: HashMap<String, Option<Line>> = HashMap::new();
    let mut position = |row: &mut Row| {
        let job = row.as_mut().ok().filter(|job| job.is_live())?;
        let queue = &job.record.policy.place.as_ref()?.queue;
        let line = lines.entry(queue.clone()).or_insert_with(|| Line::look(dir, queue, &here)).as_ref()?;
        let position = line.position(&job.record.id)?;
        job.record.reason = line.outlook(&job.record.id);
        Some(position)
    };
    rows.iter_mut().map(&mut position).collect()
}

fn terminal_width() -> Option<usize> {
    crate::sys::terminal_columns(std::io::stdout()).filter(|columns| *columns > 0)
}

fn table_row(dir: &StateDir, row: &Row, columns: &[Column], now: &jiff::Zoned) -> Vec<Cell> {
    let cell = |column: &Column| match (row, column) {
        (Ok(job), _) => column.cell(job, progress(dir, job).as_ref(), now),
        (Err((id, _)), Column::Id) => Cell::from(id),
        (Err(_), Column::State) => Cell::toned("unreadable", Tone::Bad),
        (Err((_, why)), Column::Info | Column::Reason) => Cell::from(why.to_string()),
        (Err(_), _) => "-".into(),
    };
    columns.iter().map(cell).collect()
}

fn progress(dir: &StateDir, job: &Observed) -> Option<Progress> {
    if job.is_live() { dir.added(&job.record.id, "progress.json") } else { None }
}

/// What a job says of its progress, with what follows from it now.
fn progress_value(progress: &Progress) -> Value {
    let pace = pace(progress, seconds_since_1970());
    let mut value = json!(progress);
    value["percent"] = json!(pace.percent);
    value["rate_per_s"] = json!(pace.rate_per_s);
    value["eta_s"] = json!(pace.eta_s);
    value["stalled"] = json!(pace.stalled);
    value
}

/// A record as it is stored, with what holds now laid over it: the true `state`, and, of a job that has no verdict,
/// `supervised`, `note` and `progress`; of one that waits in a queue its `queue_position` and the `reason`.
fn json_line(dir: &StateDir, row: &Row, position: Option<usize>) -> Vec<u8> {
    let job = match row {
        Ok(job) => job,
        Err((id, why)) => return line(&json!({"id": id, "state": "unreadable", "reason": why.to_string()})),
    };
    if job.record.state.is_terminal() && is_one_line(&job.stored) {
        return job.stored.clone();
    }
    let mut value: Value = serde_json::from_slice(&job.stored).unwrap_or_else(|_| json!(job.record));
    if job.record.state.is_terminal() {
        return line(&value);
    }
    value["state"] = json!(job.state);
    value["supervised"] = json!(job.supervised);
    value["note"] = json!(job.note);
    value["progress"] = json!(progress(dir, job).as_ref().map(progress_value));
    if let Some(position) = position {
        value["reason"] = json!(job.record.reason);
        value["queue_position"] = json!(position);
    }
    line(&value)
}

/// As it was written; somebody may have laid a record out by hand.
fn is_one_line(bytes: &[u8]) -> bool {
    bytes.split_last().is_some_and(|(last, rest)| *last == b'\n' && !rest.iter().any(|b| matches!(b, b'\n' | b'\r')))
}
