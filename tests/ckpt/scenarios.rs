//! Why it has to exist: what was reported of other tools, with files of those shapes.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::make::{age, ckpt, good, names, rotate, series, tensors};
use crate::support::scratch;

/// A rotation that counts directories deletes both good ones and keeps the empty one.
#[test]
fn an_empty_newest_directory_takes_no_place() {
    let scratch = scratch();
    series(scratch.path(), 2);
    fs::create_dir(scratch.path().join("checkpoint-300")).unwrap();
    age(&scratch.path().join("checkpoint-300"), 10);
    let ran = rotate(scratch.path(), &["--keep", "1"]).run();
    assert!(ran.code == Some(0) && ran.stderr.contains("it holds nothing"), "{ran:?}");
    assert_eq!(names(scratch.path()), ["checkpoint-200", "checkpoint-300"]);
    assert!(ckpt(scratch.path(), &["--latest"]).run().stdout.ends_with("checkpoint-200\n"));
}

/// After a power cut the two newest were 0 bytes, the third was good.
#[test]
fn a_power_cut_costs_the_newest_only() {
    let scratch = scratch();
    for n in 1..=5 {
        let file = scratch.path().join(format!("step_{n}.safetensors"));
        fs::write(&file, if n > 3 { Vec::new() } else { tensors(500, 0) }).unwrap();
        age(&file, 600 - n * 60);
    }
    rotate(scratch.path(), &["--keep", "2", "-q"]).silent(0);
    assert_eq!(names(scratch.path()), ["step_2.safetensors", "step_3.safetensors", "step_4.safetensors", "step_5.safetensors"]);
}

/// A killed save of safetensors has its full length, and opens.
#[test]
fn a_file_of_full_size_and_holes_is_suspect() {
    let scratch = scratch();
    series(scratch.path(), 2);
    let unit = good(scratch.path(), "checkpoint-300", 60);
    let path = unit.join("model.safetensors");
    let whole = tensors(4 << 20, 7);
    let mut file = File::create(&path).unwrap();
    file.write_all(&whole[..1 << 19]).unwrap();
    file.set_len(whole.len() as u64).unwrap();
    // Open for writing it would be somebody's work in progress.
    drop(file);
    age(&path, 60);
    let ran = rotate(scratch.path(), &["--keep", "1"]).run();
    assert!(ran.code == Some(0) && ran.stderr.contains("suspect") && ran.stderr.contains("holes"), "{ran:?}");
    assert_eq!(names(scratch.path()), ["checkpoint-200", "checkpoint-300"]);
    let ran = ckpt(scratch.path(), &["--latest"]).run();
    assert!(ran.stdout.ends_with("checkpoint-200\n") && ran.stderr.contains("suspect"), "{ran:?}");
    // It isn't proved broken either, so it is never removed as such.
    good(scratch.path(), "checkpoint-400", 30);
    rotate(scratch.path(), &["--keep", "1", "--drop-broken", "-q"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-300", "checkpoint-400"]);
}

/// Numbers are compared as numbers, whatever their width.
#[test]
fn nine_comes_before_ten() {
    let scratch = scratch();
    for (n, seconds) in [(8, 300), (9, 200), (10, 100), (100, 50)] {
        good(scratch.path(), &format!("checkpoint-{n}"), seconds);
    }
    rotate(scratch.path(), &["--keep", "2"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-10", "checkpoint-100"]);
}

/// A restart in the same directory begins again with small numbers.
#[test]
fn a_restart_is_noticed() {
    let scratch = scratch();
    series(scratch.path(), 3);
    good(scratch.path(), "checkpoint-50", 60);
    let ran = rotate(scratch.path(), &["--keep", "1"]).run();
    assert!(ran.code == Some(1) && ran.stderr.contains("checkpoint-50"), "{ran:?}");
    assert_eq!(names(scratch.path()).len(), 4);
}

/// A snapshot isn't destroyed by a trainer that rewrites its file in place.
#[test]
fn a_snapshot_is_no_link() {
    let scratch = scratch();
    let source = scratch.path().join("model_1.safetensors");
    fs::write(&source, tensors(300, 1)).unwrap();
    let dir = scratch.path().join("ckpts");
    fs::create_dir(&dir).unwrap();
    let name = ckpt(&dir, &["--save", source.to_str().unwrap()]).ok();
    let mut file = File::options().write(true).open(&source).unwrap();
    file.seek(SeekFrom::Start(100)).unwrap();
    file.write_all(&[0; 100]).unwrap();
    let saved = Path::new(name.trim_end()).join("model_1.safetensors");
    assert_eq!(fs::read(saved).unwrap(), tensors(300, 1));
    assert_eq!(ckpt(&dir, &["--verify", "--level", "deep"]).ok().matches("L3").count(), 1);
}

/// Every series has its own N.
#[test]
fn series_are_counted_apart() {
    let scratch = scratch();
    series(scratch.path(), 3);
    for n in 1..=3_u64 {
        for prefix in ["model", "ema"] {
            let path = scratch.path().join(format!("{prefix}_step{n}.safetensors"));
            fs::write(&path, tensors(10, 0)).unwrap();
            age(&path, 400 - n * 100);
        }
    }
    rotate(scratch.path(), &["--keep", "1"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-300", "ema_step3.safetensors", "model_step3.safetensors"]);
}

/// A group goes or stays as one, its sidecars too.
#[test]
fn shards_and_sidecars_go_together() {
    let scratch = scratch();
    for n in 1..=2_u64 {
        for shard in 1..=2 {
            let path = scratch.path().join(format!("step_{n}-0000{shard}-of-00002.safetensors"));
            fs::write(&path, tensors(10, 0)).unwrap();
            age(&path, 400 - n * 100);
        }
        let map = format!(r#"{{"weight_map": {{"w": "step_{n}-00001-of-00002.safetensors"}}}}"#);
        fs::write(scratch.path().join(format!("step_{n}.safetensors.index.json")), map).unwrap();
        let path = scratch.path().join(format!("net_{n}.safetensors"));
        fs::write(&path, tensors(10, 0)).unwrap();
        age(&path, 400 - n * 100);
        fs::write(scratch.path().join(format!("net_{n}.yaml")), "lr: 1").unwrap();
    }
    rotate(scratch.path(), &["--keep", "1"]).silent(0);
    assert_eq!(
        names(scratch.path()),
        [
            "net_2.safetensors",
            "net_2.yaml",
            "step_2-00001-of-00002.safetensors",
            "step_2-00002-of-00002.safetensors",
            "step_2.safetensors.index.json"
        ]
    );
    // Without its second shard the group is broken, and said to be.
    fs::remove_file(scratch.path().join("step_2-00002-of-00002.safetensors")).unwrap();
    let ran = ckpt(scratch.path(), &["--verify"]).run();
    assert!(ran.code == Some(1) && ran.stdout.contains("shard 2 of 2"), "{ran:?}");
}

#[test]
fn a_plan_is_listed_series_by_series_and_newest_first() {
    let scratch = scratch();
    let dir = scratch.path();
    // One made of two shards among them: in whatever order its parts are found, it is one.
    for name in ["step_9", "checkpoint-10", "step_10", "checkpoint-9"] {
        good(dir, name, 4000);
    }
    for shard in ["step_7-00002-of-00002.safetensors", "step_07.safetensors", "step_7-00001-of-00002.safetensors"] {
        fs::write(dir.join(shard), tensors(100, 1)).unwrap();
    }
    let listed = rotate(dir, &["--keep", "1", "--order", "number", "--level", "off", "--dry-run"]).ok();
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(names, ["checkpoint-10", "checkpoint-9", "step_10", "step_9", "step_7.safetensors", "step_07.safetensors"]);
}
