//! The one main: parse, run, flush, report, exit.

use std::ffi::OsString;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, Stdout, Write};
use std::mem::ManuallyDrop;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind as Wrong;

use crate::exit::{Exit, Failure};
use crate::text::shown;

/// A tool: its name, the code of a wrong command line, and what it does.
pub struct Tool<A> {
    /// As users call it and as its errors begin.
    pub name: &'static str,
    /// [`Exit::Usage`], or [`Exit::Broken`] where the tool passes a command's status on.
    pub usage: Exit,
    /// Does the work. A "no" is a value; only what failed is an error.
    pub run: fn(A, &mut Out) -> anyhow::Result<Exit>,
}

/// Standard output: buffered, and remembering that its reader went away.
pub struct Out {
    inner: BufWriter<Stdout>,
    closed: bool,
}

impl Out {
    fn new() -> Self {
        Self { inner: BufWriter::with_capacity(1 << 16, io::stdout()), closed: false }
    }

    /// Whether a person watches.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.inner.get_ref().is_terminal()
    }

    /// Whether the reader went away: nothing that is printed from now on can reach anybody.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Drops what couldn't be written, so that it isn't tried again at the end.
    pub fn forget(&mut self) {
        let fresh = Self::new();
        let (_, _unwritten) = std::mem::replace(&mut self.inner, fresh.inner).into_parts();
    }

    fn noted<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        self.closed |= result.as_ref().is_err_and(|e| e.kind() == ErrorKind::BrokenPipe);
        result
    }
}

impl Write for Out {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let result = self.inner.write(buf);
        self.noted(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.noted(result)
    }
}

/// Runs a tool as a program.
#[must_use]
pub fn main<A: Parser>(tool: &Tool<A>) -> ExitCode {
    outcome(tool).into()
}

/// Runs a tool as a program, and says how it ends.
#[must_use]
pub fn outcome<A: Parser>(tool: &Tool<A>) -> Exit {
    outcome_of(tool, tool.run)
}

/// The same where what it does needs more than its options.
#[must_use]
pub fn outcome_of<A: Parser>(tool: &Tool<A>, run: impl FnOnce(A, &mut Out) -> anyhow::Result<Exit>) -> Exit {
    let mut out = Out::new();
    let result = parsed(tool, run, std::env::args_os().collect(), &mut out);
    let written = out.flush();
    match (result, written) {
        // `bgstatus | head`: a reader that has seen enough is no error.
        (Ok(exit), _) if out.closed => exit,
        (Err(error), _) if out.closed && is_broken_pipe(&error) => Exit::Done,
        (Ok(exit), Ok(())) => exit,
        (Ok(_), Err(error)) => report(tool.name, &anyhow::Error::new(error).context("cannot write to standard output")),
        (Err(error), _) => report(tool.name, &error),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| cause.kind() == ErrorKind::BrokenPipe)
}

fn parsed<A: Parser>(
    tool: &Tool<A>,
    run: impl FnOnce(A, &mut Out) -> anyhow::Result<Exit>,
    words: Vec<OsString>,
    out: &mut Out,
) -> anyhow::Result<Exit> {
    // Its hundreds of pieces go with the program: given back one by one they would cost as much as the parsing.
    let mut command = ManuallyDrop::new(A::command());
    let args =
        command.try_get_matches_from_mut(words).and_then(|matches| A::from_arg_matches_mut(&mut ManuallyDrop::new(matches)));
    match args.map_err(|error| error.format(&mut command)) {
        Ok(args) => run(args, out),
        Err(error) if matches!(error.kind(), Wrong::DisplayHelp | Wrong::DisplayVersion) => {
            write!(out, "{}", error.render())?;
            Ok(Exit::Done)
        }
        Err(error) => Err(usage(tool, &error).into()),
    }
}

/// clap's report, cut to the one line of the contract.
fn usage<A>(tool: &Tool<A>, error: &clap::Error) -> Failure {
    let report = error.render().to_string();
    let mut lines = report.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:")).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("wrong command line").trim_start_matches("error: ");
    let rest: Vec<&str> = lines.filter(|line| !line.starts_with("tip:") && !line.starts_with("For more information")).collect();
    let message = if rest.is_empty() { first.to_owned() } else { format!("{first} {}", rest.join(", ")) };
    Failure::new(tool.usage, shown(message)).hint(format!("'{} --help' lists the options", tool.name))
}

/// Prints an error as the contract has it, one line and perhaps a hint, and gives the code to end with.
#[must_use]
pub fn report(tool: &str, error: &anyhow::Error) -> Exit {
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    complain(tool, &without_numbers(&format!("{error:#}")));
    if let Some(hint) = failure.and_then(|failure| failure.hint.as_deref()) {
        complain(tool, hint);
    }
    failure.map_or(Exit::Broken, |failure| failure.exit)
}

/// The reasons alone: std adds ` (os error 2)` to each, which says nothing more to anybody.
fn without_numbers(message: &str) -> String {
    let mut parts = message.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| kept + part.split_once(')').map_or(part, |(_, rest)| rest))
}

/// One line on standard error. That it can't be written is nobody's to hear.
pub fn complain(tool: &str, line: &str) {
    let _ = writeln!(io::stderr(), "{tool}: {}", shown(line));
}
