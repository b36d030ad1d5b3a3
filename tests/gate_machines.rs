//! Machines other than this one, from their own `/proc` and `/sys`. See `tests/machines/README.md`.

use std::fs;
use std::path::Path;

use crate::support::{Run, needs_root, root, scratch, tool};

/// Unpacks a machine's files.
fn machine(name: &str) -> tempfile::TempDir {
    let dir = scratch();
    let text = fs::read_to_string(root().join("tests/machines").join(format!("{name}.txt"))).unwrap();
    for file in text.split("=== ").skip(1) {
        let (path, content) = file.split_once('\n').unwrap();
        write(dir.path(), path, content);
    }
    dir
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn resgate(machine: &Path, options: &[&str]) -> Run {
    tool("resgate").arg("--root").arg(machine).args(options)
}

/// What was measured, in the limit's unit, and where.
fn measured(machine: &Path, limit: &[&str]) -> (f64, String) {
    let ran = resgate(machine, &[limit, &["--json"]].concat()).run();
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let check = &json["checks"][0];
    (check["value"].as_f64().unwrap(), check["source"].as_str().unwrap().to_owned())
}

fn is(machine: &Path, limit: &[&str], value: f64, source: &str) {
    let (was, read) = measured(machine, limit);
    assert!((was - value).abs() <= 0.011 && read == source, "{limit:?}: {was} in {read}, not {value} in {source}");
}

const FREE: [&str; 2] = ["--min-mem", "1"];
const SHARE: [&str; 2] = ["--max-mem", "100"];

#[test]
fn page_cache_in_a_container_is_not_used_memory() {
    if !needs_root("chroot(2)") {
        return;
    }
    let container = machine("container-v1");
    let free = 4_294_967_296.0 - (4_080_218_112.0 - 3_221_225_472.0 - 482_344_960.0);
    let source = "/sys/fs/cgroup/memory/memory.limit_in_bytes";
    is(container.path(), &FREE, free, source);
    // The machine itself is fuller in percent: it is the tighter one for a share.
    let used = (65_842_180.0 - 48_211_972.0) * 100.0 / 65_842_180.0;
    is(container.path(), &SHARE, used, "/proc/meminfo");
    is(container.path(), &["--max-swap", "100"], (8_388_604.0 - 2_097_151.0) * 100.0 / 8_388_604.0, "/proc/meminfo");
    is(container.path(), &["--max-load", "99"], 7.91, "/proc/loadavg");
    let closed = resgate(container.path(), &["--min-mem", "4G"]).fails(75, &["3.6 GiB free, 4 GiB wanted"]);
    assert!(closed.contains(source), "{closed}");
}

#[test]
fn a_limit_around_the_own_group_counts() {
    if !needs_root("chroot(2)") {
        return;
    }
    // memory.high is the tighter one; the cache and the slab in it can be had.
    let free = 209_715_200.0 - (106_377_216.0 - 105_906_176.0 - 258_864.0);
    is(machine("guest-v2").path(), &FREE, free, "/sys/fs/cgroup/job/memory.high");

    let free = 274_877_906_944.0 - (270_582_939_648.0 - 242_949_672_960.0 - 1_073_741_824.0);
    let slice = "/sys/fs/cgroup/user.slice/user-1000.slice/memory.max";
    let workstation = machine("workstation-64");
    is(workstation.path(), &FREE, free, slice);
    is(workstation.path(), &["--max-swap", "100"], (67_108_860.0 - 16_777_215.0) * 100.0 / 67_108_860.0, "/proc/meminfo");
    is(workstation.path(), &["--max-load", "99"], 63.2, "/proc/loadavg");
}

#[test]
fn a_machine_without_limits_has_what_the_kernel_says() {
    if !needs_root("chroot(2)") {
        return;
    }
    let vm = machine("vm-v1");
    is(vm.path(), &FREE, 23_672_076.0 * 1024.0, "/proc/meminfo");
    let ran = resgate(vm.path(), &["--max-swap", "0", "-v"]).run();
    assert!(ran.code == Some(0) && ran.stderr == "resgate: open: swap: there is none\n", "{ran:?}");
    let (pressure, source) = measured(vm.path(), &["--max-pressure", "cpu=100"]);
    assert!((0.0..=100.0).contains(&pressure) && source == "/proc/pressure/cpu");
}

#[test]
fn a_group_under_pressure_counts_beside_the_machine() {
    if !needs_root("chroot(2)") {
        return;
    }
    let guest = machine("guest-v2");
    let own = "sys/fs/cgroup/job/inner/memory.pressure";
    write(guest.path(), own, "some avg10=41.50 avg60=0.00 avg300=0.00 total=0\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=0\n");
    is(guest.path(), &["--max-pressure", "memory=100"], 41.5, &format!("/{own}"));
    resgate(guest.path(), &["--max-pressure", "memory=40"]).fails(75, &["pressure-memory: 41.5 % of the time, at most 40 %"]);
}

#[test]
fn what_cannot_be_read_is_unknown() {
    if !needs_root("chroot(2)") {
        return;
    }
    let workstation = machine("workstation-64");
    resgate(workstation.path(), &["--max-pressure", "io=50"]).fails(125, &["unknown: pressure-io", "/proc/pressure/io"]);
    // Counters that stand still are no idle machine.
    resgate(workstation.path(), &["--max-cpu", "99"]).fails(125, &["unknown: cpu", "stand still"]);
    let ran = resgate(workstation.path(), &["--max-cpu", "99", "--unknown", "open"]).run();
    assert!(ran.code == Some(0) && ran.stderr.starts_with("resgate: left out: cpu: "), "{ran:?}");

    let slice = "sys/fs/cgroup/user.slice/user-1000.slice";
    for (path, content, limit) in [
        ("proc/loadavg", "NaN 1 1\n", &["--max-load", "99"]),
        ("proc/loadavg", "", &["--max-load", "99"]),
        ("proc/meminfo", "nothing\n", &FREE),
        ("proc/meminfo", "nothing\n", &["--max-swap", "100"]),
    ] {
        let broken = machine("workstation-64");
        write(broken.path(), path, content);
        resgate(broken.path(), limit).fails(125, &["unknown", "doesn't read as expected"]);
    }
    for (file, content) in [("memory.max", "a lot"), ("memory.current", "-1"), ("memory.stat", "anon 1")] {
        let broken = machine("workstation-64");
        write(broken.path(), &format!("{slice}/{file}"), content);
        resgate(broken.path(), &FREE).fails(125, &["unknown: memory-free", file]);
    }
    let broken = machine("workstation-64");
    fs::remove_file(broken.path().join(slice).join("memory.current")).unwrap();
    resgate(broken.path(), &FREE).fails(125, &["unknown: memory-free", "memory.current"]);
}
