//! The completions: clap's own, and what clap can't know, the jobs that there are and where another command begins.

use std::fmt::Write;

use bgtools::record::State;
use clap::{Arg, Command, ValueEnum, ValueHint};
use clap_complete::Shell;
use clap_complete::generate as generated;

use crate::support::catalogue::{Jobs, Public};

/// File name and content for each shell.
pub fn all(tool: &Public) -> [(String, String); 3] {
    let about = About::new(tool);
    [
        (format!("{}.bash", tool.name), about.bash()),
        (format!("_{}", tool.name), about.zsh()),
        (format!("{}.fish", tool.name), about.fish()),
    ]
}

/// What the additions are made of.
struct About<'a> {
    tool: &'a Public,
    command: Command,
}

fn is_job(arg: &Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == "JOB"))
}

fn words(arg: &Arg) -> Vec<String> {
    let short = arg.get_short().map(|c| format!("-{c}"));
    short.into_iter().chain(arg.get_long().map(|name| format!("--{name}"))).collect()
}

impl<'a> About<'a> {
    fn new(tool: &'a Public) -> Self {
        Self { tool, command: tool.command() }
    }

    fn clap(&self, shell: Shell) -> String {
        let mut text = Vec::new();
        generated(shell, &mut self.command.clone(), self.tool.name, &mut text);
        String::from_utf8(text).unwrap()
    }

    fn options(&self, wanted: impl Fn(&Arg) -> bool) -> Vec<String> {
        let with_value = self.command.get_opts().filter(|arg| arg.get_action().takes_values() && !arg.is_hide_set());
        with_value.filter(|arg| wanted(arg)).flat_map(words).collect()
    }

    fn positional(&self, wanted: impl Fn(&Arg) -> bool) -> bool {
        self.command.get_positionals().any(wanted)
    }

    fn takes_jobs(&self) -> bool {
        self.positional(is_job)
            || !self.options(is_job).is_empty()
            || self.command.get_subcommands().any(|sub| sub.get_arguments().any(is_job))
    }

    fn runs_commands(&self) -> bool {
        self.positional(|arg| arg.get_value_hint() == ValueHint::CommandWithArguments)
    }

    /// Fills a template in; `between` stands between two states.
    fn fill(&self, template: &str, between: &str) -> String {
        let live_only = self.tool.jobs == Jobs::Live;
        let states = State::value_variants().iter().filter(|state| !live_only || !state.is_terminal());
        let states: Vec<&str> = states.map(|state| state.word()).collect();
        let take_value = self.options(|arg| !is_job(arg));
        template
            .replace("@NAME@", self.tool.name)
            .replace("@FN@", &self.tool.name.replace('-', "__"))
            .replace("@LISTED@", if live_only { "-o state,id,name" } else { "-a -o state,id,name" })
            .replace("@STATES@", &states.join(between))
            .replace("@TAKE_VALUE@", &take_value.join("|"))
    }

    fn bash(&self) -> String {
        if !self.takes_jobs() && !self.runs_commands() {
            return self.clap(Shell::Bash);
        }
        let some = |wanted: bool, text: &str| if wanted { text.to_owned() } else { String::new() };
        let offer = "_@FN@_jobs \"$cur\"";
        let job_options = self.options(is_job);
        let option = format!("        {})\n            {offer}\n            return ;;\n", job_options.join("|"));
        let positional = format!("    if [[ $cur != -* ]]; then\n        {offer}\n        return\n    fi\n");
        let template = include_str!("bash.sh")
            .replace("@JOBS@", &some(self.takes_jobs(), include_str!("bash-jobs.sh")))
            .replace("@COMMAND@", &some(self.runs_commands(), include_str!("bash-command.sh")))
            .replace("@JOB_OPTION@", &some(!job_options.is_empty(), &option))
            .replace("@POSITIONAL@", &some(self.positional(is_job), &positional));
        self.clap(Shell::Bash) + &self.fill(&template, "|")
    }

    /// `*::` would hide the words before it from the look for `--dir`.
    fn zsh(&self) -> String {
        let mut text = self.clap(Shell::Zsh);
        if !self.takes_jobs() {
            return text;
        }
        let jobs = format!(":_{}_jobs", self.tool.name.replace('-', "__"));
        let job_line = |line: &str| line.contains(":JOB:_default") || (line.contains(":jobs -- ") || line.contains(":job -- "));
        let lines = text.lines().map(|line| {
            if job_line(line) { line.replace("'*::job", "'*:job").replace(":_default", &jobs) } else { line.to_owned() }
        });
        text = lines.collect::<Vec<_>>().join("\n") + "\n";
        let after = "autoload -U is-at-least\n";
        let (head, tail) = text.split_once(after).expect("clap's own head");
        format!("{head}{after}{}{tail}", self.fill(include_str!("zsh-jobs.zsh"), "|"))
    }

    fn fish(&self) -> String {
        let mut text = self.clap(Shell::Fish);
        let name = self.tool.name;
        if self.takes_jobs() {
            text += &self.fill(include_str!("fish-jobs.fish"), " ");
        }
        let jobs = self.fill("'(__@FN@_jobs)'", " ");
        if self.positional(is_job) {
            writeln!(text, "complete -c {name} -f -k -a {jobs}").unwrap();
        }
        for arg in self.command.get_opts().filter(|arg| is_job(arg)) {
            let long = arg.get_long().expect("an option has a long name");
            writeln!(text, "complete -c {name} -l {long} -x -k -a {jobs}").unwrap();
        }
        if self.runs_commands() {
            let skip = self.options(|_| true).join(" ");
            writeln!(text, "complete -c {name} -x -a '(__fish_complete_subcommand -- {skip})'").unwrap();
        }
        text
    }
}
