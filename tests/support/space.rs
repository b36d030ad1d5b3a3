//! A pid namespace of a test's own: what other tests and the machine run isn't seen in it, and nothing outlives it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{Run, until_some};

/// Reaps what is left to it, as an init does, until it is killed.
const INIT: &str = "trap '' TERM HUP INT; sleep infinity & while kill -0 $!; do wait; done";

pub struct Space {
    unshare: Child,
    /// The namespace's first process, by its number outside.
    init: i32,
}

impl Space {
    pub fn new() -> Self {
        let mut command = Command::new("unshare");
        if !super::is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private", "bash", "-c", INIT]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let unshare = command.spawn().unwrap();
        let init = until_some("the namespace's first process", || {
            let children = format!("/proc/{0}/task/{0}/children", unshare.id());
            let init: i32 = fs::read_to_string(children).ok()?.trim().parse().ok()?;
            // Until its own /proc is mounted, number 1 in it is another; and it must be a bash that has begun to reap.
            let own = PathBuf::from(format!("/proc/{init}/root/proc/1"));
            let mounted = fs::read_link(own.join("ns/pid")).ok()? == fs::read_link(format!("/proc/{init}/ns/pid")).ok()?;
            let sleeper = fs::read_to_string(own.join("task/1/children")).ok()?;
            // What starts in the same clock tick as a job can't be told from what the job started.
            let stat = fs::read_to_string(format!("/proc/{init}/root/proc/{}/stat", sleeper.trim())).ok()?;
            let began: u64 = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
            let uptime = fs::read_to_string("/proc/uptime").ok()?.split(' ').next()?.replace('.', "");
            let over = uptime.parse::<u64>().ok()? > began + 1;
            (mounted && over && fs::read(own.join("comm")).ok()? == b"bash\n").then_some(init)
        });
        Self { unshare, init }
    }

    /// A program to run inside.
    pub fn run(&self, program: impl AsRef<OsStr>) -> Run {
        let mut run = Run::new("nsenter").arg("--target").arg(self.init.to_string());
        if !super::is_root() {
            run = run.arg("--user").arg("--preserve-credentials");
        }
        run.arg("--pid").arg("--mount").arg("--wdns=/").arg("--").arg(program)
    }

    /// The file of a process in `/proc`, by its number inside.
    pub fn proc(&self, pid: i32, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/proc/{pid}/{file}", self.init))
    }

    /// The number outside of a process with this number inside.
    pub fn outside(&self, pid: i32) -> i32 {
        let of = |entry: fs::DirEntry| {
            let outside: i32 = entry.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().last()?;
            let same = fs::read_link(entry.path().join("ns/pid")).ok()? == self.namespace();
            (same && inside.parse() == Ok(pid)).then_some(outside)
        };
        fs::read_dir("/proc").unwrap().find_map(|entry| of(entry.ok()?)).unwrap_or_else(|| panic!("no process {pid} inside"))
    }

    fn namespace(&self) -> PathBuf {
        fs::read_link(format!("/proc/{}/ns/pid", self.init)).unwrap()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // Its death is its child's, and that one's is everybody's inside.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}
