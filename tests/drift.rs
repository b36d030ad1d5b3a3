//! Options, pages, exit codes and fields say the same thing in every place where they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bgtools::exit::Exit;
use clap::{Arg, ArgAction, Command};

use crate::support::catalogue::{CODES, Public, tools};
use crate::support::{Run, root};

/// A page of the manual, by sections.
struct Page {
    lines: Vec<(Place, String)>,
}

/// The section and subsection that a line stands in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Place {
    section: String,
    sub: String,
}

impl Page {
    fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    fn parse(text: &str) -> Self {
        let mut place = Place::default();
        let mut lines = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix(".Sh ") {
                place = Place { section: name.trim_matches('"').to_owned(), sub: String::new() };
            } else if let Some(name) = line.strip_prefix(".Ss ") {
                name.trim_matches('"').clone_into(&mut place.sub);
            }
            lines.push((place.clone(), line.to_owned()));
        }
        Self { lines }
    }

    fn sections(&self) -> Vec<&str> {
        self.lines.iter().filter_map(|(_, line)| line.strip_prefix(".Sh ")).collect()
    }

    fn section(&self, name: &str) -> Vec<&str> {
        self.lines.iter().filter(|(place, _)| place.section == name).map(|(_, line)| line.as_str()).collect()
    }

    /// The options that stand anywhere, by subsection.
    fn mentioned(&self) -> Vec<(&str, String)> {
        let flags = |(place, line): &'_ (Place, String)| {
            flags(line).into_iter().map(|flag| (place.sub.clone(), flag)).collect::<Vec<_>>()
        };
        let subs: BTreeMap<String, &str> = self.lines.iter().map(|(place, _)| (place.sub.clone(), place.sub.as_str())).collect();
        self.lines.iter().flat_map(flags).map(|(sub, flag)| (subs[&sub], flag)).collect()
    }

    /// The options that have an entry of their own, by subsection, and whether the entry names a value.
    fn explained(&self) -> Vec<(&str, String, bool)> {
        let entries = self.lines.iter().filter(|(_, line)| line.starts_with(".It ") && line.contains("Fl "));
        entries
            .flat_map(|(place, line)| flags(line).into_iter().map(|f| (place.sub.as_str(), f, line.contains(" Ar "))))
            .collect()
    }

    /// The heads of the list entries with this macro in a place.
    fn items(&self, section: &str, sub: Option<&str>, head: &str) -> Vec<String> {
        let within = |place: &Place| place.section == section && sub.is_none_or(|sub| place.sub == sub);
        let heads = self.lines.iter().filter(|(place, _)| within(place)).filter_map(|(_, line)| line.strip_prefix(head));
        heads.map(|rest| rest.trim().replace("\\&", "")).collect()
    }
}

/// `Fl n` is -n, `Fl -name` is --name; a bare `Fl -` is the end of the options.
fn flags(line: &str) -> Vec<String> {
    if !line.starts_with('.') {
        return Vec::new();
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = words.windows(2).filter(|pair| pair[0].trim_start_matches('.') == "Fl").map(|pair| pair[1]);
    after.filter(|word| *word != "-").map(|word| format!("-{word}")).collect()
}

fn names(arg: &Arg) -> Vec<String> {
    let short = arg.get_short().map(|c| format!("-{c}"));
    let long = arg.get_long().map(|name| format!("--{name}"));
    short.into_iter().chain(long).collect()
}

fn visible(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set())
}

/// The options of one command, and whether each takes a value.
fn options(command: &Command) -> BTreeMap<String, bool> {
    let with_value = |arg: &Arg| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    visible(command).flat_map(|arg| names(arg).into_iter().map(move |name| (name, with_value(arg)))).collect()
}

fn subcommands(command: &Command) -> Vec<&Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help").collect()
}

fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("man")).unwrap();
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages
}

/// A subcommand's options stand in the `.Ss` of its name, or outside any where several share them.
fn drifted(name: &str, command: &Command, page: &Page) -> Vec<String> {
    let mut wrong = Vec::new();
    let own = options(command);
    let subs = subcommands(command);
    let by_sub: BTreeMap<&str, BTreeMap<String, bool>> = subs.iter().map(|sub| (sub.get_name(), options(sub))).collect();
    let mut everything = own.clone();
    everything.extend(by_sub.values().flatten().map(|(name, value)| (name.clone(), *value)));

    let explained = page.explained();
    let entry = |sub: &str, flag: &str| explained.iter().any(|(at, f, _)| f == flag && (*at == sub || !by_sub.contains_key(at)));
    for sub in by_sub.keys() {
        if !page.lines.iter().any(|(place, _)| place.sub == *sub) {
            wrong.push(format!("{name}: no .Ss {sub} for that subcommand"));
        }
    }
    for (sub, options) in by_sub.iter().map(|(sub, options)| (*sub, options)).chain([("", &own)]) {
        for flag in options.keys().filter(|flag| !entry(sub, flag)) {
            wrong.push(format!("{name} {sub}: {flag} has no entry in the page"));
        }
    }
    for (sub, flag) in page.mentioned() {
        let here = match by_sub.get(sub) {
            Some(options) => options.contains_key(&flag) || own.contains_key(&flag),
            None => everything.contains_key(&flag),
        };
        if !here {
            wrong.push(format!("{name} {sub}: the page has {flag}, which isn't an option"));
        }
    }
    for (sub, flag, with_value) in explained {
        let options = by_sub.get(sub).unwrap_or(&everything);
        if options.get(&flag).or(own.get(&flag)).is_some_and(|takes| *takes != with_value) {
            wrong.push(format!("{name} {sub}: the page is wrong on whether {flag} takes a value"));
        }
    }
    wrong
}

#[test]
fn every_option_has_an_entry_and_every_entry_an_option() {
    let of = |tool: &Public| drifted(tool.name, &tool.command(), &Page::read(&tool.page()));
    let wrong: Vec<String> = tools().iter().flat_map(of).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The check itself, on a tool with subcommands and a page with a mistake of each kind.
#[test]
fn each_kind_of_drift_is_seen() {
    let option = |name: &'static str| Arg::new(name).long(name);
    let sub = |name: &'static str| Command::new(name).arg(option("only")).arg(option("both"));
    let shared = option("switch").short('s').action(ArgAction::SetTrue);
    let command = Command::new("x").arg(shared).subcommand(sub("add")).subcommand(sub("show"));
    let command = command.disable_help_flag(true).disable_help_subcommand(true);
    let page = |text: &str| drifted("x", &command, &Page::parse(text));

    let good = ".Sh DESCRIPTION\n.It Fl s , Fl -switch\n.It Fl -both Ar b\n.Ss add\n.It Fl -only Ar o\n.Ss show\n.It Fl -only Ar o\nSee\n.Fl -switch\n";
    assert_eq!(page(good), Vec::<String>::new());
    let cases = [
        (good.replace(".It Fl s , Fl -switch\n", ".It Fl -switch\n"), "x : -s has no entry in the page"),
        (good.replace(".Ss show\n.It Fl -only Ar o\n", ".Ss show\n"), "x show: --only has no entry in the page"),
        (good.replace("See\n", ".It Fl -gone\n"), "x show: the page has --gone, which isn't an option"),
        (good.replace(".Fl -switch\n", ".Ss add\n.Fl -gone\n"), "x add: the page has --gone, which isn't an option"),
        (good.replace("Fl -switch\n.It", "Fl -switch Ar n\n.It"), "x : the page is wrong on whether --switch takes a value"),
        (good.replace("Fl -both Ar b", "Fl -both"), "x : the page is wrong on whether --both takes a value"),
        (good.replace(".Ss show\n", ""), "x: no .Ss show for that subcommand"),
    ];
    for (text, complaint) in cases {
        assert!(page(&text).iter().any(|wrong| wrong == complaint), "{complaint}: {:?}", page(&text));
    }
}

#[test]
fn the_values_that_an_option_knows_stand_in_the_page() {
    for tool in tools() {
        let page = Page::read(&tool.page());
        let command = tool.command();
        for command in [&command].into_iter().chain(command.get_subcommands()) {
            for arg in visible(command).filter(|arg| !names(arg).is_empty()) {
                for value in arg.get_possible_values().iter().filter(|_| arg.get_action().takes_values()) {
                    let word = value.get_name();
                    let listed = page.lines.iter().any(|(_, line)| {
                        line.starts_with('.')
                            && line.split_whitespace().any(|w| w == word)
                            && (line.contains("Cm ") || line.contains("Ql "))
                    });
                    assert!(listed, "{}: {:?} knows {word}, the page doesn't", tool.name, names(arg));
                }
            }
        }
    }
}

#[test]
fn the_pages_of_the_suite_name_only_options_that_exist() {
    let known: BTreeSet<String> = tools().iter().flat_map(|tool| options(&tool.command()).into_keys()).collect();
    for name in ["bgtools", "bgtools-cookbook"] {
        for (_, flag) in Page::read(&root().join(format!("man/{name}.7"))).mentioned() {
            assert!(known.contains(&flag), "{name}(7) has {flag}, which no tool has");
        }
    }
}

#[test]
fn common_options_mean_the_same_everywhere() {
    let page = Page::read(&root().join("man/bgtools.7"));
    let common = page.explained();
    for tool in tools() {
        let options = options(&tool.command());
        for (_, flag, with_value) in &common {
            let Some(takes) = options.get(flag) else { continue };
            assert_eq!(takes, with_value, "{} {flag}", tool.name);
        }
    }
}

#[test]
fn exit_status_sections_have_the_codes_that_apply() {
    for tool in tools() {
        let listed = Page::read(&tool.page()).items("EXIT STATUS", None, ".It ");
        assert_eq!(listed, tool.codes, "{}(1)", tool.name);
        assert!(tool.codes.iter().all(|code| CODES.contains(code)), "{}: a code outside the table", tool.name);
    }
    assert_eq!(Page::read(&root().join("man/bgtools.7")).items("EXIT STATUS", None, ".It "), CODES, "bgtools(7)");
}

#[test]
fn the_table_of_codes_is_that_of_the_enum() {
    use Exit::{Broken, CannotRun, Done, No, NotFound, NotNow, TimedOut, Usage};
    let numbers = [Done, No, Usage, NotNow, TimedOut, Broken, CannotRun, NotFound].map(|exit| exit.code().to_string());
    assert_eq!(numbers[..], CODES[..CODES.len() - 1]);
}

#[test]
fn pages_have_the_sections_of_the_house() {
    const ORDER: [&str; 10] = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "ENVIRONMENT",
        "FILES",
        "EXIT STATUS",
        "EXAMPLES",
        "SEE ALSO",
        "CAVEATS",
        "SECURITY CONSIDERATIONS",
    ];
    for path in pages() {
        let page = Page::read(&path);
        // A page of recipes describes nothing that another page doesn't; a format has neither environment nor exit status.
        let kept = |name: &&str| match path.file_name().and_then(|name| name.to_str()).unwrap() {
            "bgtools-cookbook.7" => !matches!(*name, "SYNOPSIS" | "ENVIRONMENT" | "FILES" | "EXIT STATUS"),
            file => !matches!(*name, "ENVIRONMENT" | "EXIT STATUS") || !file.ends_with(".5"),
        };
        let wanted = ORDER.iter().filter(|name| kept(name));
        let wanted: Vec<&str> = wanted.copied().filter(|name| *name != "SECURITY CONSIDERATIONS").collect();
        let found = page.sections();
        let house: Vec<&str> = found.iter().copied().filter(|name| *name != "SECURITY CONSIDERATIONS").collect();
        assert_eq!(house, wanted, "{}", path.display());
        assert!(page.section("NAME").len() > 2 && page.section("EXAMPLES").len() > 2, "{}", path.display());
    }
}

#[test]
fn every_page_is_clean_for_mandoc() {
    for path in pages() {
        Run::new("mandoc").args(["-Tlint", "-W", "warning"]).arg(&path).silent(0);
    }
}

/// A page refers to pages that this package has, or to the system's.
#[test]
fn references_between_the_pages_hold() {
    let own: BTreeSet<String> = pages().iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let ours = |name: &str| name.starts_with("bg") || tools().iter().any(|tool| tool.name == name);
    for path in pages() {
        let page = Page::read(&path);
        for line in page.lines.iter().filter_map(|(_, line)| line.strip_prefix(".Xr ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let file = format!("{}.{}", words[0], words[1]);
            assert!(!ours(words[0]) || own.contains(&file), "{}: {line}", path.display());
        }
    }
}

#[test]
fn each_program_has_its_entry_page_and_completions() {
    let programs = fs::read_dir(root().join("src/bin")).unwrap();
    let programs: BTreeSet<String> =
        programs.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let listed: BTreeSet<String> = tools().iter().map(|tool| tool.name.to_owned()).collect();
    assert_eq!(programs, listed, "src/bin and the catalogue of the tests");
    for tool in tools() {
        let completions = [format!("{}.bash", tool.name), format!("_{}", tool.name), format!("{}.fish", tool.name)];
        for file in completions.map(|file| root().join("completions").join(file)).iter().chain([&tool.page()]) {
            assert!(file.is_file(), "{} is missing", file.display());
        }
    }
}

fn check_help(of: &str, command: &Command) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    check_sentence(of, &about);
    for arg in visible(command) {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        check_sentence(&format!("{of} {}", arg.get_id()), &help);
    }
    for sub in subcommands(command) {
        check_help(&format!("{of} {}", sub.get_name()), sub);
    }
}

/// One sentence as a label: a capital or a digit first, no full stop at its end or within.
fn check_sentence(of: &str, text: &str) {
    let first = text.chars().next();
    assert!(first.is_some_and(|c| !c.is_lowercase()), "{of}: {text:?} doesn't begin as a sentence");
    assert!(!text.contains('\n') && !text.contains(". ") && !text.ends_with('.'), "{of}: {text:?} is more than a sentence");
}

#[test]
fn each_line_of_help_is_one_sentence() {
    for tool in tools() {
        check_help(tool.name, &tool.command());
    }
}

#[test]
fn help_and_version_are_answered_on_standard_output() {
    for tool in tools() {
        let help = crate::support::tool(tool.name).arg("--help").ok();
        for option in options(&tool.command()).keys().filter(|name| name.starts_with("--")) {
            assert!(help.contains(option.as_str()), "{} --help lacks {option}", tool.name);
        }
        assert_eq!(
            crate::support::tool(tool.name).arg("--version").ok(),
            format!("{} {}\n", tool.name, env!("CARGO_PKG_VERSION"))
        );
    }
}

mod format {
    use super::{BTreeSet, Page, root};
    use crate::formats::{full_progress, full_records, full_request};
    use serde_json::Value;

    /// What is documented elsewhere on the page, or is data of the user's.
    const OPAQUE: [&str; 4] = ["env", "evidence.cancel", "runs[].exit", "runs[].usage"];

    fn fields(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
        if OPAQUE.contains(&prefix) {
            return;
        }
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                    if key != "base64" {
                        found.insert(path.clone());
                    }
                    fields(&path, value, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| fields(&format!("{prefix}[]"), item, found)),
            _ => {}
        }
    }

    fn documented(sub: &str) -> BTreeSet<String> {
        let listed = Page::read(&root().join("man/bgtools-record.5")).items("DESCRIPTION", Some(sub), ".It Va ");
        let set: BTreeSet<String> = listed.iter().cloned().collect();
        assert_eq!(set.len(), listed.len(), "{sub}: a field stands twice");
        set
    }

    fn check(sub: &str, values: &[Value]) {
        let mut stored = BTreeSet::new();
        for value in values {
            fields("", value, &mut stored);
        }
        let documented = documented(sub);
        let missing: Vec<_> = stored.difference(&documented).collect();
        let invented: Vec<_> = documented.difference(&stored).collect();
        assert!(missing.is_empty() && invented.is_empty(), "{sub}: not documented {missing:?}, not stored {invented:?}");
    }

    #[test]
    fn the_page_lists_each_field_of_a_record_and_nothing_else() {
        let records: Vec<Value> = full_records().iter().map(|record| serde_json::to_value(record).unwrap()).collect();
        check("The record", &records);
    }

    #[test]
    fn the_page_lists_each_field_beside_a_record() {
        check("The cancel request", &[serde_json::to_value(full_request()).unwrap()]);
        check("Progress", &[serde_json::to_value(full_progress()).unwrap()]);
    }
}
