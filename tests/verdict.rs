//! Laws 2 and 6: one verdict, a true one, whatever happens to the job, its supervisor and their disk meanwhile.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::jobs::{Held, alive, send, status_of};
use crate::support::run::path_of;
use crate::support::wait::undisturbed;
use crate::support::{Jobs, Run, until};

#[test]
fn exit_codes_and_signals_are_kept_apart() {
    let jobs = Jobs::new();
    let verdict = |script: &str| {
        let id = jobs.start(["-n", "a", "--", "sh", "-c", script]);
        jobs.ended(&id)
    };
    let cases = [
        ("exit 0", "succeeded", json!({"code": 0})),
        ("exit 1", "failed", json!({"code": 1})),
        ("exit 137", "failed", json!({"code": 137})),
        ("ulimit -c 0; kill -ABRT $$", "failed", json!({"signal": 6, "core": false})),
        ("kill -KILL $$", "failed", json!({"signal": 9, "core": false})),
        ("kill -TERM $$", "failed", json!({"signal": 15, "core": false})),
    ];
    for (script, state, exit) in cases {
        let record = verdict(script);
        assert_eq!((&record["state"], &record["exit"]), (&state.into(), &exit), "{script}");
        assert_eq!(record["evidence"]["from"], "wait");
        assert_eq!(record["runs"][0]["exit"], exit);
        assert_eq!(record["runs"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn usage_is_what_was_used() {
    let jobs = Jobs::new();
    let hog = "import time; x = bytearray(60 << 20); t = time.process_time()\nwhile time.process_time() - t < 0.3: pass";
    let id = jobs.start(["-n", "a", "--", "sh", "-c", r#"python3 -c "$1"; sleep 0.2"#, "sh", hog]);
    let usage = &jobs.ended(&id)["usage"];
    let of = |name: &str| usage[name].as_f64().unwrap();
    assert!(of("max_rss_bytes") > 60e6 && of("max_rss_bytes") < 300e6, "{usage}");
    let cpu = of("user_s") + of("sys_s");
    assert!((0.3..30.0).contains(&cpu) && of("wall_s") >= 0.5, "{usage}");
}

#[test]
fn what_is_left_running_is_counted_and_left_alone() {
    let jobs = Jobs::new();
    let script = "setsid sleep 1000 & sh -c 'sleep 1000 & sleep 1000 &' & m=$!; env -i sleep 1000 & wait $m; exit 0";
    let id = jobs.start(["-n", "a", "--", "sh", "-c", script]);
    let record = jobs.ended(&id);
    assert_eq!(record["state"], "succeeded");
    assert!((3..=5).contains(&record["evidence"]["left_running"].as_u64().unwrap()), "{record}");
    let table = jobs.bgstatus([&id]).ok();
    assert!(table.contains("left running"), "{table}");
    until("all that it has started", || jobs.processes().len() >= 3);
    // The one that cleaned its environment is found by its command, this test's own.
    for pid in crate::support::jobs::processes_with(b"") {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if command == b"sleep\x001000\x00" && fs::read(format!("/proc/{pid}/environ")).is_ok_and(|e| e.is_empty()) {
            send(pid, Signal::SIGKILL);
        }
    }
}

#[test]
fn a_sigkill_of_the_job_is_a_signal_and_no_oom_verdict() {
    let jobs = Jobs::new();
    let held = jobs.start_held("a", 0);
    send(jobs.pid(&held.id), Signal::SIGKILL);
    let record = jobs.ended(&held.id);
    assert_eq!((&record["state"], &record["exit"]), (&"failed".into(), &json!({"signal": 9, "core": false})));
    let reason = record["reason"].as_str().unwrap();
    assert!(reason.starts_with("killed by SIGKILL"), "{reason}");
}

#[test]
fn without_its_supervisor_a_job_runs_on_and_its_end_is_not_known() {
    let jobs = Jobs::new();
    let held = jobs.start_held("a", 0);
    jobs.kill_supervisor(&held.id);
    let truth = jobs.truth(&held.id);
    assert_eq!((&truth["state"], &truth["supervised"]), (&"running".into(), &false.into()));
    assert!(truth["note"].as_str().unwrap().contains("without a supervisor"), "{truth}");
    assert!(alive(jobs.pid(&held.id)), "a supervisor's death hurts no job");
    // A wait hears of the end all the same, and says that it doesn't know how.
    let mut wait = jobs.bgstatus(["--wait", &held.id]).command();
    let mut waiting = wait.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    held.release();
    assert_eq!(waiting.wait().unwrap().code(), Some(125));
    let truth = jobs.truth(&held.id);
    assert_eq!((&truth["state"], &truth["exit"]), (&"lost".into(), &Value::Null));
    assert_eq!(jobs.record(&held.id)["state"], "running", "lost is what readers derive");
    let table = jobs.bgstatus::<&str>([]).ok();
    assert!(table.contains("lost") && table.contains("not known"), "{table}");
    // The next of that name is a job like any other.
    assert_eq!(jobs.ended(&jobs.start(["-n", "a", "--unique", "--", "true"]))["state"], "succeeded");
}

/// strace on the supervisor of a job, from now on until its end.
struct Traced {
    strace: Child,
}

impl Traced {
    /// Returns once strace holds the supervisor.
    fn attach(jobs: &Jobs, held: &Held<'_>, options: &[&str]) -> Self {
        let supervisor = jobs.supervisor(&held.id);
        let mut strace =
            jobs.owned(Run::new("strace")).args(["-f", "-qq", "-p", &supervisor.to_string()]).args(options).command();
        let strace = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // It may be killed as soon as it is held.
        let held = || !alive(supervisor) || status_of(supervisor, "TracerPid").is_some_and(|tracer| tracer != "0");
        until("strace to hold the supervisor", held);
        Self { strace }
    }

    /// Whether the supervisor ended, or strace was let go otherwise.
    fn over(mut self) {
        self.strace.wait().unwrap();
    }
}

/// The calls that a supervisor makes from its command's end on, each with how often.
fn calls_of_the_end() -> Vec<(String, usize)> {
    let jobs = Jobs::new();
    let held = jobs.start_held("a", 0);
    let log = jobs.path("end.strace");
    let traced = Traced::attach(&jobs, &held, &["-o", log.to_str().unwrap()]);
    held.end();
    traced.over();
    let mut calls: Vec<(String, usize)> = Vec::new();
    for line in fs::read_to_string(&log).unwrap().lines() {
        let Some((name, _)) = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').split_once('(') else { continue };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') || name == "exit_group" {
            continue;
        }
        match calls.iter_mut().find(|(known, _)| known == name) {
            Some((_, count)) => *count += 1,
            None => calls.push((name.to_owned(), 1)),
        }
    }
    assert!(calls.iter().any(|(name, _)| name.starts_with("rename")), "{calls:?}");
    calls
}

#[test]
fn a_supervisor_killed_at_any_call_of_the_end_leaves_a_whole_record() {
    for (call, count) in calls_of_the_end() {
        for nth in 1..=count {
            let jobs = Jobs::new();
            let held = jobs.start_held("a", 4);
            let inject = format!("inject={call}:signal=KILL:when={nth}");
            let traced = Traced::attach(&jobs, &held, &["-o", "/dev/null", "-e", &inject]);
            held.release();
            traced.over();
            until("all its processes' end", || jobs.processes().is_empty());
            let stored = jobs.record(&held.id);
            let truth = jobs.truth(&held.id);
            match stored["state"].as_str().unwrap() {
                "running" => assert_eq!((&truth["state"], &truth["exit"]), (&"lost".into(), &Value::Null), "{call} {nth}"),
                "failed" => {
                    assert_eq!((&truth["state"], &truth["exit"]), (&"failed".into(), &json!({"code": 4})), "{call} {nth}");
                }
                other => panic!("{call} {nth}: {other}"),
            }
            // Nothing of it is in anybody's way.
            let next = jobs.start(["-n", "a", "--unique", "--", "true"]);
            assert_eq!(jobs.ended(&next)["state"], "succeeded", "{call} {nth}");
        }
    }
}

/// What a disk can do to a call.
fn fault_of(call: &str) -> Option<&'static str> {
    match call {
        "openat" | "pwrite64" | "write" | "fallocate" => Some("ENOSPC"),
        "ftruncate" | "fdatasync" | "fsync" => Some("EIO"),
        "rename" | "renameat" | "renameat2" | "unlink" | "unlinkat" => Some("EROFS"),
        _ => None,
    }
}

#[test]
fn a_verdict_comes_once_the_disk_lets_it_and_says_that_it_is_late() {
    let mut late = 0;
    for (call, _) in calls_of_the_end() {
        let Some(error) = fault_of(&call) else { continue };
        let jobs = Jobs::new();
        let held = jobs.start_held("a", 4);
        // The first three of them fail, then the disk is well again.
        let inject = format!("inject={call}:error={error}:when=1..3");
        let traced = Traced::attach(&jobs, &held, &["-o", "/dev/null", "-e", &inject]);
        held.release();
        traced.over();
        // The supervisor is gone: what it couldn't remove may lie there, the verdict is the point.
        let record = jobs.record(&held.id);
        assert_eq!((&record["state"], &record["exit"]), (&"failed".into(), &json!({"code": 4})), "{call} {record}");
        assert_eq!(jobs.state(&held.id), "failed");
        if let Some(said) = record["evidence"]["late"].as_str() {
            assert!(said.contains("could not be written at first"), "{said}");
            late += 1;
        }
    }
    assert!(late >= 3, "faults at writing, syncing and renaming each delay the verdict, {late} did");
}

#[test]
fn a_disk_that_stays_broken_keeps_the_lock_and_the_truth() {
    // A file system that goes read-only by itself, with files open, can't be made by hand: strace stands in for it.
    for (fault, said) in [
        ("inject=fdatasync:error=EIO", "Input/output error"),
        ("inject=rename,renameat,renameat2:error=EROFS", "Read-only file system"),
        ("inject=pwrite64:error=ENOSPC", "No space left on device"),
    ] {
        let jobs = Jobs::new();
        let held = jobs.start_held("a", 4);
        let log = jobs.path("strace");
        let traced = Traced::attach(&jobs, &held, &["-o", log.to_str().unwrap(), "-e", fault]);
        let pid = jobs.pid(&held.id);
        held.release();
        until("the job's end", || !alive(pid));
        until("a try that failed", || fs::read_to_string(&log).is_ok_and(|calls| calls.contains("INJECTED")));
        until("the note", || jobs.truth(&held.id)["note"].as_str().is_some_and(|note| note.contains("not written yet")));
        let truth = jobs.truth(&held.id);
        assert_eq!((&truth["state"], &truth["supervised"]), (&"running".into(), &true.into()));
        jobs.bgrun(["-n", "a", "--unique", "--", "true"]).fails(75, &[&held.id]);
        // Well again: strace goes, the supervisor's next try succeeds.
        let mut strace = traced.strace;
        send(i32::try_from(strace.id()).unwrap(), Signal::SIGTERM);
        strace.wait().unwrap();
        let record = jobs.ended(&held.id);
        assert_eq!((&record["state"], &record["exit"]), (&"failed".into(), &json!({"code": 4})));
        assert!(record["evidence"]["late"].as_str().unwrap().contains(said), "{record}");
    }
}

/// Runs a script with `$1` a mount of its own of 64 kB, `$BGRUN` and `$BGSTATUS`, in a mount namespace of its own.
fn in_small_tmpfs(jobs: &Jobs, options: &str, script: &str) -> String {
    let small = jobs.path("small");
    fs::create_dir(&small).unwrap();
    let mounted = format!("mount -t tmpfs -o {options} none \"$1\" && cd \"$1\" && {script}");
    let run = jobs.owned(Run::new("unshare")).args(["-m", "sh", "-euc", &mounted, "sh"]).arg(&small);
    run.env("BGTOOLS_DIR", small.join("jobs"))
        .env("BGTOOLS_LOG_DIR", jobs.path("logs"))
        .env("GATE", jobs.path("gate"))
        .env("BGRUN", path_of("bgrun"))
        .env("BGSTATUS", path_of("bgstatus"))
        .ok()
}

fn last_line(said: &str) -> Value {
    serde_json::from_str(said.lines().last().unwrap()).unwrap()
}

#[test]
fn a_full_disk_costs_no_verdict() {
    let jobs = Jobs::new();
    let script = r#"
        mkfifo "$GATE"
        id=$("$BGRUN" -n a -- sh -c 'read x < "$GATE"; exit 3')
        # Full to the last byte; the write that fails is the point.
        cat /dev/zero > fill 2>/dev/null || :
        echo > "$GATE"
        "$BGSTATUS" --wait "$id" || echo "status $?"
        "$BGSTATUS" --json "$id"
    "#;
    let said = in_small_tmpfs(&jobs, "size=128k", script);
    assert!(said.contains("status 3\n"), "{said}");
    let record = last_line(&said);
    assert_eq!((&record["state"], &record["exit"]), (&"failed".into(), &json!({"code": 3})));
    assert!(record["evidence"]["late"].is_null(), "room was set aside at the launch: {record}");
}

#[test]
fn a_disk_without_room_takes_no_job() {
    let jobs = Jobs::new();
    let script = r#"
        mkdir jobs
        cat /dev/zero > fill 2>/dev/null || :
        code=0; said=$("$BGRUN" -n a -- true 2>&1) || code=$?
        echo "$code $said"
        rm fill
        ls -A jobs
        # No inode is free either way.
        i=0; while : 2>/dev/null > "n$i"; do i=$((i+1)); done
        code=0; said=$("$BGRUN" -n a -- true 2>&1) || code=$?
        echo "$code $said"
        ls -A jobs
        rm n*
        mount -o remount,ro "$1"
        code=0; said=$("$BGRUN" -n a -- true 2>&1) || code=$?
        echo "$code $said"
        mount -o remount,rw "$1"
        ls -A jobs "$BGTOOLS_LOG_DIR"
        "$BGRUN" --wait -q -n a -- true && echo well
    "#;
    // A shell whose redirection fails ends, unless the redirection is a subshell's.
    let said =
        in_small_tmpfs(&jobs, "size=64k,nr_inodes=40", &script.replace(": 2>/dev/null > \"n$i\"", "(: > \"n$i\") 2>/dev/null"));
    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty() && !line.ends_with(':')).collect();
    assert_eq!(lines.len(), 4, "one line a failure and nothing left: {said}");
    for (line, why) in lines.iter().zip(["No space left", "No space left", "Read-only"]) {
        assert!(line.starts_with("125 bgrun: cannot ") && line.contains(why), "{said}");
    }
    assert_eq!(lines[3], "well");
}

#[test]
fn a_directory_that_is_deleted_keeps_its_job_running() {
    let jobs = Jobs::new();
    let held = jobs.start_held("a", 0);
    let (pid, supervisor) = (jobs.pid(&held.id), jobs.supervisor(&held.id));
    until("the room for the verdict", || jobs.files().iter().any(|file| file.ends_with(".next")));
    fs::remove_dir_all(jobs.dir()).unwrap();
    assert!(alive(pid) && alive(supervisor));
    // A directory of the same name is another one: nothing of the old job gets into it.
    let other = jobs.start(["-n", "a", "--", "true"]);
    assert_eq!(jobs.ended(&other)["state"], "succeeded");
    let before = jobs.files();
    held.release();
    until("the job's and its supervisor's end", || !alive(pid) && !alive(supervisor));
    assert_eq!(jobs.files(), before);
}

#[test]
fn a_record_that_is_removed_or_a_room_that_is_gone_is_written_anew() {
    let jobs = Jobs::new();
    let held = jobs.start_held("a", 2);
    for file in jobs.files().iter().filter(|file| file.contains(".next")) {
        fs::remove_file(jobs.dir().join(file)).unwrap();
    }
    fs::remove_file(jobs.file(&held.id)).unwrap();
    held.release();
    until("the record", || jobs.file(&held.id).exists());
    let record = jobs.ended(&held.id);
    assert_eq!((&record["state"], &record["exit"]), (&"failed".into(), &json!({"code": 2})));
}

#[test]
fn a_supervisor_sleeps_while_its_job_just_runs() {
    let jobs = Jobs::new();
    let held = jobs.start_held("a", 0);
    let asleep = || fs::read_to_string(format!("/proc/{}/wchan", jobs.supervisor(&held.id))).unwrap().contains("poll");
    until("the supervisor to sleep", asleep);
    let log = jobs.path("idle.strace");
    let traced = Traced::attach(&jobs, &held, &["-o", log.to_str().unwrap()]);
    let supervisor = jobs.supervisor(&held.id);
    let switches = || {
        let of = |field: &str| status_of(supervisor, field).unwrap().parse::<u64>().unwrap();
        of("voluntary_ctxt_switches") + of("nonvoluntary_ctxt_switches")
    };
    until("the poll it sleeps in", || fs::read_to_string(&log).unwrap_or_default().contains("<..."));
    let (calls, before) = (fs::read_to_string(&log).unwrap(), switches());
    undisturbed(Duration::from_secs(3));
    assert_eq!(fs::read_to_string(&log).unwrap(), calls, "a system call while nothing happened");
    assert_eq!(switches(), before, "a wakeup while nothing happened");
    assert_eq!(calls.lines().count(), 1, "{calls}");
    held.end();
    traced.over();
}

#[test]
fn what_a_supervisor_leaves_behind_is_a_record_and_a_log() {
    let jobs = Jobs::new();
    let id = jobs.start(["-n", "a", "--", "echo", "x"]);
    jobs.ended(&id);
    let expected = [".ended".to_owned(), format!("{id}.json"), "logs/".to_owned(), format!("logs/{id}.log")];
    assert_eq!(jobs.files(), expected);
    assert!(!Path::new(&format!("/proc/{}", jobs.supervisor(&id))).exists() || !alive(jobs.supervisor(&id)));
}
