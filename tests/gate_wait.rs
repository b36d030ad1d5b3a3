//! Waiting: in line, asleep, and gone without a trace when it is ended.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crate::support::{Gpus, Run, Running, scratch, tool, until_some};

const CARD: &str = "gpu 0 8000 ok\n";
const NEVER: [&str; 2] = ["--min-mem", "1000T"];
const HOLD: [&str; 4] = ["--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES; exec sleep 1000"];

fn hold(gpus: &Gpus, options: &[&str]) -> Running {
    let holder = Running::start(gpus.resgate().args(options).args(HOLD).command());
    holder.first_line("the cards given");
    holder
}

/// A call that waits, once it says why. Its next look is an hour away.
fn waits(run: Run, word: &str) -> Running {
    let call = Running::start(run.args(["--wait", "--interval", "1h"]).args(HOLD).command());
    call.complains(word);
    call
}

#[test]
fn the_next_in_line_gets_a_card_at_once() {
    let gpus = Gpus::new(CARD);
    let mut holder = hold(&gpus, &["--gpus", "1"]);
    let mut first = waits(gpus.resgate().args(["--gpus", "1"]), "claimed by pid");
    let second = waits(gpus.resgate().args(["--gpus", "1"]), "waiting behind");
    let start = Instant::now();
    holder.kill();
    assert_eq!(first.first_line("the card"), "0");
    assert!(start.elapsed() < Duration::from_secs(30), "an hour's interval, and {:?}", start.elapsed());
    assert!(second.stdout().is_empty());
    second.complains("claimed by pid");
    first.kill();
    assert_eq!(second.first_line("the card"), "0");
}

#[test]
fn a_large_wish_is_not_overtaken_by_a_small_one() {
    let gpus = Gpus::new(&CARD.repeat(2));
    let mut holder = hold(&gpus, &["--gpus", "1"]);
    let mut large = waits(gpus.resgate().args(["--gpus", "2"]), "1 GPU with room, 2 GPUs wanted");
    let small = waits(gpus.resgate().args(["--gpus", "1"]), "waiting behind pid");
    // A call that doesn't wait doesn't stand in line.
    gpus.resgate().args(["--gpus", "1"]).silent(0);
    holder.kill();
    assert_eq!(large.first_line("both cards"), "0,1");
    small.complains("claimed by pid");
    assert!(small.stdout().is_empty());
    large.kill();
    assert_eq!(small.first_line("a card"), "0");
}

#[test]
fn those_who_wait_for_something_else_do_not_wait_in_this_line() {
    let gpus = Gpus::new(CARD);
    let _holder = hold(&gpus, &["--gpus", "1"]);
    let _waiting = waits(gpus.resgate().args(["--gpus", "1"]), "claimed by pid");
    gpus.resgate().args(["--min-mem", "1", "--wait", "1h"]).silent(0);
}

#[test]
fn a_signal_ends_a_wait_at_once_and_frees_its_place() {
    let gpus = Gpus::new(CARD);
    let _holder = hold(&gpus, &["--gpus", "1"]);
    for signal in [15, 2] {
        let mut first = waits(gpus.resgate().args(["--gpus", "1"]), "claimed by pid");
        let second = waits(gpus.resgate().args(["--gpus", "1"]), "waiting behind");
        first.signal(signal);
        assert_eq!(first.end("the signalled call").signal(), Some(signal));
        second.complains("claimed by pid");
        let claims = gpus.resgate().args(["--list-claims", "--json"]).ok();
        assert_eq!(claims.lines().count(), 1, "only the holder's: {claims}");
    }
}

#[test]
fn the_wait_ends_with_124_and_each_reason_is_told_once() {
    let dir = scratch();
    let wait = |limit: &str| {
        let run = tool("resgate").env("BGTOOLS_CLAIM_DIR", dir.path()).args(NEVER);
        run.args(["--interval", "50ms", "--wait", limit]).run()
    };
    let start = Instant::now();
    let ran = wait("1s");
    assert!((Duration::from_secs(1)..Duration::from_secs(20)).contains(&start.elapsed()), "{:?}", start.elapsed());
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(ran.code == Some(124) && ran.stdout.is_empty() && lines.len() == 2, "{ran:?}");
    assert!(lines[0].contains("memory-free") && lines[1] == "resgate: gave up after 1.0s", "{ran:?}");
    assert_eq!(wait("0").code, Some(124));
    let quiet = tool("resgate").env("BGTOOLS_CLAIM_DIR", dir.path()).args(NEVER).args(["-q", "--wait", "100ms"]);
    quiet.silent(124);
}

#[test]
fn a_change_of_reasons_is_told() {
    let gpus = Gpus::new("gpu 7000 8000 ok\n");
    let options = ["--min-gpu-mem", "2G", "--wait", "--interval", "50ms", "--steady", "1s"];
    let mut call = Running::start(gpus.resgate().args(options).command());
    call.complains("gpu-memory: 1000 MiB free, 2 GiB wanted");
    gpus.become_(CARD);
    call.complains("open, waiting for it to stay so");
    gpus.become_("gpu 7900 8000 ok\n");
    call.complains("gpu-memory: 100 MiB free, 2 GiB wanted");
    let open = Instant::now();
    gpus.become_(CARD);
    assert_eq!(call.end("the wait").code(), Some(0));
    assert!(open.elapsed() >= Duration::from_secs(1), "open for {:?} only", open.elapsed());
    assert_eq!(call.stderr().len(), 4, "{:?}", call.stderr());
}

#[test]
fn what_becomes_unknown_ends_the_wait() {
    let gpus = Gpus::new("gpu 7000 8000 ok\n");
    let options = ["--min-gpu-mem", "2G", "--wait", "--interval", "50ms"];
    let mut call = Running::start(gpus.resgate().args(options).command());
    call.complains("1000 MiB free");
    gpus.become_("gpu 0 8000 lost\n");
    assert_eq!(call.end("the wait").code(), Some(125));
    call.complains("unknown: gpu-memory");
}

/// What `/proc/PID/FILE` says in the line of `key`, in its own unit.
fn figure(call: &Running, file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/{file}", call.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_waiting_call_sleeps() {
    let dir = scratch();
    let run = tool("resgate").env("BGTOOLS_CLAIM_DIR", dir.path()).args(NEVER).args(["--wait", "--interval", "1h"]);
    let call = Running::start(run.command());
    call.complains("memory-free");
    let switches = || figure(&call, "status", "voluntary_ctxt_switches:");
    // The look's own end may still be on its way to sleep.
    let settled = until_some("it stays asleep for a second", || {
        let before = switches();
        std::thread::park_timeout(Duration::from_secs(1));
        (switches() == before).then_some(before)
    });
    std::thread::park_timeout(Duration::from_secs(2));
    assert_eq!(switches(), settled, "it woke between two looks");
    // What is its own. What it holds in all, built for release, is in benches/resgate.py.
    let held = figure(&call, "smaps_rollup", "Anonymous:");
    assert!(held <= 1024, "it holds {held} kB");
}

#[test]
fn on_a_terminal_one_line_is_redrawn_with_the_time_left() {
    let dir = scratch();
    let resgate = tool("resgate").command();
    let call = format!("{} --min-mem 1000T --wait 3s --interval 100ms", resgate.get_program().display());
    let run = Run::new("script").args(["-qec", &call, "/dev/null"]).env("BGTOOLS_CLAIM_DIR", dir.path()).env("TERM", "xterm");
    let ran = run.run();
    let drawn: Vec<&str> = ran.stdout.split("\r\u{1b}[K").collect();
    assert!(ran.code == Some(124) && drawn.len() > 5, "{ran:?}");
    assert!(drawn[1].contains("left: memory-free") && !drawn[1].contains('\n'), "{ran:?}");
    assert_eq!(drawn.last().unwrap().trim_end(), "resgate: gave up after 3.0s");
}

#[test]
fn a_wait_for_a_fresh_load_lets_it_show_first() {
    // Both are let in by what is measured, and nothing is claimed: the second waits an interval after the first.
    let gpus = Gpus::new("gpu 7000 8000 ok\n");
    let options = ["--min-gpu-mem", "2G", "--interval", "700ms", "--wait"];
    let first = Running::start(gpus.resgate().args(options).args(HOLD).command());
    first.complains("1000 MiB free");
    let second = Running::start(gpus.resgate().args(options).args(HOLD).command());
    second.complains("waiting behind");
    gpus.become_(CARD);
    first.first_line("the first is let in");
    let start = Instant::now();
    second.complains("waiting for the one before to show its load");
    second.first_line("the second is let in");
    assert!(start.elapsed() >= Duration::from_millis(600), "{:?}", start.elapsed());
}
