//! `progress-mark`: done is done, and the rest is one filter away.

mod add;
mod claim;
mod context;
mod edit;
mod exchange;
mod input;
mod list;
mod run;
mod saved;
mod set;
mod show;
mod sorted;
mod todo;
mod upkeep;

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::entry::{Out, Tool};
use crate::exit::Exit;

const NAME: &str = "progress-mark";

static TOOL: Tool<Args> = Tool { name: NAME, usage: Exit::Usage, run };
/// `run` passes a command's status on, so a wrong command line of its own ends with another code.
static RUN: Tool<Args> = Tool { name: NAME, usage: Exit::Broken, run };

/// Remember which items are done, and print those still to do
#[derive(Parser)]
#[command(name = NAME, version, max_term_width = 100, subcommand_required = true, arg_required_else_help = false)]
pub struct Args {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(ClapArgs, Clone)]
struct Global {
    /// The journal [default: progress.jsonl]
    #[arg(short, long, global = true, env = "PROGRESS_FILE", hide_env = true, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The key's fields, for a journal or an input of objects without a header
    #[arg(long, global = true, value_delimiter = ',', value_name = "A,B,C")]
    fields: Option<Vec<String>>,
    /// Fail when the journal has a damaged line
    #[arg(long, global = true)]
    strict: bool,
    /// Neither read nor write the cache FILE.idx
    #[arg(long, global = true)]
    no_cache: bool,
    /// Trust locks on a network file system
    #[arg(long, global = true)]
    unsafe_lock: bool,
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    json: bool,
    /// Say what would be done, and change nothing
    #[arg(long, global = true)]
    dry_run: bool,
    /// No warnings, no progress bar, no echo
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say how the work was done
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Mark items done, durably
    Add(add::Args),
    /// Print the candidates on standard input that aren't done
    Todo(todo::Args),
    /// Run a command unless the item is done, and mark it when it succeeds
    Run(run::Args),
    /// Take items back: they are to do again
    Undo(add::UndoArgs),
    /// Print the items that are done
    List(list::Args),
    /// Look for damage
    Check,
    /// Move damaged lines out of the journal
    Repair,
    /// Rewrite the journal sorted and without repetition
    Compact,
    /// Change the journal in an editor without losing what is marked meanwhile
    Edit,
    /// Mark the items of a progress.json done
    Import(exchange::ImportArgs),
    /// Write the done items as a progress.json
    Export(exchange::ExportArgs),
    /// Show how many items are done, the rate, and the time left
    Show(show::Args),
    /// Exit 0 when so many items were done since the last "saved"
    Due(saved::DueArgs),
    /// Note that the items done so far were saved
    Saved(saved::SavedArgs),
    /// Tell how far the current job is
    Set(set::Args),
}

fn run(args: Args, out: &mut Out) -> anyhow::Result<Exit> {
    // A file at its size limit is an error to report, not a signal to die of.
    crate::sys::ignore(nix::sys::signal::Signal::SIGXFSZ);
    let global = &args.global;
    match args.command {
        Command::Add(args) => add::run(global, &args, out),
        Command::Todo(args) => todo::run(global, &args, out),
        Command::Run(args) => run::run(global, &args),
        Command::Undo(args) => add::undo(global, &args, out),
        Command::List(args) => list::run(global, &args, out),
        Command::Check => upkeep::check(global, out),
        Command::Repair => upkeep::repair(global, out),
        Command::Compact => upkeep::compact(global, out),
        Command::Edit => edit::run(global),
        Command::Import(args) => exchange::import(global, &args, out),
        Command::Export(args) => exchange::export(global, &args, out),
        Command::Show(args) => show::run(global, &args, out),
        Command::Due(args) => saved::due(global, &args),
        Command::Saved(args) => saved::saved(global, &args),
        Command::Set(args) => set::run(global, args, out),
    }
}

/// The tool that the command line asks for.
#[must_use]
pub fn tool() -> &'static Tool<Args> {
    let mut words = env::args_os().skip(1);
    while let Some(word) = words.next() {
        let takes_value = ["-f", "--file", "--fields"].into_iter().any(|option| word == option);
        if takes_value {
            words.next();
        } else if !word.to_string_lossy().starts_with('-') {
            return if word == OsStr::new("run") { &RUN } else { &TOOL };
        }
    }
    &TOOL
}
