//! What resgate promises: once, to whoever holds the descriptor, for as long as anybody does.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{Gpus, Run, Running, built, needs_root, scratch, tool, until, until_some};

const CARD: &str = "gpu 0 8000 ok\n";

/// Says the cards it was given, then stays.
const HOLD: [&str; 4] = ["--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec sleep 1000"];

fn hold(gpus: &Gpus, options: &[&str]) -> Running {
    let running = Running::start(gpus.resgate().args(options).args(HOLD).command());
    running.first_line("the cards given");
    running
}

fn claims(run: Run) -> Vec<serde_json::Value> {
    run.args(["--list-claims", "--json"]).ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn of_32_calls_for_4_cards_4_get_one_each() {
    let gpus = Gpus::new(&CARD.repeat(4));
    let call = || Running::start(gpus.resgate().args(["--gpus", "1"]).args(HOLD).command());
    let mut calls: Vec<Running> = (0..32).map(|_| call()).collect();
    until("28 calls are refused", || calls.iter_mut().filter_map(|call| call.ended().then_some(())).count() == 28);
    let (refused, mut admitted): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| call.stdout().is_empty());
    for mut call in refused {
        assert_eq!(call.end("a refused call").code(), Some(75), "{:?}", call.stderr());
    }
    let cards: BTreeSet<String> = admitted.iter().map(|call| call.first_line("the card")).collect();
    assert_eq!(cards.into_iter().collect::<Vec<_>>(), ["0", "1", "2", "3"]);

    let mut killed = admitted.swap_remove(2);
    let card = killed.first_line("the card");
    killed.kill();
    assert_eq!(gpus.resgate().args(["--gpus", "1", "--", "printenv", "CUDA_VISIBLE_DEVICES"]).ok().trim(), card);
}

#[test]
fn of_16_calls_for_more_memory_than_there_is_the_rest_are_refused() {
    let dir = scratch();
    let resgate = || tool("resgate").env("BGTOOLS_CLAIM_DIR", dir.path().join("claims"));
    let json: serde_json::Value = serde_json::from_str(&resgate().args(["--min-mem", "1", "--json"]).ok()).unwrap();
    let room = json["checks"][0]["value"].as_u64().unwrap();
    let share = (room * 3 / 10).to_string();
    let call = || Running::start(resgate().args(["--claim-mem", &share, "--", "sh", "-c", "echo in; exec sleep 1000"]).command());
    let mut calls: Vec<Running> = (0..16).map(|_| call()).collect();
    until("every call is in or refused", || calls.iter_mut().all(|call| call.ended() || !call.stdout().is_empty()));
    let admitted = calls.iter().filter(|call| !call.stdout().is_empty()).count();
    // Other work on this machine may take memory meanwhile, so that only one or two fit; it can't make room for a fourth.
    assert!((1..=3).contains(&admitted), "{admitted} were promised 30 % of the memory each");
    assert_eq!(claims(resgate()).len(), admitted);
}

#[test]
fn a_claim_counts_for_what_its_tree_has_not_used_yet() {
    let dir = scratch();
    let resgate = || tool("resgate").env("BGTOOLS_CLAIM_DIR", dir.path().join("claims"));
    let alloc = built("lab/alloc.c", "alloc", &[]);
    // The allocation is a grandchild's whose parents have closed the claim's descriptor.
    let script = "eval \"exec $BG_CLAIM_FDS>&-\"; \"$0\" 150; exit";
    let mut late = Running::start(resgate().args(["--claim-mem", "200M", "--", "bash", "-c", script]).arg(&alloc).command());
    let supervised = ["--supervise", "--claim-mem", "300M", "--", "bash", "-c", script];
    until("the first has closed its claim", || claims(resgate()).is_empty());
    late.kill();

    let mut late = Running::start(resgate().args(supervised).arg(&alloc).command());
    let used = || claims(resgate())[0]["memory_used_bytes"].as_u64().unwrap();
    until("the claim is made", || claims(resgate()).len() == 1);
    assert!(used() < 50 << 20, "{}", used());
    late.say("now");
    late.first_line("the memory is held");
    assert!((150 << 20..250 << 20).contains(&used()), "{}", used());
    let ran = resgate().args(["--min-mem", "1000T"]).run();
    assert!(ran.code == Some(75) && ran.stderr.contains("that is promised"), "{ran:?}");
    drop(late.child.stdin.take());
    assert_eq!(late.end("the supervisor").code(), Some(0));
}

#[test]
fn a_claim_lives_through_timeout_setsid_and_nohup() {
    let gpus = Gpus::new(CARD);
    let closed = || gpus.resgate().args(["--gpus", "1"]).fails(75, &["claimed by pid"]);
    let pid_file = gpus.path().join("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", pid_file.display());
    for wrapper in [&["timeout", "1000"][..], &["setsid", "-f"], &["nohup"]] {
        let mut call =
            Running::start(gpus.resgate().args(["--gpus", "1", "--"]).args(wrapper).args(["sh", "-c", &script]).command());
        let inner: i32 = until_some("the command runs", || fs::read_to_string(&pid_file).ok()?.trim().parse().ok());
        closed();
        if wrapper[0] == "timeout" {
            call.kill();
        }
        if wrapper[0] != "nohup" {
            call.end("the wrapper");
            closed();
        }
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(inner), nix::sys::signal::Signal::SIGKILL).unwrap();
        until("the claim ends with its last process", || gpus.resgate().args(["--gpus", "1"]).run().code == Some(0));
        fs::remove_file(&pid_file).unwrap();
    }
}

#[test]
fn a_claim_goes_to_the_job_that_bgrun_starts_and_to_nobody_else() {
    let gpus = Gpus::new(CARD);
    let jobs = crate::support::Jobs::new();
    let bgrun = crate::support::run::path_of("bgrun");
    let call = gpus.resgate().args(["--gpus", "1", "--"]).arg(bgrun).args(["-n", "train", "--", "sleep", "1000"]);
    let id = jobs.owned(call).env("BGTOOLS_DIR", jobs.dir()).ok();
    let id = id.trim();
    gpus.resgate().args(["--gpus", "1"]).fails(75, &["claimed by pid"]);
    // The supervisor holds nothing of it: the claim ends with the job, and not with what comes after.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(jobs.supervisor(id)), nix::sys::signal::Signal::SIGKILL).unwrap();
    gpus.resgate().args(["--gpus", "1"]).fails(75, &["claimed by pid"]);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(jobs.pid(id)), nix::sys::signal::Signal::SIGKILL).unwrap();
    until_some("the claim ends with the job", || (gpus.resgate().args(["--gpus", "1"]).run().code == Some(0)).then_some(()));
}

#[test]
fn a_supervisor_holds_what_its_command_closes() {
    let gpus = Gpus::new(CARD);
    let script = "eval \"exec $BG_CLAIM_FDS>&-\"; echo closed; exec sleep 1000";
    let mut call = Running::start(gpus.resgate().args(["--supervise", "--gpus", "1", "--", "bash", "-c", script]).command());
    call.first_line("the command has closed it");
    gpus.resgate().args(["--gpus", "1"]).fails(75, &["claimed"]);
    // Passes a signal on, and its command's status.
    call.signal(15);
    assert_eq!(call.end("the supervisor").code(), Some(143));
    gpus.resgate().args(["--gpus", "1"]).silent(0);
    gpus.resgate().args(["--supervise", "--gpus", "1", "--", "sh", "-c", "exit 7"]).silent(7);
}

#[test]
fn shares_of_a_card_add_up_to_what_is_free() {
    let gpus = Gpus::new("gpu 1000 8000 ok\ngpu 5000 8000 ok\n");
    let share = ["--gpus", "1", "--min-gpu-mem", "2500M"];
    let holders: Vec<Running> = (0..3).map(|_| hold(&gpus, &share)).collect();
    // The emptiest card each time: 7000 free, then 4500 beside 3000, then 2000 beside 3000.
    assert_eq!(holders.iter().map(|call| call.first_line("")).collect::<Vec<_>>(), ["0", "0", "1"]);
    gpus.resgate().args(share).fails(75, &["0 GPUs with room", "1.9 GiB free"]);
    // A whole card isn't to be had where somebody has a part.
    gpus.resgate().args(["--gpus", "1"]).fails(75, &["claimed in part"]);
    // What a holder uses comes off its claim: it is counted as used already.
    gpus.become_(&format!("gpu 3500 8000 ok\ngpu 5000 8000 ok\nproc 0 {} 2500\n", holders[0].pid()));
    gpus.resgate().args(share).fails(75, &["1.9 GiB free"]);
    gpus.become_("gpu 3500 8000 ok\ngpu 5000 8000 ok\n");
    gpus.resgate().args(share).fails(75, &["GPU 0: 0 bytes free"]);
}

#[test]
fn a_whole_card_is_shared_with_nobody() {
    let gpus = Gpus::new(CARD);
    let _holder = hold(&gpus, &["--gpus", "1"]);
    gpus.resgate().args(["--gpus", "1", "--min-gpu-mem", "1M"]).fails(75, &["claimed by pid"]);
    gpus.resgate().args(["--min-gpu-mem", "1M"]).fails(75, &["gpu-memory", "claimed by pid"]);
}

#[test]
fn a_job_sees_the_room_it_was_promised() {
    let gpus = Gpus::new(CARD);
    let resgate = gpus.resgate().command();
    let inner = format!("{} --min-gpu-mem 2G && {} --claim-mem 1M -- sh -c 'echo $BG_CLAIM_FDS'", "\"$0\"", "\"$0\"");
    let out = gpus.resgate().args(["--gpus", "1", "--claim-mem", "1M", "--", "sh", "-c", &inner]).arg(resgate.get_program()).ok();
    let fds: Vec<i32> = out.trim().split(',').map(|fd| fd.parse().unwrap()).collect();
    assert!(fds.len() == 2 && fds[0] != fds[1], "both claims are named: {out}");
}

#[test]
fn the_list_shows_who_was_promised_what() {
    let gpus = Gpus::new(&CARD.repeat(2));
    let list = || gpus.resgate().arg("--list-claims").ok();
    assert_eq!(list(), "");
    let holder = hold(&gpus, &["--gpus", "1", "--min-gpu-mem", "1G", "--claim-mem", "64M"]);
    let table = list();
    let row = table.lines().nth(1).unwrap();
    for word in [&holder.pid().to_string()[..], "64 MiB (", "0:1 GiB", "exec sleep 1000"] {
        assert!(row.contains(word), "{table}");
    }
    let json = &claims(gpus.resgate())[0];
    assert_eq!((json["pid"].as_i64(), json["memory_bytes"].as_u64()), (Some(i64::from(holder.pid())), Some(64 << 20)));
    assert_eq!(json["gpus"][0]["uuid"], "GPU-00000000-0000-0000-0000-000000000000");
}

#[test]
fn a_live_claim_that_cannot_be_read_makes_the_room_unknown() {
    let gpus = Gpus::new(CARD);
    let _holder = hold(&gpus, &["--gpus", "1"]);
    fs::write(gpus.claims().join("claim-0"), "{\"version\": 1, \"pid\": \u{1b}[31m").unwrap();
    gpus.resgate().args(["--min-gpu-mem", "1G"]).fails(125, &["claims", "can't be read"]);
    let ran = gpus.resgate().arg("--list-claims").run();
    assert!(ran.code == Some(0) && ran.stderr.contains("can't be read") && !ran.stderr.contains('\u{1b}'), "{ran:?}");
    // One that nobody holds is a free place, whatever it says.
    fs::write(gpus.claims().join("claim-1"), "rubbish").unwrap();
    fs::write(gpus.claims().join("claim-0"), "{}").unwrap();
    let ran = gpus.resgate().arg("--list-claims").run();
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}

#[test]
fn a_stopped_process_in_the_turnstile_is_not_waited_for_for_ever() {
    let gpus = Gpus::new(CARD);
    drop(hold(&gpus, &["--gpus", "1"]));
    let turnstile = fs::File::options().read(true).write(true).open(gpus.claims().join("turnstile")).unwrap();
    fs2::FileExt::lock_exclusive(&turnstile).unwrap();
    let call = gpus.resgate().args(["--gpus", "1", "--probe-timeout", "200ms"]);
    call.fails(125, &["turnstile", "held by another process"]);
}

#[test]
fn users_share_the_machines_claims() {
    if !needs_root("becoming somebody else") {
        return;
    }
    let gpus = Gpus::new(CARD);
    // A place as the machine's: everybody may write, nobody may remove.
    fs::create_dir(gpus.claims()).unwrap();
    for dir in [gpus.claims().as_path(), gpus.path()] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
        fs::set_permissions(dir, mode).unwrap();
    }
    let _holder = hold(&gpus, &["--gpus", "1"]);
    // The library and the tool have to be where another user can read them.
    let copy = scratch();
    fs::set_permissions(copy.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let resgate = gpus.resgate().command();
    for file in [resgate.get_program().to_owned(), gpus_library(&gpus)] {
        // By another process: a program that this one holds open for writing can't be run by a child of another test.
        Run::new("cp").arg(file).arg(copy.path()).silent(0);
    }
    let nobody = |options: &[&str]| {
        Run::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .arg(copy.path().join("resgate"))
            .args(options)
            .env("LD_LIBRARY_PATH", copy.path())
            .env("FAKE_NVML_FILE", gpus.path().join("cards"))
            .env("BGTOOLS_CLAIM_DIR", gpus.claims())
            .cwd("/")
    };
    nobody(&["--gpus", "1"]).fails(75, &["claimed by pid"]);
    gpus.become_(&CARD.repeat(2));
    assert_eq!(nobody(&["--gpus", "1", "--", "printenv", "CUDA_VISIBLE_DEVICES"]).ok(), "1\n");
    // And root takes the place that nobody made.
    assert_eq!(gpus.resgate().args(["--gpus", "1", "--", "printenv", "CUDA_VISIBLE_DEVICES"]).ok(), "1\n");
}

fn gpus_library(gpus: &Gpus) -> std::ffi::OsString {
    let command = gpus.resgate().command();
    let dir = command.get_envs().find(|(name, _)| *name == "LD_LIBRARY_PATH").unwrap().1.unwrap();
    std::path::Path::new(dir).join("libnvidia-ml.so.1").into()
}
