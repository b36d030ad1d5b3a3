//! The thirteen things that must never happen, each with a test that fails when it does.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use super::make::{age, ckpt, everything, good, names, rotate, series, tensors};
use crate::support::{scratch, tool};

/// Rule 1: a directory that isn't proved.
#[test]
fn an_unproved_directory_is_refused() {
    let scratch = scratch();
    series(scratch.path(), 3);
    for dir in ["/", "/etc", "/usr", "/var", "/tmp", "/proc"] {
        tool("ckpt-rotate").args(["--keep", "1", dir]).fails(2, &["refusing", dir]);
        tool("ckpt-rotate").args(["--latest", dir]).fails(2, &["refusing"]);
    }
    tool("ckpt-rotate").args(["--keep", "1"]).arg(scratch.path()).env("HOME", scratch.path()).fails(2, &["home"]);
    // By another road it is the same directory.
    let road = scratch.path().join("../").join(scratch.path().file_name().unwrap());
    tool("ckpt-rotate").args(["--keep", "1"]).arg(road).env("HOME", scratch.path()).fails(2, &["home"]);
    tool("ckpt-rotate").args(["--keep", "1", ""]).fails(2, &[]);
    tool("ckpt-rotate").args(["--keep", "1"]).env("CKPT_DIR", "").fails(2, &[]);
    tool("ckpt-rotate").args(["--keep", "1", "/nonexistent"]).fails(125, &["/nonexistent", "No such file"]);
    tool("ckpt-rotate")
        .args(["--keep", "1"])
        .arg(scratch.path().join("checkpoint-100/model.safetensors"))
        .fails(125, &["Not a directory"]);
    assert_eq!(names(scratch.path()).len(), 3);
}

/// Rule 1: the directory is the operand, else `$CKPT_DIR`, else the current one.
#[test]
fn the_directory_may_come_from_the_environment() {
    let scratch = scratch();
    series(scratch.path(), 2);
    let latest = |run: crate::support::Run| run.args(["--latest"]).ok();
    assert!(latest(tool("ckpt-rotate").env("CKPT_DIR", scratch.path())).ends_with("checkpoint-200\n"));
    assert_eq!(latest(tool("ckpt-rotate").cwd(scratch.path())), "./checkpoint-200\n");
}

/// Rules 2 and 3: only good ones count, and the last good one stays under every policy.
#[test]
fn what_is_broken_pushes_nothing_out() {
    let scratch = scratch();
    series(scratch.path(), 5);
    for name in ["checkpoint-400", "checkpoint-500"] {
        let file = scratch.path().join(name).join("model.safetensors");
        File::options().write(true).open(&file).unwrap().set_len(900).unwrap();
        age(&file, 60);
    }
    let ran = rotate(scratch.path(), &["--keep", "2"]).run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("checkpoint-500") && ran.stderr.contains("truncated"), "{ran:?}");
    assert_eq!(names(scratch.path()), ["checkpoint-200", "checkpoint-300", "checkpoint-400", "checkpoint-500"]);
    // Given up for good: the broken ones are newer than any good one, so they stay even so.
    rotate(scratch.path(), &["--keep", "1", "--drop-broken", "-q"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-300", "checkpoint-400", "checkpoint-500"]);
    good(scratch.path(), "checkpoint-600", 30);
    rotate(scratch.path(), &["--keep", "1", "--drop-broken", "-q"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-600"]);
}

/// Rule 2: a check that can't run proves nothing, and nothing goes on its account.
#[test]
fn what_cannot_be_read_counts_for_nothing() {
    let scratch = scratch();
    series(scratch.path(), 4);
    // Another file system's content can't be judged: see `others`. Here every open fails with EIO.
    let command = rotate(scratch.path(), &["--keep", "1"]).command();
    let ran = crate::support::faults::strace(&["-o", "/dev/null", "-e", "inject=openat2:error=EIO:when=10+"], &command)
        .output()
        .unwrap();
    assert_eq!(names(scratch.path()).len(), 4, "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("Input/output error"), "{ran:?}");
}

/// Rule 4: other names are listed by nobody's wish and touched by nothing.
#[test]
fn other_names_are_never_touched() {
    let scratch = scratch();
    series(scratch.path(), 4);
    let others = ["checkpoint-best-for-paper", "checkpoint-100-old", "runs", "step_100_backup"];
    for name in others {
        good(scratch.path(), name, 999_999);
    }
    for file in ["resnet50.pth", "notes_5.txt", "train_6.py", "last.ckpt"] {
        fs::write(scratch.path().join(file), tensors(10, 0)).unwrap();
    }
    rotate(scratch.path(), &["--keep", "1", "--drop-broken", "--max-size", "1"]).run();
    let left = names(scratch.path());
    for name in others.iter().chain(&["resnet50.pth", "notes_5.txt", "train_6.py", "last.ckpt", "checkpoint-400"]) {
        assert!(left.contains(&(*name).to_owned()), "{name} of {left:?}");
    }
    assert_eq!(left.len(), 9);
}

/// Makes something point at `checkpoint-100`.
type Point<'a> = &'a dyn Fn(&Path);

/// Rule 5: whatever points at a checkpoint protects it.
#[test]
fn pointers_protect_their_targets() {
    let cases: [(&str, Point); 9] = [
        ("latest", &|dir| symlink("checkpoint-100", dir.join("latest")).unwrap()),
        ("absolute", &|dir| symlink(dir.join("checkpoint-100"), dir.join("anything")).unwrap()),
        ("inner", &|dir| symlink("checkpoint-100/model.safetensors", dir.join("best.safetensors")).unwrap()),
        ("tag", &|dir| fs::write(dir.join("latest"), "checkpoint-100\n").unwrap()),
        ("best", &|dir| fs::write(dir.join("best.txt"), "/some/where/checkpoint-100").unwrap()),
        ("tensorflow", &|dir| {
            let text = "model_checkpoint_path: \"checkpoint-100\"\nall_model_checkpoint_paths: \"checkpoint-100\"\n";
            fs::write(dir.join("checkpoint"), text).unwrap();
        }),
        ("trainer", &|dir| {
            let state = r#"{"global_step": 400, "best_model_checkpoint": "out/checkpoint-100", "best_metric": NaN}"#;
            fs::write(dir.join("checkpoint-400/trainer_state.json"), state).unwrap();
        }),
        ("keep", &|dir| fs::write(dir.join("checkpoint-100/.keep"), "").unwrap()),
        ("pin", &|dir| tool("ckpt-rotate").args(["--pin", "checkpoint-100"]).arg(dir).silent(0)),
    ];
    for (case, point) in cases {
        let scratch = scratch();
        series(scratch.path(), 4);
        point(scratch.path());
        rotate(scratch.path(), &["--keep", "1", "--max-size", "1"]).run();
        let left = names(scratch.path());
        assert!(left.contains(&"checkpoint-100".to_owned()) && left.contains(&"checkpoint-400".to_owned()), "{case}: {left:?}");
        assert!(!left.contains(&"checkpoint-200".to_owned()), "{case}: {left:?}");
    }
    let scratch = scratch();
    series(scratch.path(), 2);
    fs::create_dir(scratch.path().join("m")).unwrap();
    let dir = scratch.path().join("m");
    for n in [100, 200] {
        good(&dir, &format!("iter_0000{n}"), 4000 - n);
    }
    fs::write(dir.join("latest_checkpointed_iteration.txt"), "100").unwrap();
    rotate(&dir, &["--keep", "1"]).silent(0);
    assert!(names(&dir).contains(&"iter_0000100".to_owned()));
}

/// Rule 5: a link is a pointer and never a checkpoint; what it leads to isn't entered.
#[test]
fn links_are_not_followed() {
    let scratch = scratch();
    let outside = scratch.path().join("outside");
    let dir = scratch.path().join("ckpts");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    series(&dir, 3);
    symlink(&outside, dir.join("checkpoint-50")).unwrap();
    symlink(&outside, dir.join("checkpoint-100/sub")).unwrap();
    rotate(&dir, &["--keep", "1"]).silent(0);
    assert_eq!(names(&dir), ["checkpoint-300", "checkpoint-50"]);
    assert_eq!(fs::read_to_string(outside.join("precious")).unwrap(), "x");
}

/// Rule 5: pins can't be guessed, so a damaged list stops everything.
#[test]
fn damaged_pins_stop_a_rotation() {
    let scratch = scratch();
    series(scratch.path(), 3);
    fs::write(scratch.path().join(".ckpt-rotate.pins"), "[\"checkpoint-1").unwrap();
    rotate(scratch.path(), &["--keep", "1"]).fails(125, &["cannot read"]);
    assert_eq!(names(scratch.path()).len(), 3);
}

/// Rule 7: questions write nothing at all.
#[test]
fn questions_write_nothing() {
    let scratch = scratch();
    series(scratch.path(), 3);
    fs::write(scratch.path().join("checkpoint-100/model.safetensors"), "").unwrap();
    let before = everything(scratch.path());
    let stamp = fs::metadata(scratch.path()).unwrap().modified().unwrap();
    for question in [
        vec!["--latest"],
        vec!["--verify"],
        vec!["--verify", "--level", "deep"],
        vec!["--check"],
        vec!["--keep", "1", "--dry-run"],
    ] {
        ckpt(scratch.path(), &question).run();
    }
    assert_eq!(everything(scratch.path()), before);
    assert_eq!(fs::metadata(scratch.path()).unwrap().modified().unwrap(), stamp);
}

/// Rule 8: what is young is left alone, by the newest file inside, and so is what comes from the future.
#[test]
fn the_young_are_left_alone() {
    let scratch = scratch();
    series(scratch.path(), 4);
    age(&scratch.path().join("checkpoint-100/model.safetensors"), 90_000);
    fs::write(scratch.path().join("checkpoint-100/eval.json"), "{}").unwrap();
    let future = std::time::SystemTime::now() + std::time::Duration::from_secs(9999);
    fs::write(scratch.path().join("checkpoint-200/log.txt"), "x").unwrap();
    File::open(scratch.path().join("checkpoint-200/log.txt")).unwrap().set_modified(future).unwrap();
    let ran = ckpt(scratch.path(), &["--keep", "1"]).run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(names(scratch.path()), ["checkpoint-100", "checkpoint-200", "checkpoint-400"]);
}

/// Rules 3 and 8: a young directory that nothing completes takes no place.
#[test]
fn what_may_still_grow_pushes_nothing_out() {
    let scratch = scratch();
    series(scratch.path(), 3);
    good(scratch.path(), "checkpoint-400", 0);
    let ran = ckpt(scratch.path(), &["--keep", "1"]).run();
    assert!(ran.code == Some(0) && ran.stderr.contains("checkpoint-400"), "{ran:?}");
    assert_eq!(names(scratch.path()), ["checkpoint-300", "checkpoint-400"]);
}

/// Rule 9: no number is permission.
#[test]
fn wrong_values_touch_nothing() {
    let scratch = scratch();
    series(scratch.path(), 3);
    let before = everything(scratch.path());
    let wrong: [&[&str]; 22] = [
        &[],
        &["--keep", "0"],
        &["--keep=-1"],
        &["--keep", "all"],
        &["--keep", "NaN"],
        &["--keep", "18446744073709551616"],
        &["--keep", ""],
        &["--keep-every", "0"],
        &["--keep-daily", "0"],
        &["--keep-within", "0s"],
        &["--keep-within=-7d"],
        &["--max-size", "0"],
        &["--max-size", "99999999999T"],
        &["--min-free", "much"],
        &["--keep-best", "1"],
        &["--keep-best", "1", "--metric", "loss"],
        &["--keep", "1", "--level", "off"],
        &["--drop-broken"],
        &["--make-room", "0"],
        &["--keep", "1", "--latest"],
        &["--keep", "1", "--pattern", ""],
        &["--tag", "x", "--keep", "1"],
    ];
    for options in wrong {
        rotate(scratch.path(), options).fails(2, &[]);
    }
    tool("ckpt-rotate").args(["--hold", "x"]).arg(scratch.path()).fails(125, &[]);
    tool("ckpt-rotate").args(["--hold", "x", "--keep", "0"]).arg(scratch.path()).fails(125, &[]);
    assert_eq!(everything(scratch.path()), before);
}

/// Rule 10: where number and time disagree nothing goes; the option decides.
#[test]
fn number_against_time_is_for_the_user_to_decide() {
    let fresh = || {
        let scratch = scratch();
        for (n, seconds) in [(100, 1000), (200, 2000), (300, 3000), (400, 4000)] {
            good(scratch.path(), &format!("checkpoint-{n}"), seconds);
        }
        scratch
    };
    let scratch = fresh();
    let ran = rotate(scratch.path(), &["--keep", "2"]).run();
    assert!(ran.code == Some(1) && ran.stdout.is_empty() && ran.stderr.contains("--order"), "{ran:?}");
    assert_eq!(names(scratch.path()).len(), 4);
    rotate(scratch.path(), &["--keep", "2", "--order", "number"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-300", "checkpoint-400"]);
    let scratch = fresh();
    rotate(scratch.path(), &["--keep", "2", "--order", "time"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-100", "checkpoint-200"]);
    // Where nothing would go anyway, there is nothing to decide.
    rotate(scratch.path(), &["--keep", "2"]).silent(0);
}

/// Rule 13: a planned removal that fails is said, and the rest goes on.
#[test]
fn a_failed_removal_is_no_success() {
    let scratch = scratch();
    series(scratch.path(), 4);
    let command = rotate(scratch.path(), &["--keep", "1"]).command();
    let ran = crate::support::faults::strace(&["-o", "/dev/null", "-e", "inject=renameat2:error=EIO:when=2"], &command)
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(String::from_utf8_lossy(&ran.stderr).contains("cannot remove"), "{ran:?}");
    assert_eq!(names(scratch.path()).len(), 2);
    rotate(scratch.path(), &["--keep", "1"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-400"]);
}
