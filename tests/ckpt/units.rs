//! The unit files: systemd accepts them, and calls their sandbox tight.

use std::fs;

use crate::support::{Run, root, scratch};

#[test]
fn systemd_accepts_the_units() {
    let scratch = scratch();
    for kind in ["service", "timer"] {
        let text = fs::read_to_string(root().join(format!("contrib/systemd/ckpt-rotate@.{kind}"))).unwrap();
        // The program needn't be installed for this.
        let text = text.replace("ExecStart=ckpt-rotate", "ExecStart=/bin/true");
        for name in ["ckpt-rotate@", "ckpt-rotate@home-u-ckpts"] {
            fs::write(scratch.path().join(format!("{name}.{kind}")), &text).unwrap();
        }
    }
    let analyze = |words: &[&str]| Run::new("systemd-analyze").args(words).cwd(scratch.path());
    // An unknown key only warns, so anything on stderr is a failure: `silent` states both.
    analyze(&["verify", "--man=no", "./ckpt-rotate@home-u-ckpts.service", "./ckpt-rotate@home-u-ckpts.timer"]).silent(0);
    let tight =
        analyze(&["security", "--offline=true", "--threshold=20", "--no-pager", "./ckpt-rotate@home-u-ckpts.service"]).run();
    assert_eq!(tight.code, Some(0), "{tight:?}");
}
