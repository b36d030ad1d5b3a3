//! See `resgate(1)`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bgtools::tools::resgate::loudly(bgtools::entry::outcome(&bgtools::tools::resgate::TOOL)).into()
}
