//! resgate's answers: the code, the words, the command it becomes; disks, CPUs and bad input.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Ran, Run, Running, built, needs_root, scratch, tool, until};

fn resgate(options: &[&str]) -> Run {
    tool("resgate").args(options)
}

#[test]
fn an_open_gate_says_nothing_and_a_closed_one_says_why() {
    resgate(&["--min-mem", "1", "--min-disk", "1", "--max-load", "100000", "--max-swap", "100"]).silent(0);
    let closed = resgate(&["--min-mem", "1000T", "--min-disk", "900P", "--max-load", "100000"]).run();
    let lines: Vec<&str> = closed.stderr.lines().collect();
    assert!(closed.code == Some(75) && closed.stdout.is_empty() && lines.len() == 2, "{closed:?}");
    assert!(lines.iter().all(|line| line.contains("wanted (")), "value, limit and source: {closed:?}");
    resgate(&["--min-mem", "1000T", "-q"]).silent(75);
    resgate(&["--min-mem", "1000T", "-q", "-E", "1"]).silent(1);
}

#[test]
fn every_check_is_shown_on_request() {
    let ran = resgate(&["-v", "--min-mem", "1", "--min-disk", "1:/", "--min-inodes", "0:/", "--max-load", "0"]).run();
    for start in ["resgate: open: memory-free: ", "resgate: open: disk: ", "resgate: closed: load: "] {
        assert!(ran.stderr.lines().any(|line| line.starts_with(start)), "{start}: {ran:?}");
    }
    let json = resgate(&["--json", "--min-disk", "5M", "--min-mem", "1000T"]).run();
    let value: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((json.code, json.stdout.lines().count(), value["verdict"].as_str()), (Some(75), 1, Some("closed")));
    let disk = &value["checks"][0];
    assert_eq!(disk["name"], "disk");
    for key in ["name", "verdict", "value", "limit", "unit", "source", "reason"] {
        assert!(!disk[key].is_null(), "{key}: {disk}");
    }
    assert_eq!((disk["limit"].as_u64(), disk["unit"].as_str()), (Some(5 << 20), Some("bytes")));
}

#[test]
fn a_reader_that_goes_away_does_not_open_the_gate() {
    let resgate = resgate(&[]).command();
    let script = "set -o pipefail; \"$0\" --json --min-mem 1000T 2>/dev/null | :; exit ${PIPESTATUS[0]}";
    let ran = Run::new("bash").args(["-c", script]).arg(resgate.get_program()).run();
    assert_eq!(ran.code, Some(75));
}

#[test]
fn limits_that_are_given_stand_in_place_of_the_defaults() {
    let names = |options: &[&str]| -> Vec<String> {
        let json = resgate(&[options, &["--json"]].concat()).run().stdout;
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        value["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&["--max-load", "9"]), ["load"]);
    assert_eq!(names(&[]), ["cpu", "disk", "inodes", "memory", "gpu-memory"]);
    assert_eq!(names(&["--defaults", "--max-load", "9"]), ["load", "cpu", "disk", "inodes", "memory", "gpu-memory"]);
    assert_eq!(names(&["--defaults", "--max-mem", "9", "--max-cpu", "9"]), ["cpu", "disk", "inodes", "memory", "gpu-memory"]);
}

#[test]
fn bad_input_is_one_line_and_125() {
    for bad in [
        &["--max-cpu", "900"][..],
        &["--max-cpu", "NaN"],
        &["--max-cpu", "-3"],
        &["--max-mem", "inf"],
        &["--max-load", "nan"],
        &["--min-disk", "-1"],
        &["--min-disk", "1X"],
        &["--min-disk", "1G:"],
        &["--min-mem", ""],
        &["--min-inodes", "1.5"],
        &["--max-pressure", "disk=3"],
        &["--max-pressure", "cpu"],
        &["--gpus", "0"],
        &["--gpus", "-1"],
        &["--wait", "soon"],
        &["--steady", "3s"],
        &["--interval", "0"],
        &["-E", "0"],
        &["-E", "256"],
        &["--unknown", "closed"],
        &["--supervise"],
        &["--list-claims", "--wait"],
        &["--"],
        &["--wait", "--"],
        &["--", ""],
        &["stray"],
    ] {
        resgate(bad).fails(125, &["resgate: "]);
        resgate(&[&["--fail-loud"], bad].concat()).fails(255, &["resgate: "]);
    }
    resgate(&["--fail-loud", "--min-disk", "1:/nonexistent"]).fails(255, &["'/nonexistent'", "No such file"]);
    resgate(&["--fail-loud", "--min-mem", "1000T"]).fails(75, &["memory-free"]);
}

#[test]
fn it_becomes_the_command() {
    let open = ["--min-mem", "1"];
    let become_ = |command: &[&str]| resgate(&[&open[..], &["--"], command].concat());
    assert_eq!(become_(&["sh", "-c", "echo $#:$1; exit 7", "x", "a b"]).run().stdout, "1:a b\n");
    become_(&["sh", "-c", "exit 7"]).silent(7);
    become_(&["/etc/passwd"]).fails(126, &["/etc/passwd", "Permission denied"]);
    become_(&["no-such-command"]).fails(127, &["cannot run 'no-such-command'"]);
    // One that isn't there is said before anything is waited for.
    resgate(&["--min-mem", "1000T", "--wait", "--", "./no-such"]).fails(127, &["cannot run './no-such'"]);
    let closed = scratch();
    let witness = closed.path().join("witness");
    resgate(&["--min-mem", "1000T", "--", "touch"]).arg(&witness).fails(75, &["memory-free"]);
    assert!(!witness.exists(), "a closed gate runs nothing");
    // It is the same process, and signals have their usual meaning there again.
    let script = "kill -PIPE $$; echo alive";
    assert_eq!(become_(&["sh", "-c", script]).run().stdout, "");
    // What the caller ignored stays ignored.
    let command = resgate(&[]).command();
    let nohup = "trap '' HUP; \"$0\" --min-mem 1 -- sh -c 'kill -HUP $$; echo alive'";
    assert_eq!(Run::new("sh").args(["-c", nohup]).arg(command.get_program()).ok(), "alive\n");
}

#[test]
fn a_command_gets_no_more_descriptors_and_no_children() {
    let options = ["--defaults", "--max-cpu", "100", "--max-mem", "100", "--min-disk", "1", "--", "sh", "-c"];
    let descriptors = "exec ls /proc/self/fd";
    assert_eq!(resgate(&options).arg(descriptors).ok(), Run::new("sh").args(["-c", descriptors]).ok());
    let children = "cat /proc/$$/task/$$/children";
    assert_eq!(resgate(&options).arg(children).ok().split_whitespace().count(), 1, "cat and nobody else");
}

/// Runs `script` in mounts of its own, with a small file system on `$1` and resgate as `$2`.
fn on_a_small_disk(options: &str, script: &str) -> Ran {
    let dir = scratch();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let command = tool("resgate").command();
    let mounted = format!("mount -t tmpfs -o {options} none \"$1\" && {script}");
    Run::new("unshare").args(["-m", "sh", "-c", &mounted, "sh"]).arg(&disk).arg(command.get_program()).cwd(dir.path()).run()
}

#[test]
fn a_disk_nearly_full_by_bytes_is_closed() {
    if !needs_root("mounts of its own") {
        return;
    }
    let ran = on_a_small_disk("size=4m", "$2 --min-disk 2M:$1 && head -c 3M /dev/zero > $1/file && $2 --min-disk 2M:$1");
    assert!(ran.code == Some(75) && ran.stderr.contains("disk: 1 MiB free, 2 MiB wanted ('"), "{ran:?}");
}

#[test]
fn a_disk_nearly_full_by_inodes_is_closed() {
    if !needs_root("mounts of its own") {
        return;
    }
    let fill = "$2 --min-disk 1K:$1 && (cd $1 && touch 1 2 3 4 5 6 7) && $2 --min-disk 1K:$1";
    let ran = on_a_small_disk("size=4m,nr_inodes=8", fill);
    assert!(ran.code == Some(75) && ran.stderr.contains("inodes: 0 inodes free, 1 inode wanted"), "{ran:?}");
    let ran = on_a_small_disk("size=4m,nr_inodes=8", "$2 --min-inodes 7:$1 && touch $1/1 && $2 --min-inodes 7:$1");
    assert!(ran.code == Some(75) && ran.stderr.contains("inodes: 6 inodes free, 7 inodes wanted"), "{ran:?}");
    let ran = on_a_small_disk("size=4m,nr_inodes=0", "$2 --min-disk 1K:$1 --min-inodes 1000:$1 -v");
    assert!(ran.code == Some(0) && ran.stderr.contains("has no limit on them"), "{ran:?}");
}

#[test]
fn a_path_is_the_disk_behind_its_links() {
    if !needs_root("mounts of its own") {
        return;
    }
    let script = "mkdir $1/sub && ln -s $1/sub link && $2 --min-disk 8M && $2 --min-disk 1M:link && $2 --min-disk 8M:link";
    let ran = on_a_small_disk("size=4m", script);
    assert!(ran.code == Some(75) && ran.stderr.contains("'link'"), "{ran:?}");
}

#[test]
fn a_path_that_is_not_there_is_unknown() {
    let dir = scratch();
    symlink(dir.path().join("gone"), dir.path().join("link")).unwrap();
    for path in ["gone", "link"] {
        resgate(&["--min-disk", &format!("1:{path}")]).cwd(dir.path()).fails(125, &["unknown: disk", path, "No such file"]);
    }
    let ran = resgate(&["--min-disk", "1:gone", "--unknown", "open"]).cwd(dir.path()).run();
    assert!(ran.code == Some(0) && ran.stderr.starts_with("resgate: left out: disk: "), "{ran:?}");
    // A name can't do harm to a terminal.
    resgate(&["--min-disk", "1:\u{1b}[2Jx"]).cwd(dir.path()).fails(125, &["\\u{1b}[2Jx"]);
}

#[test]
fn a_disk_that_never_answers_is_unknown_at_the_deadline() {
    if !needs_root("mounts of its own") {
        return;
    }
    let dir = scratch();
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let command = tool("resgate").command();
    // The file system ends with the process that mounted it, which ends with this pipe's shell.
    let script = "mkfifo said; \"$2\" disk > said & read -r _ < said
        \"$1\" --min-disk 1:/ --min-disk 1:disk --probe-timeout 300ms -v; code=$?; kill $!; exit $code";
    let start = Instant::now();
    let hang = built("lab/hang_fs.c", "hang_fs", &[]);
    let run = Run::new("unshare").args(["-m", "sh", "-c", script, "sh"]).arg(command.get_program()).arg(hang);
    let ran = run.cwd(dir.path()).run();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    let unknown = "unknown: disk: cannot measure 'disk': no answer within 300ms";
    assert!(ran.code == Some(125) && ran.stderr.contains(unknown) && ran.stderr.contains("open: disk: "), "{ran:?}");
}

#[test]
fn busy_cpus_close_the_gate() {
    let cpus = std::thread::available_parallelism().unwrap().get();
    let busy = || Running::start(Run::new("sh").args(["-c", "while :; do :; done"]).command());
    let loops: Vec<Running> = (0..cpus).map(|_| busy()).collect();
    // The loops may have to fight for the CPUs with other tests for a moment; the CPUs are busy all the same.
    until("the CPUs are busy", || resgate(&["--max-cpu", "90"]).run().code == Some(75));
    let ran = resgate(&["--max-cpu", "90"]).fails(75, &["cpu: ", " in use, at most 90 %", "/proc/stat, CPUs"]);
    assert!(!ran.contains("NaN"));
    resgate(&["--max-cpu", "100"]).silent(0);
    drop(loops);
}

#[test]
fn only_the_own_cpus_count() {
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    let first = (0..nix::sched::CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap()).unwrap().to_string();
    let on_first = |run: Run| {
        let inner = run.command();
        Run::new("taskset").args(["-c", &first]).arg(inner.get_program()).args(inner.get_args())
    };
    let _busy = Running::start(on_first(Run::new("sh").args(["-c", "while :; do :; done"])).command());
    until("its own CPU is busy", || on_first(resgate(&["--max-cpu", "90"])).run().code == Some(75));
    let source = format!("/proc/stat, CPUs {first})");
    on_first(resgate(&["--max-cpu", "90"])).fails(75, &[&source]);
}

#[test]
fn a_claim_directory_that_cannot_be_made_is_an_error() {
    let dir = scratch();
    fs::write(dir.path().join("file"), "").unwrap();
    let claims = |path: &Path| resgate(&["--claim-mem", "1", "--claim-dir"]).arg(path).args(["--", "true"]);
    claims(&dir.path().join("file/claims")).fails(125, &["cannot keep claims"]);
    claims(&dir.path().join("file")).fails(125, &["cannot keep claims"]);
    symlink(dir.path(), dir.path().join("link")).unwrap();
    claims(&dir.path().join("link")).fails(125, &["cannot keep claims"]);
    // Fine, and made on the way.
    claims(&dir.path().join("new/claims")).silent(0);
}
