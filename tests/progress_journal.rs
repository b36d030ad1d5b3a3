//! progress-mark: the format and its rules, one test a rule.
#![allow(clippy::format_collect, reason = "a test's input, once")]

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{Run, faults, scratch, tool};

/// A journal in a directory of its own.
pub struct Journal {
    pub dir: TempDir,
}

impl Journal {
    pub fn new() -> Self {
        Self { dir: scratch() }
    }

    pub fn of(text: impl AsRef<[u8]>) -> Self {
        let journal = Self::new();
        fs::write(journal.path(), text).unwrap();
        journal
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("progress.jsonl")
    }

    pub fn beside(&self, suffix: &str) -> PathBuf {
        self.dir.path().join(format!("progress.jsonl.{suffix}"))
    }

    pub fn run(&self, words: &[&str]) -> Run {
        tool("progress-mark").cwd(self.dir.path()).args(words)
    }

    pub fn text(&self) -> String {
        String::from_utf8(fs::read(self.path()).unwrap()).unwrap()
    }

    pub fn list(&self) -> Vec<String> {
        self.run(&["list"]).ok().lines().map(str::to_owned).collect()
    }

    pub fn list_with_warnings(&self) -> Vec<String> {
        self.run(&["list"]).run().stdout.lines().map(str::to_owned).collect()
    }

    /// Which of these lines are to do; warnings are allowed.
    pub fn todo(&self, candidates: &str) -> String {
        let ran = self.run(&["todo"]).stdin(candidates).run();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout
    }

    pub fn append(&self, bytes: &[u8]) {
        OpenOptions::new().append(true).create(true).open(self.path()).unwrap().write_all(bytes).unwrap();
    }
}

#[test]
fn what_is_added_is_done_and_the_rest_is_to_do() {
    let journal = Journal::new();
    assert_eq!(journal.todo("a\nb\n"), "a\nb\n");
    journal.run(&["add", "a", "c\t1"]).silent(0);
    assert_eq!(journal.text(), "[\"a\"]\n[\"c\",\"1\"]\n");
    assert_eq!(journal.todo("b\na\nc\t1\nc\nb\na\t"), "b\nc\nb\na\t");
    journal.run(&["undo", "a"]).silent(0);
    assert_eq!(journal.list(), ["c\t1"]);
    journal.run(&["add", "a"]).silent(0);
    assert_eq!(journal.list(), ["a", "c\t1"]);
}

#[test]
fn every_form_of_a_record_is_the_same_item() {
    let journal = Journal::of(concat!(
        "{\"progress_mark\":1,\"key\":[\"task\",\"round\"]}\n",
        "{\"task\":\"a\",\"round\":0,\"seconds\":1.5}\n",
        "[\"b\",0]\n",
        "[\"c\",\"0\"]\n",
        "{\"round\":\"0\",\"task\":\"d\"}\n",
        "{\"undo\":[\"b\",\"0\"]}\n",
        "{\"saved\":7}\n",
    ));
    assert_eq!(journal.todo("a\t0\nb\t0\nc\t0\nd\t0\n"), "b\t0\n");
    let json = journal.run(&["list", "--json"]).ok();
    assert_eq!(json.lines().next(), Some(r#"{"task":"a","round":"0"}"#));
}

#[test]
fn a_number_and_its_digits_are_one_item_and_check_names_the_two_forms() {
    let journal = Journal::of("[\"a\",\"x\"]\n[\"a\",0]\n[\"b\",0]\n[\"a\",\"0\"]\n");
    assert_eq!(journal.list(), ["a\tx", "a\t0", "b\t0"]);
    let ran = journal.run(&["check"]).run();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.stdout.contains("field 2 is a number in line 2 and the same digits as text in line 4"), "{ran:?}");
    Journal::of("[\"a\",0]\n[\"b\",1]\n").run(&["check"]).silent(0);
}

#[test]
fn a_torn_tail_is_ignored_and_never_another_key() {
    for tail in ["[\"sample_1", "[\"sample_12\"", "{\"undo\":[\"a\"]", "[\"a\",", "\u{feff}", "7"] {
        let journal = Journal::of(format!("[\"a\"]\n{tail}"));
        let ran = journal.run(&["list"]).run();
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "a\n", ""), "{tail}");
        let ran = journal.run(&["add", "b"]).run();
        assert!(ran.code == Some(0) && ran.stderr.contains("was torn"), "{tail}: {ran:?}");
        assert_eq!(journal.text(), "[\"a\"]\n[\"b\"]\n");
        assert_eq!(fs::read_to_string(journal.beside("torn")).unwrap(), format!("{tail}\n"));
    }
}

#[test]
fn a_whole_record_that_lacks_only_its_line_break_is_completed() {
    let journal = Journal::of("[\"a\"]\n[\"b\"]");
    assert_eq!(journal.list(), ["a"], "it isn't done before it ends in a line break");
    journal.run(&["add", "c"]).silent(0);
    assert_eq!(journal.list(), ["a", "b", "c"]);
    assert!(!journal.beside("torn").exists());
}

#[test]
fn damage_in_the_middle_is_skipped_counted_and_named() {
    let journal = Journal::of(b"[\"a\"]\n\0\0\0\0\n[\"b\xff\"]\nnonsense\n\0\0[\"c\"]\n[\"d\"]\r\n\n  \n[\"e\"]\n");
    let ran = journal.run(&["list"]).run();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "a\nd\ne\n"), "{ran:?}");
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("3 others"), "{ran:?}");
    journal.run(&["list", "--strict"]).fails(125, &["line 2", "damaged"]);
    let ran = journal.run(&["check"]).run();
    assert_eq!(ran.code, Some(1));
    let named: Vec<&str> =
        ran.stdout.lines().map(|line| line.split(".jsonl:").nth(1).unwrap().split(':').next().unwrap()).collect();
    assert_eq!(named, ["2", "3", "4", "5"], "{ran:?}");
}

#[test]
fn repair_moves_damage_aside_and_frees_what_stands_behind_nuls() {
    let journal = Journal::of(b"[\"a\"]\nnonsense\n\0\0[\"c\"]\n[\"d\"]\n[\"tor");
    let ran = journal.run(&["compact"]).run();
    assert!(ran.code == Some(125) && ran.stderr.contains("line 2") && ran.stderr.contains("was torn"), "{ran:?}");
    let ran = journal.run(&["repair"]).run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(journal.text(), "[\"a\"]\n[\"c\"]\n[\"d\"]\n");
    let aside = fs::read_to_string(journal.beside("torn")).unwrap();
    assert!(aside.contains("nonsense\n") && aside.contains("[\"tor\n"), "{aside}");
    journal.run(&["check"]).silent(0);
    journal.run(&["repair"]).silent(0);
}

#[test]
fn a_byte_order_mark_is_skipped_with_and_without_a_header() {
    let journal = Journal::of("\u{feff}[\"a\"]\n[\"b\"]\n");
    assert_eq!(journal.list(), ["a", "b"]);
    journal.run(&["compact"]).silent(0);
    assert_eq!(journal.list(), ["a", "b"]);
    let journal = Journal::of("\u{feff}{\"progress_mark\":1,\"key\":[\"a\",\"b\"]}\n{\"a\":\"x\",\"b\":1}\n");
    journal.run(&["add", "y\t2"]).silent(0);
    journal.run(&["add", "z"]).fails(2, &["1 fields", "has 2"]);
    assert_eq!(journal.list(), ["x\t1", "y\t2"]);
}

#[test]
fn a_line_of_a_hundred_megabytes_is_passed_over_in_little_memory() {
    let journal = Journal::new();
    {
        let mut file = fs::File::create(journal.path()).unwrap();
        file.write_all(b"[\"a\"]\n[\"").unwrap();
        let block = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            file.write_all(&block).unwrap();
        }
        file.write_all(b"\"]\n[\"b\"]\n").unwrap();
    }
    let mut command = Command::new("/usr/bin/env");
    let exe = crate::support::run::path_of("progress-mark");
    // 96 MiB of address space: less than the line.
    command.args(["bash", "-c", "ulimit -v 98304; exec \"$@\"", "sh"]).arg(exe).args(["--no-cache", "list"]);
    let output = command.current_dir(journal.dir.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a\nb\n", "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 2"), "{output:?}");
    journal.run(&["repair"]).run();
    assert_eq!(journal.list(), ["a", "b"]);
    assert!(fs::metadata(journal.beside("torn")).unwrap().len() > 100 << 20);
}

#[test]
fn a_key_of_any_text_survives() {
    let journal = Journal::new();
    let keys = [
        "plain",
        "with \"quotes\" and \\",
        "emoji 🧪 途中経過",
        "-",
        "--json",
        "{\"undo\":[\"plain\"]}",
        "\u{1}\u{7f}",
        "a\u{2028}b",
    ];
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    assert_eq!(journal.run(&["add", "-"]).stdin(lines.clone()).ok(), lines);
    assert_eq!(journal.list(), keys);
    assert_eq!(journal.todo(&lines), "");
    // What a line of columns can't hold comes as JSON.
    let journal = Journal::new();
    let items = "{\"a\":\"tab\\there\",\"b\":\"line\\nbreak\"}\n[\"x\",\"\\u0007\"]\n";
    assert_eq!(journal.run(&["add", "--jsonl", "--fields", "a,b", "-"]).stdin(items).ok(), items);
    assert_eq!(journal.run(&["todo", "--jsonl"]).stdin(items).ok(), "");
    let ran = journal.run(&["list"]).run();
    assert!(ran.code == Some(1) && ran.stderr.contains("--json"), "{ran:?}");
    assert_eq!(
        journal.run(&["list", "--json"]).ok(),
        "{\"a\":\"tab\\there\",\"b\":\"line\\nbreak\"}\n{\"a\":\"x\",\"b\":\"\\u0007\"}\n"
    );
    journal.run(&["compact"]).silent(0);
    assert_eq!(journal.run(&["todo", "--jsonl"]).stdin(items).ok(), "");
}

#[test]
fn what_is_no_text_is_refused() {
    let journal = Journal::new();
    tool("progress-mark").cwd(journal.dir.path()).arg("add").arg(OsStr::from_bytes(b"a\xff")).fails(2, &["\\xff", "UTF-8"]);
    journal.run(&["todo"]).stdin(b"a\xff\n".to_vec()).fails(2, &["line 1", "UTF-8"]);
    journal.run(&["add", ""]).fails(2, &["empty"]);
    journal.run(&["add", "a\nb"]).fails(2, &["line break"]);
    assert!(!journal.path().exists(), "nothing was written");
    // What came before the bad line is marked, and said so.
    let ran = journal.run(&["add", "-"]).stdin(b"a\nb\n\xff\nc\n".to_vec()).run();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), "a\nb\n"), "{ran:?}");
    assert_eq!(journal.list(), ["a", "b"]);
    // A last line that may be torn isn't marked: "sample_1" isn't "sample_12".
    let ran = journal.run(&["add", "-"]).stdin("c\nsample_1").run();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(125), "c\n"), "{ran:?}");
    assert_eq!(journal.list(), ["a", "b", "c"]);
}

#[test]
fn what_cannot_be_read_is_never_empty() {
    let journal = Journal::new();
    fs::create_dir(journal.path()).unwrap();
    journal.run(&["todo"]).stdin("a\n").fails(125, &["cannot read"]);
    journal.run(&["add", "a"]).fails(125, &["progress.jsonl"]);
    // A device that never ends.
    for words in [["-f", "/dev/full", "todo"].as_slice(), &["-f", "/dev/zero", "todo", "--sorted"], &["-f", "/dev/zero", "show"]]
    {
        journal.run(words).stdin("a\n").fails(125, &["isn't a regular file"]);
    }
    journal.run(&["-f", "/dev/null", "add", "a"]).fails(125, &["isn't a regular file"]);
    // Objects that no header explains.
    let journal = Journal::of("{\"task\":\"a\"}\n");
    journal.run(&["todo"]).stdin("a\n").fails(125, &["no header"]);
    assert_eq!(journal.run(&["todo", "--fields", "task"]).stdin("a\nb\n").ok(), "b\n");
    journal.run(&["repair"]).fails(125, &["--fields"]);
    journal.run(&["repair", "--fields", "task"]).silent(0);
    assert_eq!(journal.todo("a\nb\n"), "b\n");
    // A read that fails half way.
    let journal = Journal::of("[\"a\"]\n");
    let command = journal.run(&["todo"]).command();
    let place = faults::Place { call: "pread64".to_owned(), nth: 1 };
    let output = faults::at(&place, "error=EIO", &command).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{output:?}");
}

#[test]
fn a_newer_version_is_read_and_never_written() {
    let text = "{\"progress_mark\":2,\"key\":[\"task\"]}\n[\"a\"]\n";
    let journal = Journal::of(text);
    assert_eq!(journal.todo("a\nb\n"), "b\n");
    for words in [["add", "b"].as_slice(), &["undo", "a"], &["compact"], &["repair"], &["saved"], &["run", "b", "--", "true"]] {
        journal.run(words).fails(125, &["version 2"]);
    }
    assert_eq!(journal.text(), text);
}

#[test]
fn columns_and_json_lines_pick_the_key() {
    let journal = Journal::new();
    journal.run(&["add", "b\t2"]).silent(0);
    let run = |words: &[&str], input: &str| journal.run(words).stdin(input).ok();
    assert_eq!(run(&["todo", "-k", "1,3"], "a\tx\t1\nb\tx\t2\n"), "a\tx\t1\n");
    assert_eq!(run(&["todo", "-t", ",", "-k", "2-3"], "x,a,1\nx,b,2\n"), "x,a,1\n");
    assert_eq!(run(&["todo", "--jsonl", "--fields", "id,n"], "{\"n\":2,\"id\":\"b\",\"more\":{}}\n[\"b\",3]\n"), "[\"b\",3]\n");
    let ran = journal.run(&["todo", "-k", "3"]).stdin("a\tb\tc\na\tb\n").run();
    assert!(ran.code == Some(125) && ran.stderr.contains("line 2") && ran.stderr.contains("column 3"), "{ran:?}");
    journal.run(&["todo", "--jsonl"]).stdin("{}\n").fails(2, &["--fields"]);
    Journal::new().run(&["todo", "--jsonl", "--fields", "id"]).stdin("{\"x\":1}\n").fails(125, &["line 1", "missing"]);
    // CRLF: the key has no CR, the line keeps it.
    assert_eq!(run(&["todo", "-t", ","], "b,2\r\nc,2\r\n"), "c,2\r\n");
    assert_eq!(run(&["todo", "-c"], "b\t2\nb\t3\nb\t4\n"), "2\n");
    assert_eq!(run(&["todo", "-n", "2"], "x\ny\nz\n"), "x\ny\n");
}

#[test]
fn a_wrong_command_line_has_the_code_of_its_command() {
    let journal = Journal::new();
    for words in [
        ["add"].as_slice(),
        &["due"],
        &["due", "--every", "0"],
        &["todo", "-k", "x"],
        &["nonsense"],
        &[],
        &["set"],
        &["set", "101"],
    ] {
        journal.run(words).stdin("").fails(2, &[]);
    }
    for words in
        [["run"].as_slice(), &["-f", "x", "run", "a"], &["run", "--nonsense", "a", "--", "true"], &["run", "", "--", "true"]]
    {
        journal.run(words).fails(125, &[]);
    }
    assert_eq!(
        fs::read_dir(journal.dir.path())
            .unwrap()
            .filter(|entry| !entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".lock"))
            .count(),
        0
    );
}

#[test]
fn the_file_is_named_by_option_environment_or_habit() {
    let journal = Journal::new();
    journal.run(&["add", "a"]).env("PROGRESS_FILE", "env.jsonl").silent(0);
    journal.run(&["-f", "opt.jsonl", "add", "b"]).env("PROGRESS_FILE", "env.jsonl").silent(0);
    let read = |name: &str| fs::read_to_string(journal.dir.path().join(name)).unwrap();
    assert_eq!([read("env.jsonl"), read("opt.jsonl")], ["[\"a\"]\n", "[\"b\"]\n"]);
    journal.run(&["-f", "no/such/dir.jsonl", "todo"]).stdin("a\n").fails(125, &["no/such"]);
    // Two names, one journal, one lock.
    symlink("opt.jsonl", journal.dir.path().join("link.jsonl")).unwrap();
    journal.run(&["-f", "link.jsonl", "add", "c"]).silent(0);
    journal.run(&["-f", "link.jsonl", "compact"]).silent(0);
    assert!(fs::symlink_metadata(journal.dir.path().join("link.jsonl")).unwrap().is_symlink());
    assert!(read("opt.jsonl").ends_with("[\"b\"]\n[\"c\"]\n") && !journal.dir.path().join("link.jsonl.lock").exists());
}

#[test]
fn compact_sorts_keeps_one_line_an_item_and_the_mode() {
    let journal = Journal::of("[\"b\"]\n[\"a\",1]\n[\"b\"]\n[\"c\"]\n{\"undo\":[\"c\"]}\n{\"saved\":1}\n[\"a\"]\n");
    Command::new("chmod").arg("640").arg(journal.path()).status().unwrap();
    journal.run(&["compact"]).silent(0);
    let text = journal.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1..], ["{\"saved\":1}", "[\"a\"]", "[\"a\",1]", "[\"b\"]"]);
    assert_eq!(fs::metadata(journal.path()).unwrap().mode() & 0o777, 0o640);
    assert!(lines[0].contains(&format!("\"sorted\":{:>15}", text.len())), "{}", lines[0]);
    // No loss is seen where there was none.
    journal.run(&["add", "d"]).silent(0);
    journal.run(&["check"]).silent(0);
}

#[test]
fn sorted_inputs_are_merged_and_disorder_is_an_error() {
    let journal = Journal::of("[\"m\"]\n[\"c\",\"2\"]\n[\"c\",\"10\"]\n[\"a b\"]\n[\"a\"]\n");
    journal.run(&["compact"]).silent(0);
    // After the compaction, in no order.
    journal.run(&["add", "z", "b"]).silent(0);
    journal.run(&["undo", "m"]).silent(0);
    let candidates = "a\na b\nb\nc\t10\nc\t2\nd\nm\nz\nz\n";
    let expected = "d\nm\n";
    assert_eq!(journal.run(&["todo", "--sorted"]).stdin(candidates).ok(), expected);
    assert_eq!(journal.todo(candidates), expected);
    journal.run(&["todo", "--sorted"]).stdin("b\na\n").fails(125, &["line 2", "order"]);
    // An edit of the sorted part is seen.
    let text = journal.text().replace("[\"a\"]\n", "").replace("[\"m\"]\n", "[\"m\"]\n[\"a\"]\n");
    fs::write(journal.path(), text).unwrap();
    let ran = journal.run(&["todo", "--sorted"]).stdin("a\nz\n").run();
    assert!(ran.code == Some(125) && ran.stderr.contains("compact"), "{ran:?}");
    // No journal yet, and one that was never compacted.
    assert_eq!(Journal::new().run(&["todo", "--sorted"]).stdin("a\nb\n").ok(), "a\nb\n");
    assert_eq!(Journal::of("[\"b\"]\n[\"a\"]\n").run(&["todo", "--sorted"]).stdin("a\nb\nc\n").ok(), "c\n");
}

#[test]
fn due_counts_items_and_not_repeated_marks() {
    let journal = Journal::new();
    journal.run(&["due", "--every", "1"]).silent(1);
    journal.run(&["add", "a", "b", "a", "a"]).silent(0);
    journal.run(&["due", "--every", "2"]).silent(0);
    journal.run(&["due", "--every", "3"]).silent(1);
    journal.run(&["saved"]).silent(0);
    journal.run(&["due", "--every", "1"]).silent(1);
    journal.run(&["add", "c"]).silent(0);
    journal.run(&["compact"]).silent(0);
    journal.run(&["due", "--every", "1"]).silent(0);
    journal.run(&["saved", "3"]).silent(0);
    journal.run(&["undo", "a"]).silent(0);
    journal.run(&["due", "--every", "1"]).silent(1);
}

#[test]
fn show_says_what_is_left() {
    let journal = Journal::of("[\"a\"]\n[\"b\"]\n");
    assert_eq!(journal.run(&["show", "--total", "4"]).ok(), "done     2 of 4 (50.0%)\nleft     2\n");
    let shown: serde_json::Value = serde_json::from_str(&journal.run(&["show", "--json", "--total", "8"]).ok()).unwrap();
    // Items that were there before aren't this session's.
    assert_eq!((shown["done"].as_u64(), shown["left"].as_u64(), shown["session"]["items"].as_u64()), (Some(2), Some(6), Some(0)));
    for key in ["c", "d", "e"] {
        journal.run(&["add", key]).silent(0);
    }
    let shown: serde_json::Value = serde_json::from_str(&journal.run(&["show", "--json", "--total", "8"]).ok()).unwrap();
    assert_eq!(shown["session"]["items"].as_u64(), Some(3));
    assert!(shown["rate_per_s"].as_f64().unwrap() > 0.0 && shown["eta_s"][0].as_f64() <= shown["eta_s"][1].as_f64(), "{shown}");
}

/// A mark in the past, as a quiet job leaves it.
#[test]
fn show_tells_a_stall_by_three_usual_gaps() {
    let journal = Journal::new();
    for key in ["a", "b", "c"] {
        journal.run(&["add", key]).silent(0);
    }
    let lock = journal.beside("lock");
    let text = fs::read(&lock).unwrap();
    let (head, ring) = text.split_at(512);
    let mut mark: serde_json::Value = serde_json::from_slice(head).unwrap();
    let last = mark["last"].as_f64().unwrap();
    (mark["since"], mark["last"], mark["gap"]) = ((last - 70.0).into(), (last - 50.0).into(), 10.0.into());
    let mut head = mark.to_string().into_bytes();
    head.resize(511, b' ');
    head.push(b'\n');
    fs::write(&lock, [&head, ring].concat()).unwrap();
    let shown = journal.run(&["show", "--total", "9"]).ok();
    assert!(shown.contains("stalled") && !shown.contains("ETA"), "{shown}");
    journal.run(&["add", "d"]).silent(0);
    let shown = journal.run(&["show", "--total", "9"]).ok();
    assert!(!shown.contains("stalled") && shown.contains("ETA"), "{shown}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let journal = Journal::of("[\"b\"]\n[\"a\"]\nnonsense\n");
    for words in [["add", "x"].as_slice(), &["undo", "a"], &["repair"], &["saved"], &["run", "x", "--", "touch", "made"]] {
        let ran = journal.run(&["--dry-run"]).args(words).run();
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert_eq!(journal.text(), "[\"b\"]\n[\"a\"]\nnonsense\n");
    assert!(!journal.dir.path().join("made").exists());
}

#[test]
fn the_cache_is_only_a_cache() {
    let journal = Journal::new();
    let mut text: String = (0..70_000).map(|n| format!("[\"item_{n:06}\"]\n")).collect();
    fs::write(journal.path(), &text).unwrap();
    let candidates = "item_000000\nitem_000007\nitem_069999\nitem_070000\n";
    assert_eq!(journal.todo(candidates), "item_070000\n");
    let index = journal.beside("idx");
    assert!(index.exists());
    let used = |journal: &Journal| journal.run(&["-v", "todo"]).stdin("").run().stderr;
    assert!(used(&journal).contains(&format!("{} bytes of the journal came from the cache", text.len())));
    // An edit of the same length, size, time and inode.
    let times = fs::metadata(journal.path()).unwrap();
    text = text.replace("item_000007", "item_x00007");
    let mut file = OpenOptions::new().write(true).open(journal.path()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_modified(times.modified().unwrap()).unwrap();
    assert_eq!(fs::metadata(journal.path()).unwrap().modified().unwrap(), times.modified().unwrap());
    assert_eq!(journal.todo(candidates), "item_000007\nitem_070000\n");
    // A cache that is damaged at any place, cut, or another's.
    let whole = fs::read(&index).unwrap();
    for at in [0, 9, 40, whole.len() / 2, whole.len() - 1] {
        let mut broken = whole.clone();
        broken[at] ^= 1;
        fs::write(&index, &broken).unwrap();
        assert_eq!(journal.todo(candidates), "item_000007\nitem_070000\n");
    }
    for length in [0, 1, 11, whole.len() / 3, whole.len() - 1] {
        fs::write(&index, &whole[..length]).unwrap();
        assert_eq!(journal.todo(candidates), "item_000007\nitem_070000\n");
    }
    // A matching prefix: only the tail is read.
    fs::write(&index, &whole).unwrap();
    journal.run(&["add", "item_000007"]).run();
    assert!(used(&journal).contains(&format!("{} bytes of the journal came from the cache", text.len())));
    assert_eq!(journal.todo(candidates), "item_070000\n");
    // A journal that is shorter than its cache.
    fs::write(journal.path(), "[\"item_000000\"]\n").unwrap();
    assert_eq!(journal.todo(candidates), "item_000007\nitem_069999\nitem_070000\n");
    assert!(!Path::new(&index.with_extension("idx.tmp")).exists());
}
