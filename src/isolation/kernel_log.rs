//! Whom the kernel says that it has killed for memory, `/dev/kmsg`, where it may be read; and how many, `/proc/vmstat`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use crate::sys;

/// A message is shorter than this: the kernel's `CONSOLE_EXT_LOG_MAX`.
const MESSAGE: usize = 8192;
/// The pid namespace of the kernel's own numbers: `PROC_PID_INIT_INO`.
const FIRST_PID_NS: u64 = 0xEFFF_FFFC;
/// The kernel's own messages have facility 0, and only it can write those.
const LEVELS: u32 = 8;
/// The log's clock and ours differ by less.
const SLACK: Duration = Duration::from_secs(1);

/// How often the kernel has killed a process for memory since boot, anywhere on this machine.
#[must_use]
pub fn machine_oom_kills() -> Option<u64> {
    const LINE: &[u8] = b"\noom_kill ";
    let vmstat = crate::process::proc_file("/proc/vmstat")?;
    let number = &vmstat[memchr::memmem::find(&vmstat, LINE)? + LINE.len()..];
    std::str::from_utf8(number.split(|b| *b == b'\n').next()?).ok()?.parse().ok()
}

/// The line that names process `pid` as killed for memory at most `ago`, waited for at most `patience`: the victim may be
/// gone before the line is there.
#[must_use]
pub fn killed_for_memory(pid: i32, ago: Duration, patience: Duration) -> Option<String> {
    if std::fs::metadata("/proc/self/ns/pid").ok()?.ino() != FIRST_PID_NS {
        return None;
    }
    let mut log = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
    let now: Duration = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).ok()?.into();
    let since_us = now.saturating_sub(ago + SLACK).as_micros();
    let until = Instant::now() + patience;
    loop {
        match read_on(&mut log, pid, since_us) {
            Ok(line) => return Some(line),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
        let left = i32::try_from(until.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(i32::MAX);
        if left == 0 || !sys::readable(&[log.as_fd()], left).is_ok_and(|ready| ready[0]) {
            return None;
        }
    }
}

/// Reads on to the line; `WouldBlock` at the log's end.
fn read_on(log: &mut File, pid: i32, since_us: u128) -> io::Result<String> {
    let mut message = [0; MESSAGE];
    loop {
        match log.read(&mut message) {
            Ok(length) => {
                if let Some(line) = named(&String::from_utf8_lossy(&message[..length]), pid, since_us) {
                    return Ok(line);
                }
            }
            // Overwritten while we read: the next read goes on with the oldest there is.
            Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
            Err(error) => return Err(error),
        }
    }
}

/// `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`, and lines of its own for what belongs to it.
fn named(message: &str, pid: i32, since_us: u128) -> Option<String> {
    let (head, text) = message.split_once(';')?;
    let mut head = head.split(',');
    let priority: u32 = head.next()?.parse().ok()?;
    let at_us: u128 = head.nth(1)?.parse().ok()?;
    let text = text.lines().next()?;
    let own = priority < LEVELS && at_us >= since_us && text.contains(&format!("Killed process {pid} ("));
    own.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernels_own_word_on_this_process_since_then_counts() {
        let line = "3,812,5000000,-;Out of memory: Killed process 42 (python) total-vm:9kB\n SUBSYSTEM=x\n";
        let text = "Out of memory: Killed process 42 (python) total-vm:9kB";
        assert_eq!(named(line, 42, 5_000_000).as_deref(), Some(text));
        assert!(named("3,9,7,-;Memory cgroup out of memory: Killed process 42 (a) x", 42, 7).is_some());
        assert_eq!(named(line, 4, 0), None);
        assert_eq!(named(line, 42, 5_000_001), None);
        assert_eq!(named("11,812,5000000,-;Killed process 42 (python)", 42, 0), None, "written by a user");
        assert_eq!(named("3,812,5000000,-;no", 42, 0), None);
    }
}
