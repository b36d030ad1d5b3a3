//! `list`: the items that are done, each once.

use std::io::Write;

use anyhow::{Context, Result};
use clap::Args as ClapArgs;

use super::Global;
use crate::entry::Out;
use crate::exit::Exit;
use crate::journal::key;

#[derive(ClapArgs)]
pub(super) struct Args {
    /// What separates the fields of a key
    #[arg(short = 't', long, value_name = "C", default_value = "\t", hide_default_value = true)]
    separator: String,
}

pub(super) fn run(global: &Global, args: &Args, out: &mut Out) -> Result<Exit> {
    let place = global.place()?;
    let loaded = global.load(&place)?;
    loaded.keep();
    let header = loaded.reading.header.clone();
    let (mut written, mut unprintable) = (Ok(()), 0_u64);
    loaded.each_once(|key, _| {
        if written.is_err() {
            return;
        }
        let line = match (&header.fields, global.json) {
            (Some(fields), true) => key::object(key, fields, &header.integers),
            (None, true) => key::json(key, &[]),
            (_, false) if key::breaks_lines(key) => {
                unprintable += 1;
                return;
            }
            (_, false) => key::texts(key).collect::<Vec<_>>().join(&args.separator),
        };
        written = writeln!(out, "{line}");
    })?;
    if !out.is_closed() {
        written.context("cannot write to standard output")?;
    }
    if unprintable > 0 {
        global.warn(&format!("{unprintable} items hold a TAB or a line break and were left out: --json prints them"));
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}
