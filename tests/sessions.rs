//! bgrun works from any caller: terminals, cron, systemd, make, ssh, closed descriptors, a directory that is gone. The
//! job holds nothing of its caller's, and nothing that happens to the caller reaches it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;

use crate::support::{Enclosed, Run, needs_root, path_of, root, until, until_some};

/// A shell inside that runs this script with `$BGRUN` at hand.
fn shell(jobs: &Enclosed, script: &str) -> Run {
    let run = jobs.space.run("bash").args(["-c", script]).env("BGRUN", path_of("bgrun"));
    run.env("BGTOOLS_DIR", jobs.dir()).env("T", jobs.scratch())
}

/// The id of the only job.
fn only_job(jobs: &Enclosed) -> String {
    until_some("a job", || {
        let listed = jobs.tool("bgstatus").args(["-a", "--json"]).run().stdout;
        Some(serde_json::from_str::<serde_json::Value>(listed.lines().next()?).unwrap()["id"].as_str()?.to_owned())
    })
}

/// What a process has open, by number.
fn descriptors(jobs: &Enclosed, pid: i32) -> Vec<(i32, PathBuf)> {
    let entries = fs::read_dir(jobs.space.proc(pid, "fd")).unwrap();
    // One that is closed meanwhile has no target any more.
    let of = |entry: fs::DirEntry| Some((entry.file_name().to_str()?.parse().ok()?, fs::read_link(entry.path()).ok()?));
    let mut open: Vec<(i32, PathBuf)> = entries.filter_map(|entry| of(entry.ok()?)).collect();
    open.sort();
    open
}

/// The job runs, detached: its own session, no terminal, no descriptor but its input and its log. Then it is cancelled.
#[track_caller]
fn is_detached(jobs: &Enclosed, id: &str) {
    assert_eq!(jobs.state(id), "running");
    let (process, supervisor) = (jobs.process(id), jobs.supervisor(id));
    let log = PathBuf::from(jobs.record(id)["log"].as_str().unwrap());
    // The exec may come after the record, and the last word to the launcher after its end.
    until("the job to hold its input and its log alone", || {
        descriptors(jobs, process) == [(0, "/dev/null".into()), (1, log.clone()), (2, log.clone())]
    });
    let own = |path: &PathBuf| {
        let device = ["/dev/null", "anon_inode:[signalfd]"].iter().any(|name| path.as_os_str() == *name);
        device || path.starts_with(jobs.dir()) || *path == log
    };
    until("the supervisor to hold its own alone", || descriptors(jobs, supervisor).iter().all(|(_, path)| own(path)));
    for pid in [process, supervisor] {
        let stat = fs::read_to_string(jobs.space.proc(pid, "stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        assert_eq!(fields[4], "0", "{pid} has a terminal");
        if pid == process {
            assert_eq!((fields[2], fields[3]), (pid.to_string().as_str(), pid.to_string().as_str()));
        }
    }
    assert_eq!(jobs.cancel(&[id]).ok(), format!("{id} cancelled\n"));
    jobs.is_over(id, "cancelled", &[process]);
}

#[test]
fn closed_standard_descriptors() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        let jobs = Enclosed::new();
        let ran = shell(&jobs, &format!(r#""$BGRUN" -n closed -- sleep 1000 {closed}"#)).run();
        // Without a standard output the id can't be printed, and the job runs all the same.
        assert!(ran.code == Some(0) || closed.contains(">&-"), "{closed}: {ran:?}");
        is_detached(&jobs, &only_job(&jobs));
    }
}

#[test]
fn a_directory_that_is_gone() {
    let jobs = Enclosed::new();
    let script = r#"mkdir "$T/gone"; cd "$T/gone"; rmdir "$T/gone"; "$BGRUN" -n gone -- sleep 1000"#;
    let id = shell(&jobs, script).ok().trim_end().to_owned();
    is_detached(&jobs, &id);
}

/// A pipe that the job held would keep the reader waiting as long as the job.
#[test]
fn pipes_and_descriptors_stay_with_the_caller() {
    let jobs = Enclosed::new();
    let script = r#"exec 7> "$T/seven" 8< /etc/passwd 100> "$T/hundred"; "$BGRUN" -n piped -- sleep 1000 2>&1 | cat"#;
    let id = shell(&jobs, script).ok().trim_end().to_owned();
    is_detached(&jobs, &id);
    let script = r#"coproc "$BGRUN" -n substituted -- sleep 1000; cat <&"${COPROC[0]}""#;
    let id = shell(&jobs, script).ok().trim_end().to_owned();
    is_detached(&jobs, &id);
}

/// What a caller ignores or blocks, the job doesn't.
#[test]
fn nohup_and_ignored_signals() {
    let jobs = Enclosed::new();
    let script = r#"trap '' INT TERM PIPE USR1; nohup "$BGRUN" -n ignoring -- sleep 1000 2> /dev/null"#;
    let id = shell(&jobs, script).ok().trim_end().to_owned();
    let status = fs::read_to_string(jobs.space.proc(jobs.process(&id), "status")).unwrap();
    for mask in ["SigIgn:\t", "SigBlk:\t"] {
        let bits = status.lines().find_map(|line| line.strip_prefix(mask)).unwrap();
        // 32 and 33 are the C library's own.
        let standard = u64::from_str_radix(bits, 16).unwrap() & 0x7fff_ffff;
        assert_eq!(standard, 0, "{mask} {bits}");
    }
    is_detached(&jobs, &id);
}

/// The jobserver's pipes don't reach the job, and make doesn't wait for it.
#[test]
fn make_with_a_jobserver() {
    let jobs = Enclosed::new();
    let makefile = "all: one two three\none two three:\n\t+@$(BGRUN) -n $@ -- sleep 1000\n\
                    inner:\n\t+@$(BGRUN) -n inner --wait -- $(MAKE) --no-print-directory -f $(T)/Makefile leaf\nleaf:\n\t@echo flags:$(MAKEFLAGS)\n";
    fs::write(jobs.path("Makefile"), makefile).unwrap();
    let ids = shell(&jobs, r#"cd "$T"; make -j4 BGRUN="$BGRUN" | cat"#).ok();
    let mut ids: Vec<&str> = ids.lines().collect();
    ids.sort_unstable();
    assert_eq!(ids.len(), 3);
    for id in ids {
        is_detached(&jobs, id);
    }
    // A make inside the job finds no jobserver that isn't there, so it warns of none.
    let id = shell(&jobs, r#"cd "$T"; make -j4 BGRUN="$BGRUN" inner"#).ok().trim_end().to_owned();
    let log = jobs.tool("bgstatus").args(["--log", &id]).ok();
    assert!(log.starts_with("flags:") && log.lines().count() == 1 && !log.contains("jobserver"), "{log}");
}

/// The terminal closes: SIGHUP goes to its session, and the job never hears of it.
#[test]
fn a_terminal_that_closes() {
    let jobs = Enclosed::new();
    let script = r#"script -qec '"$BGRUN" -n tty -- sleep 1000; tty; sleep 0.1' /dev/null"#;
    let said = shell(&jobs, script).ok();
    assert!(said.contains("/dev/pts/"), "{said:?}");
    let id = said.lines().next().unwrap().trim_end().to_owned();
    is_detached(&jobs, &id);
}

#[test]
fn a_tmux_server_that_is_killed() {
    let jobs = Enclosed::new();
    let socket = jobs.path("tmux.socket");
    let tmux = |args: &[&str]| {
        let run = jobs.space.run("tmux").arg("-S").arg(&socket).args(["-f", "/dev/null"]).args(args);
        run.env("BGTOOLS_DIR", jobs.dir()).env("BGRUN", path_of("bgrun")).env("SHELL", "/bin/bash").env("TERM", "xterm")
    };
    let before = fs::read_dir("/dev/pts").unwrap().count();
    assert!(before > 0);
    tmux(&["new-session", "-d", "-x", "200", "-y", "50", "bash --norc"]).ok();
    tmux(&["send-keys", r#""$BGRUN" -n pane -- sleep 1000"#, "Enter"]).ok();
    let id = only_job(&jobs);
    let shown = until_some("the id on the screen", || {
        let shown = tmux(&["capture-pane", "-p"]).ok();
        shown.lines().any(|line| line == id).then_some(shown)
    });
    assert!(!shown.contains("Done") && !shown.contains("[1]"), "{shown}");
    tmux(&["kill-server"]).ok();
    is_detached(&jobs, &id);
}

/// The group that the caller leads is told to go, as a shell does with its jobs and a supervisor of services with its own.
#[test]
fn signals_to_the_callers_group_and_session() {
    let jobs = Enclosed::new();
    let script =
        r#"setsid -w bash -c '"$BGRUN" -n group -- sleep 1000 > "$T/id"; kill -HUP 0; sleep 1; kill -TERM 0; kill -KILL 0'"#;
    assert_ne!(shell(&jobs, script).run().code, Some(0));
    let id = fs::read_to_string(jobs.path("id")).unwrap().trim_end().to_owned();
    is_detached(&jobs, &id);
}

/// `ssh host bgrun …` without a terminal: sshd waits until nobody holds the session's pipes, then ends the session.
#[test]
fn ssh_without_a_terminal() {
    if !needs_root("starts an sshd of its own") {
        return;
    }
    let jobs = Enclosed::new();
    fs::set_permissions(jobs.scratch(), fs::Permissions::from_mode(0o700)).unwrap();
    let at = |name: &str| jobs.path(name).to_str().unwrap().to_owned();
    for key in ["host", "user"] {
        Run::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]).ok();
    }
    fs::copy(jobs.path("user.pub"), jobs.path("authorized")).unwrap();
    // -i serves one connection over its standard streams: no port, no daemon.
    let config = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nLogLevel ERROR\n",
        at("host"),
        at("authorized")
    );
    fs::write(jobs.path("sshd_config"), config).unwrap();
    let proxy = format!("mkdir -p /run/sshd; exec /usr/sbin/sshd -i -f {}", at("sshd_config"));
    let command = format!("BGTOOLS_DIR={} {} -n far -- sleep 1000", jobs.dir().display(), path_of("bgrun").display());
    let ssh = jobs.space.run("ssh").args(["-F", "/dev/null", "-T", "-q", "-i", &at("user")]);
    let ssh = ssh.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]);
    let said = ssh.arg("-o").arg(format!("ProxyCommand=bash -c '{proxy}'")).args(["root@loopback", &command]).ok();
    is_detached(&jobs, said.trim_end());
}

/// The real cron, in mounts of its own, with a clock that runs thirty times as fast.
#[test]
fn cron() {
    if !needs_root("cron -f needs mounts of its own") {
        return;
    }
    let jobs = Enclosed::new();
    let tab = format!(
        "BGTOOLS_DIR={}\n* * * * * root {} -n tick --unique -- sleep 1000\n",
        jobs.dir().display(),
        path_of("bgrun").display()
    );
    fs::write(jobs.path("tab"), tab).unwrap();
    let lab = root().join("tests/lab/cron-private");
    let mut cron = jobs.space.run(lab).arg(jobs.path("tab")).env("SPEED", "30").command();
    let mut cron = cron.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    let id = only_job(&jobs);
    until("the launch", || jobs.state(&id) == "running");
    cron.kill().unwrap();
    cron.wait().unwrap();
    is_detached(&jobs, &id);
}

/// A oneshot service that starts a job and ends. systemd then kills what is left in the unit's control group, unless the
/// unit says `KillMode=process`; where it does kill, the record says what happened.
#[test]
fn a_systemd_service() {
    if !needs_root("boots a container with systemd") {
        return;
    }
    let scratch = crate::support::scratch();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for tool in ["bgrun", "bgcancel", "bgstatus"] {
        fs::copy(path_of(tool), scratch.path().join(tool)).unwrap();
    }
    fs::copy(root().join("tests/lab/service-in-systemd"), scratch.path().join("check")).unwrap();
    let lab = Run::new(root().join("tests/lab/nspawn"));
    assert_eq!(lab.arg(scratch.path()).args(["--", "bash", "/w/check"]).ok(), "survived\ntold\n");
}
