//! After a killed supervisor or a reboot: `bgrun --recover`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::jobs::{alive, processes_with, send};
use crate::support::{Jobs, faults, until, until_some};

/// Starts a job and kills its supervisor.
fn orphan(jobs: &Jobs, words: &[&str]) -> String {
    let id = jobs.start(words);
    until("the exec", || jobs.record(&id)["pid"].is_number() || jobs.record(&id)["state"] != "running");
    jobs.kill_supervisor(&id);
    id
}

/// The same with the command killed too: what a reboot leaves, but for the boot id.
fn lost(jobs: &Jobs, words: &[&str]) -> String {
    let id = orphan(jobs, words);
    let pid = jobs.pid(&id);
    send(pid, Signal::SIGKILL);
    until("the command's end", || !alive(pid));
    assert_eq!(jobs.state(&id), "lost");
    id
}

fn recover(jobs: &Jobs) -> String {
    jobs.bgrun(["--recover"]).ok()
}

#[test]
fn a_job_that_lives_is_adopted() {
    let jobs = Jobs::new();
    let held = jobs.start_held("a", 3);
    let pid = jobs.pid(&held.id);
    jobs.kill_supervisor(&held.id);
    assert_eq!(recover(&jobs), format!("{} adopted: adopted after its supervisor was killed\n", held.id));
    let seen = jobs.truth(&held.id);
    assert_eq!(
        (&seen["state"], &seen["supervised"], &seen["supervisor"]["adopted"]),
        (&json!("running"), &json!(true), &json!(true))
    );
    assert_eq!((jobs.pid(&held.id), recover(&jobs).as_str()), (pid, ""), "it has a supervisor now");
    // What nobody can know is not invented: the status of its end went to somebody else.
    held.release();
    let record = until_some("the verdict", || Some(jobs.record(&held.id)).filter(|record| record["state"] != "running"));
    assert_eq!((&record["state"], &record["exit"], &record["run"]), (&json!("lost"), &Value::Null, &json!(1)));
    assert_eq!(record["reason"], "it ended after its supervisor was killed: its exit status is not known");
    assert!(record["ended"].is_string() && record["evidence"]["from"] == "recovery", "{record:#}");
}

#[test]
fn an_adopted_job_has_its_limit_its_cancel_and_its_wait_again() {
    let jobs = Jobs::new();
    let limited = orphan(&jobs, &["-n", "limited", "--timeout", "1s", "--", "sleep", "600"]);
    let cancelled =
        orphan(&jobs, &["-n", "cancelled", "--", "sh", "-c", "trap '' TERM; setsid sleep 600 & while :; do sleep 0.1; done"]);
    recover(&jobs);
    assert_eq!(jobs.bgstatus(["--wait", &limited]).run().code, Some(124));
    assert_eq!(jobs.ended(&limited)["reason"], "timed out after 1.0s");
    let pid = jobs.pid(&cancelled);
    let said = jobs.tool("bgcancel").args(["--grace", "100ms", &cancelled]).run();
    // Elsewhere on the machine something may have started since that can't be told from a child of the job.
    assert!(said.code == Some(0) || said.code == Some(125) && said.stderr.contains("can't be told"), "{said:?}");
    assert_eq!(jobs.ended(&cancelled)["state"], "cancelled");
    assert!(!alive(pid));
    let key = format!("BG_JOB_KEY={}", jobs.record(&cancelled)["key"].as_str().unwrap());
    assert!(processes_with(key.as_bytes()).is_empty());
}

#[test]
fn only_what_asked_for_it_is_started_again() {
    let jobs = Jobs::new();
    let script = "[ $BG_JOB_RUN -gt 1 ] && { echo run $BG_JOB_RUN; exit 0; }; exec sleep 600";
    let with = |options: &[&str]| lost(&jobs, &[options, &["--", "sh", "-c", script]].concat());
    let again = with(&["-n", "again", "--restart", "on-failure", "--backoff", "10ms", "--nice", "3", "--memsafe"]);
    let ticks = with(&["-n", "ticks", "--every", "100ms", "--max-runs", "3"]);
    let never = with(&["-n", "never", "--on-end", &format!("cat > '{}'", jobs.path("heard").display())]);
    let given_up = with(&["-n", "given-up", "--restart", "always", "--max-restarts", "0"]);
    let planned = jobs.bgrun(["--recover", "--dry-run"]).ok();
    assert_eq!(planned.lines().filter(|line| line.contains(" would be started again: ")).count(), 3, "{planned}");
    assert_eq!(jobs.state(&again), "lost");
    let said = recover(&jobs);
    assert!(said.contains(&format!("{again} started again: ")) && said.contains(&format!("{ticks} started again: ")), "{said}");
    assert!(
        said.contains(&format!("{never} closed as lost: ")) && said.contains(&format!("{given_up} closed as lost: ")),
        "{said}"
    );
    let record = jobs.ended(&again);
    assert_eq!((&record["state"], &record["run"], &record["settings"]["nice"]), (&json!("succeeded"), &json!(2), &json!(3)));
    assert_eq!((&record["runs"][0]["exit"], &record["runs"][0]["ended"]), (&Value::Null, &Value::Null));
    assert!(
        jobs.log(&again).ends_with("\nrun 2\n") && jobs.log(&again).starts_with("-- bgrun: run 2 of "),
        "{}",
        jobs.log(&again)
    );
    assert_eq!(jobs.ended(&ticks)["run"], 3);
    for id in [&never, &given_up] {
        let record = jobs.record(id);
        assert_eq!((&record["state"], &record["run"], &record["exit"]), (&json!("lost"), &json!(1), &Value::Null));
        assert!(record["ended"].is_null() && !jobs.dir().join(format!("{id}.lock")).exists());
    }
    let heard: Value = serde_json::from_slice(&fs::read(jobs.path("heard")).unwrap()).unwrap();
    assert_eq!((&heard["state"], &heard["id"]), (&json!("lost"), &json!(never)));
    assert_eq!(recover(&jobs), "");
}

/// After a reboot the numbers in a record are other processes': none is touched.
#[test]
fn after_a_reboot_nobody_is_mistaken_for_the_job() {
    let jobs = Jobs::new();
    let script = "[ $BG_JOB_RUN -gt 1 ] || exec sleep 600";
    let id = lost(&jobs, &["-n", "a", "--restart", "always", "--max-runs", "2", "--backoff", "10ms", "--", "sh", "-c", script]);
    let queued = jobs.start(["-n", "queued", "--delay", "1h", "--restart", "on-failure", "--", "true"]);
    jobs.kill_supervisor(&queued);
    let stranger = jobs.start(["-n", "stranger", "--", "sleep", "600"]);
    let pid = jobs.pid(&stranger);
    for id in [&id, &queued] {
        jobs.edit(id, |record| record["boot_id"] = "00000000-0000-0000-0000-000000000000".into());
    }
    jobs.edit(&id, |record| {
        record["pid"] = pid.into();
        record["pgid"] = pid.into();
        record["start_ticks"] = jobs.record(&stranger)["start_ticks"].clone();
        record["later"] = json!({"kept": true});
    });
    let said = recover(&jobs);
    assert!(said.contains(&format!("{id} started again: the machine was booted since; ")), "{said}");
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["run"], &record["later"]["kept"]), (&json!("succeeded"), &json!(2), &json!(true)));
    assert_ne!(record["boot_id"], "00000000-0000-0000-0000-000000000000");
    assert!(alive(pid) && jobs.state(&stranger) == "running");
    assert_eq!(jobs.state(&queued), "queued");
    jobs.tool("bgcancel").args([&queued, &stranger]).ok();
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let jobs = Jobs::new();
    let elsewhere = lost(&jobs, &["-n", "elsewhere", "--restart", "always", "--", "sleep", "600"]);
    jobs.edit(&elsewhere, |record| {
        record["machine_id"] = "another".into();
        record["host"] = "gpu9".into();
        record["boot_id"] = "another".into();
    });
    let newer = lost(&jobs, &["-n", "newer", "--restart", "always", "--", "sleep", "600"]);
    jobs.edit(&newer, |record| record["version"] = 2.into());
    let torn = lost(&jobs, &["-n", "torn", "--restart", "always", "--", "sleep", "600"]);
    fs::write(jobs.file(&torn), "{").unwrap();
    let before = [&elsewhere, &newer, &torn].map(|id| fs::read(jobs.file(id)).unwrap());
    let good = lost(&jobs, &["-n", "good", "--", "sleep", "600"]);
    let ran = jobs.bgrun(["--recover"]).run();
    assert_eq!(ran.code, Some(125));
    assert!(ran.stderr.lines().count() == 2 && ran.stderr.contains(&newer) && ran.stderr.contains(&torn), "{ran:?}");
    assert!(ran.stdout.contains(&format!("{elsewhere} left alone: on host gpu9")), "{ran:?}");
    assert!(ran.stdout.contains(&format!("{good} closed as lost: ")), "{ran:?}");
    assert_eq!(before, [&elsewhere, &newer, &torn].map(|id| fs::read(jobs.file(id)).unwrap()));
    jobs.bgrun(["--recover", "--", "true"]).fails(125, &[]);
}

#[test]
fn the_environment_is_kept_where_that_was_asked_for() {
    let jobs = Jobs::new();
    let script = r#"[ $BG_JOB_RUN -gt 1 ] && { echo "$TOKEN:$PLAIN"; exit 0; }; exec sleep 600"#;
    let words = |name: &str, more: &[&str]| {
        let options =
            [&["-n", name, "--restart", "always", "--max-runs", "2", "--backoff", "10ms"], more, &["--", "sh", "-c", script]]
                .concat();
        jobs.bgrun(options).env("TOKEN", "s3cret").env("PLAIN", "p").ok().trim().to_owned()
    };
    let kept = words("kept", &["--recover-env", "--env-secret", "TOKEN"]);
    let bare = words("bare", &["--env-secret", "TOKEN"]);
    let given = words("given", &["--env", "PLAIN=recorded"]);
    for id in [&kept, &bare, &given] {
        let pid = jobs.pid(id);
        jobs.kill_supervisor(id);
        send(pid, Signal::SIGKILL);
        until("the command's end", || !alive(pid));
    }
    let file = jobs.dir().join(format!("{kept}.d/environ"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!jobs.dir().join(format!("{bare}.d")).exists());
    let ran = jobs.bgrun(["--recover"]).run();
    assert_eq!(ran.code, Some(125));
    assert!(
        ran.stderr.contains(&format!("cannot recover job '{bare}': it needs the variable TOKEN in its environment")),
        "{ran:?}"
    );
    assert_eq!(jobs.state(&bare), "lost");
    for (id, said) in [(&kept, "s3cret:p\n"), (&given, ":recorded\n")] {
        assert_eq!(jobs.ended(id)["state"], "succeeded");
        assert!(jobs.log(id).ends_with(said), "{}", jobs.log(id));
    }
    assert!(!file.exists(), "the environment is kept no longer than it can be needed");
    for file in jobs.files().iter().filter(|file| file.ends_with(".json")) {
        assert!(!fs::read_to_string(jobs.dir().join(file)).unwrap().contains("s3cret"));
    }
}

#[test]
fn of_many_that_recover_at_once_one_does() {
    let jobs = Jobs::new();
    let script = format!("echo $BG_JOB_RUN >> '{}'; [ $BG_JOB_RUN -gt 1 ] || exec sleep 600", jobs.path("count").display());
    let id = lost(&jobs, &["-n", "a", "--restart", "always", "--max-runs", "2", "--backoff", "10ms", "--", "sh", "-c", &script]);
    let callers: Vec<_> =
        (0..16).map(|_| jobs.bgrun(["--recover"]).command().stdout(std::process::Stdio::piped()).spawn().unwrap()).collect();
    let said: Vec<_> = callers.into_iter().map(|caller| caller.wait_with_output().unwrap()).collect();
    assert!(said.iter().all(|output| output.status.success()), "{said:?}");
    assert_eq!(said.iter().filter(|output| !output.stdout.is_empty()).count(), 1, "{said:?}");
    assert_eq!(jobs.ended(&id)["run"], 2);
    assert_eq!(fs::read_to_string(jobs.path("count")).unwrap(), "1\n2\n");
}

/// The calls that change anything, or at which a supervisor waits.
const CALLS: &str = "write,pwrite64,renameat,renameat2,mkdirat,unlinkat,fsync,fdatasync,fallocate,ftruncate,fcntl,openat,\
    memfd_create,execve,clone,clone3,fork,vfork,wait4,poll,pipe2,setsid";

/// Where to strike: everywhere, but for the long rows of calls that walk over descriptors and /proc.
fn strikes(command: &std::process::Command, jobs: &Jobs) -> Vec<faults::Place> {
    let places = faults::places(command, CALLS, jobs.tmp());
    places.into_iter().filter(|place| place.nth <= 12 || place.nth % 9 == 0).collect()
}

/// The record of the only job once it has its verdict and no supervisor; none where there is no job.
fn settled(jobs: &Jobs) -> Option<Value> {
    until_some("the end of what was recovered", || {
        let files = jobs.files();
        let records: Vec<&String> = files.iter().filter(|file| file.ends_with(".json")).collect();
        assert!(records.len() <= 1, "{records:?}");
        let Some(record) = records.first() else { return Some(None) };
        let record = jobs.record(record.strip_suffix(".json").unwrap());
        let over = !["running", "waiting", "queued"].contains(&record["state"].as_str().unwrap());
        (over && !files.iter().any(|file| file.ends_with(".lock"))).then_some(Some(record))
    })
}

/// Runs mark their beginning and their end: they never overlap, and their numbers only grow.
fn check_marks(text: &str, when: &str) {
    let marks: Vec<(&str, u32)> = text.lines().map(|line| (&line[..1], line[2..].parse().unwrap())).collect();
    let begun: Vec<u32> = marks.iter().filter(|mark| mark.0 == "B").map(|mark| mark.1).collect();
    assert!(begun.windows(2).all(|pair| pair[0] < pair[1]), "{when}: a run was started twice: {text}");
    for (at, mark) in marks.iter().enumerate().filter(|(_, mark)| mark.0 == "E") {
        assert_eq!(marks[at - 1], ("B", mark.1), "{when}: two runs at once: {text}");
    }
}

/// A supervisor, or whoever else of a job with restarts, is killed at every call: recovered, it comes to a consistent end.
#[test]
fn a_restart_cycle_killed_at_any_call_recovers() {
    let cycle = |jobs: &Jobs| {
        let script = format!(
            "echo B $BG_JOB_RUN >> '{0}'; [ $BG_JOB_RUN -ge 3 ]; s=$?; echo E $BG_JOB_RUN >> '{0}'; exit $s",
            jobs.path("marks").display()
        );
        jobs.bgrun(["-n", "a", "--restart", "on-failure", "--max-restarts", "9", "--backoff", "1ms", "--", "sh", "-c", &script])
            .command()
    };
    let jobs = Jobs::new();
    let places = strikes(&cycle(&jobs), &jobs);
    assert!(places.len() > 60, "{places:?}");
    for place in places {
        let jobs = Jobs::new();
        faults::at(&place, "signal=KILL", &cycle(&jobs)).output().unwrap();
        until("the end of all that was started", || jobs.processes().is_empty());
        let ran = jobs.bgrun(["--recover"]).run();
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{place:?}");
        let record = settled(&jobs);
        let marks = fs::read_to_string(jobs.path("marks")).unwrap_or_default();
        check_marks(&marks, &format!("{place:?}"));
        if let Some(record) = record {
            assert_eq!(
                (&record["state"], &record["exit"]["code"]),
                (&json!("succeeded"), &json!(0)),
                "{place:?}: {record:#} {marks}"
            );
            assert!(record["run"].as_u64().unwrap() >= 3);
        } else {
            // The launch failed, and what had begun to run was killed with it.
            assert!(!marks.contains('2'), "{place:?}: {marks}");
        }
    }
}

/// Whoever recovers may be killed at any call as well: the next one comes to the same end.
#[test]
fn a_recovery_killed_at_any_call_is_taken_up_by_the_next() {
    let prepared = || {
        let jobs = Jobs::new();
        let script = format!(
            "[ $BG_JOB_RUN -gt 1 ] || exec sleep 600; echo B $BG_JOB_RUN >> '{0}'; echo E $BG_JOB_RUN >> '{0}'",
            jobs.path("marks").display()
        );
        lost(&jobs, &["-n", "a", "--restart", "on-failure", "--backoff", "1ms", "--", "sh", "-c", &script]);
        jobs
    };
    let jobs = prepared();
    let places = strikes(&jobs.bgrun(["--recover"]).command(), &jobs);
    assert!(places.len() > 40, "{places:?}");
    for place in places {
        let jobs = prepared();
        faults::at(&place, "signal=KILL", &jobs.bgrun(["--recover"]).command()).output().unwrap();
        until("the end of all that was started", || jobs.processes().is_empty());
        jobs.bgrun(["--recover"]).run();
        let record = settled(&jobs).unwrap();
        let marks = fs::read_to_string(jobs.path("marks")).unwrap_or_default();
        check_marks(&marks, &format!("{place:?}"));
        // The fault strikes each process that comes by, a run's own in every restart.
        let gave_up = record["state"] == "failed" && record["reason"].as_str().unwrap().ends_with("given up after 5 restarts");
        assert!(record["state"] == "succeeded" || gave_up && !marks.contains('E'), "{place:?}: {record:#}");
    }
}

/// Restarts after an adoption begin where the first run did, and with what it needs, or not at all.
#[test]
fn an_adopted_job_starts_again_where_it_began() {
    let jobs = Jobs::new();
    let place = jobs.path("place");
    fs::create_dir(&place).unwrap();
    let script = format!(
        "pwd; echo \"${{TOKEN-none}}\"; [ $BG_JOB_RUN -gt 1 ] || while [ ! -e '{0}' ]; do sleep 0.02; done; exit $((2 - BG_JOB_RUN))",
        jobs.path("go").display()
    );
    let words = |name: &str, more: &[&str]| {
        let options = [
            &["-n", name, "--restart", "on-failure", "--backoff", "10ms", "-C", place.to_str().unwrap()],
            more,
            &["--", "sh", "-c", &script],
        ]
        .concat();
        let id = jobs.bgrun(options).env("TOKEN", "t").ok().trim().to_owned();
        jobs.kill_supervisor(&id);
        id
    };
    let (plain, secret) = (words("plain", &[]), words("secret", &["--env-secret", "TOKEN"]));
    let said = recover(&jobs);
    assert!(
        said.contains(&format!(
            "{secret} adopted: adopted after its supervisor was killed; it can't be started again: it needs the variable TOKEN"
        )),
        "{said}"
    );
    fs::write(jobs.path("go"), "").unwrap();
    let record = until_some("the end", || Some(jobs.record(&plain)).filter(|record| record["state"] == "succeeded"));
    assert_eq!(record["run"], 2);
    let log = jobs.log(&plain);
    assert!(log.ends_with(&format!("{}\nnone\n", place.display())), "{log}");
    let record = until_some("the end", || Some(jobs.record(&secret)).filter(|record| record["state"] == "failed"));
    assert!(record["reason"].as_str().unwrap().starts_with("cannot start it again"), "{record:#}");
    assert!(!jobs.log(&secret).contains("none"));
}

/// At a shutdown everything gets SIGTERM from the system's manager: that ends the run, and not what was to come after it.
#[test]
fn a_shutdown_ends_the_run_and_not_the_job() {
    let jobs = crate::support::Enclosed::new();
    let shut_down = |id: &str| {
        // From outside of its pid namespace a signal has no sender that it could name, as one of an init hasn't.
        let mark = format!("BG_SUPERVISOR={}", jobs.record(id)["key"].as_str().unwrap());
        let outside = until_some("the supervisor, seen from outside", || processes_with(mark.as_bytes()).first().copied());
        send(outside, Signal::SIGTERM);
        until("its end", || !alive(outside));
    };
    let script = r#"echo $BG_JOB_RUN >> "$T/$BG_JOB_NAME"; [ $BG_JOB_RUN -gt 1 ] || exec sleep 600"#;
    let running = jobs.start_with(&["--restart", "always", "--max-runs", "2", "--backoff", "10ms"], "running", script);
    let pausing = jobs.start_with(&["--every", "5s", "--max-runs", "2"], "pausing", r#"echo $BG_JOB_RUN >> "$T/pausing""#);
    let once = jobs.start("once", "exec sleep 600");
    // A person may say so for a reason, and means the job.
    let meant = jobs.start_with(&["--restart", "always"], "meant", "exec sleep 600");
    jobs.cancel(&["--grace", "0s", "--reason", "the machine goes down", &meant]).ok();
    assert_eq!(jobs.record(&meant)["state"], "cancelled");
    until("the pause", || jobs.state(&pausing) != "running");
    for id in [&pausing, &running, &once] {
        shut_down(id);
    }
    assert_eq!(jobs.record(&once)["state"], "cancelled");
    assert_eq!(jobs.record(&running)["runs"][0]["exit"]["signal"], 15);
    let said = jobs.tool("bgrun").args(["--recover"]).ok();
    assert!(said.contains(&format!("{running} started again")) && !said.contains(&once) && !said.contains(&meant), "{said}");
    for (id, name) in [(&running, "running"), (&pausing, "pausing")] {
        until("the second run's end", || jobs.record(id)["state"] == "succeeded");
        assert_eq!(fs::read_to_string(jobs.path(name)).unwrap(), "1\n2\n");
    }
}
