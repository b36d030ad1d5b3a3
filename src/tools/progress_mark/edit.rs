//! `edit`: a copy goes to the editor, and comes back under the lock with what was marked meanwhile.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use xxhash_rust::xxh3::xxh3_128;

use super::Global;
use crate::exit::Exit;
use crate::text::shown;

pub(super) fn run(global: &Global) -> Result<Exit> {
    let place = global.place()?;
    let mut writer = global.writer(&place)?;
    let mut bytes = fs::read(&place.file).with_context(|| format!("cannot read '{}'", shown(&place.file)))?;
    // What is being written now isn't to be edited.
    bytes.truncate(memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1));
    let mut name = place.file.clone().into_os_string();
    name.push(format!(".edit.{}.jsonl", std::process::id()));
    let context = || format!("cannot write '{}'", shown(&name));
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name).with_context(context)?;
    copy.write_all(&bytes).with_context(context)?;
    drop(copy);
    let editor = ["VISUAL", "EDITOR"].into_iter().filter_map(env::var_os).find(|editor| !editor.is_empty());
    let editor = editor.unwrap_or_else(|| "vi".into());
    // As git and crontab do it: the editor's name may bring options.
    let status =
        Command::new("sh").arg("-c").arg([editor.to_string_lossy().as_ref(), " \"$@\""].concat()).arg("sh").arg(&name).status();
    let edited = match status {
        Ok(status) if status.success() => fs::read(&name).with_context(|| format!("cannot read '{}'", shown(&name)))?,
        other => {
            let _ = fs::remove_file(&name);
            let why = other.map_or_else(|error| error.to_string(), |status| status.to_string());
            bail!("the editor '{}' failed ({why}): nothing is changed", shown(&editor));
        }
    };
    if edited != bytes {
        let swapped = writer.swap_in(&edited, bytes.len() as u64, xxh3_128(&bytes))?;
        global.notices(&place, &writer.notices);
        if !swapped {
            bail!(
                "'{}' was changed by another program meanwhile: nothing is changed, your text is in '{}'",
                shown(&place.file),
                shown(&name)
            );
        }
    }
    fs::remove_file(&name).with_context(|| format!("cannot remove '{}'", shown(&name)))?;
    Ok(Exit::Done)
}
