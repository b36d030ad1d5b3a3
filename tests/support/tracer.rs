//! Kills a process at its n-th system call, whichever that is: a tracer that follows a program and all its children.
//!
//! strace can do it by the name of a call, but in every process at once. Here the one meant is told by its generation: 0 is
//! the program, 1 its first child, 2 that one's first child, and so on.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Where and whom to kill.
#[derive(Clone, Copy, Debug)]
pub struct Shot {
    pub generation: usize,
    /// The call that is never made, from 1.
    pub nth: usize,
    /// Kill all that are traced with it, at once.
    pub everybody: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Told {
    /// Whether the process meant came that far.
    pub fired: bool,
    /// Whether it had exec'd something by then.
    pub executed: bool,
    /// How the program itself ended.
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `command` with all its children to their ends, and kills as told.
pub fn shoot(command: Command, shot: Shot) -> Told {
    // A tracer is a thread: the kernel lets its tracees go when it ends.
    thread::spawn(move || Hunt::new(&command, shot).until_the_end()).join().unwrap()
}

/// Watches a process that runs already, from another thread, and kills it at its `nth` system call from then on, the one it
/// is in being the first; gives whether it came that far before its next exec, at which it is let go.
///
/// `ready` is called when nothing escapes any more.
pub fn shoot_at(pid: i32, nth: usize, ready: impl FnOnce()) -> bool {
    let pid = Pid::from_raw(pid);
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(pid, options).unwrap();
    ptrace::interrupt(pid).unwrap();
    let (mut ready, mut calls, mut inside) = (Some(ready), 0, true);
    loop {
        match waitpid(pid, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::PtraceSyscall(_)) => {
                inside = !inside;
                calls += usize::from(inside);
                if inside && calls == nth {
                    kill(pid, Signal::SIGKILL).unwrap();
                }
                go_on(pid, None);
            }
            Ok(WaitStatus::PtraceEvent(_, _, event)) if event == libc::PTRACE_EVENT_EXEC => {
                ptrace::detach(pid, None).unwrap();
                return false;
            }
            Ok(WaitStatus::PtraceEvent(..)) => {
                // The interrupt: the call that it was in is begun anew.
                inside = false;
                go_on(pid, None);
                if let Some(ready) = ready.take() {
                    ready();
                }
            }
            Ok(WaitStatus::Stopped(_, signal)) => go_on(pid, Some(signal)),
            Ok(WaitStatus::Signaled(..)) => return true,
            Ok(WaitStatus::Exited(..)) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

struct Hunt {
    shot: Shot,
    root: Pid,
    /// Each tracee's generation, and whether it is inside a call.
    tracees: HashMap<Pid, Tracee>,
    /// New processes whose parent hasn't been heard of yet.
    early: Vec<Pid>,
    status: Option<ExitStatus>,
    fired: bool,
    executed: bool,
    outputs: [File; 2],
}

#[derive(Default)]
struct Tracee {
    generation: usize,
    calls: usize,
    children: usize,
    inside: bool,
    /// The program itself counts once it has been exec'd.
    counts: bool,
    executed: bool,
}

impl Hunt {
    #[expect(clippy::zombie_processes, reason = "the tracer waits for it with all the others")]
    fn new(command: &Command, shot: Shot) -> Self {
        let outputs = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        let mut waiting = Command::new("/bin/sh");
        waiting.args(["-c", r#"kill -STOP $$; exec "$@""#, "sh"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => waiting.env(name, value),
                None => waiting.env_remove(name),
            };
        }
        let [out, err] = outputs.each_ref().map(|file| file.try_clone().unwrap());
        let child = waiting.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
        let root = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert!(matches!(waitpid(root, Some(WaitPidFlag::WUNTRACED)), Ok(WaitStatus::Stopped(..))));
        let follow = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
        let options = follow | Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC;
        ptrace::seize(root, options).unwrap();
        kill(root, Signal::SIGCONT).unwrap();
        let tracees = HashMap::from([(root, Tracee::default())]);
        Self { shot, root, tracees, early: Vec::new(), status: None, fired: false, executed: false, outputs }
    }

    fn until_the_end(mut self) -> Told {
        while !self.tracees.is_empty() {
            match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Ok(status) => self.hear(status),
                Err(Errno::ECHILD) => break,
                Err(Errno::EINTR) => {}
                Err(error) => panic!("waitpid: {error}"),
            }
        }
        let [stdout, stderr] = self.outputs.map(|mut file| {
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            text
        });
        Told { fired: self.fired, executed: self.executed, status: self.status.unwrap(), stdout, stderr }
    }

    fn hear(&mut self, status: WaitStatus) {
        match status {
            WaitStatus::Exited(pid, code) => self.gone(pid, ExitStatus::from_raw(code << 8)),
            WaitStatus::Signaled(pid, signal, _) => self.gone(pid, ExitStatus::from_raw(signal as i32)),
            WaitStatus::PtraceSyscall(pid) => {
                self.call(pid);
                go_on(pid, None);
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == libc::PTRACE_EVENT_EXEC {
                    let tracee = self.tracees.entry(pid).or_default();
                    (tracee.counts, tracee.executed) = (true, true);
                } else if event == libc::PTRACE_EVENT_STOP {
                    if !self.tracees.contains_key(&pid) {
                        self.early.push(pid);
                        return;
                    }
                } else if let Ok(child) = ptrace::getevent(pid) {
                    self.born(pid, Pid::from_raw(i32::try_from(child).unwrap()));
                }
                go_on(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => go_on(pid, Some(signal)),
            _ => {}
        }
    }

    fn born(&mut self, parent: Pid, child: Pid) {
        let parent = self.tracees.get_mut(&parent).unwrap();
        parent.children += 1;
        // Only first children are told by their generation; the others are followed and left alone.
        let generation = if parent.children == 1 { parent.generation + 1 } else { usize::MAX / 2 };
        self.tracees.insert(child, Tracee { generation, counts: true, ..Tracee::default() });
        if let Some(at) = self.early.iter().position(|early| *early == child) {
            self.early.remove(at);
            go_on(child, None);
        }
    }

    fn call(&mut self, pid: Pid) {
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        tracee.inside = !tracee.inside;
        if !tracee.inside || !tracee.counts || tracee.generation != self.shot.generation || self.fired {
            return;
        }
        tracee.calls += 1;
        if tracee.calls == self.shot.nth {
            (self.fired, self.executed) = (true, tracee.executed);
            let whom: Vec<Pid> =
                if self.shot.everybody { self.tracees.keys().chain(&self.early).copied().collect() } else { vec![pid] };
            for pid in whom {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }

    fn gone(&mut self, pid: Pid, status: ExitStatus) {
        self.tracees.remove(&pid);
        if pid == self.root {
            self.status = Some(status);
        }
    }
}

/// Lets a stopped tracee run to its next call; one that was killed meanwhile is heard of by its end.
fn go_on(pid: Pid, signal: Option<Signal>) {
    match ptrace::syscall(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("ptrace: {error}"),
    }
}
