//! Law 1: whatever a system call of the launch is answered with, the launch is whole or nothing is left of it.

use crate::support::Jobs;
use crate::support::faults::{at, places};
use crate::support::until;

/// What a full, a read-only or a failing disk, and a machine without processes, memory or descriptors answer.
const FAULTS: [(&str, &str); 6] = [
    ("openat,mkdir,mkdirat,pwrite64,fallocate", "ENOSPC"),
    ("openat,mkdir,mkdirat,rename,renameat,renameat2", "EROFS"),
    ("ftruncate,fdatasync,fsync,newfstatat", "EIO"),
    ("clone,clone3,fork,vfork", "EAGAIN"),
    ("openat,pipe2,socketpair,memfd_create,signalfd4", "EMFILE"),
    ("setsid,dup2,dup3,fcntl,prctl,close_range", "EPERM"),
];

fn sweep(calls: &str, error: &str) -> (usize, usize) {
    let words = ["-n", "a", "--", "true"];
    let trial = Jobs::new();
    let reached = places(&trial.bgrun(words).command(), calls, trial.tmp());
    let (mut whole, mut refused) = (0, 0);
    for place in reached {
        let jobs = Jobs::new();
        let mut launch = at(&place, &format!("error={error}"), &jobs.bgrun(words).command());
        let ended = launch.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        let what = format!("{place:?} {error}: {ended:?}");
        let ids = String::from_utf8_lossy(&ended.stdout);
        if ended.status.success() {
            // strace counts by process: it may have been the command itself that was refused.
            let id = ids.trim();
            let record = jobs.ended(id);
            assert!(["succeeded", "failed"].contains(&record["state"].as_str().unwrap()), "{what}: {record}");
            whole += 1;
            continue;
        }
        assert!(ids.is_empty() && (1..=2).contains(&said.lines().count()), "{what}");
        assert!(matches!(ended.status.code(), Some(125..=127)), "{what}");
        until("the end of all that was started", || jobs.processes().is_empty());
        jobs.assert_nothing(&what);
        refused += 1;
    }
    (whole, refused)
}

#[test]
fn any_call_of_a_launch_may_fail() {
    for (calls, error) in FAULTS {
        let (_, refused) = sweep(calls, error);
        assert!(refused > 0, "{calls}: no fault was noticed");
    }
}
