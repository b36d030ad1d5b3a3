//! The tools composed: training that is killed again and again and comes to the same end.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::wait::undisturbed;
use crate::support::{Jobs, Run, bin_dir, root, until, until_some};

/// `run.py` of the example, on this stock.
fn run_py(jobs: &Jobs, stock: &str) -> Vec<String> {
    let script = root().join("examples/auto-pipeline/run.py");
    let words = ["python3".into(), script.display().to_string(), jobs.path(stock).display().to_string()];
    words.into_iter().chain(["--min-age", "0s"].map(str::to_owned)).collect()
}

fn with_tools(run: Run) -> Run {
    let path = std::env::var("PATH").unwrap();
    run.env("PATH", format!("{}:{path}", bin_dir().display())).env("PYTHONDONTWRITEBYTECODE", "1")
}

fn bgrun(jobs: &Jobs, options: &[&str], command: &[String]) -> String {
    let words = options.iter().map(|word| (*word).to_owned()).chain(["--".to_owned()]).chain(command.iter().cloned());
    with_tools(jobs.bgrun(words)).ok().trim().to_owned()
}

/// The steps of the learning curve.
fn curve(stock: &Path) -> Vec<u64> {
    let text = fs::read_to_string(stock.join("curve.tsv")).unwrap_or_default();
    text.lines().map(|line| line.split('\t').next().unwrap().parse().unwrap()).collect()
}

/// The newest good checkpoint's bytes.
fn newest(jobs: &Jobs, stock: &str) -> Vec<u8> {
    let latest = jobs.tool("ckpt-rotate").args(["--latest".as_ref(), jobs.path(stock).join("ckpts").as_os_str()]).ok();
    fs::read(Path::new(latest.trim()).join("state.safetensors")).unwrap()
}

/// Moments that look random and are the same in every run of the test.
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// The process of run `n` of the job, once it runs.
fn process_of_run(jobs: &Jobs, id: &str, n: u64) -> Option<i32> {
    until_some("the next run", || {
        let record = jobs.record(id);
        if record["ended"].is_string() {
            return Some(None);
        }
        let pid = record["pid"].as_i64().filter(|_| record["state"] == "running" && record["run"].as_u64() >= Some(n));
        pid.map(|pid| i32::try_from(pid).ok())
    })
}

/// Killed ten times, the training ends with the very numbers of the one that was left alone.
#[test]
fn training_that_is_killed_ten_times_ends_like_the_uninterrupted() {
    let jobs = Jobs::new();
    let until_step =
        |stock: &str| [run_py(&jobs, stock), ["--steps", "60", "--until", "1800"].map(str::to_owned).to_vec()].concat();
    let again = ["--restart", "on-failure", "--max-restarts", "99", "--backoff", "10ms"];
    let alone = bgrun(&jobs, &[&["-n", "alone"], &again[..]].concat(), &until_step("alone"));
    let id = bgrun(&jobs, &[&["-n", "killed"], &again[..]].concat(), &until_step("killed"));
    let (mut moments, mut kills, mut n) = (Moments(7), 0, 1);
    while kills < 10 {
        let Some(pid) = process_of_run(&jobs, &id, n) else { break };
        n = jobs.record(&id)["run"].as_u64().unwrap() + 1;
        // Starting python, training, saving, rotating: any of them.
        undisturbed(Duration::from_millis(moments.next() % 250));
        let still = jobs.record(&id);
        if still["pid"] == pid && nix::sys::signal::kill(nix::unistd::Pid::from_raw(-pid), Signal::SIGKILL).is_ok() {
            kills += 1;
        }
    }
    let (record, left_alone) = (jobs.ended(&id), jobs.ended(&alone));
    assert_eq!(
        (&record["state"], &left_alone["state"]),
        (&json!("succeeded"), &json!("succeeded")),
        "{record:#} {}",
        jobs.log(&id)
    );
    assert_eq!(kills, 10, "the training was over too soon");
    let weights = |bytes: Vec<u8>| {
        let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        (header["__metadata__"]["step"].clone(), bytes[8 + length..].to_vec())
    };
    let (ours, theirs) = (weights(newest(&jobs, "killed")), weights(newest(&jobs, "alone")));
    assert_eq!(ours.0, "1800");
    assert!(ours == theirs, "the weights differ");
    let steps = curve(&jobs.path("killed"));
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]) && steps.last() == Some(&1800), "{steps:?}");
}

/// The pipeline of one line, killed at ten random moments over thirty short runs.
#[test]
fn the_auto_pipeline_never_loses_more_than_one_run() {
    let jobs = Jobs::new();
    let stock = jobs.path("stock");
    let command = [run_py(&jobs, "stock"), ["--steps", "20", "--keep", "5"].map(str::to_owned).to_vec()].concat();
    let gated = [["resgate", "--max-cpu", "100", "--"].map(str::to_owned).to_vec(), command].concat();
    let id = bgrun(&jobs, &["-n", "pipeline", "--every", "300ms", "--max-runs", "30"], &gated);
    let mut moments = Moments(11);
    for kill in 0..10 {
        let n = 2 + kill * 28 / 10 + moments.next() % 2;
        let Some(pid) = process_of_run(&jobs, &id, n) else { break };
        undisturbed(Duration::from_millis(moments.next() % 250));
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(-pid), Signal::SIGKILL);
    }
    let record = jobs.ended(&id);
    assert_eq!(record["run"], 30, "{record:#}");
    let runs = record["runs"].as_array().unwrap();
    let killed = runs.iter().filter(|run| run["exit"]["signal"] == 9).count();
    let done = runs.iter().filter(|run| run["exit"]["code"] == 0).count();
    assert!(killed >= 3 && killed + done == 30, "{killed} killed, {done} done: {record:#} {}", jobs.log(&id));
    let steps = curve(&stock);
    // Each run that ended well adds its steps to all before it; one that was killed behind its save has added them too.
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
    assert!(steps.windows(2).all(|pair| pair[1] - pair[0] <= 40), "{steps:?}");
    let last = *steps.last().unwrap();
    assert!(last >= 20 * u64::try_from(done).unwrap() && last <= 600, "{last} after {done} good runs");
    let kept = fs::read_dir(stock.join("ckpts")).unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let kept: Vec<String> = kept.filter(|name| name.starts_with("ckpt_")).collect();
    assert!((5..=6).contains(&kept.len()), "{kept:?}");
}

/// A stop comes between two runs or inside one; either way what was learnt is kept.
#[test]
fn the_pipeline_stops_cleanly() {
    let jobs = Jobs::new();
    let command = [run_py(&jobs, "stock"), ["--steps", "1000000"].map(str::to_owned).to_vec()].concat();
    let id = bgrun(&jobs, &["-n", "inside", "--every", "1h"], &command);
    until("the training", || jobs.log(&id).contains("from step 0"));
    assert_eq!(jobs.tool("bgcancel").arg(&id).ok(), format!("{id} cancelled\n"));
    let record = jobs.ended(&id);
    assert_eq!((&record["state"], &record["exit"]["code"]), (&json!("cancelled"), &json!(143)), "{}", jobs.log(&id));
    let learnt = curve(&jobs.path("stock"));
    let id = bgrun(
        &jobs,
        &["-n", "between", "--every", "1h"],
        &[run_py(&jobs, "stock"), ["--steps", "10"].map(str::to_owned).to_vec()].concat(),
    );
    until("the pause", || jobs.state(&id) == "waiting");
    jobs.tool("bgcancel").arg(&id).ok();
    assert_eq!(jobs.ended(&id)["state"], "cancelled");
    assert_eq!(curve(&jobs.path("stock")), [learnt[0], learnt[0] + 10]);
}

/// A stock in which nothing is good is no reason to begin at zero.
#[test]
fn the_pipeline_never_begins_anew_over_broken_checkpoints() {
    let jobs = Jobs::new();
    let run = |jobs: &Jobs| {
        let command = [run_py(jobs, "stock"), ["--steps", "5"].map(str::to_owned).to_vec()].concat();
        with_tools(jobs.owned(Run::new("python3"))).args(&command[1..]).run()
    };
    assert_eq!(run(&jobs).code, Some(0));
    let unit = fs::read_dir(jobs.path("stock").join("ckpts")).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        path.is_dir().then_some(path)
    });
    let file = unit.unwrap().join("state.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let ran = run(&jobs);
    assert!(ran.code == Some(1) && ran.stderr.contains("no good checkpoint in"), "{ran:?}");
    assert_eq!(curve(&jobs.path("stock")), [5]);
}

/// `make pipeline` and `make pipeline-once`, as the example has them.
#[test]
fn make_runs_the_pipeline() {
    let jobs = Jobs::new();
    let make = |words: &[&str]| {
        let run = jobs.owned(Run::new("make")).cwd(root()).args(["-s", "--no-print-directory"]).args(words);
        run.arg(format!("BGTOOLS_BIN={}", bin_dir().display()))
            .arg("BGTOOLS_NEED=")
            .arg(format!("PIPELINE_DIR={}", jobs.path("p").display()))
            .env("BGTOOLS_DIR", jobs.dir())
            .env("BGTOOLS_LOG_DIR", jobs.path("logs"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
    };
    let said = make(&["pipeline-once"]).ok();
    assert!(said.starts_with("run 1: from step 0, a fresh start\n"), "{said}");
    let said = make(&["pipeline", "EVERY=1h", "KEEP=2", "PIPELINE_GATE=--max-cpu 100"]).ok();
    let id = said.lines().next().unwrap().to_owned();
    until("the first run's end", || jobs.state(&id) == "waiting");
    assert_eq!(curve(&jobs.path("p")), [300, 600]);
    // One pipeline at a time.
    assert_eq!(make(&["pipeline"]).run().code, Some(2));
    make(&["jobs-cancel", "NAME=pipeline"]).ok();
    assert_eq!(jobs.ended(&id)["state"], "cancelled");
}
