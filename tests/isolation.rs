//! A place of the job's own: what ends its caller's group doesn't reach it, its limits are enforced or refused, and a kill
//! for memory is told from any other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Jobs, Run, built, machine, needs_root, path_of, root, scratch, until};

/// Every group of the job with this key that there is on this machine.
fn groups_of(record: &Value) -> Vec<PathBuf> {
    let name = format!("bgrun-{}", &record["key"].as_str().unwrap()[..16]);
    let walk = |top: PathBuf| walkdir::WalkDir::new(top).into_iter().filter_map(Result::ok);
    let named = walk("/sys/fs/cgroup".into()).filter(|entry| entry.file_name().to_str().is_some_and(|n| n.starts_with(&name)));
    named.map(walkdir::DirEntry::into_path).collect()
}

/// Memory that grows until somebody stops it.
const HOG: [&str; 3] = ["--", "tail", "/dev/zero"];

#[test]
fn a_job_dies_alone_at_its_limit_and_the_record_proves_it() {
    if !needs_root("makes control groups") {
        return;
    }
    let jobs = Jobs::new();
    let hog = jobs.bgrun(["-n", "hog", "--memory-max", "40M", "--wait"]).args(HOG).run();
    assert_eq!((hog.code, hog.stderr.as_str()), (Some(137), ""), "{hog:?}");
    let record = jobs.ended(hog.stdout.trim_end());
    assert_eq!(record["state"], "oom-killed", "{record}");
    assert_ne!(record["isolation"], "session");
    assert_eq!(record["reason"], "killed by the kernel for memory at its limit of 40 MiB");
    assert_eq!(record["exit"]["signal"], 9);
    let evidence = &record["evidence"];
    let limit = 40 << 20;
    assert_eq!((&evidence["oom_kills"], &evidence["memory_max_bytes"]), (&1.into(), &limit.into()), "{record}");
    assert!((1..=limit).contains(&evidence["memory_peak_bytes"].as_i64().unwrap()), "{record}");
    assert!(evidence["kernel_log"].as_str().unwrap().contains(&format!("Killed process {} (tail)", record["pid"])), "{record}");
    until("the end of its groups", || groups_of(&record).is_empty());
}

#[test]
fn the_end_of_a_member_is_not_the_end_of_the_command() {
    if !needs_root("makes control groups") {
        return;
    }
    let jobs = Jobs::new();
    let id = jobs.start(["-n", "a", "--memory-max", "40M", "--", "sh", "-c", "tail /dev/zero; exit 7"]);
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["exit"]["code"]), (&"failed".into(), &7.into()), "{record}");
    assert_eq!(record["evidence"]["oom_kills"], 1, "{record}");
    let reason = "the kernel killed 1 of its processes for memory at its limit of 40 MiB; the command itself ended with exit 7";
    assert_eq!(record["reason"], reason);
}

#[test]
fn a_persons_sigkill_is_no_kill_for_memory() {
    if !needs_root("makes control groups") {
        return;
    }
    let jobs = Jobs::new();
    let id = jobs.start(["-n", "a", "--memory-max", "40M", "--", "sleep", "1000"]);
    crate::support::jobs::send(jobs.pid(&id), nix::sys::signal::Signal::SIGKILL);
    let record = jobs.ended(&id);
    assert_eq!(record["state"], "failed", "{record}");
    assert!(record["evidence"]["oom_kills"].is_null() && record["evidence"]["kernel_log"].is_null(), "{record}");
}

/// In the group even what cleaned its environment and left its parents is the job's; without a supervisor that is proof.
#[test]
fn without_its_supervisor_the_group_proves_what_is_the_jobs() {
    if !needs_root("makes control groups") {
        return;
    }
    let jobs = Jobs::new();
    let pids = jobs.path("pids");
    let script = r#"env -i setsid sh -c 'sleep 1000 & echo $! $$ > "$0"; exec sleep 1001' "$0" & exec sleep 1002"#;
    let id = jobs.start(["-n", "a", "--pids-max", "50", "--", "sh", "-c", script, pids.to_str().unwrap()]);
    until("the strays", || fs::read_to_string(&pids).is_ok_and(|text| text.ends_with('\n')));
    let strays: Vec<i32> = fs::read_to_string(&pids).unwrap().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let record = jobs.record(&id);
    jobs.kill_supervisor(&id);
    assert_eq!(jobs.tool("bgcancel").arg(&id).ok(), format!("{id} cancelled\n"));
    assert!(strays.iter().all(|pid| !crate::support::jobs::alive(*pid)), "{strays:?}");
    // What a killed supervisor leaves in other hierarchies the next launch removes.
    jobs.bgrun(["-q", "-w", "-n", "b", "--pids-max", "50", "--", "true"]).silent(0);
    until("the end of its groups", || groups_of(&record).is_empty());
}

#[test]
fn what_cannot_be_had_is_refused_and_leaves_nothing() {
    let jobs = Jobs::new();
    jobs.bgrun(["--isolate", "none", "--memory-max", "40M", "--", "true"]).fails(125, &["--memory-max", "--isolate none"]);
    jobs.bgrun(["--cpus", "0", "--", "true"]).fails(125, &["--cpus"]);
    if !Path::new("/run/systemd/system").exists() {
        jobs.bgrun(["--isolate", "systemd", "--", "true"]).fails(125, &["systemd doesn't run here"]);
    }
    jobs.assert_nothing("refused");
    // A job that waits is refused as early.
    let before = jobs.start_held("before", 0);
    jobs.bgrun(["--isolate", "none", "--cpus", "1", "--after", "before", "--", "true"]).fails(125, &["--cpus"]);
    assert!(jobs.files().iter().all(|file| !file.contains("true")), "{:?}", jobs.files());
    before.end();
}

/// Copies of the tools without what only a debugger reads.
fn tools(dir: &Path) -> Vec<PathBuf> {
    let copy = |tool: &str| {
        let copy = dir.join(tool);
        assert!(Command::new("strip").arg("-o").arg(&copy).arg(path_of(tool)).status().unwrap().success());
        copy
    };
    ["bgrun", "bgcancel", "bgstatus"].map(copy).to_vec()
}

#[test]
fn groups_of_version_2_that_enforce() {
    let lab = root().join("tests/lab/qemu.sh");
    let machine = machine();
    let dir = scratch();
    let mut programs = tools(dir.path());
    programs.extend([built("lab/delegate.c", "delegate-static", &["-static"]), "/usr/bin/unshare".into()]);
    let mut run = Run::new(lab).arg("run").arg(machine).arg(root().join("tests/lab/isolation-v2.sh")).env("TIMEOUT", "400");
    for program in programs {
        run = run.arg("-p").arg(program);
    }
    let said = run.ok();
    let digits = |line: &str| line.replace(|c: char| c.is_ascii_digit(), "#");
    let said: Vec<String> =
        said.lines().map(|line| if line.contains("Killed process") { digits(line) } else { line.into() }).collect();
    let said = said.join("\n").replace('#', "");
    is_said(&said, V2);
}

/// The first line that differs is the one to read.
fn is_said(said: &str, wanted: &str) {
    for (line, wanted) in said.lines().zip(wanted.trim().lines()) {
        assert_eq!(line, wanted, "{said}");
    }
    assert_eq!(said.lines().count(), wanted.trim().lines().count(), "{said}");
}

const V2: &str = "
hog state=oom-killed isolation=cgroup oom_kills=1 memory_max_bytes=41943040
Memory cgroup out of memory: Killed process  (tail)
hog peak
hog groups removed
wide state=succeeded isolation=cgroup
member state=failed oom_kills=1 reason=the kernel killed 1 of its processes for memory at its limit of 40 MiB; the command itself ended with exit 7
person state=failed oom_kills= reason=killed by SIGKILL
all 31457280 41943040 50000 100000 20 
all inside
all removed
plain state=succeeded isolation=cgroup left_running=1
plain counted
plain swept
orphan cancelled
orphan code 0
orphan gone
orphan groups removed
bomb code 0
bomb gone
twice state=oom-killed cgroup=/bgrun-KEY/run2 oom_kills=1
later left
delayed 3 s
limited state=timed-out reason=timed out after 5.0s
limited 5 s
waited 3 s, code 124
every state=succeeded 4 runs
every 2 s
every 4 s
every 6 s
same 3 ids, 3 records, 3 succeeded
same newest
table 0 4
machine state=oom-killed isolation=session oom_kills= oom_kills_machine=1
Out of memory: Killed process  (tail)
bgrun: cannot isolate the job: the caller's is the outermost control group of its namespace, and none can stand beside it
bgrun: --isolate auto takes what can be had
namespace 125
bgrun: cannot limit the job (--memory-max): the caller's is the outermost control group of its namespace, and none can stand beside it; there is no such tree of control groups here
bgrun: a limit is enforced or refused; --oom-score-adj and --memsafe work everywhere
namespace 125
namespace 0
ns isolation=session
bgrun: cannot isolate the job: the control group '/a.slice' is systemd's, and not delegated
bgrun: --isolate auto takes what can be had
undelegated 125
bgrun: cannot isolate the job: the control group '/a.slice/c.service' is systemd's, and not delegated
bgrun: --isolate auto takes what can be had
undelegated 125
delegated 0
";

/// systemd, booted in a container: what it accepts and the kernel doesn't enforce, scopes that end, sessions that end.
#[test]
fn scopes_of_systemd() {
    if !needs_root("boots a container with systemd") {
        return;
    }
    let dir = scratch();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    tools(dir.path());
    fs::copy(root().join("tests/lab/isolation-in-systemd"), dir.path().join("check")).unwrap();
    let said = Run::new(root().join("tests/lab/nspawn")).arg(dir.path()).args(["--", "bash", "/w/check"]).ok();
    assert_eq!(said, SCOPES.trim_start(), "{said}");
}

const SCOPES: &str = "
limit refused 125
nothing left
pane running, continue
bgrun-KEY-run1.scope
bgrun-KEY-supervisor.scope
bgrun-KEY.slice
processes of bgrun job pane_…
pane gone
off session
forced systemd
on systemd
off lost
forced running
on running
cancelled cancelled cancelled
";

/// systemd with a memory controller: a job and its caller's scope are out of each other's reach, and what a collected scope
/// had counted isn't lost.
#[test]
fn scopes_of_systemd_that_enforce() {
    if !needs_root("makes the root file system of a machine") {
        return;
    }
    let machine = machine();
    let rootfs = Run::new(root().join("tests/lab/rootfs")).ok();
    let dir = scratch();
    let script = root().join("tests/lab/scopes-that-enforce");
    let mut run = Run::new(root().join("tests/lab/qemu.sh")).arg("run").args([machine, script]).args(["-s", rootfs.trim_end()]);
    for program in tools(dir.path()) {
        run = run.arg("-p").arg(program);
    }
    is_said(&run.env("TIMEOUT", "400").ok(), ENFORCED);
}

const ENFORCED: &str = "
hog state=oom-killed isolation=systemd oom_kills=1 memory_max_bytes=67108864 reason=killed by the kernel for memory at its limit of 64 MiB
hog peak
hog /bgrun.slice run1.scope
hog collected
pane lives
left uses more than the scope may
tight oom-kill
left lives, stayed is gone
pane lives
left state=cancelled
short isolation=session
bgrun: cannot limit the job (--memory-max): the manager of u1 ends with the last session, for linger is off; the control group '/user.slice/user-1000.slice' is systemd's, and not delegated; there is no such tree of control groups here
bgrun: a limit is enforced or refused; --oom-score-adj and --memsafe work everywhere
125
forced state=oom-killed isolation=systemd oom_kills=1 memory_max_bytes=67108864 reason=killed by the kernel for memory at its limit of 64 MiB
forced peak
forced /user.slice/user-1000.slice/user@1000.service/bgrun.slice run1.scope
forced collected
victim state=oom-killed isolation=systemd oom_kills=1 memory_max_bytes=67108864 reason=killed by the kernel for memory at its limit of 64 MiB
victim peak
victim /user.slice/user-1000.slice/user@1000.service/bgrun.slice run1.scope
victim collected
lasting state=failed isolation=systemd oom_kills=1
long isolation=systemd
";
