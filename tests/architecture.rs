//! The rules of the house that a compiler doesn't know: which room may use which, and what stays out of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::root;

/// Rooms that use no other and that any room may use.
const GROUND: [&str; 7] = ["clock", "exit", "signal", "size", "sys", "text", "user"];

/// Every other room, from the bottom up, with what it may use beside the ground: only rooms above it in this list.
const ROOMS: [(&str, &[&str]); 21] = [
    ("table", &[]),
    ("process", &[]),
    ("probe", &[]),
    ("gauges", &["probe"]),
    ("isolation", &["gauges", "process"]),
    ("record", &["isolation", "process"]),
    ("state_dir", &["process", "record"]),
    ("queue", &["process", "record", "state_dir"]),
    ("launch", &["isolation", "process", "queue", "record", "state_dir"]),
    ("cancel", &["isolation", "process", "record", "state_dir"]),
    ("policy", &["record"]),
    ("supervisor", &["isolation", "launch", "policy", "process", "queue", "record", "state_dir"]),
    ("claims", &["gauges", "process", "state_dir"]),
    ("gate", &["claims", "gauges", "process"]),
    ("journal", &[]),
    ("done_set", &["journal"]),
    ("leases", &["journal", "process"]),
    ("progress", &["record", "state_dir"]),
    ("checkpoint", &["process"]),
    ("entry", &[]),
    ("tools", EVERYTHING),
];
const EVERYTHING: &[&str] = &["*"];

/// What only `tools` may do: read the environment, print, exit. Each exception has its reason.
const TOUCHES_THE_WORLD: [(&str, &str, &str); 9] = [
    ("src/bin/bgrun.rs", "env::args", "its first argument tells whether it is a supervisor"),
    ("src/entry.rs", "env::args", "the one main parses the command line"),
    ("src/entry.rs", "io::stdout", "the one main owns the output"),
    ("src/entry.rs", "io::stderr", "the one main reports errors"),
    ("src/supervisor/handover.rs", "env::vars", "a supervisor keeps its launcher's environment but for the marks"),
    ("src/supervisor/recover.rs", "env::vars", "a recovered job inherits that of the call, unless its own was kept"),
    ("src/supervisor/run.rs", "env::vars", "and so does every further run"),
    ("src/supervisor/start.rs", "env::vars", "a job inherits its caller's environment"),
    ("src/supervisor/start.rs", "env::current_dir", "the record says where the job runs"),
];

/// `_exit(2)` of a forked child, which must not run its parent's destructors.
const FORKS: [&str; 3] = ["src/sys/mod.rs", "src/sys/beside.rs", "src/probe.rs"];

/// Longer than 400 lines, and looked at again: why each stays whole.
const LOOKED_AT_AGAIN: [(&str, &str); 1] =
    [("src/checkpoint/snapshot.rs", "one snapshot from listing to publication; its steps share the source and the temporary")];

struct Source {
    /// From the repository's root.
    path: String,
    text: String,
}

impl Source {
    /// The lines of code, without comments and without the unit tests at the end.
    fn code(&self) -> impl Iterator<Item = &str> {
        let end = self.text.find("#[cfg(test)]\nmod tests").unwrap_or(self.text.len());
        self.text[..end].lines().filter(|line| !line.trim_start().starts_with("//"))
    }

    /// The room that it belongs to: `src/room.rs` or `src/room/….rs`.
    fn room(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let room = inside.split('/').next()?.trim_end_matches(".rs");
        (room != "lib" && room != "bin").then_some(room)
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push(Source { path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// The rooms that a line names: `crate::room`, and each of `use crate::{room, …}`.
fn named(line: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
    let mut rooms = BTreeSet::new();
    for rest in line.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(top_level(group).iter().map(|item| word(item.trim()))),
            None => drop(rooms.insert(word(rest))),
        }
    }
    rooms.remove("");
    rooms
}

/// The items of a group of imports, without what stands in the braces of each.
fn top_level(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut items = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => items.push(String::new()),
            c if depth == 1 => items.last_mut().unwrap().push(c),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    items
}

/// Who uses whom, and one place where it does.
fn edges() -> BTreeMap<(String, String), String> {
    let mut edges = BTreeMap::new();
    for source in sources("src") {
        let Some(room) = source.room() else { continue };
        let code = source.code().collect::<Vec<_>>().join("\n");
        // An import may go over several lines.
        for statement in code.split(';') {
            for used in named(statement).into_iter().filter(|used| used != room) {
                edges.entry((room.to_owned(), used)).or_insert_with(|| source.path.clone());
            }
        }
    }
    edges
}

#[test]
fn each_room_uses_only_what_lies_below_it() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.into_iter().chain(GROUND.map(|room| (room, &[][..]))).collect();
    let mut wrong = Vec::new();
    for ((room, used), path) in edges() {
        let Some(list) = allowed.get(room.as_str()) else {
            wrong.push(format!("{path}: the room '{room}' has no place in ROOMS"));
            continue;
        };
        let ground = GROUND.contains(&used.as_str()) && !GROUND.contains(&room.as_str());
        if !ground && *list != EVERYTHING && !list.contains(&used.as_str()) {
            wrong.push(format!("{path}: '{room}' uses '{used}', which ROOMS doesn't allow"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_allowed_edges_have_no_circle() {
    for (at, (room, list)) in ROOMS.iter().enumerate() {
        for used in list.iter().filter(|used| **used != "*") {
            let below = ROOMS[..at].iter().any(|(name, _)| name == used);
            assert!(below, "'{room}' is allowed '{used}', which doesn't stand above it in ROOMS");
        }
    }
}

#[test]
fn the_look_for_edges_sees_every_form_of_them() {
    let of = |line: &str| named(line).into_iter().collect::<Vec<_>>();
    assert_eq!(of("use crate::text::shown;"), ["text"]);
    assert_eq!(of("use crate::{\n    clock,\n    process::{Handle, Here},\n    sys\n}"), ["clock", "process", "sys"]);
    assert_eq!(of("let a = crate::user::name(crate::sys::pid())"), ["sys", "user"]);
    assert_eq!(of("pub(crate) fn a()"), Vec::<String>::new());
    let known: Vec<(String, String)> = edges().into_keys().collect();
    for (room, used) in [("supervisor", "launch"), ("state_dir", "record"), ("cancel", "process")] {
        assert!(known.contains(&(room.into(), used.into())), "{room} -> {used}");
    }
}

#[test]
fn nothing_below_tools_reads_the_environment_prints_or_exits() {
    const WORLD: [&str; 11] = [
        "env::args",
        "env::var",
        "env::vars",
        "env::current_dir",
        "env::set_var",
        "env::remove_var",
        "env::home_dir",
        "io::stdout",
        "io::stderr",
        "process::exit",
        "process::abort",
    ];
    let mut used = BTreeSet::new();
    for source in sources("src").iter().filter(|source| source.room() != Some("tools")) {
        for line in source.code() {
            for thing in WORLD.iter().filter(|thing| mentions(line, thing)) {
                let excepted = TOUCHES_THE_WORLD.iter().position(|(path, what, _)| *path == source.path && what == thing);
                used.insert(excepted.unwrap_or_else(|| panic!("{}: {line:?}: {thing} belongs into tools", source.path)));
            }
            for printing in ["print!(", "println!(", "dbg!("] {
                assert!(!line.contains(printing), "{}: {line:?} prints", source.path);
            }
            assert!(!line.contains("exit_now") || FORKS.contains(&source.path.as_str()), "{}: {line:?} exits", source.path);
        }
    }
    for (at, (path, what, _)) in TOUCHES_THE_WORLD.iter().enumerate() {
        assert!(used.contains(&at), "{path} doesn't use {what} any more: the exception can go");
    }
}

/// `env::var` isn't meant where the line says `env::vars`, and `env::vars_os` is.
fn mentions(line: &str, thing: &str) -> bool {
    let rest = |at: usize| &line[at + thing.len()..];
    line.match_indices(thing).any(|(at, _)| rest(at).starts_with(['(', '_', ';', ',', ')']) || rest(at).is_empty())
}

#[test]
fn files_are_short() {
    let mut lengths = Vec::new();
    for source in sources("src") {
        let lines = source.text.lines().count();
        let again = LOOKED_AT_AGAIN.iter().any(|(path, _)| *path == source.path);
        assert!(lines <= 600, "{} has {lines} lines", source.path);
        assert!(lines <= 400 || again, "{} has {lines} lines: look again, then split it or say why not", source.path);
        lengths.push(lines);
        assert!(!source.path.starts_with("src/bin/") || lines <= 20, "{} is more than a door", source.path);
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median < 150, "the median of the files' lengths is {median}");
}

#[test]
fn unsafe_stands_in_one_room_with_its_reasons() {
    let word = concat!("un", "safe");
    for source in sources("src").iter().chain(&sources("tests")) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let forms = [" {", " fn", " impl", " extern", "("];
            if !forms.iter().any(|form| line.contains(&format!("{word}{form}"))) {
                continue;
            }
            assert_eq!(source.room(), Some("sys"), "{}:{}", source.path, at + 1);
            let reason = lines[at.saturating_sub(4)..=at].iter().any(|line| line.contains("SAFETY"));
            assert!(reason, "{}:{}: no SAFETY above it", source.path, at + 1);
        }
    }
}

#[test]
fn tests_wait_for_events_and_none_is_left_out() {
    let sleep =
        [concat!("thread::", "sleep"), concat!("sleep(", "Duration"), concat!("sleep(", "std::"), concat!("nano", "sleep(")];
    let left_out = concat!("#[", "ignore");
    for source in sources("tests").iter().chain(&sources("src")) {
        for (at, line) in source.text.lines().enumerate() {
            let place = format!("{}:{}", source.path, at + 1);
            assert!(!sleep.iter().any(|form| line.contains(form)), "{place} sleeps: wait for an event, with a limit");
            assert!(!line.trim_start().starts_with(left_out), "{place} leaves a test out");
        }
    }
}

#[test]
fn the_architecture_names_every_room() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let doc: String = lib.lines().filter(|line| line.starts_with("//!")).collect();
    for room in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")).map(|room| room.trim_end_matches(';')) {
        let placed = GROUND.contains(&room) || ROOMS.iter().any(|(name, _)| *name == room);
        assert!(placed, "the room '{room}' has no place in ROOMS");
        assert!(doc.contains(&format!("[`{room}`]")), "the crate doc doesn't name the room '{room}'");
        let exists = |path: &str| Path::new(&root()).join(path).exists();
        assert!(exists(&format!("src/{room}.rs")) || exists(&format!("src/{room}/mod.rs")), "{room}");
    }
}

#[test]
fn each_module_of_the_tests_is_run() {
    let suite = fs::read_to_string(root().join("tests/suite.rs")).unwrap();
    for source in sources("tests") {
        let Some(topic) = source.path.strip_prefix("tests/").and_then(|file| file.strip_suffix(".rs")) else { continue };
        if topic != "suite" && !topic.contains('/') {
            assert!(suite.lines().any(|line| line == format!("mod {topic};")), "tests/suite.rs doesn't have {}", source.path);
        }
    }
}
