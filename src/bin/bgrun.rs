//! See `bgrun(1)`. Started by itself with `--supervisor=…`, it is the supervisor of one job.

#![no_main]

use bgtools::supervisor::{self, Stage};
use bgtools::{entry, tools};

bgtools::door!(run().code());

fn run() -> bgtools::exit::Exit {
    match Stage::from_args(std::env::args_os()) {
        None => tools::bgrun::main(),
        Some(Ok(stage)) => supervisor::main(stage),
        Some(Err(error)) => entry::report("bgrun", &anyhow::anyhow!("--supervisor is bgrun's own: {error}")),
    }
}
