//! Completions: committed as they are generated, and asked of the real shells, which have no terminal here.

mod generate;

use std::fs;
use std::path::Path;

use crate::support::catalogue::tools;
use crate::support::run::bin_dir;
use crate::support::{Run, root, scratch, tool};

/// `UPDATE=1` rewrites them.
#[test]
fn the_committed_completions_are_the_generated_ones() {
    let update = std::env::var_os("UPDATE").is_some_and(|value| value == "1");
    let mut stale = Vec::new();
    for tool in tools() {
        for (file, text) in generate::all(&tool) {
            let path = root().join("completions").join(&file);
            if update {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, text).unwrap();
            } else if fs::read_to_string(&path).ok().as_deref() != Some(text.as_str()) {
                stale.push(file);
            }
        }
    }
    assert!(stale.is_empty(), "out of date, UPDATE=1 rewrites them: {}", stale.join(" "));
}

#[derive(Clone, Copy, Debug)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// What the shell offers at the end of this line, told of jobs by `dir` as `$BGTOOLS_DIR`.
fn candidates(shell: Shell, line: &str, dir: &Path) -> Vec<String> {
    let home = scratch();
    let (program, script) = match shell {
        Shell::Bash => ("bash", include_str!("completions/ask.bash")),
        Shell::Zsh => ("zsh", include_str!("completions/ask.zsh")),
        Shell::Fish => ("fish", include_str!("completions/ask.fish")),
    };
    let file = home.path().join("ask");
    fs::write(&file, script).unwrap();
    let path = std::env::join_paths([bin_dir(), "/usr/local/bin".into(), "/usr/bin".into(), "/bin".into()]).unwrap();
    let plain: &[&str] = match shell {
        Shell::Bash => &["--norc", "--noprofile"],
        Shell::Zsh => &["-f"],
        Shell::Fish => &["--no-config"],
    };
    let asked = Run::new(program)
        .args(plain)
        .arg(&file)
        .arg(line)
        .arg(root().join("completions"))
        .env("PATH", path)
        .env("HOME", home.path())
        .env("ZDOTDIR", home.path())
        .env("XDG_CONFIG_HOME", home.path().join("config"))
        .env("XDG_DATA_HOME", home.path().join("data"))
        .env("BGTOOLS_DIR", dir)
        .env("TERM", "xterm")
        .cwd(home.path())
        .run();
    assert_eq!(asked.code, Some(0), "{shell:?}: {asked:?}");
    assert!(!home.path().join("hit").exists(), "{shell:?} ran a word that it completed");
    // fish follows a candidate with its description.
    asked.stdout.lines().map(|line| line.split('\t').next().unwrap().trim_end().to_owned()).collect()
}

#[track_caller]
fn offers(shell: Shell, line: &str, dir: &Path, wanted: &[&str], unwanted: &[&str]) {
    let found = candidates(shell, line, dir);
    for word in wanted {
        assert!(found.iter().any(|candidate| candidate == word), "{shell:?} doesn't offer {word} at {line:?}: {found:?}");
    }
    for word in unwanted {
        assert!(found.iter().all(|candidate| candidate != word), "{shell:?} offers {word} at {line:?}: {found:?}");
    }
}

#[test]
fn each_shell_offers_the_options() {
    let dir = scratch();
    for shell in SHELLS {
        for tool in tools() {
            let long: Vec<String> =
                tool.command().get_arguments().filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect();
            let long: Vec<&str> = long.iter().map(String::as_str).collect();
            offers(shell, &format!("{} --", tool.name), dir.path(), &long, &[]);
        }
        offers(shell, "bgstatus --state succ", dir.path(), &["succeeded"], &["failed"]);
    }
}

/// A jobs directory with one live and one ended job; the live one is stopped when it is dropped.
struct Lab(tempfile::TempDir, String, String);

impl Lab {
    fn new() -> Self {
        let dir = scratch();
        let start = |args: &[&str]| tool("bgrun").arg("--dir").arg(dir.path()).args(args).ok().trim().to_owned();
        let ended = start(&["-w", "-n", "tally", "--", "true"]);
        let live = start(&["-n", "学習", "--", "sleep", "1000"]);
        Self(dir, live, ended)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = tool("bgcancel").arg("--dir").arg(self.path()).args(["-a", "-g", "0"]).run();
    }
}

#[test]
fn each_shell_offers_jobs_by_name_and_id() {
    let lab = Lab::new();
    let Lab(_, live, ended) = &lab;
    for shell in SHELLS {
        offers(shell, "bgstatus ", lab.path(), &[live, ended, "学習", "tally"], &["STATE", "ID", "NAME"]);
        offers(shell, "bgstatus --wait tal", lab.path(), &[ended, "tally"], &[live, "学習"]);
        offers(shell, "bgcancel ", lab.path(), &[live, "学習"], &[ended, "tally"]);
    }
}

/// What a record says is data: a name that is a command is neither run by the TAB key nor offered to be run.
#[test]
fn a_hostile_record_is_no_command() {
    let dir = scratch();
    let good = "good_20251129_120300";
    for name in ["$(touch hit)", "`touch hit`", "a;touch hit", "good"] {
        let id = format!("{name}_20251129_120300");
        let record = bgtools::record::Record { id: id.clone(), name: name.into(), ..crate::formats::full_record() };
        fs::write(dir.path().join(format!("{id}.json")), bgtools::record::line(&record)).unwrap();
    }
    for shell in SHELLS {
        offers(shell, "bgstatus ", dir.path(), &[good], &["$(touch", "$(touch hit)", "`touch", "a;touch", "hit"]);
    }
}

#[test]
fn the_directory_of_the_command_line_is_asked() {
    let lab = Lab::new();
    let elsewhere = scratch();
    let other = elsewhere.path().join("no such directory");
    for shell in SHELLS {
        for given in [format!("--dir {}", lab.path().display()), format!("--dir={}", lab.path().display())] {
            offers(shell, &format!("bgstatus {given} "), &other, &[&lab.1, "tally"], &[]);
        }
        let given = format!("bgcancel --dir {} ", elsewhere.path().display());
        offers(shell, &given, lab.path(), &[], &[&lab.1, "学習"]);
    }
}

#[test]
fn each_shell_completes_the_command_of_a_job() {
    let dir = scratch();
    for shell in SHELLS {
        offers(shell, "bgrun -n x setsi", dir.path(), &["setsid"], &[]);
        offers(shell, "bgrun --name=x -- setsi", dir.path(), &["setsid"], &[]);
    }
}
