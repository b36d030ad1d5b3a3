//! SIGKILL at every system call: whatever stands under a checkpoint's name is whole, enough good ones stand, and the next
//! run ends where an undisturbed one would have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::make::{age, ckpt, everything, good, names, rotate, tensors};
use crate::support::faults::{Place, at, places};
use crate::support::scratch;

/// Directories, files and a group of three, five of each.
fn stock(dir: &Path) {
    for n in 1..=5_u64 {
        let seconds = (6 - n) * 3600;
        let unit = good(dir, &format!("checkpoint-{n}00"), seconds);
        fs::create_dir(unit.join("sub")).unwrap();
        fs::write(unit.join("sub/state.safetensors"), tensors(50, 9)).unwrap();
        for path in ["sub/state.safetensors", "sub", ""] {
            age(&unit.join(path), seconds);
        }
        for shard in 1..=2 {
            let path = dir.join(format!("step_{n}-0000{shard}-of-00002.safetensors"));
            fs::write(&path, tensors(60, 1)).unwrap();
            age(&path, seconds);
        }
        let index = dir.join(format!("step_{n}.safetensors.index.json"));
        fs::write(&index, format!(r#"{{"weight_map": {{"w": "step_{n}-00002-of-00002.safetensors"}}}}"#)).unwrap();
        age(&index, seconds);
    }
}

/// The content of every checkpoint below `dir` by its path there, ours left out.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let all = everything(dir).into_iter().map(|(path, content)| (path.strip_prefix(dir).unwrap().to_owned(), content));
    all.filter(|(path, _)| !path.to_string_lossy().starts_with(".ckpt-rotate.")).collect()
}

/// Runs `check` for every place, on as many threads as the machine has.
fn everywhere(places: &[Place], check: impl Fn(&Place) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check(place);
                }
            });
        }
    });
}

/// Every call that changes something on disk, each time it is made; of the calls that only look, the first ones: between
/// two changes a kill finds the same disk wherever it strikes.
fn telling(command: &Command, scratch: &Path) -> Vec<Place> {
    const CHANGES: [&str; 16] = [
        "renameat2",
        "rename",
        "renameat",
        "mkdirat",
        "unlinkat",
        "fsync",
        "fdatasync",
        "openat",
        "write",
        "fchmod",
        "symlinkat",
        "utimensat",
        "flock",
        "ftruncate",
        "linkat",
        "ioctl",
    ];
    let all = places(command, "all", scratch);
    let telling = |place: &&Place| CHANGES.contains(&place.call.as_str()) || place.nth <= 2;
    let chosen: Vec<Place> = all.iter().filter(telling).filter(|place| place.call != "execve").cloned().collect();
    assert!(
        chosen.iter().any(|place| place.call == "fsync") && chosen.iter().any(|place| place.call == "renameat2"),
        "{chosen:?}"
    );
    chosen
}

fn killed(place: &Place, command: &Command) {
    let mut command = at(place, "signal=KILL", command);
    // Some calls come later or less often from run to run: one that isn't killed has simply ended.
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
}

#[test]
fn a_killed_rotation_loses_nothing_and_the_next_one_ends_it() {
    let template = scratch();
    stock(template.path());
    let whole = contents(template.path());
    let trial = scratch();
    stock(trial.path());
    let command = rotate(trial.path(), &["--keep", "2"]).command();
    let places = telling(&command, template.path());
    let ended = names(trial.path());
    assert_eq!(ended.len(), 2 + 2 * 3);
    everywhere(&places, |place| {
        let scratch = scratch();
        let dir = scratch.path();
        stock(dir);
        killed(place, &rotate(dir, &["--keep", "2"]).command());
        // What stands is as it was, and directories are whole.
        let standing = contents(dir);
        assert!(standing.iter().all(|entry| whole.contains(entry)), "{place:?}");
        for n in 1..=5 {
            let unit = format!("checkpoint-{n}00");
            let files = standing.iter().filter(|(path, _)| path.starts_with(&unit)).count();
            assert!(files == 0 || files == 4, "{place:?}: {unit} has {files} of its entries");
        }
        let verdicts = ckpt(dir, &["--verify"]).run();
        for (series, members) in [("checkpoint-", 4), ("step_", 3)] {
            let lines: Vec<&str> = verdicts.stdout.lines().filter(|line| line.starts_with(series)).collect();
            let good = lines.iter().filter(|line| line.contains(" good ")).count();
            assert!(good >= 2, "{place:?}: {verdicts:?}");
            // A group that is half gone never looks whole.
            let files = standing.iter().filter(|(path, _)| path.to_string_lossy().starts_with(series)).count();
            assert!(good * members <= files, "{place:?}: {verdicts:?}");
        }
        rotate(dir, &["--keep", "2"]).silent(0);
        assert_eq!(names(dir), ended, "{place:?}");
        let own = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .filter(|name| name.to_string_lossy().starts_with(".ckpt-rotate."));
        assert_eq!(own.count(), 0, "{place:?}");
    });
}

#[test]
fn a_killed_save_leaves_nothing_that_looks_whole() {
    let template = scratch();
    let out = template.path().join("out");
    fs::create_dir_all(out.join("sub")).unwrap();
    fs::write(out.join("model.safetensors"), tensors(5000, 2)).unwrap();
    fs::write(out.join("sub/config.json"), "{}").unwrap();
    let save = |dir: &Path| rotate(dir, &["--keep", "2", "--save", out.to_str().unwrap(), "--tag", "iter9", "--link-latest"]);
    let fill = |dir: &Path| {
        for n in 1..=3 {
            rotate(dir, &["--save", out.to_str().unwrap(), "--tag", &format!("iter{n}")]).ok();
        }
    };
    let trial = scratch();
    fill(trial.path());
    let places = telling(&save(trial.path()).command(), template.path());
    everywhere(&places, |place| {
        let scratch = scratch();
        let dir = scratch.path();
        fill(dir);
        killed(place, &save(dir).command());
        let verdicts = ckpt(dir, &["--verify", "--level", "deep"]).run();
        let good = verdicts.stdout.lines().filter(|line| line.contains("L3 manifest")).count();
        assert!(good >= 2 && good == verdicts.stdout.lines().count() && verdicts.code == Some(0), "{place:?}: {verdicts:?}");
        rotate(dir, &["--keep", "2"]).silent(0);
        let left: Vec<String> = everything(dir)
            .into_iter()
            .filter_map(|(path, _)| path.strip_prefix(dir).ok()?.to_str().map(str::to_owned))
            .collect();
        let temporary = left.iter().find(|name| [".tmp.", ".trash", ".link.", ".new."].iter().any(|part| name.contains(part)));
        assert_eq!(temporary, None, "{place:?}");
        assert_eq!(
            left.iter().filter(|name| name.ends_with("SHA256SUMS") && !name.starts_with("latest")).count(),
            2,
            "{place:?}: {left:?}"
        );
    });
}

/// A failing call is no success: whatever fails, what was planned happened or the exit says no.
#[test]
fn a_failing_call_is_never_silent() {
    let trial = scratch();
    stock(trial.path());
    let command = rotate(trial.path(), &["--keep", "2"]).command();
    let calls = [
        "renameat2",
        "mkdirat",
        "unlinkat",
        "fsync",
        "flock",
        "openat2",
        "getdents64",
        "newfstatat",
        "lseek",
        "fstatfs",
        "statx",
    ];
    let all: Vec<Place> =
        places(&command, &calls.join(","), trial.path().parent().unwrap()).into_iter().filter(|place| place.nth <= 40).collect();
    let ended = names(trial.path());
    everywhere(&all, |place| {
        let scratch = scratch();
        let dir = scratch.path();
        stock(dir);
        let ran = at(place, "error=EIO", &rotate(dir, &["--keep", "2", "-v"]).command()).output().unwrap();
        let done = names(dir) == ended && !dir.join(".ckpt-rotate.trash").exists();
        let text = String::from_utf8_lossy(&ran.stderr);
        let stated = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.code().is_some(), "{place:?}: {ran:?}");
        let said = stated.contains("unread") || stated.contains("broken") || text.contains("left alone");
        assert!(done || ran.status.code() != Some(0) || said, "{place:?}: {text}{stated}");
        let good = ckpt(dir, &["--verify"]).run().stdout.lines().filter(|line| line.contains(" good ")).count();
        assert!(good >= 4, "{place:?}");
        rotate(dir, &["--keep", "2", "-q"]).silent(0);
        assert_eq!(names(dir), ended, "{place:?}");
    });
}
