//! `make dist`, `make deb` and `make demo`: what is given to others, and what it does there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::make_install::expected;
use crate::support::run::bin_dir;
use crate::support::{Run, needs_root, root, scratch};

fn git(dir: &Path, args: &[&str]) -> String {
    let who = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"];
    Run::new("git").cwd(dir).args(who).args(args).env("GIT_CONFIG_GLOBAL", "/dev/null").ok()
}

/// The project as it is now, committed to a repository of its own.
fn clone(into: &Path) -> PathBuf {
    let tree = into.join("tree");
    fs::create_dir(&tree).unwrap();
    git(&tree, &["init", "-q"]);
    let work = format!("--work-tree={}", root().display());
    git(&tree, &["--git-dir=.git", &work, "add", "-A", root().to_str().unwrap()]);
    git(&tree, &["--git-dir=.git", &work, "commit", "-qm", "all"]);
    git(&tree, &["reset", "-q", "--hard"]);
    tree
}

#[test]
fn the_source_is_the_same_bytes_each_time() {
    let scratch = scratch();
    let tree = clone(scratch.path());
    let dist = |umask: &str| {
        let made = Run::new("sh").cwd(&tree).args(["-c", &format!("umask {umask}; make dist")]).ok();
        fs::read(tree.join(made.trim_end())).unwrap()
    };
    let first = dist("022");
    fs::remove_dir_all(tree.join("target")).unwrap();
    assert!(first == dist("077"));

    let version = env!("CARGO_PKG_VERSION");
    Run::new("tar").cwd(scratch.path()).arg("-xzf").arg(tree.join(format!("target/dist/bgtools-{version}.tar.gz"))).ok();
    let there = scratch.path().join(format!("bgtools-{version}"));
    Run::new("diff").args(["-r", "-x", ".git", "-x", "target"]).args([&tree, &there]).silent(0);
    // It is a whole project, that needs no git.
    let to = format!("DESTDIR={}", scratch.path().join("installed").display());
    Run::new("make").cwd(&there).args(["install", &to]).env("BGTOOLS_BIN", bin_dir()).ok();

    fs::write(tree.join("README.md"), "changed").unwrap();
    let refused = Run::new("make").cwd(&tree).arg("dist").run();
    assert!(refused.code == Some(2) && refused.stderr.starts_with("dist: there are changes"), "{refused:?}");
}

/// The package installed, used and removed in a Debian of its own.
#[test]
fn a_debian_package_from_install_to_removal() {
    if !needs_root("a root of its own") {
        return;
    }
    let scratch = scratch();
    let out = format!("DEB_DIR={}", scratch.path().display());
    let made = Run::new("make").cwd(root()).args(["deb", &out]).env("BGTOOLS_BIN", bin_dir()).run();
    assert_eq!(made.code, Some(0), "{made:?}");
    let [deb] = &fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>()[..] else {
        panic!("one package: {made:?}")
    };

    let listed = Run::new("dpkg-deb").arg("-c").arg(deb).ok();
    let mut packed: Vec<PathBuf> =
        listed.lines().filter(|line| line.starts_with('-')).map(|line| line.split("./").nth(1).unwrap().into()).collect();
    packed.sort();
    // By Debian's habits: pages and changes compressed, zsh's functions where its zsh looks, the licence beside them.
    let named = |path: PathBuf| {
        let path = path.to_str().unwrap().replace("zsh/site-functions", "zsh/vendor-completions");
        PathBuf::from(if path.contains("/man/") || path.ends_with("changelog") { path + ".gz" } else { path })
    };
    let mut wanted: Vec<PathBuf> = expected().into_iter().map(named).collect();
    wanted.push("usr/share/doc/bgtools/copyright".into());
    wanted.sort();
    assert_eq!(packed, wanted);

    let said = Run::new(root().join("tests/lab/deb-in-debian")).arg(deb).ok();
    let mut lines: Vec<&str> = said.lines().collect();
    let depends = lines.remove(1);
    assert!(depends.starts_with("Depends: libc6 (>= "), "{depends}");
    let wanted = [
        "Status: install ok installed",
        "job: from x",
        "BGRUN(1)",
        "BGCANCEL(1)",
        "BGSTATUS(1)",
        "RESGATE(1)",
        "CKPT-ROTATE(1)",
        "PROGRESS-MARK(1)",
        "/usr/share/man/man5/bgtools-record.5.gz",
        "/usr/share/man/man7/bgtools.7.gz",
        "bash: complete -o bashdefault -o default -o nosort -F _bgrun_also bgrun",
        "zsh: _bgrun",
        "fish: --name",
        "swap-extend -s SIZE [--dry-run] [FILE]    FILE (/swap.img) is SIZE (512M, 8G), in use, and in /etc/fstab",
        "left: ",
        "lost: ",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn the_demo_shows_all_six() {
    let scratch = scratch();
    let demo = Run::new("make").cwd(root()).arg("demo").env("BGTOOLS_BIN", bin_dir()).env("PAUSE", "0");
    let ran = demo.env("TMPDIR", scratch.path()).run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let seen = [
        "running",
        "cancelled by",
        "the demo says so",
        "\n40\n",
        "(exit 3)",
        "no such column",
        " lost ",
        "64 MiB",
        "(exit 75)",
        "keep    step_300.safetensors",
        "\nckpts/step_300.safetensors\n",
    ];
    for words in seen {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
    // What it read about is all that it says on stderr: nothing failed on the way.
    let complaints: Vec<&str> = ran.stderr.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(complaints, ["resgate", "ckpt-rotate"], "{ran:?}");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}
