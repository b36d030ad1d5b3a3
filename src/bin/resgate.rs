//! Says whether the machine has room now, and hands out what it promises.

use std::process::ExitCode;

fn main() -> ExitCode {
    bgtools::tools::resgate::loudly(bgtools::entry::outcome(&bgtools::tools::resgate::TOOL)).into()
}
