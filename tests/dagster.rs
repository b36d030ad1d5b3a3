//! examples/dagster: the pipeline's steps as assets, run by the real Dagster, each with a home of its own.
//!
//! Not tested: its daemon's clock and its pages; the schedule and the sensor are asked what they would do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::run::bin_dir;
use crate::support::{Run, Running, root, scratch, tool, until};

struct Dagster {
    scratch: TempDir,
    /// The environment that has it, made once.
    env: PathBuf,
}

impl Dagster {
    fn new() -> Self {
        let made = Run::new(root().join("scripts/dagster-env")).run();
        assert_eq!(made.code, Some(0), "{made:?}");
        let scratch = scratch();
        fs::create_dir(scratch.path().join("home")).unwrap();
        fs::copy(root().join("examples/dagster/dagster.yaml"), scratch.path().join("home/dagster.yaml")).unwrap();
        // One process for all: what Dagster is about to do at once, others have tested.
        fs::write(scratch.path().join("run.yaml"), "execution: {config: {in_process: {}}}\n").unwrap();
        Self { scratch, env: made.stdout.trim_end().into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn run(&self, program: &str) -> Run {
        let path = format!("{}:{}", bin_dir().display(), std::env::var("PATH").unwrap());
        let run = Run::new(self.env.join("bin").join(program)).cwd(self.scratch.path()).env("PATH", path);
        let run = run.env("DAGSTER_HOME", self.path("home")).env("BGTOOLS_DIR", self.path("jobs"));
        run.env("HIRES_OUT", self.path("out")).env("HIRES_DELAY", "0")
    }

    fn execute(&self) -> Run {
        let file = root().join("examples/dagster/definitions.py");
        self.run("dagster").args(["job", "execute", "-j", "hires", "-c", "run.yaml", "-f"]).arg(file)
    }

    /// Before a step this bit of shell is run; "$*" is what the step is called with.
    fn before(&self, shell: &str) -> PathBuf {
        let path = self.path("python");
        fs::write(&path, format!("#!/bin/sh\n{shell}\nexec python3 \"$@\"\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// How each job of that name ended, in the order of their starts.
    fn ends(&self, name: &str) -> Vec<(String, Value)> {
        let said = tool("bgstatus").args(["-a", "--json", name]).env("BGTOOLS_DIR", self.path("jobs")).run().stdout;
        let mut records: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        records.sort_by_key(|record| record["created"].as_str().unwrap().to_owned());
        records.into_iter().map(|record| (record["state"].as_str().unwrap().to_owned(), record["exit"]["code"].clone())).collect()
    }
}

#[test]
fn a_run_makes_the_report_and_tries_again_what_may_pass() {
    let dagster = Dagster::new();
    // "Not now" the first time, as of a gate that is closed.
    let python = dagster.before("case $* in *' train linear '*) [ -e tried ] || { : > tried; exit 75; } ;; esac");
    let ran = dagster.execute().env("HIRES_PYTHON", python).run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let ok = |state: &str, code: i32| (state.to_owned(), Value::from(code));
    assert_eq!(dagster.ends("train-linear"), [ok("failed", 75), ok("succeeded", 0)]);
    assert_eq!(dagster.ends("report"), [ok("succeeded", 0)]);
    let report = fs::read_to_string(dagster.path("out/report.md")).unwrap();
    assert!(report.ends_with("Best: neighbours, learnt from 504 hours, tried on 168.\n"), "{report}");
}

#[test]
fn a_step_that_fails_is_an_asset_that_fails() {
    let dagster = Dagster::new();
    let source = dagster.path("data");
    Run::new("cp").arg("-r").args([&root().join("examples/pipeline/data"), &source]).silent(0);
    let week = source.join("week-2.csv");
    fs::write(&week, fs::read_to_string(&week).unwrap().replace("\n0,7,", "\n0,x,")).unwrap();
    let ran = dagster.execute().env("HIRES_SOURCE", source).run();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for words in ["fetch-week-2 ended with 1: steps.py: ", "week-2.csv:9: no hour of a week", "RUN_FAILURE"] {
        assert!(ran.stderr.contains(words), "{words}: {ran:?}");
    }
    // The data will be as bad the next time: it isn't tried again, and nothing is made of it.
    assert_eq!(dagster.ends("fetch-week-2"), [("failed".to_owned(), Value::from(1))]);
    assert!(dagster.ends("fetch-week-3").is_empty() && dagster.ends("features-week-1").is_empty());
}

/// An interrupt ends the job at once; Dagster holds a step that was interrupted for one to try again.
#[test]
fn a_step_that_is_interrupted_takes_its_job_along() {
    let dagster = Dagster::new();
    let python = dagster.before("case $* in *' train linear '*) [ -e reached ] || { : > reached; exec sleep 1000; } ;; esac");
    let mut run = Running::start(dagster.execute().env("HIRES_PYTHON", python).command());
    until("the training", || dagster.path("reached").exists());
    run.signal(2);
    assert_eq!(run.end("the run").code(), Some(0), "{:?}", run.stderr());
    let wanted = [("cancelled".to_owned(), Value::Null), ("succeeded".to_owned(), Value::from(0))];
    assert_eq!(dagster.ends("train-linear"), wanted);
}

#[test]
fn it_runs_at_two_in_tokyo_and_when_a_week_is_new() {
    let dagster = Dagster::new();
    let asked = dagster.run("python").cwd(root().join("examples/dagster")).env("PYTHONDONTWRITEBYTECODE", "1");
    let ran = asked.args(["-W", "ignore", "-m", "unittest", "-q", "test_definitions"]).run();
    assert!(ran.code == Some(0) && ran.stderr.contains("Ran 3 tests"), "{ran:?}");
}
