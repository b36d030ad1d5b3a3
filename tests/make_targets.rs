//! The Makefile and contrib/bg.mk, through real make: what a person types and what then runs.
//!
//! Not tested: versions of make other than the one installed.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::support::run::bin_dir;
use crate::support::{Project, Run, root, until, until_some};

/// Real make in this repository, with jobs, logs and reports in the project's folder.
fn here<const N: usize>(project: &Project, args: [&str; N]) -> Run {
    let run = project.make(["--no-print-directory", "-C", root().to_str().unwrap()]).args(args);
    let run = run.env("BGTOOLS_BIN", bin_dir()).env("REP6_OUT", project.path().join("out"));
    run.env("BGTOOLS_DIR", project.path().join("tmp/jobs")).env("BGTOOLS_LOG_DIR", project.path().join("logs"))
}

fn report(project: &Project, mode: &str) -> Option<Value> {
    let report = fs::read(project.path().join(format!("out/rep6-{mode}/report.json"))).ok()?;
    Some(serde_json::from_slice(&report).unwrap())
}

fn jobs_in(project: &Project) -> usize {
    fs::read_dir(project.path().join("tmp/jobs")).map_or(0, Iterator::count)
}

#[test]
fn a_heavy_target_refuses_the_foreground() {
    let project = Project::empty("project");
    let said = here(&project, ["rep6-ab-fast"]).fails(2, &["run_rep6.py", "through the dispatcher: bgrun", "dispatcher経由"]);
    assert!(said.contains("rep6-ab-fast] Error 1\n"), "{said}");
    assert!(report(&project, "fast").is_none());
}

#[test]
fn the_first_job_of_the_readme() {
    let project = Project::empty("project");
    let said = here(&project, ["rep6-ab-fast-bg"]).ok();
    let lines: Vec<&str> = said.lines().collect();
    let [runs, status, log, cancel] = lines[..] else { panic!("{said}") };
    let (id, _) = runs.split_once(' ').unwrap();
    assert!(id.starts_with("rep6-ab-fast_"), "{said}");

    // Each line holds a command to paste. They find the repository from where make was called.
    let paste = |line: &str| {
        let (_, command) = line.split_once(':').unwrap();
        let run = project.run("sh", ["-c", &format!("{command} --no-print-directory")]).env("BGTOOLS_BIN", bin_dir());
        run.env("BGTOOLS_DIR", project.path().join("tmp/jobs"))
    };
    assert!(paste(log).ok().contains("rep6: 100 %"));
    here(&project, ["jobs-wait", &format!("NAME={id}")]).silent(0);
    let table = paste(status).ok();
    assert!(table.lines().count() == 2 && table.contains(id) && table.contains("succeeded"), "{table}");
    paste(cancel).fails(2, &["bgcancel: job", id, "has ended: succeeded"]);

    let report = report(&project, "fast").unwrap();
    assert_eq!((&report["complete"], report["galaxies"].as_array().map(Vec::len)), (&Value::Bool(true), Some(6)), "{report}");
    assert!(fs::read_to_string(project.path().join("out/rep6-fast/report.html")).unwrap().contains("<svg"));
}

#[test]
fn a_cancelled_full_run_writes_what_it_has() {
    let project = Project::empty("project");
    let id = here(&project, ["-s", "rep6-ab-full-bg"]).ok().trim().to_owned();
    let log = project.path().join(format!("logs/{id}.log"));
    until("the first resamples", || fs::read_to_string(&log).unwrap().contains("rep6: 0 %"));
    assert_eq!(here(&project, ["jobs-cancel", "NAME=rep6-ab-full"]).ok(), format!("{id} cancelled\n"));
    assert_eq!(project.end_of(&id)["state"], "cancelled");
    assert_eq!(report(&project, "full").unwrap()["complete"], false);
}

/// A shell's command in which everything that make, a shell or an environment could spoil occurs.
const TORTURE: &str = "printf '%s\\n' \"a  b\" 'it'\\''s' \"$(echo sub) ${GREETING-none} $0\" `echo tick` '$HOME $(HOME) ${' # nothing $(\n\
     echo line \\\n  two '#' '途中経過' '%' ';' '\\' '\\\\n' '$$' '\t' '!' '*' '~'\n\
     env | grep -aE '^(MAKE|MFLAGS|BGMK_|CMD=|NAME=)' >&2; :";

#[test]
fn a_command_reaches_its_job_as_it_was_written() {
    let project = Project::new("");
    let id = project.start(["jobs-run", "NAME=my_job", &format!("CMD={TORTURE}"), "BGRUN_FLAGS=--env GREETING=hello"]);
    assert_eq!(project.end_of(&id)["cmd"], serde_json::json!(["/bin/sh", "-c", TORTURE]));
    let direct = project.run("/bin/sh", ["-c", TORTURE]).env("GREETING", "hello").ok();
    assert_eq!(project.log_of(&id), direct);
    assert!(direct.contains("it's") && direct.contains("途中経過"), "{direct}");
}

#[test]
fn any_text_is_a_command() {
    let project = Project::new("");
    // The shell ends before it reads the second line: what follows is only carried.
    let texts = "(\\PC|[\n\t$#'\"\\\\(){}%:=,]|\\$\\(|途中){0,40}";
    let mut runner = TestRunner::new(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() });
    let carried = runner.run(&texts, |text| {
        let command = format!("exit\n{text}");
        for by_environment in [false, true] {
            let make = project.make(["-s", "jobs-run", "NAME=any"]);
            let make = if by_environment { make.env("CMD", &command) } else { make.arg(format!("CMD={command}")) };
            prop_assert_eq!(&project.end_of(make.ok().trim())["cmd"][2], &command);
        }
        Ok(())
    });
    carried.unwrap();
}

#[test]
fn bytes_that_are_no_text_are_a_command_too() {
    let project = Project::new("");
    let command = OsString::from_vec(b"CMD=printf '\xff\xfe|' | od -An -tx1".to_vec());
    let id = project.start([OsString::from("jobs-run"), "NAME=bytes".into(), command]);
    assert_eq!(project.log_of(&id).trim(), "ff fe 7c");
}

#[test]
fn a_makefile_writes_commands_in_its_own_language() {
    let project = Project::new("NAME = ours\nCMD = echo $(WHO) $$((6*7))\nWHO = us\n");
    assert_eq!(project.log_of(&project.start(["jobs-run"])), "us 42\n");
}

#[test]
fn variables_of_the_command_line_reach_the_target() {
    let project = Project::new("show:\n\t@printf '%s|' '$(RATE)' '$(NOTE)' \"$$NOTE\"\n");
    let id = project.start(["show-bg", "RATE=50", "NOTE=途中 a  b"]);
    assert!(id.starts_with("show_"), "{id}");
    assert_eq!(project.log_of(&id), "50|途中 a  b|途中 a  b|");
}

#[test]
fn a_dry_make_starts_nothing() {
    let project = Project::new("foo:\n\ttouch started\n");
    for args in [["foo-bg", "-n"], ["jobs-run", "-n"], ["progress-bg", "-n"], ["foo-bg", "-q"], ["foo-bg", "-t"]] {
        let made = project.make(args).args(["NAME=x", "CMD=touch started", "RATE=1"]).run();
        assert!(made.stderr.is_empty(), "{args:?}: {made:?}");
    }
    assert_eq!((jobs_in(&project), project.path().join("started").exists()), (0, false));
}

#[test]
fn a_parallel_make_returns_while_its_jobs_run() {
    let project = Project::new("a b:\n\t@read word <$@.gate; $(MAKE) inner\ninner:\n\t@echo done\n");
    for gate in ["a.gate", "b.gate"] {
        nix::unistd::mkfifo(&project.path().join(gate), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    // Were a pipe of make's held by the jobs, this would never end.
    let said = project.make(["-j4", "-s", "a-bg", "b-bg"]).ok();
    let ids: Vec<&str> = said.lines().collect();
    assert_eq!(ids.len(), 2, "{said}");
    let live = project.make(["jobs-status"]).ok();
    assert_eq!(live.matches("running").count(), 2, "{live}");
    for gate in ["a.gate", "b.gate"] {
        fs::write(project.path().join(gate), "go\n").unwrap();
    }
    for id in ids {
        assert_eq!((project.end_of(id)["state"].as_str(), project.log_of(id).as_str()), (Some("succeeded"), "done\n"));
    }
}

#[test]
fn a_job_is_watched_by_name() {
    let project = Project::new("");
    project.make(["jobs-log"]).fails(2, &["jobs-log: give NAME="]);
    project.make(["jobs-run", "NAME=x"]).fails(2, &["jobs-run: give NAME="]);
    project.make(["jobs-status", "NAME=none"]).fails(2, &["bgstatus:", "none"]);

    let id = project.start(["jobs-run", "NAME=long", "CMD=echo here; exec sleep 1000"]);
    until("its output", || project.make(["jobs-log", "NAME=long"]).ok() == "here\n");
    let late = project.make(["jobs-wait", "NAME=long", "TIMEOUT=10ms"]).run();
    assert!(late.code == Some(2) && late.stderr.contains("Error 124"), "{late:?}");
    assert_eq!(project.make(["jobs-cancel", "NAME=long"]).ok(), format!("{id} cancelled\n"));

    project.start(["jobs-run", "NAME=three", "CMD=exit 3"]);
    let failed = project.make(["jobs-wait", "NAME=three"]).run();
    assert!(failed.code == Some(2) && failed.stderr.contains("Error 3"), "{failed:?}");
    // A host's name in the environment, as WSL has it, is no job's name.
    let all = project.make(["jobs-status"]).env("NAME", "three").ok();
    assert!(all.contains("long_") && all.contains("three_"), "{all}");
}

#[test]
fn a_name_is_data() {
    let project = Project::new("");
    for name in ["$(shell touch bad)", "$(", "`touch bad`", "'; touch bad; '", "--all", "../x"] {
        let ran = project.make(["jobs-status".to_owned(), format!("NAME={name}")]).run();
        assert!(ran.code == Some(2) && ran.stderr.starts_with("bgstatus: no job"), "{name}: {ran:?}");
        let ran = project.make(["jobs-run".to_owned(), format!("NAME={name}"), "CMD=:".to_owned()]).run();
        assert!(ran.code == Some(2) && ran.stderr.starts_with("bgrun: ") && jobs_in(&project) == 0, "{name}: {ran:?}");
    }
    assert!(!project.path().join("bad").exists());
}

#[test]
fn one_thread_a_library_unless_told_otherwise() {
    let show = "show:\n\t@echo \"$${OMP_NUM_THREADS-unset} $${MALLOC_ARENA_MAX-unset}\"\n";
    let project = Project::new(show);
    let of = |args: &[&str]| project.log_of(&project.start(["show-bg"].iter().chain(args)));
    assert_eq!(of(&[]), "1 2\n");
    assert_eq!(of(&["OMP_NUM_THREADS=4"]), "4 2\n");
    assert_eq!(of(&["MEMSAFE_ENV="]), "unset unset\n");
    assert_eq!(project.run("env", ["MALLOC_ARENA_MAX=8", "make", "show"]).ok(), "1 8\n");
}

#[test]
fn progress_is_told_to_who_listens() {
    let project = Project::new("");
    let note = "途中経過 \"$(\" it's # \\";
    let id = project.start(["progress-bg", "RATE=50", &format!("NOTE={note}")]);
    assert_eq!(project.log_of(&id), format!("50 %: {note}\n"));
    assert_eq!(project.make(["progress", "RATE=51"]).ok(), "51 %\n");
    project.make(["progress"]).fails(2, &["progress: give RATE="]);

    // Once it is installed, progress-mark hears it.
    let marker = project.bin().join("progress-mark");
    fs::write(&marker, "#!/bin/sh\nprintf '%s\\n' \"$BG_JOB_ID\" \"$@\"\n").unwrap();
    fs::set_permissions(&marker, fs::Permissions::from_mode(0o755)).unwrap();
    let id = project.start(["progress-bg", "RATE=50", &format!("NOTE={note}")]);
    assert_eq!(project.log_of(&id), format!("{id}\nset\n50\n--note={note}\n"));
}

#[test]
fn an_isolated_command_has_a_session_of_its_own() {
    let project = Project::new("");
    let command = "CMD=read line; echo \"$line\"; test \"$(ps -o sid= -p $$)\" -eq $$; echo $?; env | grep -aE '^(MAKE|BGMK_|CMD=)'; exit 4";
    let ran = project.make(["isolated", command]).stdin("kept\n").run();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), "kept\n0\n"), "{ran:?}");
    assert!(ran.stderr.contains("Error 4"), "{ran:?}");
}

#[test]
fn ctrl_c_ends_an_isolated_command() {
    let project = Project::new("");
    let mut make = project.make(["isolated", "CMD=echo $$ >pid.new; mv pid.new pid; exec sleep 1000"]).command();
    let mut make = make.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = until_some("the command", || fs::read_to_string(project.path().join("pid")).ok());
    killpg(Pid::from_raw(make.id().cast_signed()), Signal::SIGINT).unwrap();
    make.wait().unwrap();
    assert!(!Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn another_project_keeps_what_is_its_own() {
    let project = Project::new("first:\n\t@echo the first target\nsub/heavy:\n\t@echo heavy\n");
    assert_eq!(project.make::<&str>([]).ok(), "the first target\n");
    let id = project.start(["sub/heavy-bg"]);
    assert!(id.starts_with("sub_heavy_"), "{id}");
    assert_eq!(project.log_of(&id), "heavy\n");
    let record = project.end_of(&id);
    assert_eq!(record["log"], project.path().join(format!("logs/{id}.log")).to_str().unwrap());
    // Without the tools it says so, rather than a shell.
    let path = project.make(["first-bg"]).env("PATH", "/usr/bin:/bin");
    path.fails(2, &["bgrun is not on the PATH", "BGTOOLS_BIN"]);
}

#[test]
fn a_folder_of_any_name_and_a_makefile_of_any_name_work() {
    let project = Project::in_folder("it's a \"folder\" $x #1", "show:\n\t@pwd\n");
    fs::rename(project.path().join("Makefile"), project.path().join("other.mk")).unwrap();
    let said = project.make(["-f", "other.mk", "show-bg"]).env("PWD", "/").ok();
    let status = said.lines().nth(1).unwrap();
    let (_, command) = status.split_once(':').unwrap();
    let id = said.split_whitespace().next().unwrap();
    assert_eq!(project.log_of(id).trim_end(), project.path().to_str().unwrap());
    let table = project.run("sh", ["-c", command]).cwd("/").ok();
    assert!(table.contains("succeeded"), "{table}");
}

#[test]
fn strict_shells_and_strict_makes_are_content() {
    let strict = "SHELL := /bin/bash\n.SHELLFLAGS := -euo pipefail -c\n.ONESHELL:\nshow:\n\t@echo ran\n";
    let project = Project::new(strict);
    let id = project.start(["--warn-undefined-variables", "show-bg"]);
    assert_eq!(project.log_of(&id), "ran\n");
    let id = project.start(["--warn-undefined-variables", "jobs-run", "NAME=x", "CMD=[[ -n $0 ]] && echo bash"]);
    assert_eq!(project.log_of(&id), "bash\n");
    for args in [["jobs-status", "--warn-undefined-variables"], ["jobs-help", "-s"]] {
        project.make(args).ok();
    }
    project.make(["--warn-undefined-variables", "jobs-wait", "NAME=x"]).silent(0);
    let empty = Project::empty("project");
    here(&empty, ["--warn-undefined-variables", "-n", "all", "check", "install", "uninstall", "bench", "help"]).ok();
}
