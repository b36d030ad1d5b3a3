//! Laws 2, 5, 7 and 12: what readers make of records that are damaged, foreign, of another place, or being rewritten.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::support::jobs::{alive, send};
use crate::support::wait::undisturbed;
use crate::support::{Jobs, until, until_some};

/// A directory with one job that ended well.
fn with_one() -> (Jobs, String) {
    let jobs = Jobs::new();
    let id = jobs.start(["-n", "good", "--", "true"]);
    jobs.ended(&id);
    (jobs, id)
}

const BAD: &str = "bad_20251129_120300";

#[track_caller]
fn assert_costs_itself_alone(jobs: &Jobs, good: &str, why: &str) {
    // Listed: a row, a line on stderr, exit 0.
    let ran = jobs.bgstatus(["-a"]).run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(lines.len() == 3 && ran.stdout.contains(good), "{ran:?}");
    assert!(lines.iter().any(|line| line.contains(BAD) && line.contains("unreadable")), "{ran:?}");
    assert!(ran.stderr.lines().count() == 1 && ran.stderr.contains(BAD) && ran.stderr.contains(why), "{ran:?}");
    let json: Vec<Value> =
        jobs.bgstatus(["-a", "--json"]).run().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(json.iter().any(|job| job["id"] == BAD && job["state"] == "unreadable"));
    assert!(json.iter().any(|job| job["id"] == good && job["state"] == "succeeded"));
    // Asked for: 125.
    let ran = jobs.bgstatus([BAD]).run();
    assert!(ran.code == Some(125) && ran.stderr.contains(why), "{ran:?}");
    jobs.bgstatus(["--wait", BAD]).fails(125, &[BAD, why]);
    jobs.tool("bgcancel").arg(BAD).fails(125, &[BAD, why]);
    // The others are as well as ever.
    jobs.bgstatus([good]).ok();
    jobs.bgrun(["--wait", "-q", "-n", "more", "--", "true"]).silent(0);
    fs::remove_file(jobs.file(&newest(jobs, "more"))).unwrap();
}

fn newest(jobs: &Jobs, name: &str) -> String {
    let files = jobs.files();
    let mut ids = files.iter().filter_map(|file| file.strip_suffix(".json")).filter(|id| id.starts_with(name));
    ids.next_back().unwrap().to_owned()
}

#[test]
fn a_damaged_record_costs_itself_alone() {
    let (jobs, good) = with_one();
    let whole = fs::read(jobs.file(&good)).unwrap();
    let mut newer: Value = serde_json::from_slice(&whole).unwrap();
    newer["id"] = BAD.into();
    let mut no_state = newer.clone();
    no_state["state"] = "some state of another version".into();
    newer["version"] = 2.into();
    let cases: [(Vec<u8>, &str); 10] = [
        (Vec::new(), "empty"),
        (b"  \n\n".to_vec(), "empty"),
        (whole[..whole.len() / 2].to_vec(), "damaged"),
        (whole[..1].to_vec(), "damaged"),
        (vec![0; 4096], "damaged"),
        (b"[1, 2]".to_vec(), "damaged"),
        (b"{\"some\": \"other program's\"}".to_vec(), "damaged"),
        (whole.clone(), "it says that it is job"),
        (newer.to_string().into_bytes(), "version 2 is newer"),
        (no_state.to_string().into_bytes(), "damaged"),
    ];
    for (bytes, why) in cases {
        fs::write(jobs.file(BAD), &bytes).unwrap();
        assert_costs_itself_alone(&jobs, &good, why);
        assert_eq!(fs::read(jobs.file(BAD)).unwrap(), bytes, "left as it is: {why}");
    }
    // One that nests without end is damage too, not a crash.
    fs::write(jobs.file(BAD), "[".repeat(1 << 20)).unwrap();
    assert_costs_itself_alone(&jobs, &good, "damaged");
}

#[test]
fn what_is_no_file_hangs_nobody() {
    let (jobs, good) = with_one();
    let bad = jobs.file(BAD);
    mkfifo(&bad, Mode::S_IRWXU).unwrap();
    assert_costs_itself_alone(&jobs, &good, "not a regular file");
    fs::remove_file(&bad).unwrap();
    fs::create_dir(&bad).unwrap();
    assert_costs_itself_alone(&jobs, &good, "not a regular file");
    fs::remove_dir(&bad).unwrap();
    symlink("/etc/passwd", &bad).unwrap();
    assert_costs_itself_alone(&jobs, &good, "symbolic link");
    fs::remove_file(&bad).unwrap();
    symlink("/dev/zero", &bad).unwrap();
    assert_costs_itself_alone(&jobs, &good, "symbolic link");
    fs::remove_file(&bad).unwrap();
    let huge = fs::File::create(&bad).unwrap();
    huge.set_len(1 << 40).unwrap();
    assert_costs_itself_alone(&jobs, &good, "larger than");
    assert_eq!(fs::metadata(&bad).unwrap().len(), 1 << 40);
}

#[test]
fn files_that_are_no_records_are_nobodys_business() {
    let (jobs, good) = with_one();
    for name in ["notes.txt", "a.json.tmp", ".hidden.json", "core", "x.d", "id_20251129_120300.lock~"] {
        fs::write(jobs.dir().join(name), "x").unwrap();
    }
    let said = jobs.bgstatus(["-a", "--json"]).ok();
    assert!(said.lines().count() == 1 && said.contains(&good), "{said}");
    // A lock alone is a launch in progress, or what is left of one that was killed with its launcher.
    fs::write(jobs.dir().join("gone_20251129_120300.lock"), "").unwrap();
    assert_eq!(jobs.bgstatus(["-a", "--json"]).ok(), said);
    jobs.bgstatus(["gone"]).fails(1, &["no job 'gone'"]);
    jobs.tool("bgcancel").arg("gone").fails(1, &["gone"]);
    jobs.tool("bgcancel").arg("--all").fails(1, &["no live job"]);
}

#[test]
fn a_name_in_a_directory_cannot_harm_a_table() {
    let (jobs, good) = with_one();
    for name in ["\u{1b}[31mred.json", "a\nb_20251129_120300.json", "-rf.json", "a b\u{202e}.json"] {
        fs::write(jobs.dir().join(name), "{}").unwrap();
    }
    fs::write(jobs.dir().join(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\xfe.json")), "{}").unwrap();
    let ran = jobs.bgstatus(["-a"]).run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains(&good), "{ran:?}");
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    }
    for line in jobs.bgstatus(["-a", "--json"]).run().stdout.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[test]
fn text_in_a_record_reaches_no_table_raw() {
    let (jobs, id) = with_one();
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\n\u{9b}31m\u{202e}x";
    jobs.edit(&id, |record| {
        for field in ["name", "reason", "host", "user", "log", "cwd"] {
            record[field] = evil.into();
        }
        record["cmd"] = json!([evil, {"base64": "/xtbMzFt"}]);
    });
    let every = "id,name,state,exit,pid,run,created,started,ended,elapsed,cpu,peak,progress,reason,info,cmd,cwd,log,user,host";
    let table = jobs.bgstatus(["-o", every, &id]).ok();
    assert!(table.lines().count() == 2 && table.contains("owned"), "{table:?}");
    assert!(!table.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{table:?}");
    // Nor does a path in it reach a terminal through an error.
    jobs.bgstatus(["--log", &id]).fails(125, &["cannot read the log"]);
}

#[test]
fn a_log_that_a_record_names_is_only_ever_read() {
    let (jobs, id) = with_one();
    let fifo = jobs.path("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    jobs.edit(&id, |record| record["log"] = fifo.to_str().unwrap().into());
    jobs.bgstatus(["--log", &id]).fails(125, &["not a regular file"]);
    jobs.bgstatus(["--follow", &id]).fails(125, &["not a regular file"]);
    jobs.edit(&id, |record| record["log"] = "/dev/zero".into());
    jobs.bgstatus(["--log", &id]).fails(125, &["not a regular file"]);
    jobs.bgstatus(["--follow", &id]).fails(125, &["not a regular file"]);
}

#[test]
fn a_field_that_is_not_known_here_is_no_offence() {
    let (jobs, id) = with_one();
    jobs.edit(&id, |record| {
        record["later"] = json!({"x": 1});
        record["policy"]["later"] = true.into();
    });
    assert_eq!(jobs.state(&id), "succeeded");
}

#[test]
fn a_record_of_another_boot_is_lost_and_touches_nobody() {
    let jobs = Jobs::new();
    let held = jobs.start_held("a", 0);
    let pid = jobs.pid(&held.id);
    jobs.kill_supervisor(&held.id);
    jobs.edit(&held.id, |record| record["boot_id"] = "00000000-0000-0000-0000-000000000000".into());
    let truth = jobs.truth(&held.id);
    assert_eq!((&truth["state"], &truth["supervised"]), (&"lost".into(), &false.into()));
    assert!(truth["note"].as_str().unwrap().contains("booted since"), "{truth}");
    assert_eq!(jobs.record(&held.id)["state"], "running", "a reader writes nothing");
    jobs.bgstatus(["--wait", &held.id]).silent(125);
    jobs.tool("bgcancel").args(["--grace", "0", &held.id]).run();
    assert!(alive(pid), "a pid of another boot means nothing now");
    assert_eq!(jobs.record(&held.id)["state"], "lost");
}

#[test]
fn a_record_of_another_host_or_container_is_reported_and_never_touched() {
    let other = |record: &mut Value, which: &str| match which {
        "host" => {
            record["machine_id"] = "0123456789abcdef0123456789abcdef".into();
            record["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
            record["host"] = "elsewhere".into();
        }
        _ => record["pid_ns"] = 1.into(),
    };
    for which in ["host", "container"] {
        let jobs = Jobs::new();
        let held = jobs.start_held("a", 0);
        let pid = jobs.pid(&held.id);
        jobs.kill_supervisor(&held.id);
        jobs.edit(&held.id, |record| other(record, which));
        let before = fs::read(jobs.file(&held.id)).unwrap();
        let truth = jobs.truth(&held.id);
        // Its pids mean nothing here: it is shown as it says of itself, never as lost.
        assert_eq!((&truth["state"], &truth["supervised"]), (&"running".into(), &false.into()), "{which}");
        assert!(truth["note"].as_str().unwrap().contains("not verified here"), "{which}: {truth}");
        jobs.bgstatus(["--wait", &held.id]).fails(125, &[&held.id]);
        jobs.tool("bgcancel").args(["--grace", "0", &held.id]).fails(125, &[&held.id, "not verified here"]);
        assert!(alive(pid), "{which}");
        assert_eq!(fs::read(jobs.file(&held.id)).unwrap(), before, "{which}");
        assert!(!jobs.dir().join(format!("{}.d", held.id)).exists(), "{which}");
        // A name that is live there is taken here as well.
        jobs.bgrun(["-n", "a", "--unique", "--", "true"]).fails(75, &[&held.id]);
    }
}

#[test]
fn readers_need_no_lock_and_a_read_only_directory_will_do() {
    let jobs = Jobs::new();
    let held = jobs.start_held("a", 0);
    let script = r#"mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" --json --dir "$1""#;
    let run = jobs.owned(crate::support::Run::new("unshare")).args(["-m", "sh", "-c", script, "sh"]);
    let said = run.arg(jobs.dir()).arg(crate::support::run::path_of("bgstatus")).ok();
    let truth: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&truth["state"], &truth["supervised"]), (&"running".into(), &true.into()));
    // Nor does a look disturb the holder: it ends as it should.
    assert_eq!(held.end()["state"], "succeeded");
}

/// Ends the threads beside a test, however that ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn readers_never_see_half_a_record() {
    use bgtools::process::Here;
    use bgtools::state_dir::{RecordFile, StateDir, observe};

    let (jobs, id) = with_one();
    let dir = StateDir::open(&jobs.dir()).unwrap();
    let mut record = dir.record(&id).unwrap().unwrap();
    let (done, looks) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mine, here) = (StateDir::open(&jobs.dir()).unwrap(), Here::look());
            while !done.load(Ordering::Relaxed) {
                let seen = observe(&mine, &id, &here).unwrap().expect("the name is never without a record");
                // Each writing repeats one digit in two fields of very different length.
                let reason = seen.record.reason.unwrap_or_default();
                assert!(reason.chars().all(|c| seen.record.user.starts_with(c)), "two records mixed");
                looks.fetch_add(1, Ordering::Relaxed);
            }
        });
        let _over = Over(&done);
        let mut file = RecordFile::new(&dir, &id);
        let mut round = 0_usize;
        while round < 200 || looks.load(Ordering::Relaxed) < 200 {
            let digit = (round % 10).to_string();
            record.user.clone_from(&digit);
            record.reason = Some(digit.repeat(1 + (round * 7919) % 20_000));
            file.replace(&record).unwrap();
            round += 1;
        }
    });
    file_is_alone(&jobs, &id);
}

#[track_caller]
fn file_is_alone(jobs: &Jobs, id: &str) {
    let temporary: Vec<String> = jobs.files().into_iter().filter(|file| file.contains(".next") && file.contains(id)).collect();
    assert!(temporary.is_empty(), "{temporary:?}");
}

#[test]
fn a_reader_between_verdict_and_unlock_says_no_lost() {
    // Many short jobs, looked at all the time: each is running or has its verdict, and is never lost in between.
    let jobs = Jobs::new();
    let looker = jobs.bgstatus(["-a", "--json"]);
    drop(looker);
    for _ in 0..40 {
        let id = jobs.start(["-n", "a", "--", "true"]);
        until("its verdict", || {
            let state = jobs.state(&id);
            assert!(["running", "succeeded"].contains(&state.as_str()), "{state}");
            state == "succeeded"
        });
    }
}

#[test]
fn a_lock_looked_at_all_the_time_can_still_be_taken() {
    use bgtools::state_dir::{Lock, StateDir};

    let jobs = Jobs::new();
    fs::create_dir(jobs.dir()).unwrap();
    let dir = StateDir::open(&jobs.dir()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = dir.is_supervised(BAD).unwrap();
                }
            });
        }
        let _over = Over(&done);
        let mut missed = 0;
        for _ in 0..500 {
            drop(Lock::create(&dir, BAD).unwrap().expect("nobody else makes it"));
            let taken = until_some("the lock", || {
                let taken = Lock::take(&dir, BAD).unwrap();
                missed += u32::from(taken.is_none());
                taken
            });
            taken.remove(&dir).unwrap();
        }
        // Another test of this process may have forked with the first lock open; a look that takes would be in the way in
        // most rounds, for somebody looks all the time.
        assert!(missed <= 25, "a reader's look takes nothing: {missed} of 500");
    });
}

#[test]
fn of_two_that_take_over_one_holds_the_name() {
    use bgtools::state_dir::{Lock, StateDir};

    let jobs = Jobs::new();
    fs::create_dir(jobs.dir()).unwrap();
    let dir = StateDir::open(&jobs.dir()).unwrap();
    let held = Lock::create(&dir, BAD).unwrap().unwrap();
    assert!(Lock::create(&dir, BAD).unwrap().is_none() && Lock::take(&dir, BAD).unwrap().is_none());
    // Somebody removed the name and another made it anew: the first lock is on a file that nobody will look at.
    fs::rename(jobs.dir().join(format!("{BAD}.lock")), jobs.path("away")).unwrap();
    assert!(Lock::take(&dir, BAD).unwrap().is_none());
    let second = Lock::create(&dir, BAD).unwrap().unwrap();
    drop(held);
    assert!(Lock::take(&dir, BAD).unwrap().is_none());
    second.remove(&dir).unwrap();
    assert!(!dir.is_supervised(BAD).unwrap());
    assert_eq!(jobs.files(), Vec::<String>::new());
}

#[test]
fn before_the_first_job_there_is_nothing_to_say() {
    let jobs = Jobs::new();
    jobs.bgstatus::<&str>([]).silent(0);
    jobs.bgstatus(["--json"]).silent(0);
    jobs.bgstatus(["a"]).fails(1, &["no job 'a'"]);
    jobs.bgstatus(["--wait", "a"]).fails(1, &["no job 'a'"]);
    jobs.tool("bgcancel").arg("a").fails(1, &["'a'"]);
    assert!(!jobs.dir().exists(), "a reader makes no directory");
    fs::write(jobs.dir(), "a file").unwrap();
    jobs.bgstatus::<&str>([]).fails(125, &["Not a directory"]);
}

#[test]
fn an_unknown_job_is_a_no_and_a_wrong_command_line_is_not() {
    let (jobs, id) = with_one();
    for word in ["nobody", "good_20000101_000000", "../good", "-", "", "a\u{1b}[31m\n"] {
        jobs.bgstatus(["--", word]).fails(1, &["bgstatus: no job"]);
    }
    jobs.bgstatus([id.as_str(), "nobody"]).fails(1, &["'nobody'"]);
    let cases: [&[&str]; 6] =
        [&["--no-such"], &["-o", "colour"], &["--state", "happy"], &["--since", "soon"], &["--wait"], &["--timeout", "3"]];
    for words in cases {
        jobs.bgstatus(words).fails(2, &["bgstatus: "]);
    }
}

#[test]
fn a_wait_passes_on_the_status() {
    let jobs = Jobs::new();
    let status = |script: &str| {
        let id = jobs.start(["-n", "a", "--", "sh", "-c", script]);
        jobs.bgstatus(["--wait", &id]).run()
    };
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -KILL $$", 137), ("kill -USR1 $$", 138)] {
        let ran = status(script);
        assert!(ran.code == Some(code) && ran.stdout.is_empty() && ran.stderr.is_empty(), "{script}: {ran:?}");
    }
    assert_eq!(jobs.bgrun(["--wait", "-q", "--", "sh", "-c", "exit 9"]).run().code, Some(9));
    let held = jobs.start_held("h", 0);
    jobs.bgstatus(["--wait", "--timeout", "100ms", "h"]).silent(124);
    jobs.kill_supervisor(&held.id);
    send(jobs.pid(&held.id), Signal::SIGKILL);
    jobs.bgstatus(["--wait", "h"]).silent(125);
}

#[test]
fn a_wait_is_one_call_until_the_event() {
    let jobs = Jobs::new();
    let held = jobs.start_held("a", 5);
    let log = jobs.path("strace");
    let wait = jobs.bgstatus(["--wait", "a"]).command();
    let mut traced = crate::support::faults::strace(&["-o", log.to_str().unwrap()], &wait);
    let mut waiting = traced.spawn().unwrap();
    until("the wait's poll", || {
        fs::read_to_string(&log).unwrap_or_default().lines().any(|l| l.contains("poll(") && !l.contains(')'))
    });
    let before = fs::read_to_string(&log).unwrap().lines().count();
    // What polls would wake up within this time.
    undisturbed(Duration::from_secs(2));
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), before, "{}", fs::read_to_string(&log).unwrap());
    held.release();
    assert_eq!(waiting.wait().unwrap().code(), Some(5));
}
