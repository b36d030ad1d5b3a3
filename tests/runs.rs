//! A job of several runs: restarts, ticks, limits, what it waits for, and who hears of its end.

use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::jobs::{send, status_of};
use crate::support::wait::undisturbed;
use crate::support::{Jobs, until, until_some};

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

/// Seconds from one moment to the other.
fn between(from: &Value, to: &Value) -> f64 {
    time(to).duration_since(time(from)).as_secs_f64()
}

fn runs(record: &Value) -> &[Value] {
    record["runs"].as_array().unwrap()
}

/// A script that counts its runs in a file of its own and then does this.
fn counting(jobs: &Jobs, rest: &str) -> [String; 3] {
    let count = jobs.path("count");
    ["sh".into(), "-c".into(), format!("echo $BG_JOB_RUN >> '{}'; {rest}", count.display())]
}

fn count(jobs: &Jobs) -> Vec<String> {
    fs::read_to_string(jobs.path("count")).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn start(jobs: &Jobs, options: &[&str], script: &str) -> String {
    let words: Vec<String> =
        options.iter().map(|word| (*word).to_owned()).chain(["--".into()]).chain(counting(jobs, script)).collect();
    jobs.start(words)
}

#[test]
fn a_failed_run_is_started_again_after_a_pause_that_doubles() {
    let jobs = Jobs::new();
    let id = start(&jobs, &["-n", "again", "--restart", "on-failure", "--backoff", "200ms..500ms"], "[ $BG_JOB_RUN = 5 ]");
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["run"], &record["exit"]["code"]), (&json!("succeeded"), &json!(5), &json!(0)));
    let runs = runs(&record);
    assert_eq!(runs.iter().map(|run| run["n"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(count(&jobs), ["1", "2", "3", "4", "5"]);
    for (pair, pause) in runs.windows(2).zip([0.2, 0.4, 0.5, 0.5]) {
        let waited = between(&pair[0]["ended"], &pair[1]["started"]);
        // Times are recorded to the millisecond; an instant may pass between the pause's begin and the record of the end.
        assert!(waited >= pause - 0.02 && waited < pause + 5.0, "{waited} for {pause}: {record:#}");
        assert_eq!(pair[0]["exit"]["code"], 1);
        assert!(pair[0]["usage"]["wall_s"].is_number());
    }
    let log = jobs.log(&id);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 4, "{log}");
    assert!(lines[0].starts_with(&format!("-- bgrun: run 2 of {id} at 2")) && lines[0].ends_with(" --"), "{log}");
}

#[test]
fn restarts_are_counted_and_the_breaker_opens() {
    let jobs = Jobs::new();
    let id = start(&jobs, &["-n", "few", "--restart", "always", "--max-restarts", "2", "--backoff", "10ms"], "exit 3");
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["run"]), (&json!("failed"), &json!(3)));
    assert_eq!(record["reason"], "given up after 2 restarts");

    let jobs = Jobs::new();
    let options = ["-n", "breaks", "--restart", "always", "--max-restarts", "99", "--backoff", "10ms", "--max-failures", "4/10m"];
    let record = jobs.ended(&start(&jobs, &options, "kill -SEGV $$"));
    assert_eq!((&record["state"], &record["run"]), (&json!("failed"), &json!(4)));
    assert_eq!(record["reason"], "killed by SIGSEGV; the circuit breaker is open: 4 failures within 10m 00s");
}

#[test]
fn not_now_is_no_failure() {
    let jobs = Jobs::new();
    let options = ["-n", "later", "--restart", "on-failure", "--max-restarts", "0", "--backoff", "10ms"];
    let record = jobs.ended(&start(&jobs, &options, "[ $BG_JOB_RUN = 8 ] || exit 75"));
    assert_eq!((&record["state"], &record["run"]), (&json!("succeeded"), &json!(8)));
    // Without a policy it is an exit code like any other.
    let record = jobs.ended(&start(&jobs, &["-n", "plain"], "exit 75"));
    assert_eq!((&record["state"], &record["exit"]["code"], &record["run"]), (&json!("failed"), &json!(75), &json!(1)));
}

#[test]
fn the_time_limit_stops_everything_after_a_warning() {
    let jobs = Jobs::new();
    let child = jobs.path("child");
    let script = format!(
        "exec 2> /dev/null; trap 'echo saved' USR1; trap 'echo asked' TERM; (trap '' TERM; setsid -f sh -c 'trap \"\" TERM; echo $$ > {0}; sleep 600'); \
         while :; do sleep 0.05; done",
        child.display()
    );
    let words = [
        "-n",
        "long",
        "--timeout",
        "1500ms",
        "--warn-signal",
        "USR1@1s",
        "--grace",
        "300ms",
        "--wait",
        "--",
        "bash",
        "-c",
        &script,
    ];
    let ran = jobs.bgrun(words).run();
    assert_eq!(ran.code, Some(124));
    let record = jobs.ended(ran.stdout.trim());
    assert_eq!((&record["state"], &record["reason"]), (&json!("timed-out"), &json!("timed out after 1.5s")));
    assert_eq!(record["exit"]["signal"], 9);
    assert_eq!(jobs.log(ran.stdout.trim()), "saved\nasked\n");
    let wall = record["usage"]["wall_s"].as_f64().unwrap();
    assert!((1.5..10.0).contains(&wall), "{wall}");
    let child: i32 = fs::read_to_string(child).unwrap().trim().parse().unwrap();
    assert!(!Path::new(&format!("/proc/{child}")).exists(), "the child that left is alive");
    for wrong in [["--timeout", "1s", "--warn-signal", "USR1@1s"], ["--timeout", "1s", "--warn-signal", "USR1"]] {
        jobs.bgrun(wrong).args(["--", "true"]).fails(125, &[]);
    }
}

/// `--every 2s` of a command that takes 3 s: every other tick is skipped, and two runs never overlap.
#[test]
fn ticks_that_pass_during_a_run_are_skipped() {
    let jobs = Jobs::new();
    let id = start(&jobs, &["-n", "tick", "--every", "2s", "--max-runs", "3"], "sleep 3; [ $BG_JOB_RUN != 2 ]");
    let waiting = until_some("the pause after the first run", || Some(jobs.truth(&id)).filter(|job| job["state"] == "waiting"));
    assert!(
        waiting["pid"].is_null() && waiting["reason"].as_str().unwrap().starts_with("every 2.0s: next run at "),
        "{waiting:#}"
    );
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["run"]), (&json!("succeeded"), &json!(3)));
    let runs = runs(&record);
    assert_eq!(runs[1]["exit"]["code"], 1);
    for pair in runs.windows(2) {
        assert!(between(&pair[0]["ended"], &pair[1]["started"]) >= 0.0);
        let period = between(&pair[0]["started"], &pair[1]["started"]);
        // On a machine so busy that three seconds become five, one tick more is skipped.
        let off = period / 2.0 - (period / 2.0).round();
        assert!(period > 3.9 && off.abs() < 0.4, "{period}: {record:#}");
    }
}

/// The process of a run that was told to leave by itself may leave others: the next run begins without them.
#[test]
fn what_a_run_leaves_behind_is_stopped_before_the_next() {
    let jobs = Jobs::new();
    let left = jobs.path("left");
    let script = format!(
        "if [ -e '{0}' ]; then kill -0 $(cat '{0}') && echo it lives; exit 0; fi; setsid -f sh -c 'trap \"\" TERM; echo $$ > {0}; exec sleep 600'; \
         while ! [ -s '{0}' ]; do sleep 0.01; done; exit 1",
        left.display()
    );
    let id = start(&jobs, &["-n", "tidy", "--restart", "on-failure", "--backoff", "10ms", "--grace", "100ms"], &script);
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["run"]), (&json!("succeeded"), &json!(2)));
    assert!(!jobs.log(&id).contains("it lives"), "{}", jobs.log(&id));
}

#[test]
fn the_watchdog_finds_the_stuck_and_leaves_the_living_alone() {
    let jobs = Jobs::new();
    let mark = format!("exec 2>&1; {} -q --dir \"$BG_JOB_DIR\" set \"$i\"%", crate::support::path_of("progress-mark").display());
    let counted = |body: &str, rest: &str| format!("i=0; while [ $i -lt 30 ]; do i=$((i+1)); {body}; sleep 0.1; done; {rest}");
    let dog = ["--watchdog", "1s", "--grace", "1s"];
    let scripts = [
        ("stuck", "exec sleep 600".to_owned()),
        ("logs", counted("echo $i", "exit 0")),
        ("marks", counted(&mark, "exit 0")),
        ("works", "exec timeout 3 sh -c 'while :; do :; done'".to_owned()),
    ];
    let ids: Vec<(&str, String)> = scripts
        .iter()
        .map(|(name, script)| (*name, jobs.start([&["-n", *name], &dog[..], &["--", "sh", "-c", script.as_str()]].concat())))
        .collect();
    let spins =
        jobs.start([&["-n", "spins", "--watchdog-any-cpu"], &dog[..], &["--", "sh", "-c", "while :; do :; done"]].concat());
    for (name, id) in &ids[1..] {
        let record = jobs.ended(id);
        let expected = if *name == "works" { json!({"code": 124}) } else { json!({"code": 0}) };
        assert_eq!((&record["exit"], record["reason"].as_str()), (&expected, None), "{name}: {}", jobs.log(id));
        assert!(record["usage"]["wall_s"].as_f64().unwrap() > 2.5);
    }
    for id in [&ids[0].1, &spins] {
        let record = jobs.ended(id);
        assert_eq!((&record["state"], &record["reason"]), (&json!("failed"), &json!("stuck: silent and idle for 1.0s")));
        assert!(record["usage"]["wall_s"].as_f64().unwrap() >= 1.0);
    }
}

#[test]
fn a_job_waits_for_others() {
    let jobs = Jobs::new();
    let good = jobs.start_held("good", 0);
    let bad = jobs.start_held("bad", 3);
    let follows = start(&jobs, &["-n", "follows", "--after", "good", "--after-any", &bad.id], "true");
    let skipped = start(&jobs, &["-n", "skipped", "--after", &good.id, "--after", "bad"], "true");
    let waits = until_some("its reason", || Some(jobs.truth(&follows)).filter(|job| !job["reason"].is_null()));
    assert_eq!((&waits["state"], &waits["run"], &waits["pid"]), (&json!("queued"), &json!(0), &Value::Null), "{waits:#}");
    assert_eq!(waits["reason"], format!("waits for job {}", good.id));
    let bad_id = bad.id.clone();
    good.end();
    until("the other job to be waited for", || jobs.truth(&follows)["reason"] == format!("waits for job {bad_id}"));
    bad.end();
    assert_eq!(jobs.ended(&follows)["state"], "succeeded");
    let record = jobs.ended(&skipped);
    assert_eq!((&record["state"], &record["run"], &record["exit"]), (&json!("skipped"), &json!(0), &Value::Null));
    assert_eq!(record["reason"], format!("job {bad_id}, which it waited for, ended failed"));
    assert_eq!(jobs.bgstatus(["--wait", &skipped]).run().code, Some(125));
    assert_eq!(count(&jobs), ["1"]);
    // A job that is over already is no reason to wait.
    assert_eq!(jobs.ended(&start(&jobs, &["-n", "late", "--after", "good"], "true"))["state"], "succeeded");
    let said = jobs.bgrun(["--after", "nobody", "--", "true"]).fails(125, &[]);
    assert!(said.contains("cannot wait for job 'nobody': no such job"), "{said}");
}

/// It would wait for ever: the outer job ends only after it.
#[test]
fn a_job_cannot_wait_for_one_that_it_runs_inside_of() {
    let jobs = Jobs::new();
    let bgrun = crate::support::path_of("bgrun");
    let inner = format!(
        "'{0}' --after outer -n inner -- true; echo $?; '{0}' -w -n middle -- '{0}' --after outer -- true; echo $?",
        bgrun.display()
    );
    let outer = jobs.start(["-n", "outer", "--", "sh", "-c", &inner]);
    assert_eq!(jobs.ended(&outer)["state"], "succeeded");
    let log = jobs.log(&outer);
    assert!(log.contains(&format!("cannot wait for job '{outer}': it is started from inside that very job\n125\n")), "{log}");
    assert!(log.ends_with("\n125\n"), "{log}");
}

#[test]
fn a_job_that_waits_is_cancelled_at_once() {
    let jobs = Jobs::new();
    let delayed = start(&jobs, &["-n", "delayed", "--delay", "1h"], "true");
    let paused = start(&jobs, &["-n", "paused", "--every", "1h"], "true");
    until("the pause", || jobs.state(&paused) == "waiting");
    for (id, runs) in [(&delayed, 0), (&paused, 1)] {
        assert_eq!(jobs.tool("bgcancel").args(["--reason", "enough", id]).ok(), format!("{id} cancelled\n"));
        let record = jobs.ended(id);
        assert_eq!((&record["state"], &record["run"]), (&json!("cancelled"), &json!(runs)));
        assert_eq!(record["evidence"]["cancel"]["reason"], "enough");
        assert!(record["reason"].as_str().unwrap().ends_with("enough"), "{record:#}");
    }
    assert_eq!(count(&jobs), ["1"]);
}

#[test]
fn who_asked_hears_of_the_end() {
    let jobs = Jobs::new();
    let heard = |name: &str| jobs.path(name);
    let to = |name: &str| {
        format!("cat > '{}'; echo \"$BG_JOB_STATE $BG_JOB_ID $BG_JOB_RUN\" >> '{}'", heard(name).display(), heard(name).display())
    };
    let (end, fail) = (to("end"), to("fail"));
    let id = start(&jobs, &["-n", "bad", "--on-end", &end, "--on-fail", &fail], "exit 3");
    let record = jobs.ended(&id);
    assert_eq!(record["evidence"]["hooks"], json!(["--on-fail: exit 0", "--on-end: exit 0"]));
    for name in ["end", "fail"] {
        let said = fs::read_to_string(heard(name)).unwrap();
        let (given, marks) = said.split_once('\n').unwrap();
        let given: Value = serde_json::from_str(given).unwrap();
        assert_eq!((&given["state"], &given["exit"]["code"], &given["id"]), (&json!("failed"), &json!(3), &json!(id)));
        assert_eq!(marks, format!("failed {id} 1\n"));
        fs::remove_file(heard(name)).unwrap();
    }
    // A success is no failure, and what the command does changes nothing.
    let id = start(&jobs, &["-n", "good", "--on-end", "echo 'no mail here' >&2; exit 9", "--on-fail", &fail], "exit 0");
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["exit"]["code"]), (&json!("succeeded"), &json!(0)));
    assert_eq!(record["evidence"]["hooks"], json!(["--on-end: exit 9: no mail here"]));
    assert!(!heard("fail").exists());
    // It is told of the failure that no restart follows, and of each that only a tick follows.
    let options = ["-n", "ticks", "--every", "200ms", "--max-runs", "3", "--on-fail", &fail];
    let record = jobs.ended(&start(&jobs, &options, "[ $BG_JOB_RUN = 2 ]"));
    assert_eq!(record["evidence"]["hooks"], json!(["--on-fail: exit 0"]), "{record:#}");
    let options = ["-n", "stuck", "--watchdog", "400ms", "--on-stuck", &to("stuck")];
    jobs.ended(&start(&jobs, &options, "exec sleep 600"));
    assert!(fs::read_to_string(heard("stuck")).unwrap().ends_with("1\n"));
}

/// What can't be executed later is a failed run, with the reason in the record.
#[test]
fn a_later_run_that_cannot_be_executed_is_a_failed_one() {
    let jobs = Jobs::new();
    let id = jobs.start(["-n", "absent", "--delay", "10ms", "--", "/nonexistent/command"]);
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["exit"], &record["run"]), (&json!("failed"), &Value::Null, &json!(1)));
    assert_eq!(record["reason"], "cannot run '/nonexistent/command': No such file or directory");
    assert_eq!(runs(&record)[0]["reason"], record["reason"]);
}

#[test]
fn fifty_runs_are_kept() {
    let jobs = Jobs::new();
    let id = start(&jobs, &["-n", "many", "--restart", "always", "--backoff", "0s", "--max-runs", "57"], "true");
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["run"]), (&json!("succeeded"), &json!(57)));
    let numbers: Vec<u64> = runs(&record).iter().map(|run| run["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (8..=57).collect::<Vec<_>>());
    assert!(record["usage"]["wall_s"].as_f64().unwrap() > 0.05, "the time of all runs: {record:#}");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let jobs = Jobs::new();
    for wrong in [
        &["--timeout", "0"][..],
        &["--timeout", "soon"],
        &["--warn-signal", "USR1@1s"],
        &["--restart", "sometimes"],
        &["--max-restarts", "3"],
        &["--backoff", "5s..1s", "--restart", "always"],
        &["--max-failures", "0/1m"],
        &["--max-failures", "3"],
        &["--every", "0s"],
        &["--max-runs", "0"],
        &["--watchdog-any-cpu"],
        &["--watchdog", "-1s"],
        &["--on-stuck", "true"],
        &["--after", ""],
        &["--delay", "tomorrow"],
    ] {
        let said = jobs.bgrun(wrong).args(["--", "true"]).fails(125, &[]);
        assert!(said.starts_with("bgrun: "), "{wrong:?}: {said}");
    }
    assert!(fs::read_dir(jobs.dir()).map_or(0, Iterator::count) == 0, "something is left");
}

/// The scripts that come along: a mail, a webhook with the real curl.
#[test]
fn the_notify_scripts_say_what_happened() {
    use std::io::{BufRead, BufReader, Read, Write};
    let jobs = Jobs::new();
    let bin = jobs.path("bin");
    fs::create_dir(&bin).unwrap();
    let mail = format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > '{0}.args'\ncat > '{0}'\n", jobs.path("mail").display());
    fs::write(bin.join("mail"), mail).unwrap();
    fs::set_permissions(bin.join("mail"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let notify = crate::support::root().join("contrib/notify");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = format!("'{}' http://{}/hook", notify.join("webhook.sh").display(), listener.local_addr().unwrap());
    let mail = format!("'{}' me@example.org", notify.join("mail.sh").display());
    let words = ["-n", "bad", "--on-fail", &mail, "--on-end", &hook, "--", "sh", "-c", "printf 'last words\\033[2J\\n'; exit 3"];
    let id = jobs.bgrun(words).env("PATH", path).ok().trim().to_owned();
    let (mut stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut head = String::new();
        reader.read_line(&mut head).unwrap();
        if let Some(value) = head.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if head.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
    let posted: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&posted["id"], &posted["state"], &posted["exit"]["code"]), (&json!(id), &json!("failed"), &json!(3)));
    let record = jobs.ended(&id);
    assert_eq!(record["evidence"]["hooks"], json!(["--on-fail: exit 0", "--on-end: exit 0"]));
    assert_eq!(fs::read_to_string(jobs.path("mail.args")).unwrap(), "-s\n[bgtools] bad failed\n--\nme@example.org\n");
    let said = fs::read_to_string(jobs.path("mail")).unwrap();
    assert!(said.starts_with(&format!("Job {id} is failed (run 1) on ")) && said.contains("last words"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

/// Memory of a process's own in kB: what it shares with others depends on how many they are.
fn own_memory(pid: i32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// What a supervisor needs doesn't grow with the runs it has seen: it begins each in clean memory.
#[test]
fn a_hundred_runs_need_no_more_memory_than_two() {
    let jobs = Jobs::new();
    let gate = jobs.path("gate");
    let script = format!(
        "case $BG_JOB_RUN in 2|100) echo $BG_JOB_RUN > '{0}'; while [ -e '{0}' ]; do sleep 0.02; done;; esac",
        gate.display()
    );
    let id = start(&jobs, &["-n", "many", "--restart", "always", "--backoff", "0s", "--max-runs", "101"], &script);
    let supervisor = jobs.supervisor(&id);
    let mut seen = Vec::new();
    for run in ["2", "100"] {
        until("that run", || fs::read_to_string(&gate).is_ok_and(|text| text.trim() == run));
        let asleep = || fs::read_to_string(format!("/proc/{supervisor}/wchan")).unwrap().contains("poll");
        until("the supervisor to sleep", asleep);
        seen.push(own_memory(supervisor));
        fs::remove_file(&gate).unwrap();
    }
    assert_eq!(jobs.ended(&id)["run"], 101);
    assert!(seen[1] <= seen[0] * 5 / 4 + 16, "{seen:?} kB");
}

/// A watchdog costs at most one wakeup a quarter of its time, a pause none.
#[test]
fn a_watchdog_wakes_four_times_in_its_time_and_a_pause_never() {
    let jobs = Jobs::new();
    let watched = start(&jobs, &["-n", "watched", "--watchdog", "4s", "--timeout", "1h"], "exec sleep 600");
    let paused = start(&jobs, &["-n", "paused", "--every", "1h"], "true");
    until("the pause", || jobs.state(&paused) == "waiting");
    let switches = |id: &str| {
        let of = |field: &str| crate::support::jobs::status_of(jobs.supervisor(id), field).unwrap().parse::<u64>().unwrap();
        of("voluntary_ctxt_switches")
    };
    for id in [&watched, &paused] {
        let asleep = || fs::read_to_string(format!("/proc/{}/wchan", jobs.supervisor(id))).unwrap().contains("poll");
        until("the supervisor to sleep", asleep);
    }
    let before = [switches(&watched), switches(&paused)];
    undisturbed(Duration::from_millis(2900));
    let woken = [switches(&watched) - before[0], switches(&paused) - before[1]];
    // A look may sleep more than once: it reads files.
    assert!(woken[0] <= 3 * 2 && woken[1] == 0, "{woken:?}");
    jobs.tool("bgcancel").args([&watched, &paused]).ok();
}

/// A SIGTERM that comes in the same instant as the run's end is too late for that run and in time for the next.
#[test]
fn a_sigterm_at_the_end_of_a_run_ends_the_job() {
    let jobs = Jobs::new();
    let id = start(&jobs, &["-n", "again", "--restart", "always", "--backoff", "1s"], "exec sleep 600");
    let (supervisor, pid) = (jobs.supervisor(&id), jobs.pid(&id));
    send(supervisor, Signal::SIGSTOP);
    until("the supervisor to stand", || status_of(supervisor, "State").is_some_and(|state| state.starts_with('T')));
    send(pid, Signal::SIGKILL);
    send(supervisor, Signal::SIGTERM);
    send(supervisor, Signal::SIGCONT);
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["run"]), (&json!("cancelled"), &json!(1)), "{record:#}");
}

#[test]
fn a_run_that_could_not_be_started_costs_no_other_its_record() {
    let jobs = Jobs::new();
    let id = start(&jobs, &["-n", "a", "--every", "300ms", "--max-runs", "3"], "true");
    until("the pause", || jobs.state(&id) == "waiting" && jobs.record(&id)["run"] == 1);
    let log = jobs.record(&id)["log"].as_str().unwrap().to_owned();
    fs::remove_file(&log).unwrap();
    nix::unistd::mkfifo(log.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let record = jobs.ended(&id);
    let runs = runs(&record);
    assert_eq!((runs.len(), &runs[0]["exit"]["code"], &record["state"]), (3, &json!(0), &json!("failed")), "{record:#}");
    assert!(runs[2]["reason"].as_str().unwrap().contains("cannot open the log"), "{record:#}");
}

/// Whoever cancels waits neither for a command that hears of a failure nor for what a run has left behind.
#[test]
fn a_cancel_is_heard_while_the_supervisor_does_something_else() {
    let jobs = Jobs::new();
    let mark = jobs.path("mark");
    let hook = format!("echo > '{}'; exec sleep 50", mark.display());
    let id = start(&jobs, &["-n", "hook", "--every", "1h", "--on-fail", &hook], "exit 1");
    until("the hook", || mark.exists());
    assert_eq!(jobs.tool("bgcancel").args(["--grace", "0s", &id]).ok(), format!("{id} cancelled\n"));
    assert_eq!(jobs.ended(&id)["evidence"]["hooks"][0], "--on-fail: killed for a cancel");

    let left = jobs.path("left");
    let script = format!(
        "setsid -f sh -c 'trap \"\" TERM; echo $$ > {0}; exec sleep 600'; while ! [ -s '{0}' ]; do sleep 0.01; done; exit 1",
        left.display()
    );
    let id = start(&jobs, &["-n", "leftover", "--restart", "always", "--backoff", "1s", "--grace", "10m"], &script);
    until("the leftover alone", || left.exists() && !crate::support::jobs::alive(jobs.pid(&id)));
    assert_eq!(jobs.tool("bgcancel").args(["--grace", "100ms", &id]).ok(), format!("{id} cancelled\n"));
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["run"]), (&json!("cancelled"), &json!(1)), "{record:#}");
}

/// 75 is no failure that somebody has to hear of.
#[test]
fn nobody_hears_of_a_run_that_asked_to_come_later() {
    let jobs = Jobs::new();
    let heard = format!("echo >> '{}'", jobs.path("heard").display());
    let options =
        ["-n", "later", "--every", "200ms", "--max-runs", "3", "--restart", "on-failure", "--backoff", "5s", "--on-fail", &heard];
    let record = jobs.ended(&start(&jobs, &options, "[ $BG_JOB_RUN = 3 ] || exit 75"));
    assert_eq!(record["state"], "succeeded");
    assert!(!jobs.path("heard").exists());
}
