//! See `bgtools::tools::ckpt_rotate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    bgtools::tools::ckpt_rotate::main()
}
