//! The verdict on a checkpoint: every file, then what its layout promises, then its manifest.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::digest::Cache;
use super::dir::Dir;
use super::entry::holds_state;
use super::formats::check_file;
use super::held::{Use, being_written};
use super::layouts::{deepspeed, distributed, huggingface, index, markers, tensorflow};
use super::manifest;
use super::scan::Unit;
use super::tree::{Node, Tree};
use super::verdict::{Checked, Depth, Fault, Judgement, Proof, Verdict};

/// How to judge.
#[derive(Clone, Copy)]
pub struct Checks<'a> {
    /// How much is read.
    pub depth: Depth,
    /// Told how many bytes were read, for a progress bar.
    pub read: &'a dyn Fn(u64),
    /// Digests known from before.
    pub cache: Option<&'a Cache>,
}

/// Judges a checkpoint. Nothing is written, and nothing in it is believed unchecked.
#[must_use]
pub fn judge(dir: &Dir, unit: &Unit, tree: &Tree, checks: Checks<'_>) -> Judgement {
    if unit.unfinished {
        return Judgement::plain(Verdict::Unfinished, format!("{}-unfinished stands beside it", unit.name));
    }
    if let Some((path, why)) = &tree.closed {
        return Judgement::plain(Verdict::Unread, format!("{}: {why}", path.display()));
    }
    let mut found = Found::default();
    for node in &tree.files {
        if !tree.in_flight.contains(&node.path) {
            found.file(dir, node, checks);
        }
    }
    if let Some(writing) = found.writing.take() {
        return Judgement::plain(Verdict::Unfinished, format!("{writing} is open for writing"));
    }
    if found.filled == 0 {
        found.faults.push(Fault::Broken("it holds nothing".to_owned()));
    }
    for path in &tree.in_flight {
        found.notes.push(format!("work in progress inside: {}", path.display()));
    }
    if let Err(fault) = found.layouts(dir, unit, tree, checks) {
        found.faults.push(fault);
    }
    if unit.is_dir()
        && let Some(listed) = manifest::find(tree, &unit.name)
    {
        match manifest::check(dir, tree, listed, checks.depth, checks.read, checks.cache) {
            Ok(passed) if passed.proof == Proof::Manifest => {
                found.proof = Some(Proof::Manifest);
                found.notes.extend(passed.notes);
                // Every byte is what the manifest says: what looked odd was written so.
                found.faults.retain(|fault| !matches!(fault, Fault::Suspect(_)));
            }
            Ok(passed) => found.notes.extend(passed.notes),
            Err(fault) => found.faults.push(fault),
        }
        found.layout = if found.layout.is_empty() { "manifest" } else { found.layout };
    }
    found.verdict()
}

#[derive(Default)]
struct Found {
    faults: Vec<Fault>,
    notes: Vec<String>,
    /// The weakest proof among the files that hold state; of the others, where none does.
    proof: Option<Proof>,
    weakest_other: Option<Proof>,
    /// Files with content.
    filled: usize,
    writing: Option<String>,
    layout: &'static str,
}

impl Found {
    fn file(&mut self, dir: &Dir, node: &Node, checks: Checks<'_>) {
        let shown = || node.path.display().to_string();
        let state = holds_state(node.name());
        let file = match dir.open(&node.path, OFlag::O_RDONLY) {
            Ok(file) => file,
            Err(error) => {
                self.filled += 1;
                return self.faults.push(Fault::Unread(format!("{}: {}", shown(), reason(&error))));
            }
        };
        if state && being_written(&file) == Use::Open {
            self.writing = Some(shown());
            return;
        }
        match check_file(&file, node.name(), &node.stat, checks.depth, checks.read) {
            Ok(passed) => {
                self.filled += usize::from(passed.proof != Proof::None);
                // What those hold is proved by their layout or not at all.
                let by_layout = node.name() == ".metadata" || node.name().ends_with(".distcp");
                if passed.proof != Proof::None && !by_layout {
                    let weakest = if state { &mut self.proof } else { &mut self.weakest_other };
                    *weakest = Some(weakest.map_or(passed.proof, |proof| proof.min(passed.proof)));
                }
                self.notes.extend(passed.notes.into_iter().map(|note| format!("{}: {note}", shown())));
            }
            Err(fault) => {
                self.filled += 1;
                self.faults.push(named(fault, &shown()));
            }
        }
    }

    fn layouts(&mut self, dir: &Dir, unit: &Unit, tree: &Tree, checks: Checks<'_>) -> Checked<()> {
        let state = Path::new(&unit.name).join("trainer_state.json");
        if let Some(node) = tree.files.iter().find(|node| node.path == state) {
            self.is("Hugging Face");
            let state = huggingface::state(dir.open(&node.path, OFlag::O_RDONLY)?)?;
            let step = unit.name.starts_with("checkpoint-").then(|| unit.key.step()).flatten();
            huggingface::check(tree, &state, step, &mut self.notes)?;
        }
        if index::check(dir, tree, &mut self.notes)? {
            self.is("shards");
        }
        if distributed::is_one(tree) {
            self.is("torch distributed");
            let passed = distributed::check(dir, tree, checks.depth, checks.read)?;
            self.notes.extend(passed.notes);
            self.proof = Some(self.proof.map_or(passed.proof, |proof| proof.min(passed.proof)));
        }
        if let Some(trainer) = deepspeed::check(tree)? {
            self.is(trainer);
        }
        if deepspeed::rank_files(tree)? {
            self.is("rank files");
        }
        if tensorflow::check(dir, tree)? {
            self.is("TensorFlow");
        }
        if unit.is_dir() && markers::check(dir, tree)? {
            self.is("Orbax");
        }
        Ok(())
    }

    fn is(&mut self, layout: &'static str) {
        if self.layout.is_empty() {
            self.layout = layout;
        }
    }

    fn verdict(mut self) -> Judgement {
        let rank = |fault: &Fault| match fault {
            Fault::Broken(_) => 0,
            Fault::Unread(_) => 1,
            Fault::Suspect(_) => 2,
        };
        let layout = if self.layout.is_empty() { "generic" } else { self.layout };
        let verdict = match self.faults.iter().min_by_key(|fault| rank(fault)) {
            None => {
                let proof = self.proof.or(self.weakest_other).unwrap_or_default();
                return Judgement { verdict: Verdict::Good, proof, layout, why: String::new(), notes: self.notes };
            }
            Some(Fault::Broken(_)) => Verdict::Broken,
            Some(Fault::Unread(_)) => Verdict::Unread,
            Some(Fault::Suspect(_)) => Verdict::Suspect,
        };
        self.faults.sort_by_key(rank);
        let why = self.faults.first().map(ToString::to_string).unwrap_or_default();
        Judgement { verdict, proof: Proof::None, layout, why, notes: self.notes }
    }
}

fn named(fault: Fault, path: &str) -> Fault {
    let with = |why: &str| format!("{path}: {why}");
    match fault {
        Fault::Broken(why) => Fault::Broken(with(&why)),
        Fault::Suspect(why) => Fault::Suspect(with(&why)),
        Fault::Unread(why) => Fault::Unread(with(&why)),
    }
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EXDEV) => "another file system is mounted there".to_owned(),
        Some(Errno::ELOOP) => "it became a symbolic link".to_owned(),
        _ => error.to_string(),
    }
}
