//! What a name says: which series it belongs to, where it stands in it, or that it is no checkpoint at all.
//!
//! A name is a checkpoint's only when it matches a form in full. The numbers that order a series are cut out of the
//! name, and what is left is the series: `checkpoint-9` and `checkpoint-10` are one, `best-10` is another.

use std::ops::Range;

/// Labels whose number orders a series, the most telling first.
const LABELS: [&str; 14] = [
    "step",
    "steps",
    "iter",
    "iters",
    "iteration",
    "iterations",
    "it",
    "ba",
    "batch",
    "samples",
    "tokens",
    "epoch",
    "epochs",
    "ep",
];

/// Labels of a measurement: its decimals vary within a series and order nothing.
const METRICS: [&str; 26] = [
    "loss",
    "acc",
    "accuracy",
    "ppl",
    "perplexity",
    "f1",
    "auc",
    "bleu",
    "rouge",
    "wer",
    "cer",
    "iou",
    "miou",
    "map",
    "mse",
    "mae",
    "rmse",
    "psnr",
    "ssim",
    "fid",
    "score",
    "metric",
    "val",
    "eval",
    "reward",
    "samples",
];

/// What orders a checkpoint within its series; compared field by field.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Named numbers (`step`, `epoch`, …), the most telling label first.
    pub named: Box<[u64]>,
    /// A time in the name, as the digits `YYYYmmddHHMMSS`.
    pub stamp: Option<u64>,
    /// The last integer, where the name has neither of the others.
    pub last: Option<u64>,
    /// `-v1` or `_2` at the end: the same place in the series, saved again.
    pub version: u64,
}

impl Key {
    /// The number that `--keep-every` counts.
    #[must_use]
    pub fn step(&self) -> Option<u64> {
        self.named.first().copied().or(self.last)
    }
}

/// A name read in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The name with what orders it cut out.
    pub series: String,
    /// Its place in the series.
    pub key: Key,
    /// Whether anything orders it at all.
    pub ordered: bool,
}

/// A series takes its checkpoints' extension on.
const ROOM_FOR_EXTENSION: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Named(usize),
    Stamp,
    Metric,
    Last,
    Version,
}

/// Reads the numbers of a name without its extension. `loose` takes the last integer wherever it stands, as a declared
/// pattern vouches for it; otherwise it must stand between separators, so that `resnet50` is no checkpoint number 50.
///
/// `None` when a number that would order it is too large to compare.
#[must_use]
pub fn parse(stem: &str, loose: bool) -> Option<Parsed> {
    let bytes = stem.as_bytes();
    let mut cuts: Vec<(Range<usize>, Cut)> = Vec::with_capacity(4);
    if let Some(range) = stamp(bytes) {
        cuts.push((range, Cut::Stamp));
    }
    let stamped = cuts.first().map(|(range, _)| range.end);
    let taken = |cuts: &[(Range<usize>, Cut)], at: usize| cuts.iter().any(|(range, _)| range.contains(&at));
    for run in digit_runs(bytes) {
        if taken(&cuts, run.start) {
            continue;
        }
        let decimal = decimal_around(bytes, &run);
        let label = label_before(bytes, decimal.as_ref().map_or(run.start, |range| range.start));
        match (decimal, label) {
            (Some(range), Some(label)) if place(&METRICS, label).is_some() => cuts.push((range, Cut::Metric)),
            (None, Some(label)) if !letter_at(bytes, run.end) => {
                if let Some(rank) = place(&LABELS, label) {
                    cuts.push((run, Cut::Named(rank)));
                }
            }
            _ => {}
        }
    }
    let named = cuts.iter().any(|(_, cut)| matches!(cut, Cut::Named(_)));
    if let Some(range) = version(bytes, stamped, named).filter(|range| !taken(&cuts, range.end - 1)) {
        cuts.push((range, Cut::Version));
    }
    if !named && stamped.is_none() {
        let runs = digit_runs(bytes).filter(|run| !taken(&cuts, run.start) && decimal_around(bytes, run).is_none());
        if let Some(run) = runs.filter(|run| loose || stands_alone(bytes, run)).last() {
            cuts.push((run, Cut::Last));
        }
    }
    cuts.sort_by_key(|(range, _)| range.start);
    assemble(stem, &cuts)
}

fn assemble(stem: &str, cuts: &[(Range<usize>, Cut)]) -> Option<Parsed> {
    let mut series = String::with_capacity(stem.len() + ROOM_FOR_EXTENSION);
    let mut key = Key::default();
    let mut named: Vec<(usize, u64)> = Vec::new();
    let mut from = 0;
    for (range, cut) in cuts {
        series.push_str(&stem[from..range.start]);
        from = range.end;
        let number = || digits(&stem[range.clone()]);
        match cut {
            Cut::Named(rank) => {
                named.push((*rank, number()?));
                series.push('#');
            }
            Cut::Stamp => {
                key.stamp = Some(whole_stamp(number()?));
                series.push('@');
            }
            Cut::Last => {
                key.last = Some(number()?);
                series.push('#');
            }
            Cut::Metric => series.push('~'),
            Cut::Version => key.version = number()?,
        }
    }
    series.push_str(&stem[from..]);
    named.sort_by_key(|(rank, _)| *rank);
    key.named = named.into_iter().map(|(_, number)| number).collect();
    let ordered = key.step().is_some() || key.stamp.is_some();
    Some(Parsed { series, key, ordered })
}

/// The number that the digits of `text` make, whatever stands between them.
fn digits(text: &str) -> Option<u64> {
    text.bytes().filter(u8::is_ascii_digit).try_fold(0_u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// A date alone counts as its midnight, a time without seconds as its full minute.
const fn whole_stamp(digits: u64) -> u64 {
    match digits {
        0..100_000_000 => digits * 1_000_000,
        100_000_000..1_000_000_000_000 => digits * 10_000,
        1_000_000_000_000..10_000_000_000_000 => digits * 100,
        _ => digits,
    }
}

fn digit_runs(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes[at..].iter().position(u8::is_ascii_digit)?;
        at = start + bytes[start..].iter().take_while(|b| b.is_ascii_digit()).count();
        Some(start..at)
    })
}

/// The whole `3.14` that a run of digits belongs to.
fn decimal_around(bytes: &[u8], run: &Range<usize>) -> Option<Range<usize>> {
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    if bytes.get(run.end) == Some(&b'.') && digit(run.end + 1) {
        let end = run.end + 1 + bytes[run.end + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        return Some(run.start..end);
    }
    if run.start >= 2 && bytes[run.start - 1] == b'.' && digit(run.start - 2) {
        let whole = bytes[..run.start - 1].iter().rev().take_while(|b| b.is_ascii_digit()).count();
        return Some(run.start - 1 - whole..run.end);
    }
    None
}

/// Where a label stands in a list, in whatever case it is written.
fn place(known: &[&str], label: &[u8]) -> Option<usize> {
    known.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(label))
}

/// The letters before `at`, one separator between.
fn label_before(bytes: &[u8], at: usize) -> Option<&[u8]> {
    if at == 0 {
        return None;
    }
    let end = if at > 0 && matches!(bytes[at - 1], b'=' | b'-' | b'_') { at - 1 } else { at };
    let letters = bytes[..end].iter().rev().take_while(|b| b.is_ascii_alphabetic()).count();
    (letters > 0).then(|| &bytes[end - letters..end])
}

fn letter_at(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(|b| b.is_ascii_alphabetic() || *b >= 0x80)
}

fn stands_alone(bytes: &[u8], run: &Range<usize>) -> bool {
    let separator = |b: Option<&u8>| b.is_none_or(|b| matches!(b, b'-' | b'_' | b'=' | b'.'));
    separator(run.start.checked_sub(1).and_then(|at| bytes.get(at))) && separator(bytes.get(run.end))
}

/// `-v3` after numbers, as Lightning writes it, or `_2` after a time, as `--save` does.
fn version(bytes: &[u8], stamped: Option<usize>, named: bool) -> Option<Range<usize>> {
    let count = bytes.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let start = bytes.len() - count;
    if count == 0 || count > 4 || bytes[start] == b'0' {
        return None;
    }
    if named && bytes[..start].ends_with(b"-v") {
        return Some(start - 2..bytes.len());
    }
    let after_stamp = stamped.is_some_and(|end| end < start);
    (after_stamp && bytes[..start].ends_with(b"_")).then(|| start - 1..bytes.len())
}

/// The first date and time, in any of the forms people put into file names.
fn stamp(bytes: &[u8]) -> Option<Range<usize>> {
    const FORMS: [&str; 12] = [
        "YMD_HmS",
        "YMD-HmS",
        "YMDTHmS",
        "Y-M-D_H-m-S",
        "Y-M-D_H:m:S",
        "Y-M-DTH-m-S",
        "Y-M-DTH:m:S",
        "Y-M-D-H-m-S",
        "Y-M-D_HmS",
        "YMDHmS",
        "Y-M-D",
        "YMD",
    ];
    let counted = |at: usize| label_before(bytes, at).is_some_and(|label| place(&LABELS, label).is_some());
    // Every form begins with a year, which few numbers are.
    let begins = |at: &usize| form_length(&bytes[*at..], "Y").is_some() && !counted(*at);
    digit_runs(bytes).map(|run| run.start).filter(begins).find_map(|at| {
        FORMS.iter().find_map(|form| {
            let end = at + form_length(&bytes[at..], form)?;
            let digit_follows = bytes.get(end).is_some_and(u8::is_ascii_digit);
            (!digit_follows).then_some(at..end)
        })
    })
}

fn form_length(bytes: &[u8], form: &str) -> Option<usize> {
    let mut at = 0;
    for field in form.bytes() {
        let (width, low, high) = match field {
            b'Y' => (4, 1970, 2199),
            b'M' => (2, 1, 12),
            b'D' => (2, 1, 31),
            b'H' => (2, 0, 23),
            b'm' => (2, 0, 59),
            b'S' => (2, 0, 60),
            separator => {
                if bytes.get(at) != Some(&separator) {
                    return None;
                }
                at += 1;
                continue;
            }
        };
        let text = bytes.get(at..at + width)?;
        let number = text.iter().fold(0, |number, digit| number * 10 + u32::from(digit.wrapping_sub(b'0')));
        if !text.iter().all(u8::is_ascii_digit) || !(low..=high).contains(&number) {
            return None;
        }
        at += width;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn series(stem: &str) -> String {
        parse(stem, false).unwrap().series
    }

    #[test]
    fn numbers_order_and_names_make_series() {
        let key = |stem: &str| parse(stem, false).unwrap().key;
        assert!(key("checkpoint-9") < key("checkpoint-10"));
        assert!(key("epoch=3-step=400") < key("epoch=3-step=400-v1"));
        assert!(key("epoch=10-step=90") < key("epoch=9-step=100"), "steps tell more than epochs");
        assert!(key("ckpt_20251129_120300") < key("ckpt_20251129_120300_2"));
        assert!(key("ckpt_20251129_120300_iter9") < key("ckpt_20251128_120300_iter10"));
        assert_eq!(series("epoch=3-step=400"), series("epoch=3-step=400-v1"));
        assert_eq!(series("ckpt_20251129_120300_iter9"), "ckpt_@_iter#");
        assert_eq!(series("epoch=3-val_loss=0.12"), "epoch=#-val_loss=~");
        assert_eq!(series("global_step100"), "global_step#");
        assert_ne!(series("run1_step_100"), series("run2_step_100"));
        assert_eq!(key("model_2025-11-29").stamp, Some(20_251_129_000_000));
    }

    #[test]
    fn a_model_size_is_no_number() {
        for stem in ["resnet50", "llama-7b", "yolov8", "model-v2", "checkpoint-best-for-paper", "llama-3.1-8b"] {
            assert!(!parse(stem, false).unwrap().ordered, "{stem}");
        }
        assert_eq!(parse("w12", true).unwrap().key.last, Some(12));
    }

    #[test]
    fn a_number_too_large_to_compare_is_no_number() {
        assert_eq!(parse("checkpoint-99999999999999999999999", false), None);
    }

    proptest! {
        #[test]
        fn any_name_is_read(stem in ".{0,40}", loose: bool) {
            let _ = parse(&stem, loose);
        }

        #[test]
        fn larger_numbers_come_later(a in 0_u64..1 << 60, b in 0_u64..1 << 60, form in 0..4_usize) {
            let name = |n: u64| ["checkpoint-N", "epoch=1-step=N", "N", "iter_N_loss0.5"][form].replace('N', &n.to_string());
            let (x, y) = (parse(&name(a), false).unwrap(), parse(&name(b), false).unwrap());
            prop_assert_eq!(&x.series, &y.series);
            prop_assert_eq!(x.key.cmp(&y.key), a.cmp(&b));
        }
    }
}
