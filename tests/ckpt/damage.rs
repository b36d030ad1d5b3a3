//! Real files of every format, whole and damaged: what each level of proof sees.
//!
//! `g` good, `b` broken, `s` suspect; first at the quick level, then at the deep one, then against a manifest. A format
//! without checksums can't see what was changed in its data, and no level is claimed that wasn't reached.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::make::ckpt;
use crate::support::{root, scratch};

fn fixtures() -> PathBuf {
    root().join("tests/fixtures/checkpoints")
}

/// The columns of the table.
const DAMAGE: [&str; 12] = [
    "whole",
    "-1 byte",
    "-4 KiB",
    "half",
    "empty",
    "zeroed tail",
    "zeroed middle",
    "one bit",
    "junk after",
    "hole",
    "LFS pointer",
    "HTML",
];

/// One line a real file: what its content and its format let each check see.
const TABLE: [(&str, [&str; 12]); 12] = [
    ("ckpt_1.npy", ["ggg", "bbb", "bbb", "bbb", "bbb", "ggb", "ggb", "ggb", "ggb", "ssb", "bbb", "bbb"]),
    ("ckpt_1.pkl", ["ggg", "bbb", "bbb", "bbb", "bbb", "bbb", "ggb", "ggb", "ggb", "bbb", "bbb", "bbb"]),
    // It ends in twenty blocks of zeros, of which one is enough.
    ("ckpt_1.tar", ["ggg", "ggb", "bbb", "bbb", "bbb", "ggb", "ggb", "ggb", "ggb", "ssb", "bbb", "bbb"]),
    ("graph_1.onnx", ["ggg", "bbb", "bbb", "bbb", "bbb", "bbb", "ggb", "ggb", "bbb", "bbb", "bbb", "bbb"]),
    ("legacy_1.pth", ["ggg", "bbb", "bbb", "bbb", "bbb", "ggb", "ggb", "ggb", "ggb", "ssb", "bbb", "bbb"]),
    ("new_1.h5", ["ggg", "bbb", "bbb", "bbb", "bbb", "ggb", "ggb", "ggb", "ggb", "ssb", "bbb", "bbb"]),
    ("old_1.h5", ["ggg", "bbb", "bbb", "bbb", "bbb", "ggb", "ggb", "ggb", "ggb", "ssb", "bbb", "bbb"]),
    ("packed_1.npz", ["ggg", "bbb", "bbb", "bbb", "bbb", "bbb", "gbb", "gbb", "ggb", "bbb", "bbb", "bbb"]),
    ("plain_1.npz", ["ggg", "bbb", "bbb", "bbb", "bbb", "bbb", "gbb", "gbb", "ggb", "bbb", "bbb", "bbb"]),
    // Its last byte is padding.
    ("quant_1.gguf", ["ggg", "ggb", "bbb", "bbb", "bbb", "ggb", "ggb", "ggb", "ggb", "bbb", "bbb", "bbb"]),
    ("tensors_1.safetensors", ["ggg", "bbb", "bbb", "bbb", "bbb", "ggb", "ggb", "ggb", "ggb", "bbb", "bbb", "bbb"]),
    ("torch_1.pt", ["ggg", "bbb", "bbb", "bbb", "bbb", "bbb", "gbb", "gbb", "ggb", "bbb", "bbb", "bbb"]),
];

fn damaged(whole: &[u8], how: &str) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let len = bytes.len();
    match how {
        "whole" | "hole" => {}
        "-1 byte" => bytes.truncate(len - 1),
        // The smallest files are shorter than that: then most of them.
        "-4 KiB" => bytes.truncate(len.saturating_sub(4096).max(len / 10)),
        "half" => bytes.truncate(len / 2),
        "empty" => bytes.clear(),
        "zeroed tail" => bytes[len - len / 4..].fill(0),
        "zeroed middle" => bytes[len * 3 / 8..len * 5 / 8].fill(0),
        "one bit" => bytes[len / 2] ^= 0x10,
        "junk after" => bytes.extend([0xa5; 1000]),
        "LFS pointer" => {
            bytes =
                format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {len}\n", "a".repeat(64)).into_bytes();
        }
        "HTML" => bytes = b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n".to_vec(),
        other => panic!("{other}"),
    }
    bytes
}

/// Writes the damaged file; a hole is everything from its first block on that was never written.
fn write(path: &Path, whole: &[u8], how: &str) {
    fs::write(path, damaged(whole, how)).unwrap();
    if how == "hole" {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(if whole.len() > 4096 { 4096 } else { 0 }).unwrap();
        file.set_len(whole.len() as u64).unwrap();
    }
}

fn letter(dir: &Path, options: &[&str]) -> char {
    let ran = ckpt(dir, options).run();
    let verdict = ran.stdout.split_whitespace().nth(1).unwrap_or_else(|| panic!("{ran:?}"));
    assert_eq!(ran.code, Some(i32::from(verdict != "good")), "{ran:?}");
    verdict.chars().next().unwrap()
}

/// The verdicts on one file damaged in one way: quick, deep, deep against a manifest of the whole file.
fn verdicts(fixture: &str, how: &str) -> String {
    let scratch = scratch();
    let whole = fs::read(fixtures().join("files").join(fixture)).unwrap();
    let dir = scratch.path().join("plain");
    fs::create_dir(&dir).unwrap();
    write(&dir.join(fixture), &whole, how);
    let saved = scratch.path().join("saved");
    fs::create_dir(&saved).unwrap();
    let original = fixtures().join("files").join(fixture);
    let name = ckpt(&saved, &["--save", original.to_str().unwrap()]).ok();
    write(&Path::new(name.trim_end()).join(fixture), &whole, how);
    [
        letter(&dir, &["--verify"]),
        letter(&dir, &["--verify", "--level", "deep"]),
        letter(&saved, &["--verify", "--level", "deep"]),
    ]
    .iter()
    .collect()
}

#[test]
fn every_damage_is_seen_where_the_format_lets_it() {
    let mut wrong = Vec::new();
    let mut found = fs::read_dir(fixtures().join("files"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect::<Vec<_>>();
    found.sort();
    for fixture in &found {
        let expected = TABLE.iter().find(|(name, _)| name == fixture).map(|(_, line)| line);
        let line: Vec<String> = DAMAGE.iter().map(|how| verdicts(fixture, how)).collect();
        for (at, how) in DAMAGE.iter().enumerate() {
            let expected = expected.map_or("", |line| line[at]);
            if line[at] != expected {
                wrong.push(format!("{fixture}, {how}: {} where {expected} is expected", line[at]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A copy of a directory of the fixtures to damage, its files older than any other test's.
fn copied(name: &str) -> (tempfile::TempDir, PathBuf) {
    let scratch = scratch();
    let from = fixtures().join(name);
    for entry in walkdir::WalkDir::new(&from).min_depth(1) {
        let entry = entry.unwrap();
        let to = scratch.path().join(entry.path().strip_prefix(&from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir(to).unwrap();
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
    let path = scratch.path().to_owned();
    (scratch, path)
}

/// A fixture, the layout it is known as, and files with what is said when they are missing.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What a trainer wrote is good; without one of its files, or with one cut, it isn't, and the reason names the file.
#[test]
fn what_trainers_wrote_is_known_whole_and_in_part() {
    let cases: [Case; 4] = [
        (
            "trainer",
            "Hugging Face",
            &[
                ("checkpoint-4/model.safetensors", "no model file"),
                ("checkpoint-4/trainer_state.json", "="),
                ("checkpoint-4/optimizer.pt", "+complete for inference, not for resuming"),
            ],
        ),
        (
            "sharded",
            "shards",
            &[
                ("checkpoint-9/model-00002-of-00002.safetensors", "shard 2 of 2"),
                ("checkpoint-9/model-00001-of-00002.safetensors", "shard 1 of 2"),
            ],
        ),
        ("dcp", "torch distributed", &[("step_5/.metadata", ".metadata"), ("step_5/__0_0.distcp", "__0_0.distcp is missing")]),
        ("orbax", "Orbax", &[("checkpoint_3/manifest.ocdbt", "manifest.ocdbt is missing")]),
    ];
    for (name, layout, files) in cases {
        let (_scratch, dir) = copied(name);
        let whole = ckpt(&dir, &["--verify", "--level", "deep"]).ok();
        assert!(whole.lines().all(|line| line.contains(" good ") && line.contains(layout)), "{whole}");
        for (file, reason) in files {
            let (_scratch, dir) = copied(name);
            fs::remove_file(dir.join(file)).unwrap();
            let ran = ckpt(&dir, &["--verify"]).run();
            let line = ran.stdout.lines().find(|line| line.starts_with(file.split('/').next().unwrap())).unwrap();
            match reason.strip_prefix(['+', '=']) {
                // A file that others can stand in for: good, perhaps with a remark.
                Some(remark) => assert!(line.contains(" good ") && line.contains(remark), "{file}: {line}"),
                None => assert!(line.contains(" broken ") && line.contains(reason), "{file}: {line}"),
            }
        }
        // Cut in half, every file of it that holds state is missed.
        for entry in walkdir::WalkDir::new(&dir).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file()) {
            let path = entry.path();
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
            let state = ["safetensors", "pt", "pth", "bin", "distcp"].contains(&extension)
                || path.ends_with(".metadata")
                || path.ends_with("trainer_state.json");
            if state {
                let whole = fs::read(path).unwrap();
                fs::write(path, &whole[..whole.len() / 2]).unwrap();
                let ran = ckpt(&dir, &["--verify"]).run();
                assert!(ran.code == Some(1) && ran.stdout.contains(" broken "), "{}: {ran:?}", path.display());
                fs::write(path, whole).unwrap();
            }
        }
    }
}

/// What a file says is data: no name in it leads outside, nothing in it is executed, no length in it is believed.
#[test]
fn nothing_in_a_file_is_obeyed() {
    let (scratch, dir) = copied("sharded");
    let index = dir.join("checkpoint-9/model.safetensors.index.json");
    let text = fs::read_to_string(&index).unwrap();
    for name in ["../outside.safetensors", "/etc/passwd", ".."] {
        fs::write(&index, text.replace("model-00001-of-00002.safetensors", name)).unwrap();
        let ran = ckpt(&dir, &["--verify"]).run();
        assert!(ran.code == Some(1) && ran.stdout.contains("names a file outside"), "{name}: {ran:?}");
    }
    let canary = scratch.path().join("canary");
    let evil = format!("cos\nsystem\n(S'touch {}'\ntR.", canary.display());
    let files = scratch.path().join("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("model_1.pkl"), &evil).unwrap();
    fs::write(files.join("ckpt_1.pt"), [b"\x80\x02", evil.as_bytes()].concat()).unwrap();
    let mut lie = u64::MAX.to_le_bytes().to_vec();
    lie.extend(b"{}");
    fs::write(files.join("ckpt_2.safetensors"), &lie).unwrap();
    let mut lie = b"GGUF\x03\0\0\0".to_vec();
    lie.extend([0xff; 16]);
    fs::write(files.join("ckpt_3.gguf"), &lie).unwrap();
    fs::write(files.join("ckpt_4.npy"), b"\x93NUMPY\x02\0\xff\xff\xff\xff{").unwrap();
    let ran = ckpt(&files, &["--verify", "--level", "deep"]).run();
    assert!(ran.code == Some(1) && ran.stdout.matches(" broken ").count() == 3, "{ran:?}");
    assert!(!canary.exists());
}

/// Names and reasons can't act on the terminal that they are shown on.
#[test]
fn what_is_shown_is_harmless() {
    let scratch = scratch();
    let dir = scratch.path().join("checkpoint-1");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("\u{1b}]0;owned\u{7}.safetensors"), "short").unwrap();
    let ran = ckpt(scratch.path(), &["--verify"]).run();
    assert!(ran.code == Some(1) && !ran.stdout.chars().any(|c| c.is_control() && c != '\n'), "{ran:?}");
    let ran = ckpt(scratch.path(), &["--latest"]).run();
    assert!(!ran.stderr.chars().any(|c| c.is_control() && c != '\n'), "{ran:?}");
}

/// Trainers whose checkpoints are files or folders by rank: a missing one is noticed, and named.
#[test]
fn a_missing_rank_is_named() {
    let state = fs::read(fixtures().join("files/torch_1.pt")).unwrap();
    let mut index = vec![0; 100];
    index.extend([0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb]);
    let cases: [(&str, &[&str], usize, &str); 6] = [
        (
            "DeepSpeed",
            &[
                "global_step5/mp_rank_00_model_states.pt",
                "global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt",
                "global_step5/zero_pp_rank_1_mp_rank_00_optim_states.pt",
                "global_step5/zero_pp_rank_2_mp_rank_00_optim_states.pt",
            ],
            2,
            "optimizer states of rank 1",
        ),
        (
            "DeepSpeed",
            &["global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt", "global_step5/mp_rank_00_model_states.pt"],
            1,
            "model states are missing",
        ),
        (
            "Megatron",
            &[
                "iter_0000005/mp_rank_00_000/model_optim_rng.pt",
                "iter_0000005/mp_rank_00_001/model_optim_rng.pt",
                "iter_0000005/mp_rank_01_000/model_optim_rng.pt",
                "iter_0000005/mp_rank_01_001/model_optim_rng.pt",
            ],
            2,
            "mp_rank_01_000 is missing",
        ),
        ("rank files", &["ep1-ba5-rank0.pt", "ep1-ba5-rank1.pt", "ep1-ba5-rank2.pt"], 1, "rank 1 is missing"),
        (
            "TensorFlow",
            &["model.ckpt-5.index", "model.ckpt-5.data-00000-of-00002", "model.ckpt-5.data-00001-of-00002", "model.ckpt-5.meta"],
            2,
            "data part 1 of 2",
        ),
        ("TensorFlow", &["ckpt-5.data-00000-of-00001", "ckpt-5.index"], 1, "index is missing"),
    ];
    for (layout, files, missing, reason) in cases {
        let scratch = scratch();
        for file in files {
            let path = scratch.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, if layout == "TensorFlow" { &index } else { &state }).unwrap();
        }
        let whole = ckpt(scratch.path(), &["--verify"]).ok();
        assert!(whole.lines().count() == 1 && whole.contains(" good ") && whole.contains(layout), "{layout}: {whole}");
        fs::remove_file(scratch.path().join(files[missing])).unwrap();
        if layout == "Megatron" {
            fs::remove_dir(scratch.path().join(files[missing]).parent().unwrap()).unwrap();
        }
        let ran = ckpt(scratch.path(), &["--verify"]).run();
        assert!(ran.code == Some(1) && ran.stdout.contains(reason), "{layout}: {ran:?}");
    }
    // NeMo marks what it hasn't finished.
    let scratch = scratch();
    fs::create_dir(scratch.path().join("step_5")).unwrap();
    fs::write(scratch.path().join("step_5/weights_1.pt"), &state).unwrap();
    fs::write(scratch.path().join("step_5-unfinished"), "").unwrap();
    let ran = ckpt(scratch.path(), &["--latest"]).run();
    assert!(ran.code == Some(1) && ran.stderr.contains("unfinished"), "{ran:?}");
}
