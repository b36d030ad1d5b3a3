//! Law 4, cancel means gone: whatever a job started and wherever it went, with a supervisor that is well, slow, stopped,
//! stuck or dead. Races 3, 11, 15, 16 and 17.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::enclosed::{Nobody, at_once, spawn};
use crate::support::{Enclosed, faults, needs_root, until};

/// One process of each kind that is hard to find or to end; each writes its pid into `$T/NAME`.
const HARD_TO_STOP: &str = r#"
cd "$T"
sleep 1000 & echo $! > plain
bash -c 'trap "" TERM INT HUP; echo $$ > deaf; while :; do sleep 1000; done' &
setsid -f bash -c 'setsid -f bash -c "echo \$\$ > twice; exec sleep 1000"'
(setsid -f env -i bash -c 'echo $$ > bare; trap "" TERM; while :; do sleep 1000; done')
set -m; (echo $BASHPID > group; exec sleep 1000) & set +m
python3 - <<'PY' &
import ctypes, os
fields = open('/proc/self/stat').read().rsplit(')', 1)[1].split()
start, end = int(fields[47]), int(fields[48])
ctypes.memset(start, 0, end - start)
assert not open('/proc/self/environ', 'rb').read().strip(b'\0')
pid = os.fork()
if pid: os._exit(0)
os.setsid()
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
with open('wiped', 'w') as f: f.write(f'{os.getpid()}\n')
import time
time.sleep(1000)
PY
wait
"#;
const NAMES: [&str; 6] = ["plain", "deaf", "twice", "bare", "group", "wiped"];

#[test]
fn everything_that_a_job_started_is_gone() {
    let jobs = Enclosed::new();
    let id = jobs.start("hard", HARD_TO_STOP);
    let mut pids: Vec<i32> = NAMES.iter().map(|name| jobs.pid(name)).collect();
    pids.push(jobs.process(&id));
    assert!(pids.iter().all(|pid| jobs.alive(*pid)));
    assert_eq!(jobs.cancel(&["--grace", "300ms", "hard"]).ok(), format!("{id} cancelled\n"));
    jobs.is_over(&id, "cancelled", &pids);
    let record = jobs.record(&id);
    assert_eq!(record["exit"], serde_json::json!({"signal": 15, "core": false}));
    assert_eq!(record["evidence"]["from"], "wait");
    assert_eq!(record["evidence"]["left_running"], 0);
}

#[test]
fn a_polite_job_is_given_its_grace_and_ends_as_it_likes() {
    let jobs = Enclosed::new();
    let script = r#"trap 'echo saved > "$T/saved"; exit 7' TERM; echo $$ > "$T/ready"; while :; do sleep 0.01; done"#;
    let id = jobs.start("polite", script);
    let pid = jobs.pid("ready");
    let began = Instant::now();
    assert_eq!(jobs.cancel(&["--grace", "1h", &id]).ok(), format!("{id} cancelled\n"));
    assert!(began.elapsed() < Duration::from_secs(30), "the grace was waited out");
    jobs.is_over(&id, "cancelled", &[pid]);
    assert_eq!(fs::read_to_string(jobs.path("saved")).unwrap(), "saved\n");
    assert_eq!(jobs.record(&id)["exit"]["code"], 7);
}

#[test]
fn a_deaf_job_is_killed_when_its_own_grace_is_over() {
    let jobs = Enclosed::new();
    let script = r#"trap "" TERM; echo $$ > "$T/deaf"; while :; do sleep 1000; done"#;
    let id = jobs.start_with(&["--grace", "700ms"], "deaf", script);
    let pid = jobs.pid("deaf");
    let began = Instant::now();
    jobs.cancel(&["-q", &id]).silent(0);
    assert!(began.elapsed() >= Duration::from_millis(700), "its grace was cut short");
    jobs.is_over(&id, "cancelled", &[pid]);
    assert_eq!(jobs.record(&id)["exit"]["signal"], 9);
}

#[test]
fn the_polite_signal_is_the_one_that_was_asked_for() {
    let jobs = Enclosed::new();
    let script = r#"trap 'exit 5' USR1; trap 'exit 6' TERM; echo $$ > "$T/ready"; while :; do sleep 0.01; done"#;
    let id = jobs.start("usr1", script);
    jobs.pid("ready");
    jobs.cancel(&["--signal", "USR1", &id]).ok();
    assert_eq!(jobs.record(&id)["exit"]["code"], 5);

    let id = jobs.start("kill", r#"trap "" TERM; echo $$ > "$T/deaf"; while :; do sleep 1000; done"#);
    let pid = jobs.pid("deaf");
    let began = Instant::now();
    jobs.cancel(&["-s", "SIGKILL", "--grace", "1h", &id]).ok();
    assert!(began.elapsed() < Duration::from_secs(30));
    jobs.is_over(&id, "cancelled", &[pid]);

    jobs.cancel(&["--signal", "NONSENSE", &id]).fails(2, &["NONSENSE"]);
    jobs.cancel(&["--grace", "soon", &id]).fails(2, &["soon"]);
    jobs.cancel(&[]).fails(2, &["JOB"]);
}

/// Race 15 in small: the second request reaches a supervisor that is busy with the first.
#[test]
fn a_second_cancel_may_have_less_patience() {
    let jobs = Enclosed::new();
    let script = r#"trap "echo asked > '$T/asked'" TERM; echo $$ > "$T/deaf"; while :; do sleep 0.01; done"#;
    let id = jobs.start("deaf", script);
    let pid = jobs.pid("deaf");
    let patient = spawn(jobs.cancel(&["--grace", "1h", "--reason", "first", &id]));
    until("the first request's signal", || jobs.path("asked").exists());
    assert_eq!(jobs.cancel(&["--grace", "0s", "--reason", "second", &id]).ok(), format!("{id} cancelled\n"));
    let first = patient.wait_with_output().unwrap();
    assert!(first.status.success() && first.stderr.is_empty(), "{first:?}");
    jobs.is_over(&id, "cancelled", &[pid]);
    assert_eq!(jobs.record(&id)["evidence"]["cancel"]["reason"], "second");
}

#[test]
fn a_word_means_an_id_or_the_newest_live_job_of_a_name() {
    let jobs = Enclosed::new();
    let start = |name: &str| jobs.start(name, "exec sleep 1000");
    let (old, new, other) = (start("a"), start("a"), start("b"));
    assert_ne!(old, new);
    jobs.cancel(&["nobody"]).fails(1, &["nobody"]);
    jobs.cancel(&["a_20200101_000000"]).fails(1, &["a_20200101_000000"]);
    jobs.cancel(&["../a"]).fails(1, &["../a"]);
    // All of them are found before the first is touched.
    jobs.cancel(&[&other, "nobody"]).fails(1, &["nobody"]);
    assert_eq!(jobs.state(&other), "running");

    assert_eq!(jobs.cancel(&["--dry-run", "a", &other]).ok(), format!("{new} would-cancel\n{other} would-cancel\n"));
    assert!([&old, &new, &other].iter().all(|id| jobs.state(id) == "running"));
    assert!(!jobs.dir().join(format!("{new}.d")).exists());

    assert_eq!(jobs.cancel(&["a"]).ok(), format!("{new} cancelled\n"));
    assert_eq!(jobs.state(&old), "running");
    jobs.cancel(&[&new]).fails(1, &[&new, "has ended: cancelled"]);
    let newer = start("a");
    assert_eq!(jobs.cancel(&["--all", "a"]).ok(), format!("{newer} cancelled\n{old} cancelled\n"));
    jobs.cancel(&["a"]).fails(1, &["no live job named 'a'"]);
    jobs.cancel(&["--all", "a"]).fails(1, &["no live job named 'a'"]);
    assert_eq!(jobs.state(&other), "running");

    let last = start("c");
    // Two words that mean one job are one cancel.
    let json = jobs.cancel(&["--json", &other, "c", "b", &last]).ok();
    let lines: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines,
        [
            serde_json::json!({"id": other, "name": "b", "result": "cancelled", "left": []}),
            serde_json::json!({"id": last, "name": "c", "result": "cancelled", "left": []}),
        ]
    );
    start("d");
    start("e");
    assert_eq!(jobs.cancel(&["--all"]).ok().lines().count(), 2);
    jobs.cancel(&["--all"]).fails(1, &["no live job"]);
    jobs.tool("bgcancel").args(["--dir", "/nonexistent/jobs", "x"]).fails(1, &["x"]);
}

#[test]
fn the_record_says_who_asked_when_and_why() {
    let jobs = Enclosed::new();
    let id = jobs.start("why", "exec sleep 1000");
    let why = "the loss is NaN\nsince step 3 \u{1b}[31m";
    jobs.cancel(&["-q", "--reason", why, "--grace", "3s", &id]).silent(0);
    let record = jobs.record(&id);
    let request = &record["evidence"]["cancel"];
    assert_eq!(request["reason"], why);
    assert_eq!((request["signal"].as_i64(), request["grace_s"].as_f64()), (Some(15), Some(3.0)));
    let by = request["by"].as_str().unwrap();
    assert!(
        by.contains("bgcancel, pid ") && record["reason"].as_str().unwrap() == format!("cancelled by {by}: {why}"),
        "{record:#}"
    );
    assert!(request["at"].as_str().unwrap() >= record["started"].as_str().unwrap());
    assert!(request["at"].as_str().unwrap() <= record["ended"].as_str().unwrap());
}

#[test]
fn a_job_whose_supervisor_was_killed_is_stopped_by_key_and_descent() {
    let jobs = Enclosed::new();
    let script = r#"
        setsid -f bash -c 'setsid -f bash -c "echo \$\$ > $T/twice; exec sleep 1000"'
        env -i bash -c 'echo $$ > '"$T"'/bare; while :; do sleep 1000; done' &
        bash -c 'trap "" TERM; echo $$ > "$T/deaf"; while :; do sleep 1000; done' & wait"#;
    let id = jobs.start("orphan", script);
    let mut pids: Vec<i32> = ["twice", "bare", "deaf"].iter().map(|name| jobs.pid(name)).collect();
    pids.push(jobs.process(&id));
    jobs.kill_supervisor(&id);
    assert!(pids.iter().all(|pid| jobs.alive(*pid)), "the supervisor's death hurt the job");
    assert_eq!(jobs.state(&id), "running");
    // By name: it is live without a supervisor.
    assert_eq!(jobs.cancel(&["--grace", "300ms", "--reason", "tidy", "orphan"]).ok(), format!("{id} cancelled\n"));
    jobs.is_over(&id, "cancelled", &pids);
    let record = jobs.record(&id);
    assert_eq!((&record["evidence"]["from"], &record["exit"]), (&"cancel".into(), &serde_json::Value::Null));
    assert!(record["reason"].as_str().unwrap().ends_with("tidy, without its supervisor"), "{record:#}");
    jobs.cancel(&[&id]).fails(1, &["has ended"]);
}

#[test]
fn what_cannot_be_proved_gone_is_named() {
    let jobs = Enclosed::new();
    let id = jobs.start("bare", r#"env -i setsid -f bash -c 'echo $$ > '"$T"'/bare; exec sleep 1000'; exec sleep 1000"#);
    let (bare, process) = (jobs.pid("bare"), jobs.process(&id));
    jobs.kill_supervisor(&id);
    let ran = jobs.cancel(&[&id]).run();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(125), ""), "{ran:?}");
    assert!(ran.stderr.contains(&format!("pid {bare} (sleep)")), "{ran:?}");
    assert!(jobs.alive(bare), "nobody can tell that it was the job's");
    jobs.is_over(&id, "cancelled", &[process]);
    assert!(jobs.record(&id)["reason"].as_str().unwrap().contains(&format!("pid {bare} (sleep)")));
}

/// Race 16.
#[test]
fn a_stopped_supervisor_is_continued_and_does_its_work() {
    let jobs = Enclosed::new();
    let id = jobs.start("stopped", "exec sleep 1000");
    let supervisor = jobs.supervisor(&id);
    jobs.signal("STOP", supervisor);
    until("the supervisor to stand", || jobs.process_state(supervisor) == Some('T'));
    assert_eq!(jobs.cancel(&[&id]).ok(), format!("{id} cancelled\n"));
    jobs.is_over(&id, "cancelled", &[supervisor, jobs.process(&id)]);
    assert_eq!(jobs.record(&id)["evidence"]["from"], "wait");
}

/// Race 16: nobody can continue what a debugger holds. Its orphans are known by descent although they bear no key.
#[test]
fn a_supervisor_that_does_not_answer_is_replaced() {
    let jobs = Enclosed::new();
    let id = jobs.start("stuck", HARD_TO_STOP);
    let mut pids: Vec<i32> = NAMES.iter().map(|name| jobs.pid(name)).collect();
    pids.extend([jobs.process(&id), jobs.supervisor(&id)]);
    let supervisor = nix::unistd::Pid::from_raw(jobs.space.outside(jobs.supervisor(&id)));
    nix::sys::ptrace::seize(supervisor, nix::sys::ptrace::Options::empty()).unwrap();
    nix::sys::ptrace::interrupt(supervisor).unwrap();
    until("the supervisor to stand", || jobs.process_state(jobs.supervisor(&id)) == Some('t'));
    assert_eq!(jobs.cancel(&["--grace", "0s", &id]).ok(), format!("{id} cancelled\n"));
    jobs.is_over(&id, "cancelled", &pids);
    assert_eq!(jobs.record(&id)["evidence"]["from"], "cancel");
}

/// Race 16, by somebody who insists.
#[test]
fn a_supervisor_that_is_stopped_again_and_again_keeps_no_job_alive() {
    let jobs = Enclosed::new();
    let id = jobs.start("nagged", HARD_TO_STOP);
    let mut pids: Vec<i32> = NAMES.iter().map(|name| jobs.pid(name)).collect();
    pids.extend([jobs.process(&id), jobs.supervisor(&id)]);
    let nag = format!("while kill -STOP {}; do :; done 2>/dev/null", jobs.supervisor(&id));
    let mut nagging = spawn(jobs.space.run("bash").args(["-c", &nag]));
    until("the supervisor to stand", || jobs.process_state(jobs.supervisor(&id)) == Some('T'));
    assert_eq!(jobs.cancel(&["--grace", "0s", &id]).ok(), format!("{id} cancelled\n"));
    jobs.is_over(&id, "cancelled", &pids);
    nagging.wait().unwrap();
}

#[test]
fn a_lost_job_is_closed_by_its_id_alone() {
    let jobs = Enclosed::new();
    let id = jobs.start("lost", "exec sleep 1000");
    jobs.kill_supervisor(&id);
    jobs.signal("KILL", jobs.process(&id));
    until("the job's end", || !jobs.alive(jobs.process(&id)));
    assert_eq!(jobs.state(&id), "lost");
    assert_eq!(jobs.record(&id)["state"], "running");
    jobs.cancel(&["lost"]).fails(1, &["no live job named 'lost'"]);
    jobs.cancel(&["--all"]).fails(1, &["no live job"]);
    assert_eq!(jobs.cancel(&[&id]).ok(), format!("{id} lost\n"));
    jobs.is_over(&id, "lost", &[]);
    let record = jobs.record(&id);
    assert_eq!((&record["exit"], &record["ended"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    jobs.cancel(&[&id]).fails(1, &["has ended: lost"]);
}

/// Race 11.
#[test]
fn several_cancels_of_one_orphan_agree() {
    let jobs = Enclosed::new();
    let id = jobs.start("orphan", r#"trap "" TERM; echo $$ > "$T/deaf"; while :; do sleep 1000; done"#);
    let pid = jobs.pid("deaf");
    jobs.kill_supervisor(&id);
    for ran in at_once((0..6).map(|_| jobs.cancel(&["--grace", "500ms", &id])).collect()) {
        assert!(ran.code == Some(0) && ran.stdout == format!("{id} cancelled\n") && ran.stderr.is_empty(), "{ran:?}");
    }
    jobs.is_over(&id, "cancelled", &[pid]);
}

/// Race 17. Each process forks the next and ends at once, deaf to SIGTERM, four chains of them beside a crowd.
const OUTRUNNING: &str = r#"
for i in 1 2 3 4; do perl -e '$SIG{TERM} = "IGNORE"; while (1) { my $p = fork; exit if $p; $n++; if ($n == 50) { open F, ">", "$ENV{T}/chain'$i'"; print F "$$\n"; close F } }' & done
perl -e '$SIG{TERM} = "IGNORE"; fork for 1..6; sleep 1000 while 1' &
wait; sleep 1000"#;

#[test]
fn a_fork_bomb_is_outrun() {
    let jobs = Enclosed::new();
    let id = jobs.start("bomb", OUTRUNNING);
    for chain in ["chain1", "chain2", "chain3", "chain4"] {
        jobs.pid(chain);
    }
    assert_eq!(jobs.cancel(&["--grace", "100ms", &id]).ok(), format!("{id} cancelled\n"));
    jobs.is_over(&id, "cancelled", &[]);
    assert_eq!(jobs.members_left(&id), 0);
}

#[test]
fn a_fork_bomb_without_a_supervisor_is_outrun() {
    let jobs = Enclosed::new();
    let id = jobs.start("bomb", OUTRUNNING);
    for chain in ["chain1", "chain2", "chain3", "chain4"] {
        jobs.pid(chain);
    }
    jobs.kill_supervisor(&id);
    assert_eq!(jobs.cancel(&["--grace", "100ms", &id]).ok(), format!("{id} cancelled\n"));
    jobs.is_over(&id, "cancelled", &[]);
    assert_eq!(jobs.members_left(&id), 0);
}

/// Law 6, for who cancels: killed at any call that others can see, it leaves a job that the next one stops.
#[test]
fn a_cancel_that_is_killed_anywhere_is_finished_by_the_next() {
    let script = r#"setsid -f bash -c 'echo $$ > "$T/child"; exec sleep 1000'; exec sleep 1000"#;
    for supervised in [true, false] {
        let jobs = Enclosed::new();
        let start = || {
            let _ = fs::remove_file(jobs.path("child"));
            let id = jobs.start("job", script);
            let pids = [jobs.pid("child"), jobs.process(&id)];
            if !supervised {
                jobs.kill_supervisor(&id);
            }
            (id, pids)
        };
        start();
        let seen = "write,renameat,renameat2,mkdirat,unlinkat,fsync,fdatasync,fallocate,ftruncate,pidfd_send_signal,poll";
        let places = faults::places(&jobs.cancel(&["job"]).command(), seen, jobs.scratch());
        assert!(places.iter().any(|place| place.call == "pidfd_send_signal"), "{places:?}");
        for place in places {
            let (id, pids) = start();
            faults::at(&place, "signal=KILL", &jobs.cancel(&[&id]).command()).output().unwrap();
            let state = jobs.state(&id);
            assert!(["running", "cancelled", "lost"].contains(&state.as_str()), "{place:?}: {state}");
            let ran = jobs.cancel(&[&id]).run();
            let ended = ran.code == Some(1) && ran.stderr.contains("has ended");
            assert!(ran.code == Some(0) || ended, "{place:?}: {ran:?}");
            let state = jobs.state(&id);
            // Killed after the last process and before the verdict, an orphan's end can't be known any more.
            assert!(state == "cancelled" || state == "lost" && !supervised, "{place:?}: {state}");
            // Killed between the verdict and the lock's removal it leaves a lock that nobody holds.
            if ended {
                let _ = fs::remove_file(jobs.lock_path(&id));
            }
            jobs.is_over(&id, &state, &pids);
        }
    }
}

/// Race 15: a request that came too late makes no `cancelled`, and one that came in time makes no `succeeded`.
#[test]
fn a_job_is_cancelled_only_where_the_request_came_before_the_end() {
    let jobs = Enclosed::new();
    let id = jobs.start("late", r#"echo $$ > "$T/ready"; until [ -e "$T/end" ]; do sleep 0.01; done"#);
    let (supervisor, process) = (jobs.supervisor(&id), jobs.pid("ready"));
    jobs.signal("STOP", supervisor);
    until("the supervisor to stand", || jobs.process_state(supervisor) == Some('T'));
    fs::write(jobs.path("end"), "").unwrap();
    until("the command's end", || jobs.process_state(process) == Some('Z'));
    assert_eq!(jobs.cancel(&[&id]).ok(), format!("{id} succeeded\n"));
    jobs.is_over(&id, "succeeded", &[process]);
    assert_eq!(jobs.record(&id)["evidence"]["cancel"], serde_json::Value::Null);

    let id = jobs.start("in-time", r#"trap 'exit 0' TERM; echo $$ > "$T/waits"; while :; do sleep 0.01; done"#);
    jobs.pid("waits");
    assert_eq!(jobs.cancel(&[&id]).ok(), format!("{id} cancelled\n"));
    assert_eq!(jobs.record(&id)["exit"]["code"], 0);
}

#[test]
fn a_cancel_at_the_instant_of_the_end_is_never_inconsistent() {
    let jobs = Enclosed::new();
    for n in 0..40 {
        let id = jobs.start("brief", &format!("exec sleep 0.0{:02}", n * 2));
        let ran = jobs.cancel(&["--reason", "now", &id]).run();
        // A cancel that found it ended has nothing more to wait for; any other waited for the verdict.
        let record = jobs.record(&id);
        let state = record["state"].as_str().unwrap();
        let said = (ran.code, ran.stdout.as_str());
        let asked = &record["evidence"]["cancel"]["reason"];
        match state {
            "succeeded" => {
                assert!(said == (Some(0), &format!("{id} succeeded\n")) || said == (Some(1), ""), "{ran:?}");
                assert_eq!((&record["exit"]["code"], asked), (&0.into(), &serde_json::Value::Null), "{record:#}");
            }
            "cancelled" => {
                assert_eq!(said, (Some(0), format!("{id} cancelled\n").as_str()));
                assert_eq!(asked, "now", "{record:#}");
            }
            other => panic!("{other}: {ran:?} {record:#}"),
        }
        jobs.is_over(&id, state, &[jobs.process(&id)]);
    }
}

/// Race 15 at the gate: the command never runs, and nothing is left of the launch.
#[test]
fn a_cancel_during_the_launch_calls_it_off() {
    let jobs = Enclosed::new();
    let bgrun = jobs.tool("bgrun").args(["-n", "early", "--", "bash", "-c", "echo ran > $T/ran"]).command();
    // The supervisor stands for seconds behind the publication of its record, its second rename, in front of the gate.
    let slow = ["-o", "/dev/null", "-e", "trace=renameat2", "-e", "inject=renameat2:delay_exit=3000000:when=2"];
    let mut launch = faults::strace(&slow, &bgrun);
    launch.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let launch = launch.spawn().unwrap();
    let listed = || jobs.tool("bgstatus").args(["--json"]).run().stdout;
    until("the record", || !listed().is_empty());
    let id = serde_json::from_str::<serde_json::Value>(&listed()).unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(jobs.cancel(&["early"]).ok(), format!("{id} cancelled\n"));
    let launch = launch.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&launch.stderr).into_owned();
    assert_eq!((launch.status.code(), said.as_str()), (Some(125), "bgrun: the launch was called off\n"));
    assert!(launch.stdout.is_empty() && !jobs.path("ran").exists());
    jobs.nothing_left();
    assert!(!jobs.dir().join(format!("{id}.d")).exists(), "a job that gets this id would find the request");
}

/// Law 8: what is left beside an id belongs to the job that had it.
#[test]
fn a_request_that_was_left_behind_ends_no_later_job() {
    let jobs = Enclosed::new();
    jobs.start("first", "true");
    // The ids of the next ten seconds.
    let script = r#"cd "$BGTOOLS_DIR"; for n in $(seq 0 10); do id=next_$(date -d "+$n sec" +%Y%m%d_%H%M%S)
        mkdir $id.d; echo '{"signal":15,"grace_s":1,"by":"x","reason":null,"at":"x"}' > $id.d/cancel.json; done"#;
    jobs.space.run("bash").args(["-c", script]).env("BGTOOLS_DIR", jobs.dir()).silent(0);
    let id = jobs.start("next", "exec sleep 1000");
    assert_eq!(jobs.state(&id), "running");
    assert!(id.ends_with("_2"), "{id}");
}

/// The same over many instants: each launch is whole and then cancelled, or it never was.
#[test]
fn launches_and_cancels_that_cross_leave_all_or_nothing() {
    let jobs = Enclosed::new();
    for n in 0..20 {
        let launch = spawn(jobs.tool("bgrun").args(["-n", "cross", "--", "sleep", "1000"]));
        std::thread::park_timeout(Duration::from_millis(n));
        let mut launch = Some(launch);
        loop {
            let ran = jobs.cancel(&["cross"]).run();
            assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
            let Some(mut launcher) = launch.take() else { break };
            if launcher.try_wait().unwrap().is_none() {
                launch = Some(launcher);
                continue;
            }
            let out = launcher.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            match out.status.code() {
                Some(0) => {}
                Some(125) => assert_eq!(said, "bgrun: the launch was called off\n"),
                _ => panic!("{out:?}"),
            }
            launch = None;
            // One more look follows the launcher's end.
            if jobs.cancel(&["cross"]).run().code == Some(1) {
                break;
            }
        }
        jobs.cancel(&["--all"]).fails(1, &["no live job"]);
    }
    let ended = jobs.tool("bgstatus").args(["-a", "--json"]).ok();
    assert!(ended.lines().all(|line| line.contains(r#""state":"cancelled""#)), "{ended}");
}

/// A child with another user's rights can't be stopped by an ordinary user: it is named, and the job stays supervised.
#[test]
fn who_survives_is_named_and_the_verdict_waits_for_its_end() {
    if !needs_root("needs a program with another user's rights") {
        return;
    }
    let jobs = Enclosed::new();
    let nobody = Nobody::new(&jobs);
    let privileged = jobs.path("privileged");
    // What only took root's effective rights could still be signalled by its user.
    fs::copy("/usr/bin/setpriv", &privileged).unwrap();
    fs::set_permissions(&privileged, fs::Permissions::from_mode(0o4755)).unwrap();
    let script = r#""$T/privileged" --reuid=0 sleep 1000 & echo $! > "$T/home/pid"; wait"#;
    let id = nobody.tool("bgrun").args(["-n", "mixed", "--", "bash", "-c", script]).ok().trim_end().to_owned();
    let (survivor, process) = (jobs.pid("home/pid"), nobody.process(&id));
    until("the other user's program", || {
        fs::read_to_string(jobs.space.proc(survivor, "comm")).is_ok_and(|comm| comm == "sleep\n")
    });
    let named = format!("pid {survivor} (sleep): Operation not permitted");
    let ran = nobody.tool("bgcancel").args(["--grace", "100ms", &id]).run();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(125), ""), "{ran:?}");
    assert_eq!(ran.stderr, format!("bgcancel: cannot stop all of job '{id}': {named}\n"));
    assert!(jobs.alive(survivor) && !jobs.alive(process));
    let record = nobody.record(&id);
    assert_eq!((&record["state"], &record["evidence"]["survivors"][0]), (&"running".into(), &named.as_str().into()));
    assert!(jobs.alive(nobody.supervisor(&id)), "the supervisor went before the job");
    jobs.signal("KILL", survivor);
    until("the verdict", || nobody.record(&id)["state"] == "cancelled");
    assert_eq!(nobody.record(&id)["evidence"]["cancel"]["grace_s"], 0.1);
}
