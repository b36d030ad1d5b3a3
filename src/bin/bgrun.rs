//! See `bgrun(1)`. Started by itself with `--supervisor=…`, it is the supervisor of one job.

use std::process::ExitCode;

use bgtools::supervisor::Stage;
use bgtools::{entry, supervisor, tools};

fn main() -> ExitCode {
    match Stage::from_args(std::env::args_os()) {
        None => entry::main(&tools::bgrun::TOOL),
        Some(Ok(stage)) => supervisor::main(stage),
        Some(Err(error)) => entry::report("bgrun", &anyhow::anyhow!("--supervisor is bgrun's own: {error}")).into(),
    }
}
