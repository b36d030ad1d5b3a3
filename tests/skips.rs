//! What an ordinary user's run of the tests says of those that need root.

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::support::{Run, needs_root, scratch};

/// Run again as somebody else, the very same test names itself as skipped.
#[test]
fn an_ordinary_user_is_told_what_was_skipped() {
    if !needs_root("becoming somebody else") {
        return;
    }
    let scratch = scratch();
    let (tests, list) = (scratch.path().join("suite"), scratch.path().join("skipped"));
    fs::copy(env::current_exe().unwrap(), &tests).unwrap();
    File::create(&list).unwrap();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&list, Permissions::from_mode(0o666)).unwrap();

    let nobody = Run::new("setpriv").args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&tests);
    let ran = nobody.args(["--exact", "skips::an_ordinary_user_is_told_what_was_skipped"]).env("BGTOOLS_SKIPPED", &list).run();
    let line = "skipped: skips::an_ordinary_user_is_told_what_was_skipped: needs root: becoming somebody else\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), line), "{ran:?}");
    assert_eq!(fs::read_to_string(&list).unwrap(), line);
}
