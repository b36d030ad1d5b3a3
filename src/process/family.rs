//! Which processes belong to a job.
//!
//! Those that descend from its command, and those that bear its key in their environment, wherever they went. A job that
//! was started from inside is a job of its own: the search stops at supervisors and at any other job's key.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::look::{Look, Settled};
use super::{Identity, Mark, Stat, all};

/// How often the numbers given out meanwhile are looked at: on a machine that forks all the time some pass finds a pause.
const MOST_PASSES: usize = 500;

/// A job's processes, looked up afresh at each call.
#[derive(Clone, Debug)]
pub struct Family {
    /// The job's key.
    pub key: String,
    /// A process whose children all belong to the job: its supervisor, seen from itself.
    pub supervisor: Option<i32>,
    /// Processes that are known to belong to it, checked by start time.
    pub known: Vec<Identity>,
    /// The directory of the job's own control group, where it has one: who is in it can have cleaned what it likes.
    pub group: Option<PathBuf>,
}

impl Family {
    /// The living members. That there is none is certain, however fast they fork, unless the whole machine forks without
    /// a pause.
    #[must_use]
    pub fn members(&self) -> Vec<Stat> {
        let mut look = Look::new();
        for _ in 0..MOST_PASSES {
            let members = self.now(&mut look);
            if !members.is_empty() {
                return members;
            }
            if look.go_on() == Settled::Yes {
                break;
            }
        }
        self.now(&mut look)
    }

    fn now(&self, look: &mut Look) -> Vec<Stat> {
        let group = self.group.as_deref().map(super::group_members).unwrap_or_default();
        look.add(&group);
        self.among(&look.seen, &group)
    }

    fn among(&self, seen: &[(Stat, Mark)], group: &[i32]) -> Vec<Stat> {
        let own = crate::sys::pid();
        let marks: HashMap<i32, &Mark> = seen.iter().map(|(p, mark)| (p.pid, mark)).collect();
        let bears_key = |pid: i32| matches!(marks.get(&pid), Some(Mark::Job(key)) if key == self.key.as_bytes());
        let another = |pid: i32| matches!(marks.get(&pid), Some(Mark::Supervisor(_) | Mark::Job(_))) && !bears_key(pid);
        let known = |p: &Stat| self.known.contains(&p.identity());
        let processes = || seen.iter().map(|(p, _)| p);

        let mut inside: HashSet<i32> = processes().filter(|p| known(p) || bears_key(p.pid)).map(|p| p.pid).collect();
        inside.extend(self.supervisor);
        if !group.is_empty() {
            // A job that was started in the group may have stayed in it, and may have cleaned its children as well.
            let foreign = |pid: i32| match marks.get(&pid) {
                Some(Mark::Supervisor(key) | Mark::Job(key)) => key != self.key.as_bytes(),
                _ => false,
            };
            let mut foreigners = processes().map(|p| p.pid).filter(|pid| foreign(*pid)).collect();
            descend(seen, &mut foreigners, |pid| !bears_key(pid));
            inside.extend(group.iter().filter(|pid| !foreigners.contains(pid)));
        }
        descend(seen, &mut inside, |pid| !another(pid));
        let member = |p: &Stat| inside.contains(&p.pid) && !p.is_dead() && p.pid != own && Some(p.pid) != self.supervisor;
        processes().filter(|p| member(p) && (known(p) || !another(p.pid))).cloned().collect()
    }

    /// Processes that may belong to the job and can't be told: where no supervisor inherited its orphans, one that started
    /// after the job in the same control group, cleaned its environment and was left by its parents can be anybody's.
    #[must_use]
    pub fn suspects(since: &Orphaned<'_>) -> Vec<Stat> {
        let own = Identity::own();
        let unclear = |p: &Stat| match Mark::of(p.pid) {
            Mark::None => true,
            // A process that ended meanwhile can't be read either.
            Mark::Unreadable => p.identity().alive(),
            Mark::Supervisor(_) | Mark::Job(_) => false,
        };
        let inherited = |p: &Stat| p.ppid == 1 || p.ppid == since.reaper;
        let candidate = |p: &Stat| p.start_ticks >= since.start_ticks && inherited(p) && p.identity() != own;
        let stayed = |p: &Stat| since.cgroup.is_none() || super::cgroup(p.pid).as_deref() == since.cgroup;
        all().into_iter().filter(|p| !p.is_dead() && candidate(p) && stayed(p) && unclear(p)).collect()
    }
}

/// Adds the children of those inside that `may` come in, and theirs.
fn descend(seen: &[(Stat, Mark)], inside: &mut HashSet<i32>, may: impl Fn(i32) -> bool) {
    loop {
        let before = inside.len();
        let found: Vec<i32> =
            seen.iter().map(|(p, _)| p).filter(|p| inside.contains(&p.ppid) && may(p.pid)).map(|p| p.pid).collect();
        inside.extend(found);
        if inside.len() == before {
            return;
        }
    }
}

/// What is known of the orphans of a job whose supervisor is dead.
#[derive(Clone, Copy, Debug)]
pub struct Orphaned<'a> {
    /// They started no sooner than this.
    pub start_ticks: u64,
    /// Pid 1 inherited them, or this process.
    pub reaper: i32,
    /// They can't have left this control group.
    pub cgroup: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, state: char) -> Stat {
        let start_ticks = u64::try_from(pid).unwrap();
        Stat {
            pid,
            comm: "x".into(),
            state,
            ppid: parent,
            pgid: pid,
            sid: pid,
            forked_only: false,
            cpu_ticks: 0,
            children_ticks: 0,
            start_ticks,
            in_exec: false,
        }
    }

    fn members(family: &Family, processes: &[(i32, i32, &str)]) -> Vec<i32> {
        with_group(family, processes, &[])
    }

    fn with_group(family: &Family, processes: &[(i32, i32, &str)], group: &[i32]) -> Vec<i32> {
        let mark = |word: &str| match word {
            "supervisor" => Mark::Supervisor(vec![]),
            "" => Mark::None,
            key => Mark::Job(key.into()),
        };
        let seen: Vec<_> = processes.iter().map(|row| (process(row.0, row.1, 'S'), mark(row.2))).collect();
        family.among(&seen, group).iter().map(|p| p.pid).collect()
    }

    #[test]
    fn a_supervisor_finds_its_children_whatever_they_cleaned() {
        let family = Family { key: "k".into(), supervisor: Some(10), known: vec![], group: None };
        let processes = [(1, 0, ""), (10, 1, "supervisor"), (11, 10, "k"), (12, 11, ""), (13, 10, ""), (99, 1, "")];
        assert_eq!(members(&family, &processes), [11, 12, 13]);
    }

    #[test]
    fn a_job_inside_the_job_is_left_alone_with_its_supervisor() {
        let family = Family { key: "k".into(), supervisor: Some(10), known: vec![], group: None };
        let inner = [(20, 10, "supervisor"), (21, 20, "other"), (22, 21, ""), (23, 10, "other")];
        let processes = [&[(10, 1, "supervisor"), (11, 10, "k")][..], &inner].concat();
        assert_eq!(members(&family, &processes), [11]);
    }

    #[test]
    fn without_a_supervisor_the_key_and_descent_decide() {
        let known = Identity { pid: 11, start_ticks: 11 };
        let recycled = Identity { pid: 50, start_ticks: 1 };
        let family = Family { key: "k".into(), supervisor: None, known: vec![known, recycled], group: None };
        let processes = [(11, 1, ""), (12, 11, ""), (13, 1, "k"), (14, 13, ""), (15, 1, "other"), (50, 1, ""), (51, 50, "")];
        assert_eq!(members(&family, &processes), [11, 12, 13, 14]);
    }

    #[test]
    fn who_is_in_the_group_is_the_jobs_but_for_a_job_inside_it() {
        let family = Family { key: "k".into(), supervisor: None, known: vec![], group: None };
        let own = [(10, 1, "k"), (12, 1, ""), (13, 12, "")];
        let inner = [(20, 1, "supervisor"), (21, 20, "other"), (22, 21, ""), (23, 20, "")];
        let processes = [&own[..], &inner, &[(50, 1, "")]].concat();
        assert_eq!(with_group(&family, &processes, &[10, 12, 13, 20, 21, 22, 23]), [10, 12, 13]);
        assert_eq!(members(&family, &processes), [10]);
    }
}
