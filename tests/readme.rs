//! What README.md promises exists: its targets, options and states.
//!
//! Not tested: its sentences.

use std::collections::BTreeSet;
use std::fs;

use crate::support::run::bin_dir;
use crate::support::{Run, root, scratch, tool};

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// What stands in code: indented lines, and between backquotes in the others.
fn code() -> Vec<String> {
    let readme = readme();
    let spans = |line: &str| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let of = |line: &str| if line.starts_with("    ") { vec![line.trim().to_owned()] } else { spans(line) };
    readme.lines().flat_map(of).collect()
}

/// The words behind each mention of `program`, up to what ends a command.
fn calls(program: &str) -> Vec<Vec<String>> {
    let mut calls = Vec::new();
    for line in code() {
        let line = line.replace("$(", " ").replace([')', ';'], " ; ");
        let words: Vec<&str> = line.split_whitespace().collect();
        for (at, _) in words.iter().enumerate().filter(|(_, word)| word.rsplit('/').next() == Some(program)) {
            let ends = |word: &&&str| ![";", "#", "|", "||", "&&"].contains(*word);
            calls.push(words[at + 1..].iter().take_while(ends).map(|word| (*word).to_owned()).collect());
        }
    }
    calls
}

#[test]
fn every_target_is_there() {
    let scratch = scratch();
    let named: BTreeSet<String> = calls("make").into_iter().filter_map(|words| words.into_iter().next()).collect();
    let named: Vec<String> = named.into_iter().filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    for wanted in
        ["rep6-ab-full-bg", "test", "check", "install", "uninstall", "jobs-run", "jobs-cancel", "progress-bg", "isolated"]
    {
        assert!(named.iter().any(|name| name == wanted), "{wanted}: {named:?}");
    }
    for target in named.iter().filter(|target| *target != "train-bg") {
        let make = Run::new("make").cwd(root()).args(["-n", target, "NAME=x", "CMD=:", "RATE=1"]);
        // `test` hands the dry run on to another make, which says so on its own.
        let ran = make.env("BGTOOLS_BIN", bin_dir()).env("BGTOOLS_DIR", scratch.path()).run();
        assert!(ran.code == Some(0) && ran.stderr.is_empty() && !ran.stdout.is_empty(), "{target}: {ran:?}");
    }
}

/// Where somebody looks first when the first job is over.
#[test]
fn the_first_jobs_report_is_where_it_is_said_to_be() {
    let called = Run::new("make").cwd(root()).args(["-n", "rep6-ab-full"]).ok();
    let out = called.split_once("--out '").unwrap().1.split_once('\'').unwrap().0.to_owned();
    assert!(code().contains(&format!("{out}/report.html")), "{out}");
}

#[test]
fn every_option_is_there() {
    for program in ["bgrun", "bgcancel", "bgstatus"] {
        let help = tool(program).arg("--help").ok();
        let mut options = 0;
        for words in calls(program) {
            for option in words.iter().take_while(|word| *word != "--").filter(|word| word.starts_with('-')) {
                let known = help.split([' ', ',', '\n']).any(|word| word == option);
                assert!(known, "{program} {option}");
                options += 1;
            }
        }
        assert!(options > 0 || program == "bgcancel", "{program} occurs with options");
    }
}

#[test]
fn every_state_is_explained() {
    let help = tool("bgstatus").arg("--help").ok();
    let states: Vec<&str> = help.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split(':').next()).collect();
    assert!(states.contains(&"lost") && states.len() >= 10, "{states:?}");
    let readme = readme();
    for state in states {
        assert!(readme.contains(&format!("`{state}`")), "{state}");
    }
}
