//! examples/pipeline: the steps as jobs, through real make, from all at once to one alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Project, Run, Running, root, until};

/// The example, copied as somebody would, with bg.mk where it looks for it.
struct Pipeline(Project);

const REPORT: &str = "# Hires an hour, guessed for a week that no model has seen

| model | off by (RMSE) | bias |
| --- | --- | --- |
| neighbours | 9.80 | -3.68 |
| linear | 15.14 | +1.15 |

Best: neighbours, learnt from 504 hours, tried on 168.
";

impl Pipeline {
    fn new() -> Self {
        let project = Project::empty("project");
        fs::create_dir(project.path().join("examples")).unwrap();
        symlink(root().join("contrib"), project.path().join("contrib")).unwrap();
        let from = root().join("examples/pipeline");
        Run::new("cp").arg("-r").args([&from, &project.path().join("examples")]).silent(0);
        for made in ["out", "tmp", "logs"] {
            let _ = fs::remove_dir_all(project.path().join("examples/pipeline").join(made));
        }
        Self(project)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("examples/pipeline").join(name)
    }

    fn make(&self, args: &[&str]) -> Run {
        self.0.make(["--no-print-directory", "-C", "examples/pipeline"]).args(args).env("BGTOOLS_DIR", self.path("jobs"))
    }

    /// What make names as it does it, sorted, for it may do things at once.
    #[track_caller]
    fn makes(&self, args: &[&str]) -> Vec<String> {
        let mut said: Vec<String> = self.make(args).ok().lines().map(str::to_owned).collect();
        said.retain(|line| !line.starts_with("make: Nothing to be done"));
        said.sort();
        said
    }

    /// The jobs that there are records of: name and state, sorted.
    fn jobs(&self) -> Vec<(String, String)> {
        let said = self.0.run("bgstatus", ["-a", "--json"]).env("BGTOOLS_DIR", self.path("jobs")).ok();
        let records = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |record: &Value, field: &str| record[field].as_str().unwrap().to_owned();
        let mut jobs: Vec<_> = records.map(|record| (text(&record, "name"), text(&record, "state"))).collect();
        jobs.sort();
        jobs
    }

    /// A python3 that runs this bit of shell before a step; "$*" is what it is called with.
    fn python(&self, before: &str) -> String {
        let path = self.path("python");
        fs::write(&path, format!("#!/bin/sh\n{before}\nexec python3 \"$@\"\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        format!("PYTHON={}", path.display())
    }
}

const ALL: [&str; 13] = [
    "evaluate-linear",
    "evaluate-neighbours",
    "features-week-1",
    "features-week-2",
    "features-week-3",
    "features-week-4",
    "fetch-week-1",
    "fetch-week-2",
    "fetch-week-3",
    "fetch-week-4",
    "report",
    "train-linear",
    "train-neighbours",
];

#[test]
fn each_step_is_a_job_and_the_result_is_the_same_each_time() {
    let pipeline = Pipeline::new();
    // Both are trained at once, or neither goes on.
    let meet = "case $* in *' train '*) : > \"$3.here\"; n=0
        while [ ! -e linear.here ] || [ ! -e neighbours.here ]; do n=$((n + 1)); [ $n -lt 600 ] || exit 9; sleep 0.1; done ;; esac";
    let python = pipeline.python(meet);
    assert_eq!(pipeline.makes(&["-j2", &python]), ALL);
    assert_eq!(fs::read_to_string(pipeline.path("out/report.md")).unwrap(), REPORT);
    let jobs = pipeline.jobs();
    assert_eq!(jobs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ALL);
    assert!(jobs.iter().all(|(_, state)| state == "succeeded"), "{jobs:?}");

    // Nothing is done twice; what is new of the week to guess is no reason to learn again; a step alone is that alone.
    assert_eq!(pipeline.makes(&[]), Vec::<String>::new());
    assert_eq!(pipeline.makes(&["-W", "out/features/week-4.json"]), ["evaluate-linear", "evaluate-neighbours", "report"]);
    assert_eq!(pipeline.makes(&["only-features"]), ["features-week-1", "features-week-2", "features-week-3", "features-week-4"]);
    assert_eq!(pipeline.makes(&["only-report"]), ["report"]);
    assert_eq!(fs::read_to_string(pipeline.path("out/report.md")).unwrap(), REPORT);
}

#[test]
fn a_pipeline_that_was_stopped_goes_on_where_it_was() {
    let pipeline = Pipeline::new();
    let python = pipeline.python("case $* in *' train neighbours '*) : > reached; exec sleep 1000 ;; esac");
    let mut make = Running::start(pipeline.make(&[&python]).command());
    until("the training", || pipeline.path("reached").exists());
    let job = "train-neighbours";
    pipeline.0.run("bgcancel", ["--quiet", job]).env("BGTOOLS_DIR", pipeline.path("jobs")).silent(0);
    assert_eq!(make.end("make").code(), Some(2));
    assert!(pipeline.jobs().contains(&(job.to_owned(), "cancelled".to_owned())), "{:?}", pipeline.jobs());
    assert!(!pipeline.path("out/models/neighbours.json").exists());

    let left = pipeline.makes(&[]);
    let done: Vec<String> = make.stdout();
    assert!(left.contains(&job.to_owned()) && done.contains(&"train-linear".to_owned()), "{left:?}");
    assert!(left.iter().all(|step| step == job || !done.contains(step)), "{left:?} after {done:?}");
    assert_eq!(fs::read_to_string(pipeline.path("out/report.md")).unwrap(), REPORT);
}

#[test]
fn a_step_that_fails_says_why_and_the_others_go_on() {
    let pipeline = Pipeline::new();
    let week = pipeline.path("data/week-2.csv");
    let good = fs::read_to_string(&week).unwrap();
    fs::write(&week, good.replace("\n0,7,", "\n0,x,")).unwrap();
    let ran = pipeline.make(&["-k"]).run();
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.starts_with("steps.py: data/week-2.csv:9: no hour of a week\n"), "{ran:?}");
    assert!(pipeline.path("out/features/week-4.json").exists() && !pipeline.path("out/models").exists());

    fs::write(&week, good).unwrap();
    let left = pipeline.makes(&["-j2"]);
    assert_eq!(left.len(), 7, "{left:?}");
    assert!(left.contains(&"fetch-week-2".to_owned()) && !left.contains(&"fetch-week-1".to_owned()), "{left:?}");
}

#[test]
fn the_picture_and_the_data_are_what_their_makers_make() {
    let folder = root().join("examples/pipeline");
    let drawn = Run::new("python3").cwd(&folder).arg("graph.py").ok();
    assert!(drawn == fs::read_to_string(folder.join("graph.svg")).unwrap(), "make -C examples/pipeline graph");
    Run::new("python3").cwd(&folder).args(["make_data.py", "--check"]).silent(0);
}
