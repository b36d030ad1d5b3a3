//! `/proc/PID/stat`, `proc_pid_stat(5)`.

use std::fs;

use super::Identity;

/// What the kernel says of a process in one line.
#[derive(Clone, Debug)]
pub struct Stat {
    /// Field 1.
    pub pid: i32,
    /// Field 2, without its parentheses.
    pub comm: String,
    /// Field 3: `R`, `S`, `D`, `T`, `Z`…
    pub state: char,
    /// Field 4.
    pub ppid: i32,
    /// Field 5.
    pub pgid: i32,
    /// Field 6.
    pub sid: i32,
    /// Field 9: it was forked and has not exec'd anything.
    pub forked_only: bool,
    /// Fields 14 and 15: user and system time of its own, in clock ticks.
    pub cpu_ticks: u64,
    /// Fields 16 and 17: the same of the children that it has waited for.
    pub children_ticks: u64,
    /// Field 22: the start, in clock ticks since boot.
    pub start_ticks: u64,
    /// Fields 23 and 27: it has memory and no code in it yet, so that it is in the middle of `execve(2)`.
    pub in_exec: bool,
}

impl Stat {
    /// Reads the line of process `pid`; `None` when there is none.
    #[must_use]
    pub fn read(pid: i32) -> Option<Self> {
        Self::parse(&super::proc_file(&format!("/proc/{pid}/stat"))?)
    }

    /// The name may hold anything, parentheses and spaces included: the last `)` ends it.
    fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let (head, tail) = line.rsplit_once(')')?;
        let (pid, comm) = head.split_once(" (")?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let id = |field: usize| fields.get(field - 3)?.parse::<i32>().ok();
        // `PF_FORKNOEXEC` of the kernel's `sched.h`, as old as `/proc`.
        let forked_only = number(9)? & 0x40 != 0;
        Some(Self {
            pid: pid.parse().ok()?,
            comm: comm.to_owned(),
            state: fields.first()?.chars().next()?,
            ppid: id(4)?,
            pgid: id(5)?,
            sid: id(6)?,
            forked_only,
            cpu_ticks: number(14)? + number(15)?,
            children_ticks: number(16)? + number(17)?,
            start_ticks: number(22)?,
            in_exec: number(23).is_some_and(|bytes| bytes > 0) && number(27) == Some(0),
        })
    }

    /// The process as it is named in records.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        Identity { pid: self.pid, start_ticks: self.start_ticks }
    }

    /// Ended, and only waiting to be reaped.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Every process of this pid namespace, as far as `/proc` shows it; the dead ones too.
#[must_use]
pub fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(Stat::read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_newlines_is_no_trap() {
        let line = b"42 (a) R 1 (x\n) S 1 42 42 0 -1 4194560 1 0 0 0 7 5 0 0 20 0 1 0 123456 1 1\n";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.pid, stat.state, stat.ppid, stat.cpu_ticks, stat.start_ticks), (42, 'S', 1, 12, 123_456));
        assert_eq!(stat.comm, "a) R 1 (x\n");
        assert!(!stat.in_exec);
        let line = b"42 (sh) R 1 42 42 0 -1 4194304 1 0 0 0 7 5 0 0 20 0 1 0 123456 139264 1 18446744073709551615 0 0 0 0 0\n";
        assert!(Stat::parse(line).unwrap().in_exec);
    }

    #[test]
    fn this_process_is_among_all() {
        let own = Identity::own();
        assert!(all().iter().any(|stat| stat.identity() == own) && own.alive());
    }
}
