//! `--save`: nothing is published before it is whole, and only what it made goes when it fails.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::make::{age, ckpt, everything, good, names, rotate, series, tensors};
use crate::support::{scratch, tool};

/// A source directory with a good model, settings, and a folder.
fn source(at: &Path) -> PathBuf {
    let out = at.join("out");
    fs::create_dir_all(out.join("state")).unwrap();
    fs::write(out.join("model.safetensors"), tensors(100_000, 3)).unwrap();
    fs::write(out.join("config.json"), "{}").unwrap();
    fs::write(out.join("state/odd \\ name\n.txt"), "x").unwrap();
    symlink("model.safetensors", out.join("latest.safetensors")).unwrap();
    fs::set_permissions(out.join("config.json"), fs::Permissions::from_mode(0o640)).unwrap();
    out
}

fn stock() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let scratch = scratch();
    let dir = scratch.path().join("ckpts");
    fs::create_dir(&dir).unwrap();
    let out = source(scratch.path());
    (scratch, dir, out)
}

#[test]
fn a_snapshot_is_the_source_with_a_manifest() {
    let (_scratch, dir, out) = stock();
    age(&out.join("config.json"), 5000);
    let printed = ckpt(&dir, &["--save", out.to_str().unwrap(), "--tag", "iter7"]).ok();
    let name = printed.trim_end();
    let (head, tail) = name.rsplit_once("_iter7").unwrap();
    assert!(tail.is_empty() && head.starts_with(&format!("{}/ckpt_20", dir.display())), "{name}");
    let saved = Path::new(name);
    for file in ["model.safetensors", "config.json", "state/odd \\ name\n.txt"] {
        assert_eq!(fs::read(saved.join(file)).unwrap(), fs::read(out.join(file)).unwrap());
    }
    assert_eq!(fs::read_link(saved.join("latest.safetensors")).unwrap(), Path::new("model.safetensors"));
    let (copy, original) = (fs::metadata(saved.join("config.json")).unwrap(), fs::metadata(out.join("config.json")).unwrap());
    assert_eq!(copy.permissions().mode() & 0o777, 0o640);
    assert_eq!(copy.modified().unwrap(), original.modified().unwrap());
    // Another program agrees, odd names included.
    let check = Command::new("sha256sum").args(["-c", "--strict", "--quiet", "SHA256SUMS"]).current_dir(saved).output().unwrap();
    assert!(check.status.success() && check.stderr.is_empty(), "{check:?}");
    assert!(ckpt(&dir, &["--verify", "--level", "deep"]).ok().contains("L3 manifest"));
}

#[test]
fn a_file_becomes_a_directory_and_latest_follows() {
    let (_scratch, dir, out) = stock();
    let file = out.join("model.safetensors");
    for tag in ["iter1", "iter2"] {
        ckpt(&dir, &["--save", file.to_str().unwrap(), "--tag", tag, "--link-latest"]).ok();
    }
    assert_eq!(fs::read(dir.join("latest/model.safetensors")).unwrap(), tensors(100_000, 3));
    assert!(fs::read_link(dir.join("latest")).unwrap().to_str().unwrap().ends_with("_iter2"));
    fs::remove_file(dir.join("latest")).unwrap();
    fs::write(dir.join("latest"), "mine").unwrap();
    let ran = ckpt(&dir, &["--save", file.to_str().unwrap(), "--link-latest"]).run();
    assert!(ran.code == Some(125) && ran.stderr.contains("latest"), "{ran:?}");
    assert_eq!(fs::read_to_string(dir.join("latest")).unwrap(), "mine");
}

/// What is rotated away in between gives its number to nobody: the newest would bear the name of the oldest.
#[test]
fn the_last_snapshot_of_a_second_has_the_highest_number() {
    let (_scratch, dir, out) = stock();
    // The numbers begin again with each second: some of these meet in one.
    for _ in 0..8 {
        let printed = ckpt(&dir, &["--save", out.to_str().unwrap(), "--keep", "2", "--min-age", "0s"]).ok();
        let saved = printed.lines().next().unwrap().rsplit('/').next().unwrap().to_owned();
        let key = |name: &String| {
            let mut parts = name.splitn(4, '_');
            let time = format!("{}_{}", parts.nth(1).unwrap(), parts.next().unwrap());
            (time, parts.next().map_or(1, |n| n.parse::<u32>().unwrap()))
        };
        let newest = names(&dir).into_iter().filter(|name| name.starts_with("ckpt_")).max_by_key(key);
        assert_eq!(newest, Some(saved), "{:?}", names(&dir));
    }
}

/// Names taken in the same second get a number, and stay in the same series, in order.
#[test]
fn a_taken_name_is_never_replaced() {
    let (_scratch, dir, out) = stock();
    let mut saved: Vec<String> = (0..6).map(|_| ckpt(&dir, &["--save", out.to_str().unwrap()]).ok()).collect();
    let printed = saved.clone();
    saved.sort();
    saved.dedup();
    assert_eq!(saved.len(), 6);
    rotate(&dir, &["--keep", "1"]).silent(0);
    assert_eq!(names(&dir), [Path::new(printed[5].trim_end()).file_name().unwrap().to_str().unwrap()]);
}

/// The training loop's call: the new one is whole before an old one goes.
#[test]
fn saving_rotates_afterwards() {
    let (_scratch, dir, out) = stock();
    for n in 1..=4 {
        let printed = rotate(&dir, &["--keep", "2", "--save", out.to_str().unwrap(), "--tag", &format!("iter{n}")]).ok();
        assert!(printed.trim_end().ends_with(&format!("iter{n}")));
    }
    let left = names(&dir);
    assert!(left.len() == 2 && left[0].ends_with("iter3") && left[1].ends_with("iter4"), "{left:?}");
}

#[test]
fn a_source_that_is_not_good_is_refused() {
    let (scratch, dir, out) = stock();
    let save = |path: &Path| ckpt(&dir, &["--keep", "1", "--save", path.to_str().unwrap()]);
    series(&dir, 2);
    let before = everything(&dir);
    let model = out.join("model.safetensors");
    let whole = fs::read(&model).unwrap();
    fs::write(&model, &whole[..whole.len() - 1]).unwrap();
    save(&out).fails(1, &["truncated", "nothing was saved"]);
    save(&model).fails(1, &["truncated", "nothing was saved"]);
    let mut file = File::create(&model).unwrap();
    file.write_all(&whole[..9000]).unwrap();
    file.set_len(whole.len() as u64).unwrap();
    drop(file);
    save(&out).fails(1, &["holes", "nothing was saved"]);
    fs::write(&model, &whole).unwrap();
    fs::write(out.join("SHA256SUMS"), format!("{}  config.json\n", "0".repeat(64))).unwrap();
    save(&out).fails(1, &["config.json", "digest"]);
    fs::write(out.join("SHA256SUMS"), format!("{}  gone.json\n", "0".repeat(64))).unwrap();
    save(&out).fails(1, &["gone.json", "missing"]);
    fs::remove_file(out.join("SHA256SUMS")).unwrap();
    fs::write(out.join("B3SUMS"), format!("{}  config.json\n", "0".repeat(64))).unwrap();
    save(&out).fails(1, &["config.json", "digest"]);
    fs::remove_file(out.join("B3SUMS")).unwrap();
    symlink("/etc/passwd", out.join("outside")).unwrap();
    save(&out).fails(1, &["outside"]);
    fs::remove_file(out.join("outside")).unwrap();
    let _socket = UnixListener::bind(out.join("socket")).unwrap();
    save(&out).fails(1, &["socket"]);
    let empty = scratch.path().join("empty");
    fs::create_dir(&empty).unwrap();
    save(&empty).fails(1, &["no file"]);
    save(&scratch.path().join("nowhere")).fails(125, &["nowhere"]);
    assert_eq!(everything(&dir), before);
}

/// A tag can't leave the directory.
#[test]
fn a_tag_follows_the_rule_of_names() {
    let (_scratch, dir, out) = stock();
    for tag in ["../x", "a/b", ".hidden", "", "a b", "-x", "x\ny"] {
        ckpt(&dir, &["--save", out.to_str().unwrap(), &format!("--tag={tag}")]).fails(2, &[]);
    }
    ckpt(&dir, &["--save", out.to_str().unwrap(), "--tag", "größe-7"]).ok();
    assert_eq!(names(&dir).len(), 1);
}

/// A source that is being written is never published in part.
#[test]
fn a_source_that_changes_is_refused() {
    let (_scratch, dir, out) = stock();
    let log = out.join("train.log");
    fs::write(&log, vec![b'x'; 4 << 20]).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = File::options().append(true).open(&log).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(b"more\n").unwrap();
            }
        });
        ckpt(&dir, &["--save", out.to_str().unwrap()]).fails(75, &["changed while it was copied"]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(names(&dir).is_empty() && everything(&dir).len() == 1, "{:?}", everything(&dir));
}

/// A full disk costs the snapshot and nothing else.
#[test]
fn no_room_leaves_everything_as_it_was() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: mounting needs root");
        return;
    }
    let (_scratch, dir, out) = stock();
    fs::write(out.join("model.safetensors"), tensors(700_000, 3)).unwrap();
    let script = r#"
        set -e
        mount -t tmpfs -o size=2m none "$1"
        "$3" --save "$2" "$1" > "$1.first"
        rc=0; "$3" --save "$2" --keep 1 --min-age 0 "$1" 2> "$1.err" || rc=$?
        ls -A "$1" > "$1.ls"; echo $rc > "$1.rc"
        # Free space is asked for first; where it goes meanwhile, the write itself fails.
        mount -o remount,size=8m "$1"
        rc=0; strace -f -qq -o /dev/null -e inject=write:error=ENOSPC:when=2+ "$3" --save "$2" "$1" 2>> "$1.err" || rc=$?
        ls -A "$1" > "$1.ls2"; echo $rc >> "$1.rc"
    "#;
    let ran = crate::support::Run::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(&dir)
        .arg(&out)
        .arg(crate::support::run::path_of("ckpt-rotate"))
        .run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let read = |extension: &str| fs::read_to_string(format!("{}.{extension}", dir.display())).unwrap();
    let first = Path::new(read("first").trim_end()).file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(read("rc"), "125\n125\n", "{}", read("err"));
    assert!(read("err").contains("no room"), "{}", read("err"));
    let left: Vec<String> = read("ls").lines().filter(|name| *name != ".ckpt-rotate.cache").map(str::to_owned).collect();
    assert_eq!(left, std::slice::from_ref(&first));
    let left: Vec<String> = read("ls2").lines().filter(|name| *name != ".ckpt-rotate.cache").map(str::to_owned).collect();
    assert_eq!(left, [first]);
}

/// The forecast is the median of the last five; what can't be freed is said.
#[test]
fn room_is_made_or_said_to_be_short() {
    let scratch = scratch();
    series(scratch.path(), 4);
    rotate(scratch.path(), &["--make-room", "1K"]).silent(0);
    rotate(scratch.path(), &["--make-room", "auto"]).silent(0);
    assert_eq!(names(scratch.path()).len(), 4);
    let ran = rotate(scratch.path(), &["--make-room", "900T", "--keep", "2"]).run();
    assert!(ran.code == Some(1) && ran.stderr.contains("--min-free can't be reached"), "{ran:?}");
    assert_eq!(names(scratch.path()), ["checkpoint-300", "checkpoint-400"]);
}

#[test]
fn limits_take_the_oldest_and_stop_at_the_floor() {
    let scratch = scratch();
    series(scratch.path(), 6);
    let one = fs::read_dir(scratch.path().join("checkpoint-100")).unwrap().count() as u64 * 8192;
    rotate(scratch.path(), &["--keep-every", "100", "--max-size", &(one * 3).to_string()]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-400", "checkpoint-500", "checkpoint-600"]);
    let ran = rotate(scratch.path(), &["--keep", "2", "--max-size", "1"]).run();
    assert!(ran.code == Some(1) && ran.stderr.contains("--max-size can't be reached"), "{ran:?}");
    assert_eq!(names(scratch.path()), ["checkpoint-500", "checkpoint-600"]);
}

#[test]
fn the_health_check_counts_good_ones_only() {
    let scratch = scratch();
    series(scratch.path(), 2);
    ckpt(scratch.path(), &["--check", "--min-valid", "2", "--max-age", "2h"]).silent(0);
    fs::write(scratch.path().join("checkpoint-200/model.safetensors"), "").unwrap();
    let ran = ckpt(scratch.path(), &["--check", "--min-valid", "2"]).run();
    assert!(ran.code == Some(1) && ran.stderr.contains("1 good checkpoints") && ran.stderr.contains("it is empty"), "{ran:?}");
    ckpt(scratch.path(), &["--check", "--max-age", "3h"]).silent(0);
    let ran = ckpt(scratch.path(), &["--check", "--max-age", "1h"]).run();
    assert!(ran.code == Some(1) && ran.stderr.contains("checkpoint-100"), "{ran:?}");
}

#[test]
fn none_good_is_said_and_never_empty() {
    let scratch = scratch();
    ckpt(scratch.path(), &["--latest"]).fails(1, &["no checkpoint"]);
    good(scratch.path(), "checkpoint-1", 10);
    fs::write(scratch.path().join("checkpoint-1/model.safetensors"), "").unwrap();
    let ran = ckpt(scratch.path(), &["--latest"]).run();
    assert!(ran.code == Some(1) && ran.stdout.is_empty() && ran.stderr.contains("no good checkpoint"), "{ran:?}");
}

/// A written plan is carried out as it was read, or not at all.
#[test]
fn a_plan_is_applied_unchanged_or_not_at_all() {
    let scratch = scratch();
    let plan = scratch.path().join("plan.json");
    let dir = scratch.path().join("ckpts");
    fs::create_dir(&dir).unwrap();
    series(&dir, 4);
    let printed = rotate(&dir, &["--keep", "2", "--plan", plan.to_str().unwrap()]).ok();
    assert_eq!(printed.lines().filter(|line| line.starts_with("remove")).count(), 2);
    assert_eq!(names(&dir).len(), 4);
    let apply = || rotate(&dir, &["--apply", plan.to_str().unwrap()]);
    fs::write(dir.join("checkpoint-100/eval.json"), "{}").unwrap();
    apply().fails(1, &["checkpoint-100", "changed since"]);
    fs::remove_file(dir.join("checkpoint-100/eval.json")).unwrap();
    symlink("checkpoint-200", dir.join("latest")).unwrap();
    apply().fails(1, &["checkpoint-200", "has to stay"]);
    fs::remove_file(dir.join("latest")).unwrap();
    // The survivors are judged again: a plan made when they were good is no permission.
    let survivor = dir.join("checkpoint-400/model.safetensors");
    let whole = fs::read(&survivor).unwrap();
    fs::write(&survivor, "").unwrap();
    apply().fails(1, &["has to stay"]);
    fs::write(&survivor, whole).unwrap();
    age(&survivor, 3600);
    assert_eq!(names(&dir).len(), 4);
    apply().silent(0);
    assert_eq!(names(&dir), ["checkpoint-300", "checkpoint-400"]);
    apply().fails(1, &["gone"]);
    fs::write(&plan, "{").unwrap();
    apply().fails(125, &["no plan"]);
}

#[test]
fn what_is_in_the_trash_can_be_brought_back() {
    let scratch = scratch();
    series(scratch.path(), 4);
    let before = everything(scratch.path());
    rotate(scratch.path(), &["--keep", "1", "--trash-for", "1h"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-400"]);
    // Another run in that hour leaves it there.
    rotate(scratch.path(), &["--keep", "1"]).silent(0);
    assert_eq!(tool("ckpt-rotate").args(["--undo"]).arg(scratch.path()).ok().lines().count(), 3);
    assert_eq!(everything(scratch.path()), before);
    tool("ckpt-rotate").args(["--undo"]).arg(scratch.path()).fails(1, &["nothing to bring back"]);
    // A name that was taken meanwhile isn't replaced.
    rotate(scratch.path(), &["--keep", "1", "--defer"]).silent(0);
    good(scratch.path(), "checkpoint-100", 60);
    let ran = tool("ckpt-rotate").args(["--undo"]).arg(scratch.path()).run();
    assert!(ran.code == Some(1) && ran.stderr.contains("checkpoint-100") && ran.stdout.lines().count() == 2, "{ran:?}");
}

/// What a save has just written gets its blocks only later; that is no change.
#[test]
fn a_source_that_was_just_written_can_be_saved() {
    let (_scratch, dir, out) = stock();
    for n in 0..4 {
        fs::write(out.join("model.safetensors"), tensors(6 << 20, n)).unwrap();
        let sync = std::thread::spawn(nix::unistd::sync);
        ckpt(&dir, &["--save", out.to_str().unwrap()]).ok();
        sync.join().unwrap();
    }
}
