//! See `bgstatus(1)`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bgtools::entry::main(&bgtools::tools::bgstatus::TOOL)
}
