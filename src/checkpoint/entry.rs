//! What one entry of the directory is, by its name alone: part of a checkpoint, somebody's work in progress, ours, or
//! none of our business.

use std::borrow::Cow;

use glob::Pattern;

use super::name::{Parsed, parse};

/// What everything of ours in a directory begins with.
pub const OWN: &str = ".ckpt-rotate.";

/// Extensions of files that hold weights or state.
const WEIGHTS: [&str; 10] = ["ckpt", "pt", "pth", "safetensors", "bin", "gguf", "npz", "h5", "hdf5", "onnx"];

/// Further extensions that a file called `ckpt_…` may have. A script or a table beside the checkpoints is none.
const CONTAINERS: [&str; 17] = [
    "tar", "zip", "gz", "tgz", "zst", "xz", "pkl", "pickle", "msgpack", "npy", "keras", "dat", "data", "model", "state",
    "params", "nemo",
];

/// Extensions of what stands beside a checkpoint and goes with it.
const BESIDE: [&str; 9] = ["json", "yaml", "yml", "txt", "sha256", "md5", "b3", "keep", "log"];

/// Directories (and bare names) that are checkpoints without being declared, numbers cut out.
const BARE: [&str; 15] = [
    "checkpoint-#",
    "checkpoint_#",
    "global_step#",
    "iter_#",
    "step_#",
    "step-#",
    "step#",
    "epoch_#",
    "epoch-#",
    "epoch#",
    "ep#-ba#",
    "checkpoint-@",
    "checkpoint_@",
    "checkpoint_step_#",
    "checkpoint_epoch_#",
];

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class<'a> {
    /// Made by this program.
    Own,
    /// Being written by somebody, or left by one who was killed.
    InFlight,
    /// A checkpoint, or a part of one.
    Part(Part<'a>),
    /// Goes with the checkpoint whose member has one of these names, if there is one.
    Beside(Vec<String>),
    /// Not ours.
    Other,
}

/// An entry that belongs to the checkpoint called `unit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The checkpoint's name: the entry's own, or what a group's members have in common.
    pub unit: Cow<'a, str>,
    /// What orders it.
    pub parsed: Parsed,
}

/// The patterns declared on the command line. With any of them, only names that match one are checkpoints.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Reads glob patterns.
    ///
    /// # Errors
    /// Says which one is no pattern, and why.
    pub fn new(globs: &[String]) -> Result<Self, String> {
        let compile = |glob: &String| {
            if glob.is_empty() {
                return Err("an empty pattern matches nothing".to_owned());
            }
            Pattern::new(glob).map_err(|error| format!("'{glob}' is no pattern: {error}"))
        };
        globs.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    fn declare(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    const fn any(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Says what the entry is.
#[must_use]
pub fn classify<'a>(name: &'a str, is_dir: bool, patterns: &Patterns) -> Class<'a> {
    if name.starts_with(OWN) {
        return Class::Own;
    }
    if in_flight(name) {
        return Class::InFlight;
    }
    if name.starts_with('.') {
        return Class::Other;
    }
    if let Some(part) = part(name, is_dir, patterns) {
        return Class::Part(part);
    }
    let extension = split(name).1;
    if !is_dir && (BESIDE.contains(&extension) || extension == "meta" || extension == "index") {
        beside(name)
    } else {
        Class::Other
    }
}

/// Whether the name says that its writer has not finished.
#[must_use]
pub fn in_flight(name: &str) -> bool {
    let ends = [".tmp", ".partial", ".part", ".incomplete", ".metadata.tmp", "-unfinished", ".lock"];
    let mkstemp = name.strip_prefix(".tmp").is_some_and(|rest| rest.len() >= 6);
    ends.iter().any(|end| name.ends_with(end))
        || mkstemp
        || name.starts_with("tmp-checkpoint-")
        || name.starts_with(".nfs")
        || cut_last(name, ".orbax-checkpoint-tmp").is_some()
}

/// Whether a file of this name holds weights or state, for which being empty is damage.
#[must_use]
pub fn holds_state(name: &str) -> bool {
    let extension = split(name).1;
    let others = ["distcp", "npy", "pkl", "pickle", "msgpack", "tar", "keras", "nemo", "index", "zip"];
    WEIGHTS.iter().chain(&others).any(|known| known.eq_ignore_ascii_case(extension)) || name == ".metadata"
}

/// The name in front of its last dot, and the extension: a number after a dot is none.
#[must_use]
pub fn split(name: &str) -> (&str, &str) {
    match cut_last(name, ".") {
        Some((stem, extension)) if !stem.is_empty() && extension.bytes().any(|b| b.is_ascii_alphabetic()) => (stem, extension),
        _ => (name, ""),
    }
}

fn part<'a>(name: &'a str, is_dir: bool, patterns: &Patterns) -> Option<Part<'a>> {
    let (unit, grouped) = if is_dir { (name.into(), false) } else { unit_of(name) };
    let (stem, extension) = split(&unit);
    let extension = lower(extension);
    if patterns.any() {
        let declared = patterns.declare(&unit) || patterns.declare(name);
        if !declared || (BESIDE.contains(&&*extension) && !patterns.declare(name)) {
            return None;
        }
        let stem = if WEIGHTS.contains(&&*extension) { stem } else { &unit };
        let parsed = finished(parse(stem, true)?, &extension);
        return Some(Part { unit, parsed });
    }
    let weights = WEIGHTS.contains(&&*extension);
    let container = !weights && CONTAINERS.contains(&&*extension);
    let stem = if weights || container { stem } else { &unit };
    let parsed = parse(stem, false)?;
    let free = stem.starts_with("ckpt_") || stem.starts_with("ckpt-");
    let plain = extension.is_empty() || weights;
    let known = || BARE.contains(&parsed.series.as_str()) && (is_dir || plain || grouped);
    let recognised = if is_dir {
        parsed.ordered && (free || extension == "ckpt") || known()
    } else {
        parsed.ordered && (weights || grouped || free && (plain || container)) || known()
    };
    if !recognised {
        return None;
    }
    let parsed = finished(parsed, &extension);
    Some(Part { unit, parsed })
}

fn finished(mut parsed: Parsed, extension: &str) -> Parsed {
    if !parsed.series.ends_with(extension) {
        parsed.series.push('.');
        parsed.series.push_str(extension);
    }
    parsed
}

fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) { text.to_ascii_lowercase().into() } else { text.into() }
}

/// As `rsplit_once`, whose preparations take longer than these names are worth.
fn cut_last<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let mut end = text.len();
    loop {
        end = text.as_bytes()[..end].iter().rposition(|b| *b == mark.as_bytes()[0])?;
        if let Some(rest) = text[end..].strip_prefix(mark) {
            return Some((&text[..end], rest));
        }
    }
}

/// The unit that a file belongs to, and whether the name says that it is one of several.
fn unit_of(name: &str) -> (Cow<'_, str>, bool) {
    if let Some(whole) = name.strip_suffix(".index.json") {
        return (whole.into(), WEIGHTS.contains(&split(whole).1));
    }
    // All other groups count their members behind one.
    if !name.contains('-') {
        return (name.into(), false);
    }
    if let Some((prefix, rest)) = cut_last(name, ".data-")
        && numbered_of(rest).is_some()
    {
        return (prefix.into(), true);
    }
    if let Some(prefix) = name.strip_suffix(".index").or_else(|| name.strip_suffix(".meta"))
        && cut_last(prefix, "ckpt-").is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    {
        return (prefix.into(), true);
    }
    let (stem, extension) = split(name);
    if let Some((at, _)) = shard(stem) {
        return (format!("{}.{extension}", &stem[..at]).into(), true);
    }
    if let Some((prefix, rank)) = cut_last(stem, "-rank")
        && !rank.is_empty()
        && rank.bytes().all(|b| b.is_ascii_digit())
    {
        return (format!("{prefix}.{extension}").into(), true);
    }
    (name.into(), false)
}

/// Where `-00001-of-00005` begins at the end of a stem, and its two numbers.
#[must_use]
pub fn shard(stem: &str) -> Option<(usize, (u32, u32))> {
    let (front, _) = cut_last(stem, "-of-")?;
    let (prefix, _) = front.rsplit_once('-')?;
    Some((prefix.len(), numbered_of(&stem[prefix.len() + 1..])?))
}

/// The numbers of `00001-of-00005`.
#[must_use]
pub fn numbered_of(text: &str) -> Option<(u32, u32)> {
    let (number, total) = text.split_once("-of-")?;
    let five = |text: &str| text.len() >= 5 && text.bytes().all(|b| b.is_ascii_digit());
    if five(number) && five(total) { Some((number.parse().ok()?, total.parse().ok()?)) } else { None }
}

fn beside(name: &str) -> Class<'static> {
    let (stem, _) = split(name);
    Class::Beside(vec![stem.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, is_dir: bool) -> Option<String> {
        match classify(name, is_dir, &Patterns::default()) {
            Class::Part(part) => Some(part.unit.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn the_forms_of_the_trainers_are_known() {
        for dir in [
            "checkpoint-100",
            "checkpoint_7",
            "global_step100",
            "iter_0000100",
            "step_3",
            "step-3",
            "ckpt_20251129_120300_iter5",
            "ckpt-7",
            "epoch=3-step=400.ckpt",
        ] {
            assert_eq!(unit(dir, true).as_deref(), Some(dir));
        }
        for file in [
            "epoch=3-step=400-v1.ckpt",
            "model_100.pt",
            "net-2025-11-29.safetensors",
            "ckpt_5",
            "ckpt_5.pt",
            "m.12.npz",
            "w_3.GGUF",
        ] {
            assert_eq!(unit(file, false).as_deref(), Some(file));
        }
    }

    #[test]
    fn members_of_a_group_name_one_unit() {
        for (member, whole) in [
            ("model.ckpt-100.index", "model.ckpt-100"),
            ("model.ckpt-100.data-00000-of-00002", "model.ckpt-100"),
            ("model.ckpt-100.meta", "model.ckpt-100"),
            ("step_5-00001-of-00002.safetensors", "step_5.safetensors"),
            ("step_5.safetensors.index.json", "step_5.safetensors"),
            ("ep1-ba100-rank3.pt", "ep1-ba100.pt"),
        ] {
            assert_eq!(unit(member, false).as_deref(), Some(whole));
        }
    }

    #[test]
    fn other_names_are_nobodys() {
        for (name, is_dir) in [
            ("checkpoint-best-for-paper", true),
            ("checkpoint-100-old", true),
            ("checkpoint-100.bak", true),
            ("model-00001-of-00005.json", false),
            ("ckpt_convert.py", false),
            ("ckpt_5.py", false),
            ("resnet50.pth", false),
            ("last.ckpt", false),
            ("faiss_5.index", false),
            ("step_100_backup", true),
            ("runs", true),
            (".hidden_5.pt", false),
            ("ckpt_notes", true),
        ] {
            assert_eq!(unit(name, is_dir), None, "{name}");
        }
    }

    #[test]
    fn work_in_progress_is_known_by_its_name() {
        for name in [
            "a.pt.tmp",
            ".tmpAbC123",
            "x.partial",
            "tmp-checkpoint-5",
            "7.orbax-checkpoint-tmp-123",
            "m-unfinished",
            ".nfs0001",
            ".metadata.tmp",
        ] {
            assert_eq!(classify(name, false, &Patterns::default()), Class::InFlight);
        }
    }

    #[test]
    fn a_pattern_declares_and_narrows() {
        let patterns = Patterns::new(&["w*.dat".to_owned()]).unwrap();
        let class = |name: &'static str| classify(name, false, &patterns);
        assert!(matches!(class("w12.dat"), Class::Part(part) if part.parsed.key.last == Some(12)));
        assert_eq!(class("model_100.pt"), Class::Other);
        assert!(Patterns::new(&["[".to_owned()]).is_err() && Patterns::new(&[String::new()]).is_err());
    }
}
