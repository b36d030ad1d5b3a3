//! Stocks of checkpoints to try things on.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::support::{Run, tool, until};

/// The tool on a directory, with nothing too young.
pub fn rotate(dir: &Path, options: &[&str]) -> Run {
    settle(dir);
    rotate_in_use(dir, options)
}

/// The tool on a directory as it comes.
pub fn ckpt(dir: &Path, options: &[&str]) -> Run {
    settle(dir);
    ckpt_in_use(dir, options)
}

/// As `rotate`, where somebody has files open on purpose.
pub fn rotate_in_use(dir: &Path, options: &[&str]) -> Run {
    tool("ckpt-rotate").args(["--min-age", "0"]).args(options).arg(dir)
}

/// As `ckpt`, where somebody has files open on purpose.
pub fn ckpt_in_use(dir: &Path, options: &[&str]) -> Run {
    tool("ckpt-rotate").args(options).arg(dir)
}

/// Waits until nobody has a file below open: what a test has just written lives on for a moment in the children that
/// other tests fork meanwhile, until they exec, and the tool would see it rightly as somebody's.
fn settle(dir: &Path) {
    // Who opens a file in that moment makes the kernel send this, which by default kills.
    bgtools::sys::ignore(nix::sys::signal::Signal::SIGIO);
    for entry in walkdir::WalkDir::new(dir).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        until("a file to be closed everywhere", || {
            File::open(entry.path())
                .map_or(true, |file| bgtools::checkpoint::held::being_used(&file) != bgtools::checkpoint::held::Use::Open)
        });
    }
}

/// A safetensors file with one tensor of that many bytes; `seed` makes it different from others.
pub fn tensors(bytes: usize, seed: u8) -> Vec<u8> {
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend((0..bytes).map(|at| u8::try_from(at % 251).unwrap() ^ seed));
    file
}

/// Sets when something was last written, in seconds before now.
pub fn age(path: &Path, seconds: u64) {
    let time = SystemTime::now() - Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// A checkpoint directory with one good file, `seconds` old.
pub fn good(dir: &Path, name: &str, seconds: u64) -> PathBuf {
    let unit = dir.join(name);
    fs::create_dir(&unit).unwrap();
    fs::write(unit.join("model.safetensors"), tensors(1000, 1)).unwrap();
    age(&unit.join("model.safetensors"), seconds);
    age(&unit, seconds);
    unit
}

/// `checkpoint-100` to `checkpoint-N00`, an hour apart, the last one hour old.
pub fn series(dir: &Path, count: u64) {
    for n in 1..=count {
        good(dir, &format!("checkpoint-{n}00"), (count - n + 1) * 3600);
    }
}

/// The names in a directory, ours left out.
pub fn names(dir: &Path) -> Vec<String> {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = all.filter(|name| !name.starts_with(".ckpt-rotate.")).collect();
    names.sort();
    names
}

/// Every path below, with its content; what a test compares to show that nothing was touched.
pub fn everything(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in walkdir::WalkDir::new(dir).sort_by_file_name() {
        let entry = entry.unwrap();
        let content = if entry.file_type().is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        all.push((entry.path().to_owned(), content));
    }
    all
}
