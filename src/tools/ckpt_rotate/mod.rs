//! `ckpt-rotate`: a rolling stock of checkpoints in which the newest good one is never lost.

mod args;
mod ask;
mod keepers;
mod open;
mod report;
mod room;
mod rotate;
mod save;
mod written;

use std::ffi::OsStr;
use std::process::ExitCode;

pub use args::Args;

use crate::entry::{self, Out, Tool};
use crate::exit::{Exit, Failure};

const NAME: &str = "ckpt-rotate";

/// The tool.
pub const TOOL: Tool<Args> = Tool { name: NAME, usage: Exit::Usage, run };

/// Runs the tool. With `--hold` it passes a command's status on, so its own wrong usage must be none of those.
#[must_use]
pub fn main() -> ExitCode {
    let holds = std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| is_hold(&word));
    entry::main(&Tool { usage: if holds { Exit::Broken } else { Exit::Usage }, ..TOOL })
}

fn is_hold(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| word == "--hold" || word.starts_with("--hold="))
}

fn run(args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    // Somebody who opens a file in the moment it is asked about makes the kernel send us this; by default it kills.
    crate::sys::ignore(nix::sys::signal::Signal::SIGIO);
    if args.dry_run && (args.save.is_some() || args.undo || args.pin.is_some() || args.unpin.is_some() || args.apply.is_some()) {
        return Err(wrong("--dry-run shows what a rotation or --make-room would do, and nothing else"));
    }
    let rotates = args.save.is_some() || args.make_room.is_some();
    if args.has_policy() && args.has_action() && !rotates {
        return Err(wrong("rules of what to keep go with a rotation, --save, --make-room or --plan"));
    }
    if args.latest {
        return ask::latest(&args, out);
    }
    if args.verify {
        return ask::verify(&args, out);
    }
    if args.check {
        return ask::check(&args, out);
    }
    if args.undo {
        return keepers::undo(&args, out);
    }
    if let Some(name) = &args.hold {
        return keepers::hold(&args, name);
    }
    if let Some(name) = args.pin.as_ref().or(args.unpin.as_ref()) {
        return keepers::pin(&args, name, args.pin.is_some());
    }
    if let Some(source) = &args.save {
        return save::run(&args, source, out);
    }
    if let Some(room) = args.make_room {
        return room::run(&args, room, out);
    }
    if let Some(path) = &args.apply {
        return written::apply(&args, path);
    }
    if !args.has_policy() {
        return Err(wrong("nothing to do: no action, and no rule that says what to keep"));
    }
    if let Some(path) = &args.plan {
        return written::plan(&args, path, out);
    }
    rotated(&args, out)
}

fn rotated(args: &Args, out: &mut Out) -> anyhow::Result<Exit> {
    let work = open::Work::new(args, None)?;
    if args.dry_run {
        return rotate::dry(&work, &args.policy(), out);
    }
    work.lock()?;
    rotate::run(&work, &args.policy(), if args.verbose || args.json { rotate::Tell::All } else { rotate::Tell::Trouble }, out)
}

fn wrong(message: &str) -> anyhow::Error {
    Failure::new(Exit::Usage, message).hint(format!("'{NAME} --help' lists the options")).into()
}
