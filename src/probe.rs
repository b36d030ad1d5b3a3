//! Asking what may never answer: the question is put in a child with a deadline.
//!
//! A hung GPU driver or a dead file server leaves the asking process in uninterruptible sleep, where no signal reaches
//! it. So a child asks, and is left behind when the deadline is past. It writes its answers as lines of JSON, each as
//! soon as it has it, so that what was answered before the hang counts.
//!
//! The child keeps nothing of its parent's: a descriptor in a process that can't be killed would hold a claim, a place
//! in the queue or the reader of a pipe for ever (RACES 21).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, pipe2};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys;

/// A child that asks.
pub struct Probe {
    child: Pid,
    answers: File,
    deadline: Instant,
    limit: Duration,
    text: Vec<u8>,
}

/// How the asking ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// The child said all it had to say.
    Whole,
    /// The deadline passed first.
    Late(Duration),
    /// The child died, or said what can't be read.
    Broken,
}

/// Where the child's answers go, a line each.
pub struct Answers(File);

impl Answers {
    /// Sends one answer. That the parent no longer listens is nobody's to hear.
    pub fn say(&mut self, answer: &impl Serialize) {
        if let Ok(mut line) = serde_json::to_vec(answer) {
            line.push(b'\n');
            let _ = self.0.write_all(&line);
        }
    }
}

/// The line that ends a whole answer; a child that died midway never sends it.
const WHOLE: &[u8] = b"\"whole\"";

impl Probe {
    /// Starts a child that runs `work` and has `limit` from now on to answer.
    ///
    /// # Errors
    /// When there is no process or no descriptor left for it.
    pub fn start(limit: Duration, work: impl FnOnce(&mut Answers)) -> io::Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        let deadline = Instant::now() + limit;
        match sys::fork()? {
            ForkResult::Child => {
                // A panic must not run on in the parent's frames. It leaves the answer unfinished, which says enough.
                let _ = catch_unwind(AssertUnwindSafe(|| ask(write, work)));
                sys::exit_now()
            }
            ForkResult::Parent { child } => {
                drop(write);
                Ok(Self { child, answers: File::from(read), deadline, limit, text: Vec::new() })
            }
        }
    }

    /// Waits for the answers, until the deadline at most.
    #[must_use]
    pub fn finish<T: DeserializeOwned>(mut self) -> (Vec<T>, Ending) {
        let late = !self.read_to_end();
        let mut whole = false;
        let mut answers = Vec::new();
        for line in self.text.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { continue };
            match serde_json::from_slice(line) {
                _ if line == WHOLE => whole = true,
                Ok(answer) => answers.push(answer),
                Err(_) => return (answers, Ending::Broken),
            }
        }
        let ending = match (whole, late) {
            (true, _) => Ending::Whole,
            (false, true) => Ending::Late(self.limit),
            (false, false) => Ending::Broken,
        };
        (answers, ending)
    }

    /// Reads until the child has said all; `false` when the deadline passed first.
    fn read_to_end(&mut self) -> bool {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            // Rounded up: a poll that returns a moment early would only be repeated.
            let ms = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            if !sys::readable(&[self.answers.as_fd()], ms).is_ok_and(|ready| ready[0]) {
                if left.is_zero() {
                    return false;
                }
                continue;
            }
            let mut chunk = [0; 4096];
            match self.answers.read(&mut chunk) {
                Ok(0) => return true,
                Ok(n) => self.text.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
    }
}

impl Drop for Probe {
    /// Ends the child, so that a command that takes this process's place has no child it never started. One in
    /// uninterruptible sleep isn't waited for: it dies when its call returns, and holds nothing of ours.
    fn drop(&mut self) {
        let pid = self.child.as_raw();
        let _ = kill(self.child, Signal::SIGKILL);
        if let Ok(pidfd) = sys::pidfd_open(pid) {
            let _ = sys::readable(&[pidfd.as_fd()], 50);
        }
        let _ = sys::reap(pid);
    }
}

fn ask(pipe: OwnedFd, work: impl FnOnce(&mut Answers)) {
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    keep_only(&pipe);
    let mut answers = Answers(File::from(pipe));
    work(&mut answers);
    let _ = answers.0.write_all(WHOLE).and_then(|()| answers.0.write_all(b"\n"));
}

/// Closes every descriptor but the pipe; the standard ones become `/dev/null`.
fn keep_only(pipe: &OwnedFd) {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null));
    }
    let _ = sys::close_all_but(&[pipe.as_raw_fd()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn answers_come_in_order() {
        let probe = Probe::start(LIMIT, |answers| (1..=3).for_each(|n| answers.say(&n))).unwrap();
        assert_eq!(probe.finish::<u32>(), (vec![1, 2, 3], Ending::Whole));
    }

    #[test]
    fn what_was_answered_before_a_hang_counts() {
        let limit = Duration::from_millis(100);
        let probe = Probe::start(limit, |answers| {
            answers.say(&1);
            loop {
                std::thread::park();
            }
        });
        assert_eq!(probe.unwrap().finish::<u32>(), (vec![1], Ending::Late(limit)));
    }

    #[test]
    fn a_child_that_dies_is_no_answer() {
        let probe = Probe::start(LIMIT, |_| sys::exit_now()).unwrap();
        assert_eq!(probe.finish::<u32>(), (vec![], Ending::Broken));
    }
}
