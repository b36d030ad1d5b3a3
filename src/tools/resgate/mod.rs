//! resgate: says whether there is room now, and hands out what it promises.
//!
//! Look once, or until the gate is open; then end, or become the command with what was claimed for it.

mod args;
mod chain;
mod list;
mod show;
mod wait;

pub use args::Args;

use std::env;
use std::path::PathBuf;

use anyhow::{Context, anyhow};

use crate::claims::Candidate;
use crate::entry::{Out, Tool};
use crate::exit::Exit;
use crate::gate::{Gate, Verdict, inodes};
use crate::text::Text;
use args::Unknown;
use show::Show;

/// resgate.
pub static TOOL: Tool<Args> = Tool { name: NAME, usage: Exit::Broken, run };

const NAME: &str = "resgate";

/// With `--fail-loud` a failure of its own ends with 255, a wrong command line included: systemd's `ExecCondition=` takes
/// every other code for "not now".
#[must_use]
pub fn loudly(exit: Exit) -> Exit {
    let loud = env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "--fail-loud");
    if loud && exit == Exit::Broken { Exit::Status(255) } else { exit }
}

#[expect(clippy::needless_pass_by_value, reason = "as entry calls every tool")]
fn run(args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    if let Some(root) = &args.manner.root {
        nix::unistd::chroot(root).and_then(|()| nix::unistd::chdir("/")).context("cannot enter the root given")?;
    }
    if args.manner.list_claims {
        return list::claims(&places(&args), args.manner.json, args.manner.probe_timeout, out);
    }
    let command = chain::command(&args.command)?;
    let gate = gate(&args);
    let mut show = Show::new(&args.manner);
    let look = match args.waiting.wait {
        None => gate.look(true).map_err(|why| anyhow!(why))?,
        Some(limit) => match wait::until_open(&gate, &args.waiting, limit, &mut show)? {
            Some(look) => look,
            None => return Ok(Exit::TimedOut),
        },
    };
    show.verdict(&look, out)?;
    match (look.verdict, command) {
        (Verdict::Open, Some(command)) => chain::start(command, look.pass.as_ref(), &args.manner),
        (verdict, _) => Ok(exit(verdict, args.manner.closed_code)),
    }
}

/// What a verdict ends with.
const fn exit(verdict: Verdict, closed: u8) -> Exit {
    match verdict {
        Verdict::Open => Exit::Done,
        Verdict::Closed => Exit::Status(closed),
        Verdict::Unknown | Verdict::Never => Exit::Broken,
    }
}

fn gate(args: &Args) -> Gate {
    let here = env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let mask = env::var_os("CUDA_VISIBLE_DEVICES").map(|mask| mask.to_string_lossy().into_owned());
    Gate {
        demand: args.limits.demand(&here),
        command: (!args.command.is_empty()).then(|| args.command.iter().map(Text::from).collect()),
        patience: args.manner.probe_timeout,
        places: places(args),
        mask,
        own: inodes(&chain::inherited_fds()),
        skip_unknown: args.manner.unknown == Unknown::Open,
    }
}

/// Where claims may lie: the machine's directory, the session's, the user's.
fn places(args: &Args) -> Vec<Candidate> {
    let own = |path: PathBuf| Candidate { path, shared: false };
    if let Some(dir) = &args.manner.claim_dir {
        return vec![own(dir.clone())];
    }
    let mut places = vec![Candidate { path: "/run/lock/bgtools".into(), shared: true }];
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    places.extend(set("XDG_RUNTIME_DIR").map(|dir| own(dir.join("bgtools"))));
    let state = args.manner.dir.clone().or_else(|| {
        let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
        Some(state.join("bgtools"))
    });
    places.extend(state.map(|dir| own(dir.join("claims"))));
    places
}
