//! Law 1 and races 6 to 9: what a launch makes, what it refuses, and what it keeps from the job.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use bgtools::state_dir::{RecordFile, StateDir};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::enclosed::Nobody;
use crate::support::jobs::{alive, send, status_of};
use crate::support::run::path_of;
use crate::support::{Enclosed, Jobs, Run, needs_root, until, until_some};

/// The descriptors of a process and what they are.
fn descriptors(pid: i32) -> Vec<(i32, String)> {
    let mut found: Vec<(i32, String)> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.display().to_string()))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_process_at_the_gate_holds_no_lock() {
    let jobs = Jobs::new();
    // The supervisor rests after each rename, the last of which publishes the record.
    let words = ["-f", "-qq", "-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:delay_exit=1000000", "--"];
    let bgrun = jobs.bgrun(["-n", "a", "--", "sleep", "100"]).command();
    let slow = Run::new("strace").args(words).arg(bgrun.get_program()).args(bgrun.get_args());
    let mut slow = jobs.owned(slow).env("BGTOOLS_DIR", jobs.dir()).command();
    let mut launcher = slow.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let gated = until_some("a record before the command runs", || {
        let name = jobs.files().into_iter().find(|file| file.starts_with("a_") && file.ends_with(".json"))?;
        let pid = jobs.pid(name.trim_end_matches(".json"));
        assert_ne!(status_of(pid, "Name").unwrap(), "sleep", "the command runs before its record is durable");
        Some(pid)
    });
    let held = until_some("the gate", || {
        let found = descriptors(gated);
        found.iter().any(|(fd, what)| *fd == 1 && what.ends_with(".log")).then_some(found)
    });
    assert!(!held.iter().any(|(_, what)| what.ends_with(".lock") || what.contains("socket:")), "{held:?}");
    // strace stays as long as any of them.
    until("the exec", || status_of(gated, "Name").as_deref() == Some("sleep"));
    send(gated, Signal::SIGKILL);
    assert!(launcher.wait().unwrap().success());
}

/// The programs of this name that live inside.
fn living(jobs: &Enclosed, name: &str) -> usize {
    let script = r#"for dir in /proc/[0-9]*; do [ "$(cat "$dir/comm" 2>/dev/null)" != "$0" ] || echo "$dir"; done"#;
    jobs.space.run("sh").args(["-c", script, name]).ok().lines().count()
}

/// A supervisor is started before it is known whether there will be a job.
#[test]
fn a_supervisor_without_an_order_is_gone_before_its_launcher() {
    if !needs_root("makes a pid namespace") {
        return;
    }
    let jobs = Enclosed::new();
    let calls: [(&[&str], i32); 5] = [
        (&["--help"], 0),
        (&["--no-such-option"], 125),
        (&["--dry-run", "--", "true"], 0),
        (&["--after", "nobody", "--", "true"], 125),
        (&["--recover"], 0),
    ];
    for (words, code) in calls {
        assert_eq!(jobs.tool("bgrun").args(words).run().code, Some(code), "{words:?}");
        assert_eq!(living(&jobs, "bgrun"), 0, "{words:?}");
    }
}

#[test]
fn a_supervisor_whose_launcher_dies_before_its_order_ends() {
    if !needs_root("makes a pid namespace") {
        return;
    }
    let jobs = Enclosed::new();
    let held = r#"strace -qq -o /dev/null -e inject=sendmsg:delay_enter=1000s -e trace=sendmsg -I 4 "$0" -n a -- touch "$T/ran" < /dev/null > /dev/null 2>&1 & echo $! > "$T/strace""#;
    jobs.space.run("sh").env("BGTOOLS_DIR", jobs.dir()).env("T", jobs.scratch()).args(["-c", held]).arg(path_of("bgrun")).ok();
    until("the supervisor and its launcher", || living(&jobs, "bgrun") == 2);
    let strace = jobs.pid("strace");
    // Its tracee dies with it only where it is killed as well.
    jobs.space.run("sh").args(["-c", r#"kill -KILL $(cat /proc/"$0"/task/"$0"/children) "$0""#, &strace.to_string()]).run();
    until("the end of both", || living(&jobs, "bgrun") == 0);
    assert!(!jobs.path("ran").exists() && fs::read_dir(jobs.dir()).is_ok_and(|left| left.count() == 0));
}

/// More than is read at once, and more than a socket holds.
#[test]
fn a_long_command_line_is_one_order() {
    let jobs = Jobs::new();
    let long = "x".repeat(100_000);
    let script = r#"echo $(($(printf %s "$@" | wc -c)))"#;
    let words = ["-n", "a", "--", "sh", "-c", script, "sh"].into_iter().chain([long.as_str(); 8]);
    let id = jobs.start(words);
    assert_eq!(jobs.ended(&id)["state"], "succeeded");
    assert_eq!(jobs.log(&id), "800000\n");
}

#[test]
fn success_means_that_the_command_runs_apart_from_its_caller() {
    let jobs = Jobs::new();
    let id = jobs.start(["-n", "train", "--", "sleep", "1000"]);
    let record = jobs.record(&id);
    let (pid, supervisor) = (jobs.pid(&id), jobs.supervisor(&id));
    assert_eq!(status_of(pid, "Name").unwrap(), "sleep");
    assert_eq!(status_of(pid, "PPid").unwrap(), supervisor.to_string());
    assert_eq!((&record["pgid"], &record["sid"]), (&record["pid"], &record["pid"]));
    let session = |pid: i32| status_of(pid, "NSsid").unwrap().parse::<i32>().unwrap();
    let own = session(i32::try_from(std::process::id()).unwrap());
    assert!(session(pid) == pid && session(supervisor) != own && session(supervisor) != pid);
    assert_eq!(record["state"], "running");
    assert_eq!(jobs.state(&id), "running");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&jobs.dir()), mode(&jobs.file(&id))), (0o700, 0o600));
    assert_eq!(mode(record["log"].as_str().unwrap().as_ref()), 0o600);
    let oom = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert!(oom.trim().parse::<i32>().unwrap() >= 500);
    assert_eq!(fs::read_to_string(format!("/proc/{supervisor}/oom_score_adj")).unwrap().trim(), "0");
}

#[test]
fn a_command_that_cannot_run_leaves_nothing() {
    let jobs = Jobs::new();
    let plain = jobs.path("plain");
    fs::write(&plain, "no program").unwrap();
    fs::set_permissions(&plain, PermissionsExt::from_mode(0o755)).unwrap();
    let plain = plain.to_str().unwrap();
    let cases: [(&[&str], i32, &[&str]); 11] = [
        (&["--", "no-such-command"], 127, &["cannot run 'no-such-command': No such file"]),
        (&["--", "./no/such"], 127, &["'./no/such'"]),
        (&["--", "/"], 126, &["cannot run '/'"]),
        (&["--", plain], 126, &["Exec format error"]),
        (&["-C", "/no/such", "--", "true"], 125, &["'/no/such'", "No such file"]),
        (&["--log-dir", "/dev/null/x", "--", "true"], 125, &["'/dev/null/x'", "Not a directory"]),
        (&["--log", "/dev/null", "--", "true"], 125, &["'/dev/null'", "File exists"]),
        (&["--log", "/no/such/log", "--", "true"], 125, &["'/no/such/log'"]),
        (&["--env-secret", "NO_SUCH_VARIABLE", "--", "true"], 125, &["'NO_SUCH_VARIABLE'"]),
        (&["-e", "=x", "--", "true"], 125, &["'=x'", "K=V"]),
        (&["--", ""], 125, &["empty"]),
    ];
    for (words, code, said) in cases {
        jobs.bgrun(words).fails(code, said);
        jobs.assert_nothing(&format!("{words:?}"));
    }
}

#[test]
fn a_wrong_command_line_is_125_and_makes_no_directory() {
    let jobs = Jobs::new();
    let cases: [&[&str]; 8] = [
        &[],
        &["--no-such-option", "--", "true"],
        &["--grace", "soon", "--", "true"],
        &["--nice", "99", "--", "true"],
        &["--oom-score-adj", "1001", "--", "true"],
        &["--ionice", "fast", "--", "true"],
        &["--log", "a", "--log-dir", "b", "--", "true"],
        &["-n", "a b", "--", "true"],
    ];
    for words in cases {
        jobs.bgrun(words).fails(125, &["bgrun: "]);
        assert!(!jobs.dir().exists(), "{words:?}");
    }
    jobs.at("bgrun", "/dev/null/x".as_ref()).args(["--", "true"]).fails(125, &["'/dev/null/x'", "Not a directory"]);
}

#[test]
fn names_are_data() {
    let jobs = Jobs::new();
    let long = "x".repeat(300);
    for name in ["../x", "-rf", "a\nb", "a\u{1b}[31mb", "", ".", "..", ".a", "a/b", "a b", "$(id)", "a\u{202e}b", &long] {
        let refused = jobs.bgrun([&format!("--name={name}"), "--", "true"]).fails(125, &["bgrun: "]);
        assert!(!refused.contains('\u{202e}'));
        assert!(!jobs.dir().exists(), "{name:?}");
    }
    // A name taken from a command is made to fit.
    let odd = jobs.path("-a\u{1b}[31m b\n");
    std::os::unix::fs::symlink("/bin/true", &odd).unwrap();
    let id = jobs.start([OsStr::new("--"), odd.as_os_str()]);
    assert!(id.starts_with("a__31m_b__"), "{id}");
    assert_eq!(jobs.ended(&id)["state"], "succeeded");
    let learning = jobs.start(["-n", "学習", "--", "true"]);
    assert!(learning.starts_with("学習_"));
    assert_eq!(jobs.ended(&learning)["state"], "succeeded");
}

/// What a supervisor hands to itself names the directory, and a name is any bytes.
#[test]
fn a_supervisor_executes_itself_in_a_directory_of_any_name() {
    let jobs = Jobs::new();
    let dir = jobs.tmp().join(OsStr::from_bytes(b"j\xff"));
    let words = ["-n", "a", "--restart", "on-failure", "--", "sleep", "1000"];
    let said = jobs.at("bgrun", &dir).arg("--json").args(words).ok();
    let record: Value = serde_json::from_str(&said).unwrap();
    let of_supervisor = format!("/proc/{}/cmdline", record["supervisor"]["pid"]);
    until("its exec", || fs::read(&of_supervisor).unwrap().split(|b| *b == 0).any(|word| word.starts_with(b"--supervisor=")));
    jobs.at("bgcancel", &dir).arg("a").ok();
}

/// What the command asks for and can't have is said now, and not hours later.
#[test]
fn a_job_that_waits_is_refused_what_it_may_not_have() {
    if !needs_root("needs two users") {
        return;
    }
    let jobs = Enclosed::new();
    let words = ["-n", "a", "--delay", "1h", "--nice", "-5", "--", "true"];
    Nobody::new(&jobs).tool("bgrun").args(words).fails(125, &["cannot set the nice value"]);
}

#[test]
fn any_bytes_reach_the_command_and_the_record() {
    let jobs = Jobs::new();
    let argument: &[u8] = b"a\xff\x1b[31m \n'\"$(id)\xc3";
    let value: &[u8] = b"\xfe=\x80 ";
    let given = [b"V=", value].concat();
    let script = r#"printf '%s|%s' "$1" "$V""#;
    let words: [&[u8]; 9] = [b"-n", b"a", b"-e", &given, b"--", b"sh", b"-c", script.as_bytes(), b"sh"];
    let id = jobs.start(words.into_iter().chain([argument]).map(OsStr::from_bytes));
    let record = jobs.ended(&id);
    assert_eq!(fs::read(record["log"].as_str().unwrap()).unwrap(), [argument, b"|", value].concat());
    let stored = |value: &Value| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.decode(value["base64"].as_str().unwrap()).unwrap()
    };
    assert_eq!(stored(&record["cmd"][4]), argument);
    assert_eq!(stored(&record["env"]["V"]), value);
    assert_eq!(record["cmd"][0], "sh");
    // Nor can they reach a table raw.
    let table = jobs.bgstatus(["-o", "id,cmd,info,reason"]).ok();
    assert!(!table.chars().any(|c| c.is_control() && c != '\n') && table.lines().count() == 2, "{table:?}");
}

fn launch_at_once(jobs: &Jobs, count: usize, words: &[&str]) -> Vec<(Option<i32>, String)> {
    let spawn = |_| {
        let mut bgrun = jobs.bgrun(words).command();
        bgrun.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = (0..count).map(spawn).collect();
    let ended = children.into_iter().map(|child| child.wait_with_output().unwrap());
    ended.map(|out| (out.status.code(), String::from_utf8(out.stdout).unwrap().trim().to_owned())).collect()
}

#[test]
fn launches_of_one_name_at_once_have_an_id_each() {
    let jobs = Jobs::new();
    let told = launch_at_once(&jobs, 32, &["-n", "a", "--", "sh", "-c", "echo $BG_JOB_ID"]);
    let mut ids: Vec<&String> = told.iter().map(|(_, id)| id).collect();
    ids.sort();
    ids.dedup();
    assert!(ids.len() == 32 && told.iter().all(|(code, _)| *code == Some(0)), "{told:?}");
    for id in ids {
        assert_eq!(jobs.ended(id)["state"], "succeeded");
        assert_eq!(jobs.log(id), format!("{id}\n"));
    }
}

#[test]
fn of_unique_launches_at_once_one_runs() {
    let jobs = Jobs::new();
    let told = launch_at_once(&jobs, 32, &["-n", "a", "--unique", "--", "sleep", "1000"]);
    let won: Vec<&String> = told.iter().filter(|(code, _)| *code == Some(0)).map(|(_, id)| id).collect();
    let refused = told.iter().filter(|(code, id)| *code == Some(75) && id.is_empty()).count();
    assert!(won.len() == 1 && refused == 31, "{told:?}");
    jobs.bgrun(["-n", "a", "--unique", "--", "true"]).fails(75, &["'a'", won[0]]);
    let other = jobs.start(["-n", "b", "--unique", "--", "true"]);
    assert_eq!(jobs.ended(&other)["state"], "succeeded");
    assert_eq!(jobs.files().iter().filter(|file| file.starts_with("a_") && file.ends_with(".json")).count(), 1);
}

#[test]
fn a_lost_job_of_the_name_blocks_nothing_a_living_one_without_supervisor_does() {
    let jobs = Jobs::new();
    let id = jobs.start(["-n", "a", "--", "sleep", "1000"]);
    jobs.kill_supervisor(&id);
    jobs.bgrun(["-n", "a", "--unique", "--", "true"]).fails(75, &[&id]);
    crate::support::jobs::send(jobs.pid(&id), nix::sys::signal::Signal::SIGKILL);
    until("the job's end", || jobs.processes().is_empty());
    let next = jobs.start(["-n", "a", "--unique", "--", "true"]);
    assert_eq!(jobs.ended(&next)["state"], "succeeded");
}

#[test]
fn short_jobs_of_one_second_keep_their_records() {
    let jobs = Jobs::new();
    let ids: Vec<String> = (0..20).map(|_| jobs.bgrun(["--wait", "-n", "a", "--", "true"]).ok().trim().to_owned()).collect();
    let records = jobs.files().iter().filter(|file| file.ends_with(".json")).count();
    let logs = jobs.files().iter().filter(|file| file.ends_with(".log")).count();
    assert_eq!((records, logs), (20, 20), "{ids:?}");
    assert!(ids.iter().all(|id| jobs.record(id)["id"] == **id));
}

#[test]
fn a_removed_id_is_never_given_out_again() {
    let jobs = Jobs::new();
    let id = jobs.start(["-n", "a", "--", "true"]);
    jobs.ended(&id);
    let dir = StateDir::open(&jobs.dir()).unwrap();
    // A clock that was an hour ahead when the job was pruned.
    dir.retire("a_20991231_235959_7").unwrap();
    dir.retire(&id).unwrap();
    fs::remove_file(jobs.file(&id)).unwrap();
    let next = [jobs.start(["-n", "a", "--", "true"]), jobs.start(["-n", "a", "--", "true"])];
    assert_eq!(next, ["a_20991231_235959_8", "a_20991231_235959_9"]);
    let other = jobs.start(["-n", "b", "--", "true"]);
    assert!(!other.contains("2099"), "a mark is one name's");
}

/// Once a year an hour comes twice.
#[test]
fn after_the_clock_was_set_back_the_last_launched_is_the_newest() {
    let jobs = Jobs::new();
    let id = jobs.start(["-n", "a", "--", "true"]);
    let mut ahead = jobs.ended(&id);
    ahead["id"] = "a_20991231_235959_3".into();
    fs::write(jobs.file("a_20991231_235959_3"), ahead.to_string()).unwrap();
    // Nobody was ever given this one.
    fs::write(jobs.file("a_20991231_235959_4294967295"), "{}").unwrap();
    let next = [jobs.start(["-n", "a", "--", "true"]), jobs.start(["-n", "a", "--", "true"])];
    assert_eq!(next, ["a_20991231_235959_4", "a_20991231_235959_5"]);
    assert!(!jobs.start(["-n", "b", "--", "true"]).contains("2099"), "it is one name's");
}

#[test]
fn the_first_record_replaces_nothing() {
    let jobs = Jobs::new();
    let id = jobs.start(["-n", "a", "--", "true"]);
    jobs.ended(&id);
    let before = fs::read(jobs.file(&id)).unwrap();
    let dir = StateDir::open(&jobs.dir()).unwrap();
    let refused = RecordFile::new(&dir, &id).publish(&bgtools::record::Record::default()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(jobs.file(&id)).unwrap(), before);
}

#[test]
fn a_log_that_is_there_is_nobodys_to_write() {
    let jobs = Jobs::new();
    let mine = jobs.path("mine.log");
    fs::write(&mine, "mine").unwrap();
    let link = jobs.path("link.log");
    std::os::unix::fs::symlink(jobs.path("nowhere"), &link).unwrap();
    for log in [&mine, &link] {
        jobs.bgrun([OsStr::new("--log"), log.as_os_str(), "--".as_ref(), "true".as_ref()]).fails(125, &["File exists"]);
        jobs.assert_nothing("a refused log");
    }
    assert_eq!(fs::read(&mine).unwrap(), b"mine");
    assert!(!jobs.path("nowhere").exists());
    let fresh = jobs.path("fresh.log");
    let id = jobs.start([OsStr::new("--log"), fresh.as_os_str(), "--".as_ref(), "echo".as_ref(), "hello".as_ref()]);
    jobs.ended(&id);
    assert_eq!(fs::read(&fresh).unwrap(), b"hello\n");
    assert_eq!(jobs.files().iter().filter(|file| file.starts_with("logs/")).count(), 0);
}

#[test]
fn two_projects_with_one_id_share_logs_and_nothing_else() {
    let jobs = Jobs::new();
    let (here, there) = (jobs.path("here"), jobs.path("there"));
    let words = ["-n", "a", "--log-dir", jobs.path("logs").to_str().unwrap(), "--", "sh", "-c", "echo $BG_JOB_DIR; sleep 1000"]
        .map(str::to_owned);
    let start = |dir| jobs.at("bgrun", dir).args(&words).ok().trim().to_owned();
    // The second may pass between the two: then once more.
    let read = |dir: &std::path::Path, id: &str| -> Value {
        serde_json::from_slice(&fs::read(dir.join(format!("{id}.json"))).unwrap()).unwrap()
    };
    let started = std::iter::repeat_with(|| (start(&here), start(&there)));
    let stamp = |id: &str| id[..17].to_owned();
    let (first, second) = started.take(50).find(|(a, b)| stamp(a) == stamp(b)).unwrap();
    let (first, second) = (read(&here, &first), read(&there, &second));
    assert_ne!(first["log"], second["log"]);
    assert_ne!(first["key"], second["key"]);
    for (record, dir) in [(&first, &here), (&second, &there)] {
        until("its own line", || fs::read_to_string(record["log"].as_str().unwrap()).unwrap() == format!("{}\n", dir.display()));
    }
    // Stop all of one project: nothing of the other is touched.
    jobs.at("bgcancel", &here).args(["--all", "-q"]).ok();
    let pid = |record: &Value| i32::try_from(record["pid"].as_i64().unwrap()).unwrap();
    assert!(!alive(pid(&first)) && alive(pid(&second)));
    let live = jobs.at("bgstatus", &there).args(["--state", "running", "--json"]).ok();
    assert!(live.lines().count() >= 1);
}

#[test]
fn marks_name_the_job_to_itself() {
    let jobs = Jobs::new();
    let id = jobs.start(["-n", "a", "-e", "GIVEN=x", "-e", "BG_JOB_ID=forged", "--", "env"]);
    let record = jobs.ended(&id);
    let log = jobs.log(&id);
    let of = |name: &str| log.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);
    let text = |name: &str| record[name].as_str().map(str::to_owned);
    assert_eq!(of("GRAV_BG_JOB").unwrap(), "1");
    assert_eq!([of("BG_JOB_ID"), of("BG_JOB_NAME"), of("BG_JOB_LOG"), of("BG_JOB_KEY")], ["id", "name", "log", "key"].map(text));
    assert_eq!(
        [of("BG_JOB_RUN"), of("GIVEN"), of("BG_JOB_DIR")],
        [Some("1".into()), Some("x".into()), jobs.dir().to_str().map(Into::into)]
    );
    assert_eq!(of("BG_SUPERVISOR"), None);
}

#[test]
fn memsafe_sets_what_is_not_set() {
    let jobs = Jobs::new();
    let run = jobs.bgrun(["--memsafe", "-e", "MKL_NUM_THREADS=4", "-n", "a", "--", "env"]).env("OMP_NUM_THREADS", "3");
    let id = run.ok().trim().to_owned();
    jobs.ended(&id);
    let log = jobs.log(&id);
    for line in
        ["OMP_NUM_THREADS=3", "MKL_NUM_THREADS=4", "OPENBLAS_NUM_THREADS=1", "NUMEXPR_MAX_THREADS=1", "MALLOC_ARENA_MAX=2"]
    {
        assert!(log.lines().any(|found| found == line), "{line}: {log}");
    }
}

#[test]
fn secrets_reach_the_job_and_no_file() {
    let jobs = Jobs::new();
    let inherited = "inherited-3fb1c2";
    let passed = "passed-77ab01";
    let script = r#"test "$TOKEN" = "$(printf 'passed-%s' 77ab01)" && test "$(printf '%s' "$OTHER" | wc -c)" -gt 5"#;
    let run = jobs.bgrun(["-n", "a", "--env-secret", "TOKEN", "-e", "SHOWN=recorded-value", "--", "sh", "-c", script]);
    let id = run.env("TOKEN", passed).env("OTHER", inherited).ok().trim().to_owned();
    let running: Vec<u8> = jobs.files().iter().filter_map(|file| fs::read(jobs.dir().join(file)).ok()).flatten().collect();
    let record = jobs.ended(&id);
    assert_eq!(record["state"], "succeeded");
    assert_eq!((&record["env"], &record["env_secret"]), (&json!({"SHOWN": "recorded-value"}), &json!(["TOKEN"])));
    let ended: Vec<u8> = jobs.files().iter().filter_map(|file| fs::read(jobs.dir().join(file)).ok()).flatten().collect();
    for secret in [inherited, "77ab01\"", passed] {
        for files in [&running, &ended] {
            assert!(!files.windows(secret.len()).any(|found| found == secret.as_bytes()), "{secret}");
        }
    }
}

#[test]
fn a_job_started_inside_a_job_is_one_of_its_own() {
    let jobs = Jobs::new();
    let inner_words = format!("{} -n inner -- sleep 1000", path_of("bgrun").display());
    let outer = jobs.start(["-n", "outer", "--", "sh", "-c", &inner_words]);
    let record = jobs.ended(&outer);
    assert_eq!(record["state"], "succeeded");
    assert_eq!(record["evidence"]["left_running"], 0, "the inner job isn't its own: {record}");
    let inner = jobs.log(&outer).trim().to_owned();
    let record = jobs.record(&inner);
    assert_eq!(record["parent"], outer);
    assert_ne!(record["key"], jobs.record(&outer)["key"]);
    assert_eq!(jobs.state(&inner), "running");
    assert!(jobs.record(&outer).get("parent").is_none());
}
