//! Units and crontabs, as `make install` brings them: accepted by systemd and cron, and at work in real ones.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::make_install::files;
use crate::support::jobs::send;
use crate::support::run::bin_dir;
use crate::support::{Enclosed, Run, needs_root, path_of, root, scratch, until, until_some};

/// What `make install` puts below /usr/local, in this folder.
fn install(dest: &Path) {
    let bin = dest.join("bin");
    fs::create_dir_all(&bin).unwrap();
    for tool in files(&root().join("src/bin")) {
        let tool = tool.file_stem().unwrap().to_str().unwrap().to_owned();
        // Without what only a debugger reads.
        assert!(Command::new("strip").arg("-o").arg(bin.join(&tool)).arg(path_of(&tool)).status().unwrap().success());
    }
    let run = Run::new("make").cwd(root()).args(["install", "PREFIX=/usr/local"]).arg(format!("DESTDIR={}", dest.display()));
    run.env("BGTOOLS_BIN", bin).ok();
}

#[test]
fn systemd_accepts_every_unit() {
    let scratch = scratch();
    let mut units = Vec::new();
    for folder in ["contrib/systemd", "examples/auto-pipeline"] {
        for file in files(&root().join(folder)) {
            let name = file.to_str().unwrap();
            if !name.ends_with(".service") && !name.ends_with(".timer") {
                continue;
            }
            let text = fs::read_to_string(root().join(folder).join(name)).unwrap();
            // The tools needn't be installed for this.
            let tools = format!("={}/", bin_dir().display());
            let text = text.replace("=bg", &format!("{tools}bg")).replace("=-bg", &format!("=-{}/bg", bin_dir().display()));
            let text = text.replace("=resgate", &format!("{tools}resgate")).replace("=ckpt-", &format!("{tools}ckpt-"));
            let unit = format!("./{}", name.replace('@', "@tmp"));
            fs::write(scratch.path().join(name), &text).unwrap();
            fs::write(scratch.path().join(&unit), &text).unwrap();
            units.push(unit);
        }
    }
    assert!(units.len() >= 6, "{units:?}");
    for manager in ["--system", "--user"] {
        // An unknown key only warns, so anything on stderr is a failure: `silent` states both.
        Run::new("systemd-analyze")
            .args([manager, "verify", "--man=no"])
            .args(&units)
            .cwd(scratch.path())
            .env("XDG_RUNTIME_DIR", scratch.path())
            .silent(0);
    }
}

/// The timer with its gate, units of jobs, and what a machine goes on with that was killed in the midst of it.
#[test]
fn the_units_at_work_and_after_a_crash_of_the_machine() {
    if !needs_root("boots a container with systemd") {
        return;
    }
    let dir = scratch();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (shared, machine) = (dir.path().join("shared"), dir.path().join("machine"));
    install(&shared);
    fs::copy(root().join("tests/lab/units-in-systemd"), shared.join("check")).unwrap();
    fs::rename(shared.join("usr/local"), shared.join("local")).unwrap();
    let boot = || Run::new(root().join("tests/lab/nspawn")).arg(&shared).args(["--", "bash", "/w/check"]).env("KEEP", &machine);
    let said = boot().arg("before").env("KILL", "1").ok();
    assert_eq!(said, BEFORE.trim_start(), "{said}");
    let said = boot().arg("after").ok();
    assert_eq!(said, AFTER.trim_start(), "{said}");
}

const BEFORE: &str = "
ran: inactive success
kept 5
closed: inactive exec-condition
broken: failed exit-code
no run
auto-pipeline.service
again: inactive success
the timer of a user
root stopped: cancelled, success
root killed: cancelled
as_u1 stopped: cancelled, success
as_u1 killed: cancelled
failed: 3
gated: no job
gated: room again
a run at work
";

const AFTER: &str = "
goes on: /var/lib/auto-pipeline
goes on: /var/lib/every
goes on: /home/u1/every
goes on: /home/u1/.config/auto-pipeline
recovered: active success
2 records
";

#[test]
fn cron_accepts_every_line() {
    let text = fs::read_to_string(root().join("contrib/cron/crontab")).unwrap();
    // What is offered in comments, too.
    let job = |line: &&str| line.starts_with('@') || line.contains(" * ");
    let jobs: Vec<&str> = text.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).filter(job).collect();
    assert!(jobs.len() >= 6, "{text}");
    let scratch = scratch();
    for (name, tab) in [("all", jobs.join("\n") + "\n"), ("as offered", text.clone())] {
        fs::write(scratch.path().join(name), tab).unwrap();
        let ran = Run::new("crontab").arg("-n").arg(scratch.path().join(name)).run();
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    // The tools have the options that the lines give them.
    for job in jobs {
        let tool = ["bgrun", "ckpt-rotate", "resgate"].into_iter().find(|tool| job.contains(tool)).unwrap();
        let options = job.split_once(tool).unwrap().1.split([';', '&', '|']).next().unwrap();
        let options = options.split(" -- ").next().unwrap().split_whitespace();
        let ran = Run::new(path_of(tool)).args(options).arg("--help").run();
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{job}: {ran:?}");
    }
}

/// The home directory of a user of cron's, and what arrives there.
struct Home(PathBuf);

impl Home {
    fn pipeline(&self) -> PathBuf {
        self.0.join("pipeline")
    }

    fn gate(&self, place: &str) {
        symlink(place, self.0.join("new")).unwrap();
        fs::rename(self.0.join("new"), self.pipeline().join("gate")).unwrap();
    }

    fn ticks(&self) -> usize {
        fs::read(self.0.join("ticks")).map_or(0, |text| text.len())
    }

    /// Waits for so many further minutes of cron's.
    fn minutes(&self, count: usize) {
        let wanted = self.ticks() + count;
        until("the next minutes", || self.ticks() >= wanted);
    }

    fn curve(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.pipeline().join("curve.tsv")).unwrap_or_default();
        text.lines().map(|line| line.split('\t').next().unwrap().parse().unwrap()).collect()
    }

    fn mails(&self) -> Vec<String> {
        let mails = files(&self.0.join("mails")).into_iter().filter(|name| !name.to_str().unwrap().starts_with('.'));
        mails.map(|name| fs::read_to_string(self.0.join("mails").join(name)).unwrap()).collect()
    }

    /// The runs that there are at this moment.
    fn runs(&self) -> Vec<i32> {
        let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_one = |pid: &i32| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            words.starts_with(b"python3\0/usr/local/share/bgtools/examples/auto-pipeline/run.py\0")
                && fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == self.pipeline())
        };
        numbers.filter(is_one).collect()
    }
}

/// The line of the example in the real cron, whose minutes are seconds: one run at a time, and a mail only of trouble.
#[test]
fn the_pipeline_in_cron() {
    if !needs_root("cron -f needs mounts of its own") {
        return;
    }
    let jobs = Enclosed::new();
    let home = Home(jobs.path("home"));
    fs::create_dir_all(home.pipeline()).unwrap();
    fs::create_dir(home.0.join("mails")).unwrap();
    home.gate("/");
    let dest = jobs.path("dest");
    install(&dest);
    fs::create_dir(dest.join("usr/sbin")).unwrap();
    let sendmail = dest.join("usr/sbin/sendmail");
    let mails = home.0.join("mails").display().to_string();
    fs::write(&sendmail, format!("#!/bin/sh\ncat > {mails}/.$$ && mv {mails}/.$$ {mails}/$$\n")).unwrap();
    fs::set_permissions(sendmail, fs::Permissions::from_mode(0o755)).unwrap();

    // As installed, but for the minutes, for what the gate measures, and for a line that counts.
    let line = fs::read_to_string(dest.join("usr/local/share/bgtools/examples/auto-pipeline/crontab")).unwrap();
    let line = line.replace("*/3 * * * * ", "* * * * * ").replace("'resgate 2>", "'resgate --min-disk 1M:gate 2>");
    let tab = format!("HOME={}\n{line}* * * * * printf . >> ticks\n", home.0.display());
    assert!(tab.contains("\n* * * * * cd ~/pipeline") && tab.contains("1M:gate"), "{tab}");
    fs::write(jobs.path("tab"), tab).unwrap();
    let lab = jobs.space.run(root().join("tests/lab/cron-private")).arg(jobs.path("tab"));
    let mut cron = lab.env("SPEED", "60").env("MINE", "1").env("OVER", dest.join("usr")).command();
    let log = fs::File::create(jobs.path("cron.log")).unwrap();
    let mut cron = cron.stdout(log.try_clone().unwrap()).stderr(log).process_group(0).spawn().unwrap();

    // A run that takes long is waited for by none and joined by none.
    let run = until_some("a run that stands still", || {
        let pid = *home.runs().first()?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGSTOP).ok()?;
        until("its stop or its end", || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z', 'X']))
        });
        home.runs().contains(&pid).then_some(pid)
    });
    let environ = String::from_utf8(fs::read(format!("/proc/{run}/environ")).unwrap()).unwrap();
    let (lines, runs) = (home.curve(), home.runs());
    home.minutes(3);
    assert_eq!((home.runs(), home.curve()), (runs, lines.clone()));
    send(run, Signal::SIGCONT);
    until("two more runs", || home.curve().len() >= lines.len() + 2);
    // Nothing of whoever started cron, and the tools were found.
    let known = ["HOME", "LOGNAME", "PATH", "SHELL", "PWD", "OLDPWD", "LANG", "LC_ALL"];
    let mut names = environ.split_terminator('\0').map(|entry| entry.split_once('=').unwrap().0);
    assert!(names.all(|name| known.contains(&name)), "{environ:?}");
    assert!(environ.split('\0').any(|entry| entry == "PATH=/usr/local/bin:/usr/bin:/bin"), "{environ:?}");

    // A closed gate: no run and no word.
    home.gate("/proc");
    home.minutes(1);
    until("the end of the last run", || home.runs().is_empty());
    let lines = home.curve();
    home.minutes(3);
    assert_eq!((home.curve(), home.mails()), (lines, Vec::<String>::new()));

    // A broken one, and a run that fails: each is mailed with its reason.
    let mailed = |words: &str| until(words, || home.mails().iter().any(|mail| mail.contains(words)));
    home.gate("/nowhere/at/all");
    mailed("resgate: unknown: disk: cannot measure 'gate'");
    fs::rename(home.pipeline().join("ckpts"), home.pipeline().join("away")).unwrap();
    fs::write(home.pipeline().join("ckpts"), "").unwrap();
    home.gate("/");
    mailed("FileExistsError");
    cron.kill().unwrap();
    cron.wait().unwrap();
    let steps = home.curve();
    assert!(steps.iter().enumerate().all(|(run, step)| *step == 300 * (run as u64 + 1)), "{steps:?}");
    let mail = home.mails().remove(0);
    assert!(mail.contains("\nSubject: Cron <root@") && mail.contains("\nTo: root"), "{mail}");
}

/// An orderly shutdown: systemd ends every process, and what had runs to come goes on at the next boot.
#[test]
fn a_shutdown_is_no_cancel_of_what_had_runs_to_come() {
    if !needs_root("boots a container with systemd") {
        return;
    }
    let dir = scratch();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (shared, machine) = (dir.path().join("shared"), dir.path().join("machine"));
    fs::create_dir(&shared).unwrap();
    for name in ["bgrun", "bgstatus"] {
        fs::copy(path_of(name), shared.join(name)).unwrap();
    }
    let boot = |script: &str| {
        let script = format!("export BGTOOLS_DIR=/var/lib/jobs; {script}");
        Run::new(root().join("tests/lab/nspawn")).arg(&shared).args(["--", "bash", "-c", &script]).env("KEEP", &machine).ok()
    };
    let work = "[ $BG_JOB_RUN -gt 1 ] || { echo > /var/lib/works; exec sleep 600; }";
    boot(&format!(
        "/w/bgrun -q -n again --restart always --max-runs 2 --backoff 10ms -- sh -c '{work}'; /w/bgrun -q -n once -- sleep 600; \
         /w/bgrun -q -n ticks --every 1h -- true; until [ -e /var/lib/works ]; do sleep 0.02; done"
    ));
    let said = boot("/w/bgrun --recover | cut -d' ' -f2-3; /w/bgstatus --wait again; /w/bgstatus -o state again ticks");
    assert!(
        said.starts_with("started again:\nstarted again:\n") && said.contains("succeeded") && said.contains("waiting"),
        "{said}"
    );
}
