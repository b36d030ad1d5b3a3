//! Control groups that enforce, an idle machine, pressure: in a small machine with a kernel of its own.

use std::fs;
use std::process::Command;

use crate::support::{Run, built, machine, root, scratch, tool};

/// The script's output by name: `@name code`, then the lines that came with it.
fn guest(script: &str) -> Vec<(String, String)> {
    let lab = root().join("tests/lab/qemu.sh");
    let machine = machine();
    let dir = scratch();
    let (text, disk) = (dir.path().join("script"), dir.path().join("disk"));
    fs::write(&text, script).unwrap();
    assert!(Command::new("truncate").args(["-s", "450M"]).arg(&disk).status().unwrap().success());
    let resgate = tool("resgate").command();
    let alloc = built("lab/alloc.c", "alloc-static", &["-static"]);
    let ran = Run::new(lab)
        .arg("run")
        .args([&machine, &text])
        .args(["-p".as_ref(), resgate.get_program()])
        .args(["-p".as_ref(), alloc.as_os_str()])
        .args(["-d".as_ref(), disk.as_os_str()])
        .env("MEM", "1536M")
        .env("TIMEOUT", "400")
        .run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut answers: Vec<(String, String)> = Vec::new();
    for line in ran.stdout.lines() {
        match (line.strip_prefix('@'), answers.last_mut()) {
            (Some(name), _) => answers.push((name.to_owned(), String::new())),
            (None, Some((_, text))) => text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    answers
}

const SCRIPT: &str = r#"
# look NAME OPTION…: "@NAME CODE", then what was said.
look() { n=$1; shift; said=$(resgate "$@" 2>&1); echo "@$n $?"; echo "$said"; }
# A subshell's own number is the parent of what it starts.
enter() { sh -c 'echo $PPID' > /sys/fs/cgroup/$1/cgroup.procs; }
group() { mkdir -p /sys/fs/cgroup/$1; echo $2 > /sys/fs/cgroup/$1/memory.max; }
until_true() { n=0; until "$@"; do n=$((n + 1)); [ $n -lt 1000 ] || { echo "@gave-up $*"; exit 1; }; usleep 100000; done; }
# hold GROUP MIB: a process in GROUP that holds so much.
hold() { mkfifo /tmp/in-$1; (enter $1; exec alloc-static $2 < /tmp/in-$1 > /tmp/out-$1) & exec 7> /tmp/in-$1; echo now >&7; until_true grep -q held /tmp/out-$1; }

look idle --max-cpu 50
resgate --max-cpu 90

group cache 512M
(enter cache; exec 9< /dev/vda; dd if=/dev/vda of=/dev/null bs=1M count=400 2> /dev/null
 echo "@charged $(($(cat /sys/fs/cgroup/cache/memory.current) >> 20))"
 look page-cache --min-mem 300M -v)

group anon 512M
hold anon 400
(enter anon; look anonymous --min-mem 300M)
mkdir /sys/fs/cgroup/anon2; look outside --min-mem 300M
exec 7>&-

# A limit around the own group, which has none of its own.
group outer 200M
echo +memory > /sys/fs/cgroup/outer/cgroup.subtree_control
mkdir /sys/fs/cgroup/outer/inner
(enter outer/inner; look around --min-mem 300M)
echo 100M > /sys/fs/cgroup/outer/memory.high
(enter outer/inner; look high --min-mem 150M)

# Eight want 100 MiB each of a group with 512 MiB, and allocate only when all are in or refused.
group race 512M
for i in 1 2 3 4 5 6 7 8; do mkfifo /tmp/go-$i; done
(enter race
 for i in 1 2 3 4 5 6 7 8; do
   (resgate --claim-dir /tmp/claims --probe-timeout 60s --claim-mem 100M -- sh -c "echo in > /tmp/race-$i; exec alloc-static 90 < /tmp/go-$i > /tmp/held-$i" 2> /dev/null
    [ $? = 75 ] && echo refused > /tmp/race-$i) &
 done)
count() { [ $(cat /tmp/race-* 2> /dev/null | wc -l) = 8 ]; }
until_true count
in=$(cat /tmp/race-* | grep -c in)
for i in $(grep -l in /tmp/race-*); do (echo now; sleep 1000) > /tmp/go-${i#/tmp/race-} & done
all_held() { [ $(cat /tmp/held-* 2> /dev/null | grep -c held) = $in ]; }
until_true all_held
echo "@admitted $in"
(enter race; look full --claim-dir /tmp/claims --claim-mem 100M)
echo "@killed $(grep -w oom_kill /sys/fs/cgroup/race/memory.events | cut -d' ' -f2)"

# Two CPUs: one loop on the first.
taskset 1 sh -c 'while :; do :; done' & loop=$!
busy() { ! taskset 1 resgate --max-cpu 90 > /dev/null 2>&1; }
until_true busy
said=$(taskset 1 resgate --max-cpu 90 2>&1); echo "@pinned-busy $?"; echo "$said"
said=$(taskset 2 resgate --max-cpu 50 2>&1); echo "@pinned-idle $?"; echo "$said"
kill $loop
mkdir /sys/fs/cgroup/quota; echo "30000 100000" > /sys/fs/cgroup/quota/cpu.max
(enter quota; exec sh -c 'while :; do :; done') & loop=$!
spent() { ! (enter quota; exec resgate --max-cpu 60 > /dev/null 2>&1); }
until_true spent
(enter quota; look quota --max-cpu 60)
look no-quota --max-cpu 60
kill $loop

for i in 1 2 3 4 5; do sh -c 'while :; do :; done' & loops="$loops $!"; done
pressed() { resgate --max-pressure cpu=10 > /dev/null 2>&1; [ $? = 75 ]; }
until_true pressed
look pressure --max-pressure cpu=10
kill $loops
exit 0
"#;

#[test]
fn groups_and_cpus_of_a_kernel_that_enforces() {
    let answers = guest(SCRIPT);
    let answer = |name: &str| {
        let start = format!("{name} ");
        answers.iter().find(|(head, _)| head.starts_with(&start)).unwrap_or_else(|| panic!("{name}: {answers:?}"))
    };
    let is = |name: &str, code: &str, words: &[&str]| {
        let (head, said) = answer(name);
        assert_eq!(head.split(' ').nth(1), Some(code), "{name}: {said}");
        for word in words {
            assert!(said.contains(word), "{name}: {said:?} lacks {word:?}");
        }
    };
    let number = |name: &str| answer(name).0.split(' ').nth(1).unwrap().parse::<u32>().unwrap();

    is("idle", "0", &[]);
    assert!(number("charged") >= 400, "the page cache is the group's");
    is("page-cache", "0", &["/sys/fs/cgroup/cache/memory.max"]);
    is("anonymous", "75", &["memory-free: ", " free, 300 MiB wanted (/sys/fs/cgroup/anon/memory.max)"]);
    is("outside", "0", &[]);
    is("around", "75", &["/sys/fs/cgroup/outer/memory.max"]);
    is("high", "75", &["/sys/fs/cgroup/outer/memory.high"]);

    assert!((4..=5).contains(&number("admitted")), "5 times 100 MiB go into 512 MiB, less what the shells use");
    is("full", "75", &["/sys/fs/cgroup/race/memory.max"]);
    is("killed", "0", &[]);

    is("pinned-busy", "75", &["/proc/stat, CPUs 0"]);
    is("pinned-idle", "0", &[]);
    is("quota", "75", &["/sys/fs/cgroup/quota/cpu.max"]);
    is("no-quota", "0", &[]);
    is("pressure", "75", &["pressure-cpu", "/proc/pressure/cpu"]);
}
