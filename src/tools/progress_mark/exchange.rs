//! `import` and `export`: the `progress.json` that pipelines keep, `{"completed": [{…}], "total_completed": N, …}`.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use serde_json::value::RawValue;

use super::{Global, NAME};
use crate::entry::{Out, complain};
use crate::exit::{Exit, Failure};
use crate::journal::{Header, Place, Writer, key, record, replace};
use crate::text::shown;

const COMPLETED: &str = "completed";
const TOTAL: &str = "total_completed";
const SAVED: &str = "last_saved_to_parquet";

/// How much is written and flushed at once into a journal that is there already.
const BATCH: usize = 1 << 20;

#[derive(ClapArgs)]
pub(super) struct ImportArgs {
    /// The file; "-" is standard input
    #[arg(value_name = "FILE")]
    from: PathBuf,
}

#[derive(ClapArgs)]
pub(super) struct ExportArgs {
    /// Where to, replaced at once and keeping its other fields [default: standard output]
    #[arg(value_name = "OUT")]
    to: Option<PathBuf>,
}

/// What a pipeline's file says.
struct Document {
    header: Header,
    /// The items as records, each with its line break.
    records: Vec<u8>,
    items: u64,
    saved: Option<u64>,
}

impl Document {
    /// `None` for JSON that is something else.
    fn parse(text: &str, fields: Option<&[String]>) -> Result<Option<Self>> {
        let _: &RawValue = serde_json::from_str(text).context("it isn't whole JSON")?;
        let top = record::fields_of(text).unwrap_or_default();
        let named = |name: &str| top.iter().find(|(field, _)| field == name).map(|(_, value)| value.get());
        let Some(items) = named(COMPLETED).and_then(|raw| serde_json::from_str::<Vec<&RawValue>>(raw).ok()) else {
            return Ok(None);
        };
        let first = items.first().and_then(|item| record::fields_of(item.get()));
        let own: Option<Vec<String>> = first.map(|pairs| pairs.into_iter().map(|(name, _)| name).collect());
        let fields = fields.map(<[String]>::to_vec).or(own);
        if let Some(fields) = &fields
            && !record::well_named(fields)
        {
            bail!("its first item has no fields that can make a key");
        }
        let mut document = Self {
            header: Header { version: record::VERSION, fields, ..Header::default() },
            records: Vec::new(),
            items: 0,
            saved: None,
        };
        document.take(&items)?;
        document.saved = named(SAVED).and_then(|raw| raw.parse().ok());
        Ok(Some(document))
    }

    fn take(&mut self, items: &[&RawValue]) -> Result<()> {
        let fields = self.header.fields.as_deref();
        let mut key = Vec::new();
        let mut keys = Vec::with_capacity(items.len());
        // A field is written as a number where it is one in every item.
        let mut integers: Option<Vec<bool>> = None;
        for (nth, item) in items.iter().enumerate() {
            let raw = item.get();
            // A bare text, or a number, is a key of one field.
            let list = if raw.starts_with(['[', '{']) { None } else { Some(format!("[{raw}]")) };
            let line = list.as_deref().unwrap_or(raw);
            match record::parse(line, fields, &mut key) {
                Ok(record::Record::Done) => keys.push(key.clone()),
                Ok(_) => bail!("item {} of '{COMPLETED}' has no key", nth + 1),
                Err(why) => bail!("item {} of '{COMPLETED}' has no key: {why}", nth + 1),
            }
            let own = record::integers(line, fields);
            integers = Some(match integers {
                None => own,
                Some(all) => all.iter().zip(own).map(|(all, own)| *all && own).collect(),
            });
        }
        let integers = integers.unwrap_or_default();
        let places: Vec<usize> = (0..integers.len()).filter(|place| integers[*place]).collect();
        for key in &keys {
            self.records.extend_from_slice(key::json(key, &places).as_bytes());
            self.records.push(b'\n');
        }
        self.items = keys.len() as u64;
        self.header.integers = if self.header.fields.is_some() { places } else { Vec::new() };
        Ok(())
    }

    fn saved_record(&self) -> String {
        self.saved.map_or_else(String::new, |saved| format!("{{\"saved\":{saved}}}\n"))
    }
}

/// The journal to use where the one at `place` isn't there yet, or is a pipeline's own file: `x.jsonl` takes over from
/// `x.json`, once.
pub(super) fn on_first_use(global: &Global, place: Place) -> Result<Place> {
    let is = |extension: &str| place.file.extension() == Some(OsStr::new(extension));
    let (journal, document) = if is("json") && place.file.exists() {
        (Place { file: place.file.with_extension("jsonl"), dir: place.dir.clone() }, place.file.clone())
    } else if is("jsonl") && !place.file.exists() {
        (place.clone(), place.file.with_extension("json"))
    } else {
        return Ok(place);
    };
    let found = match fs::read(&document) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(place),
        other => other.with_context(|| format!("cannot read '{}'", shown(&document)))?,
    };
    // A journal may bear any name: its first line says that it is one.
    let first = found.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_journal = std::str::from_utf8(first).is_ok_and(|line| record::parse(line, None, &mut Vec::new()).is_ok());
    if found.is_empty() || is_journal {
        return Ok(place);
    }
    let why = || format!("cannot import '{}'", shown(&document));
    let Some(parsed) = std::str::from_utf8(&found)
        .context("it isn't UTF-8")
        .and_then(|text| Document::parse(text, global.fields.as_deref()))
        .with_context(why)?
    else {
        return Ok(place);
    };
    if journal.file.exists() {
        return Ok(journal);
    }
    if global.dry_run {
        global.warn(&format!("would import {} items from '{}'", parsed.items, shown(&document)));
        return Ok(journal);
    }
    let mut writer = Writer::open(journal.clone(), Header::default(), global.unsafe_lock)?;
    let imported = writer.locked(|| {
        if journal.file.exists() {
            return Ok(false);
        }
        replace(&journal, |out| {
            writeln!(out, "{}", parsed.header.line())?;
            out.write_all(&parsed.records)?;
            out.write_all(parsed.saved_record().as_bytes())
        })?;
        Ok(true)
    })?;
    if imported {
        complain(NAME, &format!("imported {} items from '{}' into '{}'", parsed.items, shown(&document), shown(&journal.file)));
    }
    Ok(journal)
}

pub(super) fn import(global: &Global, args: &ImportArgs, out: &mut Out) -> Result<Exit> {
    let name = shown(&args.from);
    let mut bytes = Vec::new();
    let read = if args.from == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        File::open(&args.from).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read '{name}'"))?;
    let place = Place::of(&global.name()).with_context(|| format!("cannot find '{}'", shown(global.name())))?;
    let known = Writer::open(place.clone(), Header::default(), global.unsafe_lock).and_then(|mut writer| {
        writer.look()?;
        Ok(writer.header().fields.clone())
    })?;
    let fields = global.fields.clone().or(known);
    let text = std::str::from_utf8(&bytes).context("it isn't UTF-8").with_context(|| format!("cannot import '{name}'"))?;
    let parsed = Document::parse(text, fields.as_deref()).with_context(|| format!("cannot import '{name}'"))?;
    let document = parsed.with_context(|| format!("cannot import '{name}': it has no list '{COMPLETED}'"))?;
    if !global.dry_run {
        let mut writer = Writer::open(place.clone(), document.header.clone(), global.unsafe_lock)?;
        let mut left = document.records.as_slice();
        while !left.is_empty() {
            let near = left.len().min(BATCH);
            let end = memchr::memchr(b'\n', &left[near - 1..]).map_or(left.len(), |at| near + at);
            let (batch, rest) = left.split_at(end);
            writer.put(batch, memchr::memchr_iter(b'\n', batch).count() as u64)?;
            left = rest;
        }
        if document.saved.is_some() {
            writer.put(document.saved_record().as_bytes(), 0)?;
        }
        global.notices(&place, &writer.notices);
    }
    if global.json {
        writeln!(out, "{}", serde_json::json!({"imported": document.items}))?;
    } else if global.verbose {
        writeln!(out, "{} items", document.items)?;
    }
    Ok(Exit::Done)
}

pub(super) fn export(global: &Global, args: &ExportArgs, out: &mut Out) -> Result<Exit> {
    let place = global.place()?;
    let loaded = global.load(&place)?;
    loaded.keep();
    let (count, saved) = (loaded.set.len(), loaded.reading.saved);
    let header = loaded.reading.header.clone();
    let Some(to) = &args.to else {
        let integers = integers(global, &place, &header, &[])?;
        let written = write(out, &[], count, saved, |out| items(out, loaded, &header, &integers));
        return if out.is_closed() { Ok(Exit::Done) } else { written.map(|()| Exit::Done) };
    };
    let to = fs::canonicalize(to).unwrap_or_else(|_| to.clone());
    if to == place.file {
        bail!("cannot export to '{}': that is the journal", shown(&to));
    }
    let old = old_fields(&to)?;
    let integers = integers(global, &place, &header, &old)?;
    if global.dry_run {
        return Ok(Exit::Done);
    }
    at_once(&to, |file| write(file, &old, count, saved, |file| items(file, loaded, &header, &integers)))
        .with_context(|| format!("cannot replace '{}'", shown(&to)))?;
    Ok(Exit::Done)
}

type Field = (String, Box<RawValue>);

/// The fields of the file that is to be replaced: those that are none of ours stay.
fn old_fields(to: &Path) -> Result<Vec<Field>> {
    let text = match fs::read_to_string(to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("cannot read '{}'", shown(to)))?,
    };
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let refused = || Failure::new(Exit::Broken, format!("cannot export to '{}': what it holds is no progress.json", shown(to)));
    let fields = record::fields_of(&text).ok_or_else(refused)?;
    if fields.iter().any(|(name, _)| name == COMPLETED) { Ok(fields) } else { Err(refused().into()) }
}

/// Which fields of the key the old reader expects as numbers: those that any record or the old file writes so.
fn integers(global: &Global, place: &Place, header: &Header, old: &[Field]) -> Result<Vec<usize>> {
    let mut found = header.integers.clone();
    let mut note = |line: &str| {
        for (at, is_integer) in record::integers(line, header.fields.as_deref()).into_iter().enumerate() {
            if is_integer && !found.contains(&at) {
                found.push(at);
            }
        }
    };
    let first = old
        .iter()
        .find(|(name, _)| name == COMPLETED)
        .and_then(|(_, raw)| serde_json::from_str::<Vec<&RawValue>>(raw.get()).ok());
    if let Some(item) = first.as_ref().and_then(|items| items.first()) {
        note(item.get());
    }
    let mut seen = 0_u32;
    global.load_quietly(place)?.each_once(|_, line| {
        // A million lines show what the file's habit is.
        seen += 1;
        if seen < 1_000_000 {
            note(line);
        }
    })?;
    Ok(found)
}

fn items(out: &mut impl Write, loaded: crate::done_set::Loaded, header: &Header, integers: &[usize]) -> Result<()> {
    let mut written = Ok(());
    let mut first = true;
    loaded.each_once(|key, _| {
        if written.is_err() {
            return;
        }
        let item = match &header.fields {
            Some(fields) => key::object(key, fields, integers),
            None if key::arity(key) > 1 => key::json(key, integers),
            // A key of one text is that text.
            None => key::json(key, integers).trim_matches(['[', ']']).to_owned(),
        };
        written = write!(out, "{}{item}", if first { "" } else { ",\n" });
        first = false;
    })?;
    Ok(written?)
}

/// Writes the document: the old one's fields in their places, ours anew.
fn write<W: Write>(
    out: &mut W,
    old: &[Field],
    count: u64,
    saved: Option<u64>,
    items: impl FnOnce(&mut W) -> Result<()>,
) -> Result<()> {
    let mut names: Vec<&str> = old.iter().map(|(name, _)| name.as_str()).collect();
    names.extend([COMPLETED, TOTAL, SAVED].into_iter().filter(|name| !old.iter().any(|(old, _)| old == name)));
    let mut items = Some(items);
    for (nth, name) in names.into_iter().enumerate() {
        write!(out, "{}{}:", if nth == 0 { "{" } else { ",\n" }, serde_json::to_string(name)?)?;
        let old = old.iter().find(|(old, _)| old == name).map(|(_, value)| value.get());
        match (name, saved) {
            (COMPLETED, _) => {
                out.write_all(b"[")?;
                items.take().map_or(Ok(()), |items| items(out))?;
                out.write_all(b"]")?;
            }
            (TOTAL, _) => write!(out, "{count}")?,
            (SAVED, Some(saved)) => write!(out, "{saved}")?,
            _ => out.write_all(old.unwrap_or("0").as_bytes())?,
        }
    }
    out.write_all(b"}\n")?;
    Ok(())
}

/// Replaces a file: a crash leaves the old one or the new one, and perhaps a file beside it that the next call removes.
fn at_once(to: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let mut next = to.as_os_str().to_owned();
    next.push(".new");
    let written = || -> Result<()> {
        let new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o666).open(&next)?;
        if let Ok(old) = fs::metadata(to) {
            new.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
        }
        let mut out = BufWriter::with_capacity(1 << 20, new);
        fill(&mut out)?;
        let whole = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        whole.sync_all()?;
        fs::rename(&next, to)?;
        let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(File::open(dir)?.sync_all()?)
    };
    written().inspect_err(|_| drop(fs::remove_file(&next)))
}
