//! Launched from anywhere: what a caller's standard streams, descriptors, signals and directory do to bgrun and its job.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::jobs::status_of;
use crate::support::run::path_of;
use crate::support::{Jobs, Run, until};

/// A shell with `$BGRUN` in it, whose processes are the test's.
fn shell(jobs: &Jobs, script: &str) -> Run {
    jobs.owned(Run::new("sh")).env("BGTOOLS_DIR", jobs.dir()).env("BGRUN", path_of("bgrun")).args(["-c", script])
}

/// The one job that is there.
#[track_caller]
fn only(jobs: &Jobs) -> String {
    let ids: Vec<String> = jobs.files().iter().filter_map(|file| file.strip_suffix(".json").map(str::to_owned)).collect();
    let [id] = &ids[..] else { panic!("one job: {ids:?}") };
    id.clone()
}

#[track_caller]
fn assert_runs(jobs: &Jobs) {
    assert_eq!(jobs.state(&only(jobs)), "running");
}

#[test]
fn a_pipe_on_stdout_is_let_go_at_once() {
    let jobs = Jobs::new();
    let began = Instant::now();
    let said = shell(&jobs, r#""$BGRUN" -- sleep 1000 | cat; "$BGRUN" -- sleep 1000 2>&1 >/dev/null | cat"#).ok();
    assert!(began.elapsed() < Duration::from_secs(500), "the job held the pipe");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(jobs.bgstatus(["--state", "running", "--json"]).ok().lines().count(), 2);
}

#[test]
fn a_standard_stream_that_is_closed_is_no_obstacle() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let jobs = Jobs::new();
        let ran = shell(&jobs, &format!(r#""$BGRUN" -- sleep 1000 {closed}"#)).run();
        assert_eq!(ran.code, Some(0), "{closed}: {ran:?}");
        assert_runs(&jobs);
        let pid = jobs.pid(&only(&jobs));
        let link = |fd: i32| fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap().display().to_string();
        assert!(link(0) == "/dev/null" && link(1).ends_with(".log") && link(2) == link(1), "{closed}");
    }
}

#[test]
fn an_id_that_cannot_be_printed_is_said_and_the_job_runs() {
    let jobs = Jobs::new();
    let ran = shell(&jobs, r#""$BGRUN" -n a -- sleep 1000 >/dev/full"#).run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let id = only(&jobs);
    assert!(ran.stderr.lines().count() == 1 && ran.stderr.contains(&id) && ran.stderr.contains("No space"), "{ran:?}");
    assert_runs(&jobs);
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let jobs = Jobs::new();
    let ran = shell(&jobs, r#"{ "$BGRUN" -n a -- sleep 1000; echo $? >&2; } | :"#).run();
    assert_eq!(ran.stderr, "0\n", "{ran:?}");
    assert_runs(&jobs);
}

#[test]
fn a_directory_that_was_removed_is_no_obstacle() {
    let jobs = Jobs::new();
    fs::create_dir(jobs.path("gone")).unwrap();
    let script = r#"cd "$0" && rmdir "$0" && "$BGRUN" -n a -- sleep 1000"#;
    let id = shell(&jobs, script).arg(jobs.path("gone")).ok();
    let record = jobs.record(id.trim());
    assert!(record["cwd"].is_null(), "{record}");
    assert_runs(&jobs);
    // A relative jobs directory can't be made absolute there.
    let script = r#"mkdir "$0" && cd "$0" && rmdir "$0" && "$BGRUN" --dir jobs -- sleep 1000"#;
    shell(&jobs, script).arg(jobs.path("gone")).fails(125, &["'jobs'"]);
}

#[test]
fn relative_paths_are_the_callers() {
    let jobs = Jobs::new();
    fs::create_dir(jobs.path("w")).unwrap();
    let script = r#"cd "$0" && "$BGRUN" --dir ../jobs --log-dir l -n a -C / -- pwd"#;
    let id = shell(&jobs, script).arg(jobs.path("w")).ok();
    let record = jobs.ended(id.trim());
    assert_eq!(record["cwd"], "/");
    assert_eq!(record["log"].as_str().unwrap(), jobs.path("w/l").join(format!("{}.log", id.trim())).to_str().unwrap());
    assert_eq!(jobs.log(id.trim()), "/\n");
}

#[test]
fn no_descriptor_of_the_caller_reaches_job_or_supervisor() {
    let jobs = Jobs::new();
    fs::write(jobs.path("held"), "").unwrap();
    let script = r#"exec 5<"$0" 9>>"$0" 8<"$0"; (flock -n 9 && "$BGRUN" -n a -- sleep 1000 7>&9)"#;
    let id = shell(&jobs, script).arg(jobs.path("held")).ok();
    for pid in [jobs.pid(id.trim()), jobs.supervisor(id.trim())] {
        // The supervisor's end of the talk goes right after its last word, which bgrun may have acted on by now.
        until("no stranger among the descriptors", || {
            let held =
                fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
            let names: Vec<String> = held.map(|what| what.display().to_string()).collect();
            !names.iter().any(|what| what.contains("held") || what.starts_with("pipe:") || what.starts_with("socket:"))
        });
    }
    let own = fs::read_dir(format!("/proc/{}/fd", jobs.pid(id.trim()))).unwrap().count();
    assert_eq!(own, 3, "the job has its three streams");
    // The lock that the caller held is free again.
    shell(&jobs, r#"flock -n "$0" true"#).arg(jobs.path("held")).silent(0);
}

#[test]
fn make_with_a_jobserver_does_not_wait_for_the_job() {
    let jobs = Jobs::new();
    let makefile = "all: a b\na b:\n\t+@$(BGRUN) -n $@ -- sh -c 'echo \"[$$MAKEFLAGS]\"; exec sleep 1000'\n";
    fs::write(jobs.path("Makefile"), makefile).unwrap();
    let make = jobs.owned(Run::new("make")).env("BGTOOLS_DIR", jobs.dir()).env("BGRUN", path_of("bgrun"));
    let said = make.args(["-j2", "-C"]).arg(jobs.tmp()).arg("--no-print-directory").ok();
    assert_eq!(said.lines().count(), 2, "{said}");
    for id in said.lines() {
        assert_eq!(jobs.state(id), "running");
        crate::support::until("the job's line", || jobs.log(id).ends_with("]\n"));
        assert!(!jobs.log(id).contains("jobserver"), "{}", jobs.log(id));
        assert_eq!(fs::read_dir(format!("/proc/{}/fd", jobs.pid(id))).unwrap().count(), 3);
    }
}

#[test]
fn signals_that_the_caller_ignores_are_the_jobs_again() {
    let jobs = Jobs::new();
    let id = shell(&jobs, r#"trap '' HUP INT QUIT TERM PIPE USR1 CHLD; exec nohup "$BGRUN" -n a -- sleep 1000 2>/dev/null"#).ok();
    let mask = |pid: i32, which: &str| u64::from_str_radix(&status_of(pid, which).unwrap(), 16).unwrap();
    let (pid, supervisor) = (jobs.pid(id.trim()), jobs.supervisor(id.trim()));
    assert_eq!((mask(pid, "SigIgn"), mask(pid, "SigBlk")), (0, 0));
    // SIGHUP and SIGINT can't end the supervisor.
    assert_eq!(mask(supervisor, "SigIgn") & 0b11, 0b11);
    crate::support::jobs::send(supervisor, nix::sys::signal::Signal::SIGHUP);
    crate::support::jobs::send(pid, nix::sys::signal::Signal::SIGUSR1);
    let record = jobs.ended(id.trim());
    assert_eq!(record["exit"]["signal"], nix::sys::signal::Signal::SIGUSR1 as i32);
}

#[test]
fn an_ignored_sigchld_costs_no_verdict() {
    let jobs = Jobs::new();
    // A shell can't ignore SIGCHLD for what it starts; env can.
    let run = jobs.owned(Run::new("env")).env("BGTOOLS_DIR", jobs.dir()).args(["--ignore-signal=CHLD"]);
    let id = run.arg(path_of("bgrun")).args(["-n", "a", "--", "sh", "-c", "exit 7"]).ok();
    let record = jobs.ended(id.trim());
    assert_eq!((&record["state"], &record["exit"]["code"]), (&"failed".into(), &7.into()));
}

#[test]
fn the_end_of_the_callers_session_ends_nothing() {
    let jobs = Jobs::new();
    // `script` makes a terminal and takes it away again: the kernel sends SIGHUP to all that is left on it.
    let words = format!("{} -n a -- sleep 1000", path_of("bgrun").display());
    let script = jobs.owned(Run::new("script")).env("BGTOOLS_DIR", jobs.dir()).args(["-qec", &words]);
    let ran = script.arg("/dev/null").run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_runs(&jobs);
    let pid = jobs.pid(&only(&jobs));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let terminal = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(4).unwrap();
    assert_eq!(terminal, "0", "the job has no terminal");
}

#[test]
fn dry_run_does_nothing() {
    let jobs = Jobs::new();
    let said = jobs.bgrun(["--dry-run", "-n", "a", "--", "echo", "a b"]).ok();
    assert_eq!(said, "a: echo 'a b'\n");
    assert!(!jobs.dir().exists());
}

#[test]
fn what_is_not_bgruns_own_start_of_a_supervisor_is_refused() {
    for word in ["--supervisor=", "--supervisor=0,1,2", "--supervisor=900,901,902", "--supervisor=x"] {
        let mut bgrun = Command::new(path_of("bgrun"));
        let ended = bgrun.arg(word).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(ended.status.code(), Some(125), "{word}: {ended:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stderr).lines().count(), 1, "{word}: {ended:?}");
    }
}
