//! What only root can do: as root every test runs, an ordinary user gets what can't run by name.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::{env, thread};

/// Whether the test may go on; where not, it returns. To an ordinary user the test and what it needs are named at once,
/// past the runner's capture, and once more at the end of `make test`.
pub fn needs_root(what: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: needs root: {what}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
    // One write to a file opened for appending: tests that run beside this one never share a line with it.
    if let Some(list) = env::var_os("BGTOOLS_SKIPPED") {
        OpenOptions::new().append(true).create(true).open(list).unwrap().write_all(line.as_bytes()).unwrap();
    }
    false
}
