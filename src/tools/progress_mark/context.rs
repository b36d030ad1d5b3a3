//! What the commands share: the journal that is meant, how it is opened, and what is said about it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{Global, NAME, exchange};
use crate::done_set::{self, Loaded};
use crate::entry::complain;
use crate::exit::{Exit, Failure};
use crate::journal::{Header, Notice, Place, Reading, Writer, record};
use crate::text::shown;

const DEFAULT: &str = "progress.jsonl";

impl Global {
    /// The journal's name as the user gave it.
    pub(super) fn name(&self) -> PathBuf {
        let given = self.file.clone().filter(|file| !file.as_os_str().is_empty());
        given.unwrap_or_else(|| PathBuf::from(DEFAULT))
    }

    /// The journal. A `progress.json` of a pipeline that was never imported is imported first.
    pub(super) fn place(&self) -> Result<Place> {
        if self.fields.as_deref().is_some_and(|fields| !record::well_named(fields)) {
            let message = "--fields takes different names, and none of progress_mark, undo, saved";
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let name = self.name();
        let place = Place::of(&name).with_context(|| format!("cannot find '{}'", shown(&name)))?;
        exchange::on_first_use(self, place)
    }

    /// The header that a new journal gets.
    pub(super) fn new_header(&self) -> Header {
        match &self.fields {
            Some(fields) => Header { version: record::VERSION, fields: Some(fields.clone()), ..Header::default() },
            None => Header::default(),
        }
    }

    /// Gets ready to write.
    pub(super) fn writer(&self, place: &Place) -> Result<Writer> {
        let mut writer = Writer::open(place.clone(), self.new_header(), self.unsafe_lock)?;
        writer.look()?;
        Ok(writer)
    }

    /// Reads the journal, and says what is wrong with it.
    pub(super) fn load(&self, place: &Place) -> Result<Loaded> {
        let loaded = done_set::load(place, self.fields.as_deref(), !self.no_cache)?;
        self.judge(&loaded.reading, &place.file)?;
        self.notices(place, loaded.notice.as_slice());
        if self.verbose {
            let (done, kind) = (loaded.set.len(), loaded.set.kind());
            complain(
                NAME,
                &format!("{done} items done, in a {kind}; {} bytes of the journal came from the cache", loaded.cached()),
            );
        }
        Ok(loaded)
    }

    /// Reads the journal once more, when all that is wrong with it was said.
    pub(super) fn load_quietly(&self, place: &Place) -> Result<Loaded> {
        done_set::load(place, self.fields.as_deref(), !self.no_cache)
    }

    /// Fails on what can't be read, warns of what is skipped.
    pub(super) fn judge(&self, reading: &Reading, file: &Path) -> Result<()> {
        if reading.nameless > 0 {
            let message = format!("cannot read '{}': it has objects, and no header names their key", shown(file));
            let hint = "--fields A,B,C names it; 'repair --fields A,B,C' writes the header";
            return Err(Failure::new(Exit::Broken, message).hint(hint).into());
        }
        let Some(first) = reading.bad.first() else { return Ok(()) };
        let what = format!("line {} of '{}' is damaged: {}", first.line, shown(file), first.why);
        if self.strict {
            bail!("{what}");
        }
        let others = match reading.damaged - 1 {
            0 => String::new(),
            1 => " (and 1 other)".to_owned(),
            more => format!(" (and {more} others)"),
        };
        self.warn(&format!("{what}{others}; skipped, '{NAME} check' names all"));
        Ok(())
    }

    pub(super) fn notices(&self, place: &Place, notices: &[Notice]) {
        for notice in notices {
            self.warn(&notice.text(&shown(&place.file)));
        }
    }

    /// What only the curious want to hear.
    pub(super) fn warn_verbose(&self, line: &str) {
        if self.verbose {
            complain(NAME, line);
        }
    }

    /// A warning: it changes no exit code.
    pub(super) fn warn(&self, line: &str) {
        if !self.quiet {
            complain(NAME, line);
        }
    }
}

/// A wrong command line that only the journal or the input shows.
pub(super) fn usage(message: impl Into<String>) -> anyhow::Error {
    Failure::new(Exit::Usage, message).into()
}
