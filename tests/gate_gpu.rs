//! GPUs: three answers, and the third one each time it is the true one.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::{Gpus, needs_root, scratch, tool};

const ROOMY: &str = "gpu 0 8000 ok\n";
const LIMIT: [&str; 4] = ["--min-gpu-mem", "2G", "--probe-timeout", "300ms"];

/// Neither open nor closed nor "no GPU", for a limit and for a wish; and a limit that may be left out is said to be.
fn is_unknown(gpus: &Gpus, words: &[&str]) {
    gpus.resgate().args(LIMIT).fails(125, &[&["unknown: gpu-memory"], words].concat());
    gpus.resgate().args(["--gpus", "1", "--probe-timeout", "300ms"]).fails(125, &[&["unknown: gpus"], words].concat());
    let ran = gpus.resgate().args(LIMIT).args(["--unknown", "open", "--min-mem", "1"]).run();
    assert!(ran.code == Some(0) && ran.stderr.starts_with("resgate: left out: gpu-memory"), "{ran:?}");
}

#[test]
fn a_hung_card_is_unknown_at_the_deadline() {
    let gpus = Gpus::new("gpu 0 8000 hang\n");
    let start = Instant::now();
    is_unknown(&gpus, &["no answer within 300ms"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_hung_driver_is_unknown() {
    is_unknown(&Gpus::new("inithang\ngpu 0 8000 ok\n"), &["no answer within 300ms"]);
}

#[test]
fn a_lost_card_is_unknown() {
    is_unknown(&Gpus::new("gpu 0 8000 lost\n"), &["fell off the bus"]);
}

#[test]
fn a_driver_that_does_not_match_its_library_is_unknown() {
    is_unknown(&Gpus::new("init 18\ngpu 0 8000 ok\n"), &["version mismatch"]);
}

#[test]
fn a_card_that_answers_counts_beside_one_that_does_not() {
    for broken in ["gpu 0 8000 lost\n", "gpu 0 8000 hang\n"] {
        // The hung one comes last: what is asked after it gets no answer.
        let gpus = Gpus::new(&format!("{ROOMY}{broken}"));
        gpus.resgate().args(LIMIT).silent(0);
        let wish = |n: &str| gpus.resgate().args(["--gpus", n, "--probe-timeout", "300ms"]);
        wish("1").silent(0);
        wish("2").fails(125, &["only 1 GPU can be measured", "GPU 1: "]);
        wish("3").fails(125, &["there are only 2 GPUs in all"]);
        gpus.become_(&format!("gpu 7000 8000 ok\n{broken}"));
        gpus.resgate().args(LIMIT).fails(75, &["1000 MiB free, 2 GiB wanted", "GPU 1: "]);
        wish("1").fails(75, &["0 GPUs with room"]);
    }
}

#[test]
fn a_card_without_memory_of_its_own_has_the_machines() {
    let gpus = Gpus::new("gpu 0 0 unsupported\n");
    let ran = gpus.resgate().args(["--min-gpu-mem", "1M", "-v"]).run();
    assert!(ran.code == Some(0) && ran.stderr.contains("/proc/meminfo, which the card shares"), "{ran:?}");
    gpus.resgate().args(["--min-gpu-mem", "1000T"]).fails(75, &["/proc/meminfo"]);
}

#[test]
fn an_old_driver_is_asked_the_old_way() {
    let gpus = Gpus::old("gpu 7000 8000 ok\n");
    let closed = gpus.resgate().args(["--min-gpu-mem", "2G"]).fails(75, &["1000 MiB free"]);
    assert!(closed.contains("nvmlDeviceGetMemoryInfo)"), "{closed}");
    gpus.resgate().args(["--min-gpu-mem", "1000M"]).silent(0);
    is_unknown(&Gpus::old("gpu 0 8000 lost\n"), &["fell off the bus"]);
    Gpus::old("gpu 0 0 unsupported\n").resgate().args(["--min-gpu-mem", "1M"]).silent(0);
}

#[test]
fn a_library_that_cannot_be_loaded_is_unknown() {
    let dir = scratch();
    fs::write(dir.path().join("libnvidia-ml.so.1"), "not a library").unwrap();
    let resgate = || tool("resgate").env("LD_LIBRARY_PATH", dir.path()).args(["--min-gpu-mem", "1G"]);
    resgate().fails(125, &["unknown: gpu-memory", "NVML can't be used"]);
}

#[test]
fn a_missing_driver_is_no_gpu_unless_the_kernel_shows_one() {
    if !needs_root("chroot(2)") {
        return;
    }
    let machine = scratch();
    let resgate = |options: &[&str]| tool("resgate").arg("--root").arg(machine.path()).args(options);
    fs::create_dir_all(machine.path().join("dev")).unwrap();
    resgate(&["--min-gpu-mem", "1G"]).fails(125, &["there is no GPU to wait for", "no NVIDIA library"]);
    let optional = ["--defaults", "--max-cpu", "100", "--max-mem", "100", "--unknown", "open", "--json"];
    let json = resgate(&optional).run().stdout;
    assert!(json.contains("no GPU: there is no NVIDIA library"), "{json}");
    for trace in ["dev/nvidia0", "proc/driver/nvidia/version", "proc/driver/nvidia/gpus/0000:01:00.0/information"] {
        let path = machine.path().join(trace);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        resgate(&["--min-gpu-mem", "1G"]).fails(125, &["unknown: gpu-memory", "though /"]);
        fs::remove_file(path).unwrap();
    }
    // The module is loaded, and finds no card.
    resgate(&["--min-gpu-mem", "1G"]).fails(125, &["unknown: gpu-memory", "/proc/driver/nvidia"]);
    fs::remove_dir(machine.path().join("proc/driver/nvidia/gpus/0000:01:00.0")).unwrap();
    resgate(&["--min-gpu-mem", "1G"]).fails(125, &["there is no GPU to wait for"]);
}

#[test]
fn a_library_without_a_driver_or_a_card_is_no_gpu() {
    for nothing in ["init 9\n", ""] {
        let gpus = Gpus::new(nothing);
        gpus.resgate().args(["--gpus", "1"]).fails(125, &["there is no GPU to wait for"]);
        gpus.resgate().args(["--gpus", "1", "--wait"]).fails(125, &["there is no GPU to wait for"]);
        let ran = gpus.resgate().args(["--defaults", "--max-cpu", "100", "--max-mem", "100", "--min-disk", "1", "-v"]).run();
        assert!(ran.code == Some(0) && ran.stderr.contains("open: gpu-memory: no GPU"), "{ran:?}");
    }
}

#[test]
fn the_defaults_want_room_on_one_card() {
    let others = ["--defaults", "--max-cpu", "100", "--max-mem", "100", "--min-disk", "1"];
    Gpus::new("gpu 7900 8000 ok\ngpu 100 8000 ok\n").resgate().args(others).silent(0);
    Gpus::new("gpu 7900 8000 ok\n").resgate().args(others).fails(75, &["gpu-memory: 100 MiB free, 2 GiB wanted", "GPU 0"]);
}

#[test]
fn the_roomiest_cards_are_chosen_and_named() {
    let gpus = Gpus::new("gpu 3000 8000 ok\ngpu 1000 8000 ok\ngpu 7000 8000 ok\ngpu 2000 8000 ok\n");
    let env = ["--", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER"];
    assert_eq!(gpus.resgate().args(["--gpus", "2"]).args(env).ok(), "1,3 PCI_BUS_ID\n");
    let uuid = "GPU-00000001-0000-0000-0000-000000000001 PCI_BUS_ID\n";
    assert_eq!(gpus.resgate().args(["--gpus", "1", "--gpu-env", "uuid"]).args(env).ok(), uuid);
    assert_eq!(gpus.resgate().args(["--gpus", "3", "--min-gpu-mem", "5G"]).args(env).run().code, Some(75));
}

#[test]
fn an_inherited_choice_is_stayed_in() {
    let gpus = Gpus::new(&ROOMY.repeat(4));
    let within = |mask: &str, n: &str| gpus.resgate().env("CUDA_VISIBLE_DEVICES", mask).args(["--gpus", n]);
    let echo = ["--", "printenv", "CUDA_VISIBLE_DEVICES"];
    assert_eq!(within("3,2", "1").args(echo).ok(), "3\n");
    assert_eq!(within("GPU-00000002", "1").args(echo).ok(), "2\n");
    within("3,2", "3").fails(125, &["there are only 2 GPUs in all"]);
    within("", "1").fails(125, &["CUDA_VISIBLE_DEVICES leaves none"]);
    within("", "1").args(["--wait", "1h"]).fails(125, &["CUDA_VISIBLE_DEVICES leaves none"]);
    gpus.become_("gpu 0 8000 lost\n");
    within("GPU-00000000", "1").fails(125, &["unknown: gpus"]);
}

#[test]
fn a_mig_device_is_a_card_of_its_own() {
    let gpus = Gpus::new("gpu 0 80000 mig\ngpu 79000 80000 ok\npart 0 100 20000\npart 0 19000 20000\n");
    let env = ["--", "printenv", "CUDA_VISIBLE_DEVICES"];
    assert_eq!(gpus.resgate().args(["--gpus", "1"]).args(env).ok(), "MIG-00000000-0000-0000-0000-000000000000\n");
    gpus.resgate().args(["--gpus", "2"]).fails(75, &["1 GPU with room, 2 GPUs wanted", "1000 MiB free"]);
    gpus.resgate().args(["--gpus", "4"]).fails(125, &["only 3 GPUs in all"]);
}

#[test]
fn a_card_without_a_uuid_is_known_by_its_number() {
    let gpus = Gpus::new("gpu 0 8000 nouuid\ngpu 0 8000 nouuid\n");
    let inner = "\"$0\" --gpus 1 -- printenv CUDA_VISIBLE_DEVICES; echo $CUDA_VISIBLE_DEVICES";
    let resgate = gpus.resgate().command();
    let script = format!("unset CUDA_VISIBLE_DEVICES; {}", inner.split(';').next().unwrap());
    let out =
        gpus.resgate().args(["--gpus", "1", "--gpu-env", "uuid", "--", "sh", "-c", &script]).arg(resgate.get_program()).ok();
    assert_eq!(out, "1\n");
}
