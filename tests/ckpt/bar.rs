//! A long verification says how far it is, to a person and to nobody else.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use super::make::ckpt;
use crate::support::{Run, scratch};

/// Well beyond the time after which a bar is shown.
const LONG: Duration = Duration::from_millis(1500);

#[test]
fn a_long_verification_has_a_bar_on_a_terminal_only() {
    let scratch = scratch();
    let unit = scratch.path().join("ckpt_1");
    fs::create_dir(&unit).unwrap();
    let mut file = File::create(unit.join("w.dat")).unwrap();
    let options = ["--verify", "--level", "deep"];
    // As much as takes this machine long, with this build; without a terminal nothing but the verdict is ever said.
    for mebibytes in [48, 96, 192, 384, 768, 1536, 3072] {
        while file.metadata().unwrap().len() < mebibytes << 20 {
            file.write_all(&vec![7; 1 << 20]).unwrap();
        }
        let sums = Command::new("sha256sum").arg("w.dat").current_dir(&unit).output().unwrap();
        assert!(sums.status.success());
        fs::write(unit.join("SHA256SUMS"), sums.stdout).unwrap();
        drop(file);
        let start = Instant::now();
        let said = ckpt(scratch.path(), &options).ok();
        assert!(said.starts_with("ckpt_1") && said.contains("L3 manifest"), "{said}");
        if start.elapsed() > LONG {
            break;
        }
        file = File::options().append(true).open(unit.join("w.dat")).unwrap();
    }
    let call = ckpt(scratch.path(), &options).command();
    let words: Vec<_> = [call.get_program()].into_iter().chain(call.get_args()).map(|word| word.display().to_string()).collect();
    let ran = Run::new("script").args(["-qec", &words.join(" "), "/dev/null"]).env("TERM", "xterm").run();
    // What was drawn is taken away again: the last that stands is the verdict.
    assert!(ran.code == Some(0) && ran.stdout.contains("read ") && ran.stdout.contains("iB at "), "{ran:?}");
    let last = ran.stdout.rsplit(['\r', '\u{1b}']).find(|line| line.contains("ckpt_1")).unwrap();
    assert!(last.contains("L3 manifest") && !last.contains("read "), "{ran:?}");
}
