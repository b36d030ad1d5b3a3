//! scripts/swap-extend: a command line here, real swap in a small machine with a kernel of its own.
//!
//! Not tested: xfs, f2fs and btrfs, whose `chattr +C` is as its manual says.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Run, machine, needs_root, root, scratch};

fn swap_extend() -> Run {
    Run::new(root().join("scripts/swap-extend"))
}

#[test]
fn what_is_no_size_or_no_name_is_refused_before_anything_is_touched() {
    let none =
        ["8Q", "8", "0", "-1G", "8 G", "08M", "1.5G", "0x10M", "1023K", "1024G", "9999999999G", "18446744073709551617G", "G"];
    for size in none {
        swap_extend().args(["--dry-run", "-s", size]).fails(2, &["that is no size"]);
    }
    swap_extend().arg("-s").fails(2, &["needs a size"]);
    swap_extend().fails(2, &["how large"]);
    swap_extend().args(["-s", ""]).fails(2, &["how large"]);
    swap_extend().args(["-s", "8G", "--remove"]).fails(2, &["--remove takes no size"]);
    swap_extend().args(["-s", "8G", "--force"]).fails(2, &["unknown option"]);
    swap_extend().args(["-s", "8G", "/a", "/b"]).fails(2, &["one file"]);
    for name in ["/swap img", "/swap\timg", "/swap\\040img", "/swap\nimg", "/swäp", "/swap#img"] {
        swap_extend().args(["-s", "8G", name]).fails(2, &["/etc/fstab would need escaped"]);
    }
    swap_extend().args(["-s", "8G", "/"]).fails(2, &["a folder"]);
    assert_eq!(swap_extend().arg("--help").ok().lines().count(), 2);
}

#[test]
fn only_root_changes_the_swap() {
    if !needs_root("becoming somebody else") {
        return;
    }
    let scratch = scratch();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o777)).unwrap();
    let script = scratch.path().join("swap-extend");
    fs::copy(root().join("scripts/swap-extend"), &script).unwrap();
    let nobody = Run::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(script);
    nobody.args(["-s", "8G"]).arg(scratch.path().join("swap")).fails(1, &["only root"]);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

#[test]
fn sizes_and_what_no_swap_file_can_be() {
    if !needs_root("mounting a tmpfs") {
        return;
    }
    let scratch = scratch();
    let on_tmpfs = |options: &[&str], name: &str| {
        let script = r#"mount -t tmpfs swap "$1" && shift && cd "$1" && shift && exec "$@""#;
        let run = Run::new("unshare").args(["--mount", "--propagation=private", "sh", "-c", script, "sh"]).arg(scratch.path());
        run.arg(scratch.path()).arg(root().join("scripts/swap-extend")).args(options).arg(name)
    };
    for size in ["1M", "1024k", "1048576", "512M", "512MiB", "8G", "8g", "1023G"] {
        on_tmpfs(&["-s", size], "swap").fails(1, &["is on tmpfs, which can't hold a swap file"]);
    }
    fs::create_dir(scratch.path().join("folder")).unwrap();
    symlink("folder", scratch.path().join("link")).unwrap();
    let refused = |name: &str, why: &str| {
        swap_extend().args(["-s", "1M"]).arg(scratch.path().join(name)).fails(1, &[why]);
    };
    refused("link", "symbolic link");
    refused("folder", "no regular file");
    refused("none/swap", "no folder");
    swap_extend().args(["-s", "1M", "/dev/null"]).fails(1, &["no regular file"]);
}

/// The programs that it calls, from this machine: the guest has busybox's, which know less.
const PROGRAMS: [&str; 20] = [
    "awk",
    "chmod",
    "cp",
    "dash",
    "dd",
    "fallocate",
    "flock",
    "getconf",
    "head",
    "mkswap",
    "mv",
    "od",
    "readlink",
    "rm",
    "stat",
    "swapoff",
    "swapon",
    "sync",
    "touch",
    "truncate",
];

fn disk(folder: &Path, kind: &str, size: &str) -> PathBuf {
    let path = folder.join(size);
    assert!(Command::new("truncate").args(["-s", size]).arg(&path).status().unwrap().success());
    assert!(Command::new("mke2fs").args(["-q", "-b", "4096", "-t", kind]).arg(&path).status().unwrap().success());
    path
}

/// Made, grown, refused, undone, removed, and killed after each command that it calls.
#[test]
fn a_swap_file_through_its_life_in_a_machine_of_its_own() {
    let lab = root().join("tests/lab");
    let scratch = scratch();
    let mut run = Run::new(lab.join("qemu.sh")).arg("run").arg(machine()).arg(lab.join("swap-machine.sh"));
    run = run.arg("-p").arg(root().join("scripts/swap-extend"));
    for name in PROGRAMS {
        let found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name));
        // By its own name, whatever alternative it is.
        let program = scratch.path().join(name);
        symlink(found.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("{name}")), &program).unwrap();
        run = run.arg("-p").arg(program);
    }
    for (kind, size) in [("ext4", "320M"), ("ext2", "150M"), ("ext4", "40M")] {
        run = run.arg("-d").arg(disk(scratch.path(), kind, size));
    }
    let ran = run.env("TIMEOUT", "400").run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // What differs from run to run and from disk to disk.
    let same = |word: &str| if word.len() == 36 && word.matches('-').count() == 4 { "UUID".to_owned() } else { word.to_owned() };
    let line = |line: &str| match line.split_once(" free; ") {
        Some((_, rest)) => format!("  swap-extend: … free; {rest}"),
        None => line.split(' ').map(same).collect::<Vec<_>>().join(" "),
    };
    let said: String = ran.stdout.lines().map(|text| line(text) + "\n").collect();
    let expected = lab.join("swap-machine.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&expected, &said).unwrap();
    }
    assert_eq!(said, fs::read_to_string(expected).unwrap());
}
