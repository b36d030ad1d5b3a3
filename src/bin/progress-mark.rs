//! Remembers which items are done, and how far a job is.

use std::process::ExitCode;

fn main() -> ExitCode {
    bgtools::entry::main(bgtools::tools::progress_mark::tool())
}
