//! Others at work in the directory: writers, readers, holders, another rotation, another user, another file system.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::make::{age, ckpt, ckpt_in_use, good, names, rotate, rotate_in_use, series, tensors};
use crate::support::run::path_of;
use crate::support::{Run, scratch, tool, until};

/// A process that has files open, or does what else the shell is told, and says when it is ready.
struct Other(Child);

impl Other {
    fn new(script: &str, dir: &Path) -> Self {
        let script = format!("{script}\necho ready\nread end");
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

#[test]
fn a_checkpoint_that_is_being_written_counts_for_nothing() {
    let scratch = scratch();
    series(scratch.path(), 3);
    ckpt(scratch.path(), &["--verify"]).ok();
    let writer = Other::new("exec 3>>checkpoint-300/model.safetensors", scratch.path());
    let ran = rotate_in_use(scratch.path(), &["--keep", "1"]).run();
    assert!(ran.code == Some(0) && ran.stderr.contains("open for writing"), "{ran:?}");
    assert_eq!(names(scratch.path()), ["checkpoint-200", "checkpoint-300"]);
    let ran = ckpt_in_use(scratch.path(), &["--latest"]).run();
    assert!(ran.stdout.ends_with("checkpoint-200\n") && ran.stderr.contains("open for writing"), "{ran:?}");
    drop(writer);
    rotate(scratch.path(), &["--keep", "1"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-300"]);
}

#[test]
fn a_checkpoint_that_is_being_read_stays() {
    let scratch = scratch();
    series(scratch.path(), 3);
    fs::create_dir(scratch.path().join("checkpoint-100/deep")).unwrap();
    fs::write(scratch.path().join("checkpoint-100/deep/notes.txt"), "x").unwrap();
    ckpt(scratch.path(), &["--verify"]).ok();
    let reader = Other::new("exec 3<checkpoint-100/deep/notes.txt", scratch.path());
    let plan = rotate_in_use(scratch.path(), &["--keep", "1", "--dry-run"]).ok();
    assert!(plan.contains("leave   checkpoint-100") && plan.contains("remove  checkpoint-200"), "{plan}");
    let ran = rotate_in_use(scratch.path(), &["--keep", "1"]).run();
    assert!(ran.code == Some(0) && ran.stderr.contains("open in some process"), "{ran:?}");
    assert_eq!(names(scratch.path()), ["checkpoint-100", "checkpoint-300"]);
    drop(reader);
    rotate(scratch.path(), &["--keep", "1"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-300"]);
}

/// A file's opener, in the very moment that its use is asked about, is neither refused nor killed, and doesn't kill us.
#[test]
fn asking_who_has_a_file_open_disturbs_nobody() {
    let scratch = scratch();
    for n in 1..=30 {
        good(scratch.path(), &format!("checkpoint-{n}"), 3600 - n);
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for n in 1..=30 {
                    File::open(scratch.path().join(format!("checkpoint-{n}/model.safetensors"))).unwrap();
                    let path = scratch.path().join(format!("checkpoint-{n}/model.safetensors"));
                    File::options().append(true).open(path).unwrap();
                }
            }
        });
        for _ in 0..10 {
            let ran = rotate_in_use(scratch.path(), &["--keep", "1", "--dry-run"]).run();
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_held_checkpoint_stays_while_the_command_runs() {
    let scratch = scratch();
    series(scratch.path(), 3);
    let latest = scratch.path().join("checkpoint-100");
    let marker = scratch.path().join("started");
    let script = format!("echo x > '{}'; read end; exit 3", marker.display());
    let mut holder = tool("ckpt-rotate").args(["--hold"]).arg(&latest).args(["--", "sh", "-c", &script]).command();
    let mut holder = holder.stdin(Stdio::piped()).spawn().unwrap();
    until("the held command to start", || marker.exists());
    let plan = rotate_in_use(scratch.path(), &["--keep", "1", "--dry-run"]).ok();
    assert!(plan.contains("leave   checkpoint-100  held by a lock"), "{plan}");
    let ran = rotate(scratch.path(), &["--keep", "1"]).run();
    assert!(ran.code == Some(0) && ran.stderr.contains("held by a lock"), "{ran:?}");
    drop(holder.stdin.take());
    assert_eq!(holder.wait().unwrap().code(), Some(3), "the command's status is passed on");
    fs::remove_file(marker).unwrap();
    assert_eq!(names(scratch.path()), ["checkpoint-100", "checkpoint-300"]);
    rotate(scratch.path(), &["--keep", "1"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-300"]);
    let hold = |name: &str, cmd: &[&str]| tool("ckpt-rotate").args(["--hold", name]).arg(scratch.path()).arg("--").args(cmd);
    hold("checkpoint-100", &["true"]).fails(125, &["no checkpoint"]);
    hold("checkpoint-300", &["/nonexistent"]).fails(127, &["cannot run"]);
    hold("checkpoint-300", &["/"]).fails(126, &["cannot run"]);
    hold("checkpoint-300", &["true"]).silent(0);
}

/// A dry run asks who holds what, and turns nobody away who wants to hold it in that moment.
#[test]
fn a_dry_run_takes_no_lock() {
    let scratch = scratch();
    for n in 1..=30 {
        good(scratch.path(), &format!("checkpoint-{n}"), 3600 - n);
    }
    let all: Vec<File> = (1..=29).map(|n| File::open(scratch.path().join(format!("checkpoint-{n}"))).unwrap()).collect();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let refused = std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            let mut refused = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for file in &all {
                    match fs2::FileExt::try_lock_shared(file) {
                        Ok(()) => fs2::FileExt::unlock(file).unwrap(),
                        Err(_) => refused += 1,
                    }
                }
            }
            refused
        });
        for _ in 0..10 {
            let ran = rotate_in_use(scratch.path(), &["--keep", "1", "--dry-run"]).run();
            assert_eq!(ran.code, Some(0), "{ran:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        holder.join().unwrap()
    });
    assert_eq!(refused, 0);
}

#[test]
fn a_pin_lasts_until_it_is_taken_back() {
    let scratch = scratch();
    series(scratch.path(), 3);
    let pin = |option: &str, name: &str| tool("ckpt-rotate").args([option, name]).arg(scratch.path());
    pin("--pin", "checkpoint-100").silent(0);
    pin("--pin", "checkpoint-100").silent(0);
    pin("--pin", "checkpoint-999").fails(1, &["no checkpoint"]);
    pin("--unpin", "checkpoint-300").fails(1, &["isn't pinned"]);
    rotate(scratch.path(), &["--keep", "1"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-100", "checkpoint-300"]);
    pin("--unpin", "checkpoint-100").silent(0);
    rotate(scratch.path(), &["--keep", "1"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-300"]);
}

/// Rule 7: one rotation of a directory at a time.
#[test]
fn two_rotations_never_meet() {
    let scratch = scratch();
    series(scratch.path(), 4);
    let lock = File::open(scratch.path()).unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();
    rotate(scratch.path(), &["--keep", "1"]).fails(75, &["another process"]);
    tool("ckpt-rotate").args(["--pin", "checkpoint-100"]).arg(scratch.path()).fails(75, &["another process"]);
    let source = scratch.path().join("checkpoint-400");
    rotate(scratch.path(), &["--keep", "1", "--save", source.to_str().unwrap()]).fails(75, &["another process"]);
    assert_eq!(names(scratch.path()).len(), 4);
    // A question needs no lock.
    ckpt(scratch.path(), &["--latest"]).ok();
    rotate(scratch.path(), &["--keep", "1", "--dry-run"]).ok();
    drop(lock);
    let runs: Vec<Child> =
        (0..8).map(|_| rotate(scratch.path(), &["--keep", "2"]).command().stderr(Stdio::null()).spawn().unwrap()).collect();
    for mut run in runs {
        let code = run.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 75)), "{code:?}");
    }
    rotate(scratch.path(), &["--keep", "2"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-300", "checkpoint-400"]);
}

/// What changes between the plan and the removal: the rename is delayed, and meanwhile a link comes to point at a victim,
/// another is replaced by a link, a third gets a new file.
#[test]
fn what_changes_after_the_plan_is_seen_before_the_rename() {
    let scratch = scratch();
    let dir = scratch.path().join("ckpts");
    let outside = scratch.path().join("outside");
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    series(&dir, 6);
    // The trash is made after the plan: the tool is held up there for a second.
    let command = rotate(&dir, &["--keep", "1"]).command();
    let mut traced =
        crate::support::faults::strace(&["-o", "/dev/null", "-e", "inject=mkdirat:delay_exit=3000000:when=2"], &command);
    let ran = traced.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let trash = dir.join(".ckpt-rotate.trash");
    until("the batch to be made", || fs::read_dir(&trash).is_ok_and(|mut entries| entries.next().is_some()));
    symlink("checkpoint-100", dir.join("latest")).unwrap();
    fs::rename(dir.join("checkpoint-200"), outside.join("moved")).unwrap();
    symlink(&outside, dir.join("checkpoint-200")).unwrap();
    fs::write(dir.join("checkpoint-300/late.json"), "{}").unwrap();
    fs::write(dir.join("checkpoint-400/.keep"), "").unwrap();
    let ended = ran.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{text}");
    for part in ["latest points at it", "checkpoint-200", "changed since it was checked", ".keep"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let left = ["checkpoint-100", "checkpoint-200", "checkpoint-300", "checkpoint-400", "checkpoint-600", "latest"];
    assert_eq!(names(&dir), left);
    assert!(outside.join("precious").exists() && outside.join("moved/model.safetensors").exists());
}

/// A name that is taken by another thing in the last moment is put back.
#[test]
fn only_what_was_judged_is_moved() {
    let scratch = scratch();
    series(scratch.path(), 2);
    let dir = scratch.path().to_owned();
    let command = rotate(&dir, &["--keep", "1"]).command();
    let mut traced =
        crate::support::faults::strace(&["-o", "/dev/null", "-e", "inject=renameat2:delay_enter=3000000:when=1"], &command);
    let ran = traced.stderr(Stdio::piped()).spawn().unwrap();
    let trash = dir.join(".ckpt-rotate.trash");
    until("the batch to be made", || fs::read_dir(&trash).is_ok_and(|mut entries| entries.next().is_some()));
    // Long enough for the last look; the rename itself waits for three seconds.
    until("the lock on the victim", || {
        let victim = File::open(dir.join("checkpoint-100")).unwrap();
        fs2::FileExt::try_lock_shared(&victim).is_err()
    });
    std::thread::park_timeout(std::time::Duration::from_millis(500));
    fs::rename(dir.join("checkpoint-100"), dir.join("elsewhere")).unwrap();
    good(&dir, "checkpoint-100", 7200);
    let ended = ran.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code() == Some(1) && text.contains("cannot remove"), "{text}");
    assert_eq!(names(&dir), ["checkpoint-100", "checkpoint-200", "elsewhere"]);
}

fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: mounts and other users need root");
    }
    root
}

/// Runs a script in a mount namespace of its own, with the directory as $1 and the tool as $2.
fn namespace(script: &str, dir: &Path) -> crate::support::Ran {
    Run::new("unshare").args(["-m", "sh", "-ec", script, "sh"]).arg(dir).arg(path_of("ckpt-rotate")).run()
}

/// Rule 5: a mount inside, of another file system or of the same one, is neither entered nor removed.
#[test]
fn a_mount_inside_is_not_crossed() {
    if !root() {
        return;
    }
    let scratch = scratch();
    let dir = scratch.path().join("ckpts");
    fs::create_dir(&dir).unwrap();
    series(&dir, 4);
    let precious = scratch.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "x").unwrap();
    for unit in ["checkpoint-100", "checkpoint-200"] {
        fs::create_dir(dir.join(unit).join("mnt")).unwrap();
    }
    let script = r#"
        mount -t tmpfs none "$1/checkpoint-100/mnt"; touch "$1/checkpoint-100/mnt/file"
        mount --bind "$1/../precious" "$1/checkpoint-200/mnt"
        mount --bind "$1/checkpoint-300" "$1/checkpoint-300"
        rc=0; "$2" --min-age 0 --keep 1 "$1" || rc=$?
        ls "$1/checkpoint-100/mnt" "$1/checkpoint-200/mnt"
        exit $rc
    "#;
    let ran = namespace(script, &dir);
    assert!(ran.code == Some(0) && ran.stdout.matches("file").count() == 2, "{ran:?}");
    assert_eq!(ran.stderr.matches("another file system is mounted there").count(), 3, "{ran:?}");
    assert_eq!(names(&dir).len(), 4);
    assert!(precious.join("file").exists());
}

/// Rule 7: on a read-only file system questions are answered, and a removal that can't be is said.
#[test]
fn a_read_only_directory_answers_questions() {
    if !root() {
        return;
    }
    let scratch = scratch();
    let dir = scratch.path().join("ckpts");
    fs::create_dir(&dir).unwrap();
    series(&dir, 3);
    let script = r#"
        mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"
        "$2" --latest "$1"; "$2" --verify --level deep "$1"; "$2" --check "$1"; "$2" --min-age 0 --keep 1 --dry-run "$1"
        "$2" --min-age 0 --keep 3 "$1"
        "$2" --min-age 0 --keep 1 "$1" || exit $?
    "#;
    let ran = namespace(script, &dir);
    assert!(ran.code == Some(125) && ran.stderr.contains("Read-only file system") && ran.stderr.lines().count() == 1, "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1 + 3 + 3, "{ran:?}");
    assert_eq!(names(&dir).len(), 3);
}

/// Another user's checkpoints in a shared directory stay, and the exit says so.
#[test]
fn another_users_files_are_left_and_named() {
    if !root() {
        return;
    }
    let scratch = scratch();
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(scratch.path(), 0o755);
    let dir = scratch.path().join("ckpts");
    fs::create_dir(&dir).unwrap();
    series(&dir, 4);
    let program = scratch.path().join("ckpt-rotate");
    fs::copy(path_of("ckpt-rotate"), &program).unwrap();
    let nobody = || Run::new("setpriv").args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program);
    // It may look and not touch.
    nobody().args(["--min-age", "0", "--keep", "1"]).arg(&dir).fails(125, &["Permission denied"]);
    nobody().args(["--latest"]).arg(&dir).ok();
    // It may write there, but not take away what is another's.
    open(&dir, 0o1777);
    let ran = nobody().args(["--min-age", "0", "--keep", "1"]).arg(&dir).run();
    assert!(ran.code == Some(1) && ran.stderr.matches("cannot remove").count() == 3, "{ran:?}");
    assert_eq!(names(&dir).len(), 4);
    // What it may not read is no reason to delete anything.
    open(&dir.join("checkpoint-400/model.safetensors"), 0o600);
    let ran = nobody().args(["--verify"]).arg(&dir).run();
    assert!(ran.code == Some(125) && ran.stdout.contains("unread"), "{ran:?}");
    assert_eq!(names(&dir).len(), 4);
}

/// A link may take over the very name of the directory: everything goes on in the one that was opened.
#[test]
fn the_directory_is_opened_once() {
    let scratch = scratch();
    let (dir, other) = (scratch.path().join("ckpts"), scratch.path().join("other"));
    for path in [&dir, &other] {
        fs::create_dir(path).unwrap();
        series(path, 3);
    }
    let command = rotate(&dir, &["--keep", "1"]).command();
    let mut traced =
        crate::support::faults::strace(&["-o", "/dev/null", "-e", "inject=flock:delay_exit=2000000:when=1"], &command);
    let mut ran = traced.spawn().unwrap();
    until("the lock", || {
        let dir = File::open(&dir).unwrap();
        fs2::FileExt::try_lock_shared(&dir).is_err()
    });
    fs::rename(&dir, scratch.path().join("moved")).unwrap();
    symlink(&other, &dir).unwrap();
    assert_eq!(ran.wait().unwrap().code(), Some(0));
    assert_eq!(names(&scratch.path().join("moved")), ["checkpoint-300"]);
    assert_eq!(names(&other).len(), 3);
}

/// The rest of the policy, on real directories.
#[test]
fn the_best_are_kept_by_a_measurement_with_a_direction() {
    let scratch = scratch();
    for (n, loss) in [(1_u64, "0.5"), (2, "NaN"), (3, "0.1"), (4, "0.9"), (5, "0.4")] {
        let unit = good(scratch.path(), &format!("checkpoint-{n}"), 600 - n * 60);
        let state = format!(
            r#"{{"global_step": {n}, "log_history": [{{"step": 0, "eval_loss": 7}}, {{"step": {n}, "eval_loss": {loss}}}]}}"#
        );
        fs::write(unit.join("trainer_state.json"), state).unwrap();
    }
    rotate(scratch.path(), &["--keep", "1", "--keep-best", "1", "--metric", "eval_loss:min"]).silent(0);
    assert_eq!(names(scratch.path()), ["checkpoint-2", "checkpoint-3", "checkpoint-5"], "NaN is unknown and kept, never best");
}

#[test]
fn every_line_of_json_is_an_object() {
    let scratch = scratch();
    series(scratch.path(), 3);
    let mut file = File::create(scratch.path().join("checkpoint-100/model.safetensors")).unwrap();
    file.write_all(&tensors(10, 0)[..40]).unwrap();
    drop(file);
    age(&scratch.path().join("checkpoint-100/model.safetensors"), 99_999);
    let text = rotate(scratch.path(), &["--keep", "1", "--json", "--dry-run"]).ok();
    let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let field = |at: usize, name: &str| rows[at][name].as_str().unwrap().to_owned();
    assert_eq!([field(0, "action"), field(1, "action"), field(2, "action")], ["keep", "remove", "leave"]);
    assert_eq!([field(0, "proof"), field(2, "verdict")], ["L1", "broken"]);
    assert!(rows[0]["size_bytes"].as_u64().unwrap() >= 1000);
}
