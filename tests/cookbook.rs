//! The recipes of bgtools-cookbook(7): what stands there is run as it stands, and shows what the page says.
//!
//! A recipe's blocks and lines are taken apart by name, so that one which no test uses doesn't compile without a warning.
//! `mail`, `crontab`, `systemctl` and `loginctl` are stand-ins that keep what they are given; systemd's part in the timer
//! is its own check of the units, and their `ExecStart` run in an environment as bare as its own.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::support::jobs::{alive, send};
use crate::support::{Enclosed, Gpus, Jobs, Run, Running, bin_dir, needs_root, root, until, until_some};

/// A recipe: its literal blocks, and the single lines that it shows of what is seen.
struct Recipe<const B: usize, const S: usize> {
    blocks: [String; B],
    shown: [String; S],
}

fn page() -> PathBuf {
    root().join("man/bgtools-cookbook.7")
}

/// The recipes with their blocks and shown lines.
fn recipes() -> Vec<(String, Vec<String>, Vec<String>)> {
    let text = fs::read_to_string(page()).unwrap();
    let mut recipes: Vec<(String, Vec<String>, Vec<String>)> = Vec::new();
    let mut literal: Option<String> = None;
    for line in text.lines() {
        if let Some(block) = &mut literal {
            if line == ".Ed" {
                recipes.last_mut().unwrap().1.push(literal.take().unwrap());
            } else {
                assert!(!line.starts_with('.'), "{line}");
                // Pasted from a terminal each line brings the page's indent: no here-document would end.
                block.extend(["           ", plain(line).as_str(), "\n"]);
            }
        } else if let Some(title) = line.strip_prefix(".Ss ") {
            recipes.push((title.to_owned(), Vec::new(), Vec::new()));
        } else if let Some(shown) = line.strip_prefix(".Dl ") {
            recipes.last_mut().unwrap().2.push(plain(shown));
        } else if line.starts_with(".Bd ") {
            assert_eq!(line, ".Bd -literal -offset indent");
            literal = Some(String::new());
        }
    }
    recipes
}

/// Without the escapes of mdoc.
fn plain(line: &str) -> String {
    let line = line.replace("\\e", "\0").replace("\\&", "");
    assert!(!line.contains('\\'), "an escape that the tests don't know: {line}");
    line.replace('\0', "\\")
}

#[track_caller]
fn recipe<const B: usize, const S: usize>(title: &str) -> Recipe<B, S> {
    let (_, blocks, shown) = recipes().into_iter().find(|(name, ..)| name == title).unwrap();
    let (blocks, shown) = (blocks.try_into().unwrap(), shown.try_into().unwrap());
    Recipe { blocks, shown }
}

#[test]
fn there_are_twelve_and_each_is_run() {
    let source = fs::read_to_string(root().join("tests/cookbook.rs")).unwrap();
    let recipes = recipes();
    assert_eq!(recipes.len(), 12);
    for (title, blocks, _) in &recipes {
        assert!(!blocks.is_empty(), "{title}: no commands");
        assert_eq!(source.matches(&format!("= recipe(\"{title}\");")).count(), 1, "{title}: one test");
    }
    assert_eq!(source.matches("= recipe(\"").count(), 12, "a test of no recipe");
}

/// What a reader sees and pastes is what the tests run.
#[test]
fn the_page_shows_each_block_as_it_is_run() {
    let shown = Run::new("mandoc").args(["-Tascii", "-Owidth=160"]).arg(page()).ok();
    let shown: Vec<&str> = shown.lines().map(str::trim).collect();
    for (title, blocks, lines) in recipes() {
        for line in blocks.iter().flat_map(|block| block.lines()).chain(lines.iter().map(String::as_str)) {
            assert!(shown.contains(&line.trim()), "{title}: {line:?} is shown otherwise");
            assert!(!line.contains('\t'), "{title}: a tab is pasted as spaces: {line:?}");
        }
    }
}

/// A text in which times, ids and counts are alike, and so is the space between columns.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for c in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        match c {
            c if !c.is_ascii_digit() => shape.push(c),
            _ if !shape.ends_with('0') => shape.push('0'),
            _ => {}
        }
    }
    // The second job of a name within a second has a number behind its time.
    shape.replace("_0_0_0", "_0_0")
}

/// That a line of `text` looks like the one that the page shows.
#[track_caller]
fn shows(text: &str, shown: &str) {
    assert!(text.lines().any(|line| shape(line) == shape(shown)), "no line like {shown:?} in:\n{text}");
}

/// A program of this text.
fn program(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Somebody's home below a test's folder: a project in it, a folder of stand-ins before the tools on the PATH.
struct Home(PathBuf);

impl Home {
    /// Its jobs directory, where it is by default, is the one of the test.
    fn new(top: &Path, jobs: &Path) -> Self {
        let home = Self(top.to_owned());
        for folder in ["bin", "home/proj", "home/.local/state"] {
            fs::create_dir_all(top.join(folder)).unwrap();
        }
        symlink(jobs, top.join("home/.local/state/bgtools")).unwrap();
        fs::create_dir_all(jobs).unwrap();
        fs::set_permissions(jobs, Permissions::from_mode(0o700)).unwrap();
        home
    }

    fn home(&self) -> PathBuf {
        self.0.join("home")
    }

    /// A file of the project.
    fn proj(&self, name: &str) -> PathBuf {
        self.home().join("proj").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.proj(name)).unwrap_or_default()
    }

    fn path(&self) -> String {
        format!("{}:{}:/usr/local/bin:/usr/bin:/bin", self.0.join("bin").display(), bin_dir().display())
    }

    /// A program of the project.
    fn own(&self, name: &str, text: &str) {
        program(&self.proj(name), text);
    }

    /// A stand-in on the PATH.
    fn stand_in(&self, name: &str, text: &str) {
        program(&self.0.join("bin").join(name), text);
    }

    /// A crontab of this home, in place of the user's.
    fn crontab(&self) {
        let list = r#"[ "$1" = - ] || { cat ~/tab 2> /dev/null && exit; echo no crontab >&2; exit 1; }"#;
        self.stand_in("crontab", &format!("{list}\ncat > ~/new; mv ~/new ~/tab"));
    }

    /// A program that finds itself in the project.
    fn at(&self, run: Run) -> Run {
        let state = self.home().join(".local/state");
        run.cwd(self.proj("")).env("HOME", self.home()).env("PATH", self.path()).env("XDG_STATE_HOME", state)
    }
}

/// A home, and the jobs that are started in it.
struct Desk {
    jobs: Jobs,
    home: Home,
}

impl Desk {
    fn new() -> Self {
        let jobs = Jobs::new();
        let home = Home::new(jobs.tmp(), &jobs.dir());
        Self { jobs, home }
    }

    /// These lines, pasted into a shell.
    fn paste(&self, block: &str) -> Run {
        self.home.at(self.jobs.owned(Run::new("sh"))).args(["-c", block])
    }

    /// Pastes lines that start one job and print nothing but its id.
    #[track_caller]
    fn starts(&self, block: &str) -> String {
        let said = self.paste(block).ok();
        assert_eq!(said.lines().count(), 1, "{said}");
        said.trim_end().to_owned()
    }

    /// A program in an environment as bare as that of cron and of a user's systemd.
    fn bare(&self, words: &[&str]) -> Run {
        let mark = format!("BGTOOLS_TEST={}", self.jobs.tmp().display());
        let home = format!("HOME={}", self.home.home().display());
        Run::new("env").args(["-i", &mark, &home, "PATH=/usr/bin:/bin"]).args(words).cwd(self.home.home())
    }
}

#[test]
fn nightly_training_from_a_timer() {
    let Recipe { blocks: [install, morning], shown: [row] } = recipe("Nightly training from a timer");
    let desk = Desk::new();
    for name in ["systemctl", "loginctl"] {
        desk.home.stand_in(name, &format!("echo {name} \"$@\" >> ~/told"));
    }
    desk.home.own("train.sh", "[ ! -e hold ] || { echo holds; exec sleep 600; }");
    desk.paste(&install).silent(0);
    let told = fs::read_to_string(desk.home.home().join("told")).unwrap();
    assert_eq!(told, "loginctl enable-linger\nsystemctl --user enable --now nightly.timer\n");

    let units = desk.home.home().join(".config/systemd/user");
    let verify = Run::new("systemd-analyze").args(["verify", "--man=no", "./nightly.service", "./nightly.timer"]);
    verify.cwd(&units).silent(0);
    let unit = fs::read_to_string(units.join("nightly.service")).unwrap();
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap();
    let start: Vec<&str> = value("ExecStart").split(' ').collect();
    let service = || desk.bare(&start).cwd(value("WorkingDirectory"));
    let id = service().ok();
    assert_eq!(desk.jobs.ended(id.trim())["state"], "succeeded");
    shows(&desk.paste(&morning).ok(), &row);

    // A stop of the unit: SIGTERM to its main process alone.
    fs::write(desk.home.proj("hold"), "").unwrap();
    let mut running = Running::start(service().command());
    let id = running.first_line("the id");
    until("the training", || desk.jobs.log(&id).contains("holds"));
    running.signal(15);
    let code = running.end("the service's end").code().unwrap().to_string();
    assert_eq!(code, value("SuccessExitStatus"));
    assert_eq!(desk.jobs.ended(&id)["state"], "cancelled");
}

const TRAIN: &str = r#"#!/usr/bin/env python3
import glob, json, os, struct, sys
resume = sys.argv[sys.argv.index("--resume") + 1]
step = 0
if resume:
    with open(glob.glob(resume + "/*.safetensors")[0], "rb") as file:
        step = int(json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))["__metadata__"]["step"])
os.makedirs("out", exist_ok=True)
head = json.dumps({"__metadata__": {"step": str(step + 1)}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})
with open("out/model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(head)) + head.encode() + struct.pack("<2f", step, step))
with open("steps", "a") as file:
    file.write(f"{step + 1}\n")
"#;

#[test]
fn gate_train_rotate() {
    let Recipe { blocks: [start], shown: [saved] } = recipe("Gate, train, rotate");
    let desk = Desk::new();
    fs::write(desk.home.proj("train.py"), TRAIN).unwrap();
    let id = desk.starts(&start);
    until("the first round's end", || desk.jobs.state(&id) == "waiting");
    shows(&desk.jobs.log(&id), &saved);
    desk.jobs.tool("bgcancel").args(["-q", &id]).silent(0);

    let stock = || {
        let entries = fs::read_dir(desk.home.proj("ckpts")).unwrap().map(|entry| entry.unwrap().path());
        let mut stock: Vec<PathBuf> =
            entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("ckpt_")).collect();
        stock.sort_by_key(|path| fs::metadata(path.join("model.safetensors")).unwrap().modified().unwrap());
        stock
    };
    // Each round has a day of its own; what is two minutes old may be rotated.
    let a_day_passes = |round: u32| {
        fs::rename(stock().last().unwrap(), desk.home.proj(&format!("ckpts/ckpt_202511{round:02}_120300"))).unwrap();
        for entry in walkdir::WalkDir::new(desk.home.proj("ckpts")) {
            let file = File::open(entry.unwrap().path()).unwrap();
            let then = file.metadata().unwrap().modified().unwrap();
            file.set_modified(then - Duration::from_secs(24 * 3600)).unwrap();
        }
    };
    for round in 1..=6 {
        a_day_passes(round);
        let ran = desk.paste("./round.sh").run();
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert_eq!((desk.home.read("steps").as_str(), stock().len()), ("1\n2\n3\n4\n5\n6\n7\n", 5));
    // The newest is cut short: the one before it is gone on from, and none is pushed out by it.
    File::options().write(true).open(stock()[4].join("model.safetensors")).unwrap().set_len(20).unwrap();
    a_day_passes(7);
    let ran = desk.paste("./round.sh").run();
    assert!(ran.code == Some(0) && desk.home.read("steps").ends_with("\n7\n7\n"), "{ran:?}");
    for unit in stock() {
        fs::write(unit.join("model.safetensors"), "").unwrap();
    }
    let ran = desk.paste("./round.sh").run();
    assert!(ran.code == Some(1) && desk.home.read("steps").ends_with("\n7\n7\n"), "{ran:?}");
}

#[test]
fn resume_after_reboot() {
    let Recipe { blocks: [start], shown: [mailed] } = recipe("Resume after reboot");
    let desk = Desk::new();
    desk.home.crontab();
    let train = "import os, signal\nprint(os.environ['DATA'], flush=True)\nos.environ['BG_JOB_RUN'] == '1' and signal.pause()\n";
    fs::write(desk.home.proj("train.py"), train).unwrap();
    let said = desk.paste(&start).env("DATA", "/mnt/data").ok();
    let id = said.trim_end();
    until("the training", || desk.jobs.log(id) == "/mnt/data\n");

    desk.jobs.kill_supervisor(id);
    let pid = desk.jobs.pid(id);
    send(pid, Signal::SIGKILL);
    until("the command's end", || !alive(pid));
    desk.jobs.edit(id, |record| record["boot_id"] = "00000000-0000-0000-0000-000000000000".into());
    let tab = fs::read_to_string(desk.home.home().join("tab")).unwrap();
    let command = tab.strip_prefix("@reboot ").unwrap();
    shows(&desk.bare(&["sh", "-c", command]).ok(), &mailed);
    let record = desk.jobs.ended(id);
    assert_eq!((&record["state"], &record["run"]), (&json!("succeeded"), &json!(2)));
    assert!(desk.jobs.log(id).ends_with("\n/mnt/data\n"), "{}", desk.jobs.log(id));
}

#[test]
fn a_five_million_item_pass() {
    let Recipe { blocks: [start, look], shown: [done] } = recipe("A five-million-item pass");
    let desk = Desk::new();
    let items: Vec<String> = (0..3000).map(|n| format!("item {n}")).collect();
    fs::write(desk.home.proj("all.txt"), items.join("\n") + "\n").unwrap();
    let work = "n=0; while read -r item; do echo \"$item\" >> worked; echo \"$item\"; n=$((n + 1)); \
                [ \"$BG_JOB_RUN $n\" != '1 1000' ] || kill -KILL $$; done";
    desk.home.own("work", work);
    let id = desk.starts(&start);
    let record = desk.jobs.ended(&id);
    assert_eq!((&record["state"], &record["run"]), (&json!("succeeded"), &json!(2)), "{}", desk.jobs.log(&id));
    shows(&desk.paste(&look).ok(), &done);
    let worked = desk.home.read("worked");
    assert_eq!(worked.lines().collect::<Vec<_>>(), items, "each once, though the first run was killed");
}

#[test]
fn two_gpus_six_jobs() {
    let Recipe { blocks: [start, look], shown: [queued] } = recipe("Two GPUs, six jobs");
    let desk = Desk::new();
    let gpus = Gpus::new("gpu 0 8000 ok\ngpu 0 8000 ok\n");
    desk.home.own("fit", "echo \"$1 $CUDA_VISIBLE_DEVICES\" >> begun; read -r _ < \"gate-$1\"");
    for seed in 1..=6 {
        mkfifo(&desk.home.proj(&format!("gate-{seed}")), Mode::S_IRWXU).unwrap();
    }
    let mut paste = desk.paste(&start);
    for (name, value) in gpus.resgate().command().get_envs() {
        if let Some(value) = value.filter(|_| name != "LC_ALL") {
            paste = paste.env(name, value);
        }
    }
    let ids = paste.ok();
    let begun = |count: usize| {
        until_some("the next fit", || {
            let lines: Vec<(String, String)> = desk
                .home
                .read("begun")
                .lines()
                .filter_map(|line| line.split_once(' '))
                .map(|(a, b)| (a.into(), b.into()))
                .collect();
            (lines.len() >= count).then_some(lines)
        })
    };
    let first = begun(2);
    let mut cards = [first[0].1.as_str(), first[1].1.as_str()];
    cards.sort_unstable();
    assert_eq!(cards, ["0", "1"]);
    shows(&desk.paste(&look).ok(), &queued);
    for done in 0..6 {
        let now = begun((done + 2).min(6));
        assert_eq!(now.len(), (done + 2).min(6), "two at a time: {now:?}");
        // Whoever comes has the card of whoever went.
        assert!(done + 2 > 6 || now[done].1 != now[done + 1].1, "{now:?}");
        // In turn: the older of the two that run is let go.
        fs::write(desk.home.proj(&format!("gate-{}", now[done].0)), "\n").unwrap();
        let id = ids.lines().find(|id| id.starts_with(&format!("fit-{}_", now[done].0))).unwrap();
        assert_eq!(desk.jobs.ended(id)["state"], "succeeded");
    }
}

#[test]
fn stop_everything_of_mine() {
    let Recipe { blocks: [stop], shown: [gone] } = recipe("Stop everything of mine");
    let desk = Desk::new();
    let script = "setsid sleep 600 & echo begun; exec sleep 600";
    let fit = desk.jobs.start(["-n", "fit", "--queue", "q", "--", "sh", "-c", script]);
    let next = desk.jobs.start(["-n", "next", "--queue", "q", "--", "touch", desk.home.proj("next").to_str().unwrap()]);
    let after = desk.jobs.start(["-n", "after", "--after-any", "fit", "--", "touch", desk.home.proj("next").to_str().unwrap()]);
    let ticks = desk.jobs.start(["-n", "ticks", "--every", "1h", "--", "true"]);
    until("the work", || desk.jobs.log(&fit) == "begun\n" && desk.jobs.state(&ticks) == "waiting");

    let said = desk.paste(&stop).ok();
    shows(&said, &gone);
    for id in [&fit, &next, &after, &ticks] {
        assert!(said.contains(&format!("{id} would-cancel\n")) && said.contains(&format!("{id} cancelled\n")), "{said}");
        let record = desk.jobs.ended(id);
        assert_eq!(record["state"], "cancelled");
        assert!(record["reason"].as_str().unwrap().ends_with(": the machine is needed"), "{record:#}");
    }
    assert_eq!(desk.jobs.processes(), [0; 0]);
    assert_eq!((&desk.jobs.record(&next)["run"], &desk.jobs.record(&after)["run"]), (&json!(0), &json!(0)));
    assert!(!desk.home.proj("next").exists(), "what waited was started by the end of what it waited for");
}

#[test]
fn mail_me_when_it_fails() {
    let Recipe { blocks: [start], shown: [subject] } = recipe("Mail me when it fails");
    let desk = Desk::new();
    desk.home.stand_in("mail", "{ printf '%s\\n' \"$@\"; cat; } > ~/mail");
    let mail = desk.home.home().join("mail");
    desk.home.own("train.sh", "echo epoch 1");
    let id = desk.starts(&start);
    assert_eq!(desk.jobs.ended(&id)["state"], "succeeded");
    assert!(!mail.exists());
    desk.home.own("train.sh", "seq 30; echo CUDA error >&2; exit 3");
    let id = desk.starts(&start);
    let record = desk.jobs.ended(&id);
    assert_eq!((&record["state"], &record["evidence"]["hooks"]), (&json!("failed"), &json!(["--on-fail: exit 0"])));
    let mail = fs::read_to_string(mail).unwrap();
    let lines: Vec<&str> = mail.lines().collect();
    assert_eq!((lines[0], shape(lines[1]), lines[2]), ("-s", shape(&subject), "me"));
    assert_eq!((lines[1], lines.len()), (format!("{id}: failed").as_str(), 23));
    assert_eq!((lines[3], lines[22]), ("12", "CUDA error"));
}

#[test]
fn find_what_died_of_memory() {
    let Recipe { blocks: [proved, perhaps], shown: [row, line] } = recipe("Find what died of memory");
    if !needs_root("makes control groups") {
        return;
    }
    let desk = Desk::new();
    let run = |name: &str, options: &[&str], script: &str| {
        let id = desk.jobs.start([&["-n", name], options, &["--", "sh", "-c", script]].concat());
        desk.jobs.ended(&id);
        id
    };
    let limit = ["--memory-max", "40M"];
    let hog = run("hog", &limit, "exec tail /dev/zero");
    let shot = run("shot", &[], "kill -KILL $$");
    let child = run("child", &limit, "tail /dev/zero; exit 7");
    run("good", &[], "true");
    run("bad", &[], "exit 137");

    let said = desk.paste(&proved).ok();
    shows(&said, &row);
    assert_eq!((said.lines().count(), said.contains(&hog)), (2, true), "{said}");
    let said = desk.paste(&perhaps).ok();
    shows(&said, &line);
    let mut found: Vec<&str> = said.lines().map(|line| line.split(' ').next().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, [child.as_str(), &hog, &shot], "{said}");
}

#[test]
fn from_tmux_over_ssh() {
    let Recipe { blocks: [start, look], shown: [] } = recipe("From tmux over SSH");
    if !needs_root("starts an sshd of its own") {
        return;
    }
    let jobs = Enclosed::new();
    let home = Home::new(jobs.scratch(), &jobs.dir());
    let at = |name: &str| jobs.path(name).to_str().unwrap().to_owned();
    fs::set_permissions(jobs.scratch(), Permissions::from_mode(0o700)).unwrap();
    for key in ["host", "user"] {
        Run::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]).ok();
    }
    // The other machine: an sshd that serves one connection over its standard streams.
    let sshd = format!(
        "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nLogLevel ERROR\n\
         SetEnv BGTOOLS_DIR={} PATH={}\n",
        at("host"),
        at("user.pub"),
        jobs.dir().display(),
        home.path()
    );
    fs::write(at("sshd_config"), sshd).unwrap();
    let config = format!(
        "Host gpu1\n  User root\n  IdentityFile {}\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  BatchMode yes\n  \
         LogLevel ERROR\n  ProxyCommand sh -c 'mkdir -p /run/sshd; exec /usr/sbin/sshd -i -f {}'\n",
        at("user"),
        at("sshd_config")
    );
    fs::write(at("ssh_config"), config).unwrap();
    home.stand_in("ssh", &format!("exec /usr/bin/ssh -F '{}' \"$@\"", at("ssh_config")));
    mkfifo(&home.proj("gate"), Mode::S_IRWXU).unwrap();
    home.own("train.sh", "echo epoch 1; read -r _ < gate; echo epoch 2");

    let tmux = |args: &[&str]| {
        let run = home.at(jobs.space.run("tmux")).arg("-S").arg(jobs.path("socket")).args(["-f", "/dev/null"]).args(args);
        run.env("SHELL", "/bin/sh").env("TERM", "xterm")
    };
    // Behind nsenter the working directory is the root.
    tmux(&["new-session", "-d", "-x", "200", "-y", "50", "-c", home.proj("").to_str().unwrap(), "bash --norc"]).ok();
    tmux(&["send-keys", "-l", &start]).ok();
    let id = until_some("the id on the screen", || {
        let screen = tmux(&["capture-pane", "-p"]).ok();
        screen.lines().find(|line| line.starts_with("train_")).map(str::to_owned)
    });
    tmux(&["kill-server"]).ok();
    let mut follows = Running::start(home.at(jobs.space.run("sh")).args(["-c", &look]).command());
    assert_eq!(follows.first_line("the log over ssh"), "epoch 1");
    // The first look's connection breaks; the next one sees it all.
    follows.kill();
    let mut follows = Running::start(home.at(jobs.space.run("sh")).args(["-c", &look]).command());
    assert_eq!(follows.first_line("the log over ssh"), "epoch 1");
    assert_eq!(jobs.state(&id), "running");
    fs::write(home.proj("gate"), "\n").unwrap();
    assert_eq!(follows.end("the end of the log").code(), Some(0), "{:?}", follows.stderr());
    until("the rest of the log", || follows.stdout() == ["epoch 1", "epoch 2"]);
    assert_eq!(jobs.state(&id), "succeeded");
}

#[test]
fn from_make_j() {
    let Recipe { blocks: [start], shown: [error] } = recipe("From make -j");
    let desk = Desk::new();
    // The first two come only to an end beside each other.
    let fit = "echo \"begin $1\" >> marks; case $1 in [12]) until grep -q 'begin 1' marks && grep -q 'begin 2' marks; \
               do sleep 0.01; done;; esac; echo \"end $1\" >> marks; [ \"$1\" != 3 ] || exit 3";
    desk.home.own("fit", fit);
    let ran = desk.paste(&start).run();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    shows(&ran.stderr, &error);
    assert!(!ran.stderr.contains("jobserver"), "{ran:?}");
    let marks = desk.home.read("marks");
    let mut at_work = 0;
    for mark in marks.lines() {
        at_work += if mark.starts_with("begin") { 1 } else { -1 };
        assert!(at_work <= 2, "{marks}");
    }
    for (n, state) in [(1, "succeeded"), (2, "succeeded"), (3, "failed"), (4, "succeeded")] {
        assert_eq!(desk.jobs.state(&format!("fit-{n}")), state);
    }
}

/// The real cron, a little before the time.
#[test]
fn from_cron_with_a_clean_environment() {
    let Recipe { blocks: [install], shown: [refused] } = recipe("From cron with a clean environment");
    if !needs_root("cron -f needs mounts of its own") {
        return;
    }
    let jobs = Enclosed::new();
    // Where the line in the table says.
    let home = Home::new(jobs.scratch(), &jobs.dir());
    fs::create_dir(home.proj("tmp")).unwrap();
    symlink(jobs.dir(), home.proj("tmp/jobs")).unwrap();
    home.crontab();
    fs::write(home.home().join("tab"), "MAILTO=\"\"\n").unwrap();
    home.own("train.sh", "env > env; exec sleep 600");
    home.at(Run::new("sh")).args(["-c", &install]).env("NOISE", "1").silent(0);

    let tab = fs::read_to_string(home.home().join("tab")).unwrap();
    assert!(tab.starts_with("MAILTO=\"\"\n"), "what was there stays: {tab}");
    let line = tab.lines().find(|line| line.starts_with("30 3 ")).unwrap();
    // The system's tables name the user as well.
    let command = line.strip_prefix("30 3 * * * ").unwrap();
    fs::write(jobs.path("cron.d"), tab.replace(line, &format!("30 3 * * * root {command}"))).unwrap();
    let cron = jobs.space.run(root().join("tests/lab/cron-private")).arg(jobs.path("cron.d"));
    let mut cron = cron.env("SPEED", "30").env("CLOCK", "@2025-11-29 03:29:05").env("NOISE", "1").command();
    let mut cron = cron.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    until("the training", || {
        home.read("env").contains("\nBG_JOB_NAME=nightly\n") || home.read("env").starts_with("BG_JOB_NAME=")
    });
    cron.kill().unwrap();
    cron.wait().unwrap();
    let env = home.read("env");
    assert!(env.lines().any(|line| line == format!("PATH={}", home.path())), "{env}");
    assert!(!env.contains("NOISE") && !env.contains("FAKETIME"), "{env}");

    // The next night, with the variables of the table and no others.
    let given = tab.lines().filter(|line| line.starts_with("PATH=") || line.starts_with("BGTOOLS_DIR="));
    let next = jobs.space.run("env").arg("-i").args(given).args(["/bin/sh", "-c", command]).run();
    assert_eq!((next.code, next.stdout.as_str(), shape(&next.stderr)), (Some(75), "", shape(&refused)));
    jobs.cancel(&["-q", "nightly"]).silent(0);
}

#[test]
fn share_a_machine_with_others() {
    let Recipe { blocks: [start, claims], shown: [row] } = recipe("Share a machine with others");
    if !needs_root("makes control groups") {
        return;
    }
    let desk = Desk::new();
    symlink("/usr/bin/sleep", desk.home.proj("fit")).unwrap();
    let paste = |block: &str| desk.paste(block).env("BGTOOLS_CLAIM_DIR", desk.jobs.path("claims"));
    let id = paste(&start).ok().trim_end().to_owned();
    let list = until_some("the claim", || Some(paste(&claims).ok()).filter(|list| list.contains("./fit 30")));
    let me = Run::new("id").arg("-un").ok();
    // What is used so soon is anything.
    let alike = |line: &str| {
        let (head, tail) = line.split_once('(')?;
        Some(shape(head) + tail.split_once(" used)")?.1.trim())
    };
    let wanted = row.replace("eve", me.trim()).replacen("  ", " ", 9);
    let found = list.lines().filter_map(alike).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let wanted = alike(&wanted).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(found.collect::<Vec<_>>(), [wanted], "{list}");

    let pid = desk.jobs.pid(&id).to_string();
    let before: i32 = Run::new("nice").ok().trim().parse().unwrap();
    let of_process = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let nice = of_process.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap();
    assert_eq!(nice, (before + 10).min(19).to_string());
    assert_eq!(Run::new("ionice").args(["-p", &pid]).ok(), "idle\n");
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(groups.contains("/bgrun-"), "{groups}");
    desk.jobs.tool("bgcancel").args(["-q", &id]).silent(0);
    assert_eq!(paste(&claims).ok().lines().filter(|line| line.contains("fit")).count(), 0);
}
