//! scripts/test-deps and scripts/check-shell: what they say, and when they change the machine.
//!
//! Not tested: a real installation, which would change the machine; a program of apt-get's name stands for it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{Run, needs_root, root, scratch};

/// A project with the real scripts and these packages.
fn project(packages: &str) -> TempDir {
    let scratch = scratch();
    for folder in ["scripts", "tests", "bin", ".ci"] {
        fs::create_dir(scratch.path().join(folder)).unwrap();
    }
    for script in ["test-deps", "check-shell"] {
        fs::copy(root().join("scripts").join(script), scratch.path().join("scripts").join(script)).unwrap();
    }
    fs::write(scratch.path().join("tests/packages.txt"), packages).unwrap();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
    scratch
}

fn program(project: &TempDir, name: &str, script: &str) {
    let path = project.path().join("bin").join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
}

fn script(project: &TempDir, name: &str) -> Run {
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", project.path().join("bin").display());
    Run::new(project.path().join("scripts").join(name)).cwd("/").env("PATH", path)
}

#[test]
fn nothing_is_done_when_all_is_there() {
    let project = project("# a comment\ncoreutils   # as everywhere\n\nmake # for make\n");
    program(&project, "apt-get", "echo called >&2; exit 1");
    script(&project, "test-deps").silent(0);
}

#[test]
fn root_is_told_what_is_installed() {
    if !needs_root("installing packages") {
        return;
    }
    let project = project("coreutils\nbgtools-none  # for the moon\nbgtools-nil\n");
    // The archive knows them only after an update, as on a fresh machine.
    let log = project.path().join("log");
    program(&project, "apt-get", &format!("echo \"$@\" >>{0}; [ \"$1\" = update ] || grep -q update {0}", log.display()));
    let said = script(&project, "test-deps").ok();
    assert_eq!(said, "scripts/test-deps: installing bgtools-none (for the moon)\nscripts/test-deps: installing bgtools-nil\n");
    let install = "install -y --no-install-recommends bgtools-none bgtools-nil\n";
    assert_eq!(fs::read_to_string(&log).unwrap(), format!("{install}update\n{install}"));
    // Root misses nothing silently.
    program(&project, "apt-get", "echo no such package >&2; exit 100");
    let ran = script(&project, "test-deps").run();
    assert!(ran.code == Some(100) && ran.stderr.contains("no such package"), "{ran:?}");
}

#[test]
fn an_ordinary_user_is_told_what_is_missing() {
    if !needs_root("becoming somebody else") {
        return;
    }
    let project = project("coreutils\nbgtools-none  # for the moon\n");
    program(&project, "apt-get", "echo called >&2; exit 1");
    let nobody = Run::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    let said = nobody.arg(project.path().join("scripts/test-deps")).ok();
    assert_eq!(
        said,
        "scripts/test-deps: bgtools-none is missing (for the moon)\n\
         scripts/test-deps: to install: bgtools-none: run scripts/test-deps as root\n"
    );
}

#[test]
fn every_shell_script_is_checked() {
    let project = project("");
    script(&project, "check-shell").silent(0);
    for name in ["bin/not-looked-at", ".ci/run", "scripts/two words", "tests/lab.sh"] {
        let path = project.path().join(name);
        fs::write(&path, "#!/bin/sh\necho $1\n").unwrap();
        let ran = script(&project, "check-shell").run();
        let looked_at = Path::new(name).parent() != Some(Path::new("bin"));
        assert_eq!(ran.code == Some(0), !looked_at, "{name}: {ran:?}");
        assert_eq!(ran.stdout.contains("SC2086"), looked_at, "{name}: {ran:?}");
        fs::remove_file(path).unwrap();
    }
    fs::write(project.path().join("scripts/tool.py"), "#!/usr/bin/env python3\nprint($1)\n").unwrap();
    script(&project, "check-shell").silent(0);
}
