//! `due` and `saved`: whether enough was done since the caller last saved.

use anyhow::Result;
use clap::Args as ClapArgs;

use super::Global;
use super::context::usage;
use crate::exit::Exit;

#[derive(ClapArgs)]
pub(super) struct DueArgs {
    /// How many items make a save worth it
    #[arg(long, value_name = "N")]
    every: u64,
}

#[derive(ClapArgs)]
pub(super) struct SavedArgs {
    /// How many items were saved [default: all that are done]
    #[arg(value_name = "COUNT")]
    count: Option<u64>,
}

/// Yes when at least so many items, not repeated marks, were done since.
pub(super) fn due(global: &Global, args: &DueArgs) -> Result<Exit> {
    if args.every == 0 {
        return Err(usage("--every takes a number from 1"));
    }
    let loaded = global.load(&global.place()?)?;
    loaded.keep();
    let since = loaded.set.len().saturating_sub(loaded.reading.saved.unwrap_or(0));
    global.warn_verbose(&format!("{since} items since the last save"));
    Ok(if since >= args.every { Exit::Done } else { Exit::No })
}

pub(super) fn saved(global: &Global, args: &SavedArgs) -> Result<Exit> {
    let place = global.place()?;
    let mut writer = global.writer(&place)?;
    let count = if let Some(count) = args.count {
        count
    } else {
        let loaded = global.load(&place)?;
        loaded.keep();
        loaded.set.len()
    };
    if global.dry_run {
        global.warn(&format!("would note {count} items as saved"));
        return Ok(Exit::Done);
    }
    let written = writer.put(format!("{{\"saved\":{count}}}\n").as_bytes(), 0);
    global.notices(&place, &writer.notices);
    written.map(|()| Exit::Done)
}
