//! Law 3, never the wrong process: recycled numbers, edited records, other boots, hosts, containers and users, jobs
//! inside jobs and jobs of the same id. Races 1, 2, 3, 4 and 5.

use std::fs;

use serde_json::Value;

use crate::support::enclosed::{Nobody, at_once, edit_json};
use crate::support::{Enclosed, faults, needs_root, until, until_some};

/// A process that is no job's and notes every signal that reaches it; it leads a session as a job's process does.
const STRANGER: &str = r#"
$SIG{$_} = sub { open F, ">>", "$ENV{T}/signalled"; print F "$_[0]\n"; close F }
    for grep { !/^(KILL|STOP|CHLD|NUM..|RT.*)$/ && exists $SIG{$_} || /^(TERM|INT|HUP|QUIT|USR1|USR2|CONT|PIPE|ALRM|TSTP)$/ } keys %SIG;
open F, ">", "$ENV{T}/stranger"; print F "$$\n"; close F;
sleep 1000 while 1;"#;

struct Stranger {
    pid: i32,
    start_ticks: u64,
}

impl Stranger {
    /// Started inside as its own session, an orphan as a daemon is.
    fn new(jobs: &Enclosed) -> Self {
        let _ = fs::remove_file(jobs.path("stranger"));
        let daemon = r#"exec setsid -f perl -e "$1" < /dev/null > /dev/null 2>&1"#;
        jobs.space.run("bash").args(["-c", daemon, "bash", STRANGER]).env("T", jobs.scratch()).silent(0);
        let pid = jobs.pid("stranger");
        Self { pid, start_ticks: jobs.start_ticks(pid) }
    }

    #[track_caller]
    fn was_left_alone(&self, jobs: &Enclosed) {
        assert_eq!(jobs.process_state(self.pid), Some('S'), "the stranger was killed or stopped");
        let signalled = fs::read_to_string(jobs.path("signalled")).unwrap_or_default();
        assert_eq!(signalled, "", "the stranger was signalled");
    }
}

/// A job whose supervisor is dead and whose process is gone, with a record that names the stranger.
fn orphan_naming(jobs: &Enclosed, change: impl FnOnce(&mut Value)) -> String {
    let id = jobs.start("forged", "exec sleep 1000");
    jobs.kill_supervisor(&id);
    jobs.signal("KILL", jobs.process(&id));
    until("the job's end", || !jobs.alive(jobs.process(&id)));
    jobs.edit(&id, change);
    id
}

#[test]
fn the_stranger_would_notice() {
    let jobs = Enclosed::new();
    let stranger = Stranger::new(&jobs);
    stranger.was_left_alone(&jobs);
    jobs.signal("TERM", stranger.pid);
    until("the signal", || fs::read_to_string(jobs.path("signalled")).is_ok_and(|text| text == "TERM\n"));
}

#[test]
fn a_record_that_names_a_living_stranger_is_not_believed() {
    let jobs = Enclosed::new();
    let stranger = Stranger::new(&jobs);
    let (pid, ticks) = (stranger.pid, stranger.start_ticks);
    let other_start = |record: &mut Value| record["pid"] = pid.into();
    let same_start = |record: &mut Value| {
        (record["pid"], record["pgid"], record["sid"]) = (pid.into(), pid.into(), pid.into());
        record["start_ticks"] = ticks.into();
    };
    let supervisor =
        |record: &mut Value| record["supervisor"] = serde_json::json!({"pid": pid, "start_ticks": ticks, "reaper": 1});
    let both = |record: &mut Value| {
        same_start(record);
        supervisor(record);
    };
    for (what, change) in [
        ("another start", &other_start as &dyn Fn(&mut Value)),
        ("the same start", &same_start),
        ("as the supervisor", &supervisor),
        ("as both", &both),
    ] {
        let id = orphan_naming(&jobs, change);
        let ran = jobs.cancel(&["--grace", "0s", &id]).run();
        // Lost: or, where it may have been the job's for all anybody can tell, named.
        assert!(matches!(ran.code, Some(0 | 125)), "{what}: {ran:?}");
        assert!(ran.code == Some(0) || ran.stderr.contains(&format!("pid {pid} (perl)")), "{what}: {ran:?}");
        stranger.was_left_alone(&jobs);
        jobs.is_over(&id, "lost", &[]);
    }
    for number in [0, -1, 1, i32::MAX] {
        let id = orphan_naming(&jobs, |record| {
            (record["pid"], record["pgid"]) = (number.into(), number.into());
            if number == 1 {
                record["start_ticks"] = jobs.start_ticks(1).into();
            }
        });
        let ran = jobs.cancel(&["--grace", "0s", &id]).run();
        assert!(matches!(ran.code, Some(0 | 125)), "{number}: {ran:?}");
        stranger.was_left_alone(&jobs);
    }
}

/// The supervisor's lock is held, and the record names somebody else as the supervisor.
#[test]
fn a_stranger_named_as_supervisor_of_a_live_job_is_not_signalled() {
    let jobs = Enclosed::new();
    let stranger = Stranger::new(&jobs);
    let id = jobs.start("live", "exec sleep 1000");
    let supervisor = jobs.supervisor(&id);
    jobs.edit(&id, |record| {
        record["supervisor"] = serde_json::json!({"pid": stranger.pid, "start_ticks": stranger.start_ticks, "reaper": 1});
    });
    jobs.tool("bgcancel").args(["--grace", "0s", &id]).fails(75, &["lock", &id]);
    stranger.was_left_alone(&jobs);
    assert!(jobs.alive(supervisor) && jobs.alive(jobs.process(&id)));
}

/// Race 3: the number of the job's process, and of its group, has been given to another meanwhile.
#[test]
fn a_recycled_number_is_never_signalled() {
    if !needs_root("only root chooses the next process's number") {
        return;
    }
    let jobs = Enclosed::new();
    let script = r#"setsid -f bash -c 'echo $$ > "$T/child"; exec sleep 1000'; exec sleep 1000"#;
    let id = jobs.start("recycled", script);
    let (child, process) = (jobs.pid("child"), jobs.process(&id));
    let supervisor = jobs.kill_supervisor(&id);
    jobs.signal("KILL", process);
    for number in [process, supervisor] {
        until("the number to be free", || jobs.process_state(number).is_none());
        let _ = fs::remove_file(jobs.path("stranger"));
        let stranger = until_some("a stranger of that number", || {
            let script =
                format!("echo {} > /proc/sys/kernel/ns_last_pid; perl -e \"$1\" < /dev/null > /dev/null 2>&1 &", number - 1);
            jobs.space.run("setsid").args(["bash", "-c", &script, "bash", STRANGER]).env("T", jobs.scratch()).run();
            let pid = jobs.pid("stranger");
            if pid == number {
                return Some(Stranger { pid, start_ticks: jobs.start_ticks(pid) });
            }
            jobs.signal("KILL", pid);
            let _ = fs::remove_file(jobs.path("stranger"));
            None
        });
        assert_eq!(stranger.pid, number);
    }
    let ran = jobs.cancel(&["--grace", "0s", &id]).run();
    // The strangers started after the job and have no parent: for all anybody can tell they may have been its own.
    assert_eq!((ran.code, jobs.alive(child)), (Some(125), false), "{ran:?}");
    for number in [process, supervisor] {
        assert!(ran.stderr.contains(&format!("pid {number} (perl)")), "{ran:?}");
        assert_eq!(jobs.process_state(number), Some('S'));
    }
    assert!(!jobs.path("signalled").exists());
    jobs.is_over(&id, "cancelled", &[]);
}

/// Every signal goes through a descriptor that was checked after opening: kill(2) and its kin are never called.
#[test]
fn nobody_is_signalled_by_number() {
    let jobs = Enclosed::new();
    for supervised in [true, false] {
        let script = r#"trap "" TERM; (trap "" TERM; sleep 1000) & echo $$ > "$T/ready"; while :; do sleep 1000; done"#;
        let trace = |name: &str, run: crate::support::Run| {
            let log = jobs.path(name);
            let options = ["-o", log.to_str().unwrap(), "-e", "trace=kill,tkill,tgkill,rt_sigqueueinfo,pidfd_send_signal"];
            let ran = faults::strace(&options, &run.command()).output().unwrap();
            assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
            (String::from_utf8(ran.stdout).unwrap().trim_end().to_owned(), log)
        };
        let _ = fs::remove_file(jobs.path("ready"));
        // The supervisor of a traced bgrun is traced as well, and strace lasts as long as the job: a job inside it cancels.
        let id = jobs.start("numbers", script);
        jobs.pid("ready");
        if !supervised {
            jobs.kill_supervisor(&id);
        }
        let (_, log) = trace("signals", jobs.cancel(&["--grace", "200ms", &id]));
        let calls = fs::read_to_string(log).unwrap();
        let by_tools = calls.lines().filter(|line| line.contains("kill(") || line.contains("sigqueueinfo("));
        assert_eq!(by_tools.count(), 0, "{calls}");
        assert!(calls.contains("pidfd_send_signal("), "{calls}");
        jobs.is_over(&id, "cancelled", &[]);
    }
}

/// Race 4. What lies in the directory is another's: it is reported and not touched.
#[test]
fn another_hosts_job_is_refused() {
    let jobs = Enclosed::new();
    for supervised in [true, false] {
        let id = jobs.start("far", "exec sleep 1000");
        let process = jobs.process(&id);
        if !supervised {
            jobs.kill_supervisor(&id);
        }
        jobs.edit(&id, |record| {
            record["machine_id"] = "0123456789abcdef0123456789abcdef".into();
            record["host"] = "gpu7".into();
            record["boot_id"] = "5b1fa4f4-0000-0000-0000-000000000000".into();
        });
        let before = fs::read(jobs.record_path(&id)).unwrap();
        jobs.cancel(&[&id]).fails(125, &[&id, "on host gpu7"]);
        assert!(jobs.alive(process));
        assert_eq!(fs::read(jobs.record_path(&id)).unwrap(), before);
        assert!(!jobs.dir().join(format!("{id}.d")).exists(), "the other host's supervisor would read the request");
    }
}

/// Race 4: two containers of one boot on one directory. The pids of the one mean others in the other.
#[test]
fn another_containers_job_is_refused() {
    let (jobs, other) = (Enclosed::new(), Enclosed::new());
    for supervised in [true, false] {
        let id = jobs.start("boxed", "exec sleep 1000");
        let process = jobs.process(&id);
        if !supervised {
            jobs.kill_supervisor(&id);
        }
        // Somebody of that number lives over there as well.
        let stranger = Stranger::new(&other);
        let before = fs::read(jobs.record_path(&id)).unwrap();
        let from_there = other.tool("bgcancel").env("BGTOOLS_DIR", jobs.dir());
        from_there.arg(&id).fails(125, &[&id, "cannot cancel"]);
        stranger.was_left_alone(&other);
        other.signal("KILL", stranger.pid);
        assert!(jobs.alive(process));
        assert_eq!(fs::read(jobs.record_path(&id)).unwrap(), before);
        assert!(!jobs.dir().join(format!("{id}.d")).exists());
        jobs.cancel(&["-q", &id]).silent(0);
    }
}

/// After a boot the numbers mean nothing any more: the job is lost, closing it touches nobody.
#[test]
fn a_job_of_an_earlier_boot_is_closed_without_a_signal() {
    let jobs = Enclosed::new();
    let stranger = Stranger::new(&jobs);
    let id = orphan_naming(&jobs, |record| {
        record["boot_id"] = "5b1fa4f4-0000-0000-0000-000000000000".into();
        (record["pid"], record["start_ticks"]) = (stranger.pid.into(), stranger.start_ticks.into());
        record["supervisor"] = serde_json::json!({"pid": stranger.pid, "start_ticks": stranger.start_ticks, "reaper": 1});
    });
    assert_eq!(jobs.state(&id), "lost");
    assert_eq!(jobs.cancel(&[&id]).ok(), format!("{id} lost\n"));
    stranger.was_left_alone(&jobs);
    jobs.is_over(&id, "lost", &[]);
}

/// What a user writes into a record can't turn root's bgcancel against others.
#[test]
fn root_in_anothers_directory_signals_nobody_elses_process() {
    if !needs_root("needs two users") {
        return;
    }
    let jobs = Enclosed::new();
    let nobody = Nobody::new(&jobs);
    let stranger = Stranger::new(&jobs);
    for supervised in [true, false] {
        let id = nobody.tool("bgrun").args(["-n", "trap", "--", "sleep", "1000"]).ok().trim_end().to_owned();
        let (process, supervisor) = (nobody.process(&id), nobody.supervisor(&id));
        if !supervised {
            jobs.signal("KILL", supervisor);
            until("the supervisor's end", || !jobs.alive(supervisor));
            jobs.signal("KILL", process);
            until("the process's end", || !jobs.alive(process));
        }
        edit_json(&nobody.record_path(&id), |record| {
            (record["pid"], record["start_ticks"]) = (stranger.pid.into(), stranger.start_ticks.into());
            record["supervisor"] = serde_json::json!({"pid": stranger.pid, "start_ticks": stranger.start_ticks, "reaper": 1});
        });
        let ran = jobs.tool("bgcancel").env("BGTOOLS_DIR", nobody.dir()).args(["--grace", "0s", &id]).run();
        assert!(ran.code.is_some(), "{ran:?}");
        stranger.was_left_alone(&jobs);
    }
}

/// Race 2: a job that was started from inside a job is a job of its own.
#[test]
fn a_job_inside_a_job_outlives_its_cancel() {
    for supervised in [true, false] {
        let jobs = Enclosed::new();
        let script = r#""$BGRUN" -n inner -- bash -c 'echo $$ > "$T/inner"; sleep 1000 & wait' > "$T/inner.id"; echo $$ > "$T/outer"; sleep 1000 & wait"#;
        let bgrun = crate::support::path_of("bgrun");
        let run = jobs.tool("bgrun").env("BGRUN", bgrun).args(["-n", "outer", "--", "bash", "-c", script]);
        let outer = run.ok().trim_end().to_owned();
        let (outer_pid, inner_pid) = (jobs.pid("outer"), jobs.pid("inner"));
        let inner = fs::read_to_string(jobs.path("inner.id")).unwrap().trim_end().to_owned();
        assert_eq!(jobs.record(&inner)["parent"], outer.as_str());
        if !supervised {
            jobs.kill_supervisor(&outer);
        }
        let before = jobs.record(&inner);
        assert_eq!(jobs.cancel(&["--grace", "0s", &outer]).ok(), format!("{outer} cancelled\n"));
        jobs.is_over(&outer, "cancelled", &[outer_pid]);
        let alive = [inner_pid, jobs.supervisor(&inner)].map(|pid| jobs.alive(pid));
        assert_eq!(alive, [true; 2], "supervised: {supervised}");
        assert_eq!((jobs.record(&inner), jobs.state(&inner).as_str()), (before, "running"));
        assert_eq!(jobs.cancel(&["inner"]).ok(), format!("{inner} cancelled\n"));
        jobs.is_over(&inner, "cancelled", &[inner_pid]);
    }
}

/// Race 2: the inner job's supervisor hasn't executed itself yet, so that it was started with the outer job's key, or with no
/// key at all, as by sudo or su.
#[test]
fn a_job_inside_a_job_outlives_its_cancel_from_its_first_moment() {
    for environment in ["", r#"env -i PATH="$PATH" T="$T" BGTOOLS_DIR="$BGTOOLS_DIR""#] {
        let jobs = Enclosed::new();
        let late = "strace -f -qq -o /dev/null -P /proc/self/exe -e inject=execve:delay_enter=20s";
        let inner = r#"-n inner -- bash -c 'echo $$ > "$T/inner"; sleep 1000 & wait' > "$T/inner.id""#;
        let script = format!(r#"{environment} {late} "$BGRUN" {inner} & echo $$ > "$T/outer"; wait"#);
        let bgrun = crate::support::path_of("bgrun");
        let run = jobs.tool("bgrun").env("BGRUN", bgrun).args(["-n", "outer", "--", "bash", "-c", &script]);
        let outer = run.ok().trim_end().to_owned();
        let (outer_pid, inner_pid) = (jobs.pid("outer"), jobs.pid("inner"));
        let told = || fs::read_to_string(jobs.path("inner.id")).ok().filter(|id| id.ends_with('\n'));
        let inner = until_some("the inner job's id", told).trim_end().to_owned();
        assert_eq!(jobs.cancel(&["--grace", "0s", &outer]).ok(), format!("{outer} cancelled\n"));
        jobs.is_over(&outer, "cancelled", &[outer_pid]);
        let alive = [inner_pid, jobs.supervisor(&inner)].map(|pid| jobs.alive(pid));
        assert_eq!(alive, [true; 2], "{environment}: the outer job's cancel reached into the inner one");
        assert_eq!(jobs.state(&inner), "running");
        assert_eq!(jobs.cancel(&["inner"]).ok(), format!("{inner} cancelled\n"));
        jobs.is_over(&inner, "cancelled", &[inner_pid]);
    }
}

/// Race 2: the inner job's supervisor is dead, and its processes have come to the outer one's.
#[test]
fn an_orphaned_job_inside_a_job_is_still_its_own() {
    let jobs = Enclosed::new();
    let script = r#""$BGRUN" -n inner -- bash -c 'echo $$ > "$T/inner"; sleep 1000 & wait' > "$T/inner.id"; echo $$ > "$T/outer"; sleep 1000 & wait"#;
    let run = jobs.tool("bgrun").env("BGRUN", crate::support::path_of("bgrun")).args(["-n", "outer", "--", "bash", "-c", script]);
    let outer = run.ok().trim_end().to_owned();
    let (outer_pid, inner_pid) = (jobs.pid("outer"), jobs.pid("inner"));
    let inner = fs::read_to_string(jobs.path("inner.id")).unwrap().trim_end().to_owned();
    jobs.kill_supervisor(&inner);
    assert_eq!(jobs.cancel(&["--grace", "0s", &outer]).ok(), format!("{outer} cancelled\n"));
    jobs.is_over(&outer, "cancelled", &[outer_pid]);
    assert!(jobs.alive(inner_pid), "the outer job's cancel reached into the inner one");
    assert_eq!(jobs.cancel(&["inner"]).ok(), format!("{inner} cancelled\n"));
    jobs.is_over(&inner, "cancelled", &[inner_pid]);
}

/// Race 1: cron starts the same name in two projects in the same second.
#[test]
fn two_projects_with_jobs_of_one_id_do_not_meet() {
    let jobs = Enclosed::new();
    let dirs = [jobs.path("one"), jobs.path("two")];
    let (id, pids) = until_some("two jobs of one id", || {
        let script = "env -u BG_JOB_ID setsid -f bash -c 'exec sleep 1000'; exec sleep 1000";
        let launch = |dir| jobs.tool("bgrun").env("BGTOOLS_DIR", dir).args(["-n", "same", "--", "bash", "-c", script]);
        let ids: Vec<String> =
            at_once(dirs.iter().map(launch).collect()).into_iter().map(|ran| ran.stdout.trim_end().to_owned()).collect();
        let pid = |n: usize| {
            let path = dirs[n].join(format!("{}.json", ids[n]));
            crate::support::enclosed::pid_in(&crate::support::enclosed::read_json(&path)["pid"])
        };
        if ids[0] == ids[1] {
            return Some((ids[0].clone(), [pid(0), pid(1)]));
        }
        for (dir, id) in dirs.iter().zip(&ids) {
            jobs.tool("bgcancel").env("BGTOOLS_DIR", dir).args(["-q", id]).silent(0);
        }
        None
    });
    // Without its supervisor the first is found by marks alone.
    let supervisor = crate::support::enclosed::read_json(&dirs[0].join(format!("{id}.json")));
    let supervisor = crate::support::enclosed::pid_in(&supervisor["supervisor"]["pid"]);
    jobs.signal("KILL", supervisor);
    until("the supervisor's end", || !jobs.alive(supervisor));
    let cancelled = jobs.tool("bgcancel").env("BGTOOLS_DIR", &dirs[0]).args(["--grace", "0s", &id]).ok();
    assert_eq!(cancelled, format!("{id} cancelled\n"));
    assert!(!jobs.alive(pids[0]) && jobs.alive(pids[1]));
    let other = jobs.tool("bgstatus").env("BGTOOLS_DIR", &dirs[1]).args(["--json", &id]).ok();
    assert!(other.contains(r#""state":"running""#), "{other}");
    assert_eq!(jobs.tool("bgcancel").env("BGTOOLS_DIR", &dirs[1]).arg(&id).ok(), format!("{id} cancelled\n"));
}
