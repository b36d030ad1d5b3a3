//! progress-mark: done is done, whatever dies, fills up or interferes.
#![allow(clippy::format_collect, reason = "a test's input, once")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use crate::progress_journal::Journal;
use crate::support::{Run, faults, root, scratch, tool, until};

const CALLS: &str =
    "openat,read,pread64,write,pwrite64,ftruncate,fdatasync,fsync,rename,flock,statx,close,poll,fchown,fchmod,unlink";

/// Kills `words` at each of its system calls on a journal that holds `before`, then looks whether the journal is still
/// what it may be; `input` goes to standard input.
fn killed_everywhere(before: &str, words: &[&str], input: &str, allowed: impl Fn(&BTreeSet<String>, &str) -> bool) {
    let rehearsal = Journal::of(before);
    let stdin = rehearsal.dir.path().join("input");
    fs::write(&stdin, input).unwrap();
    let script = |journal: &Journal| {
        // A shell gives the command its input under strace too; it makes no calls of its own after exec.
        let exe = crate::support::run::path_of("progress-mark");
        Run::new(exe).cwd(journal.dir.path()).args(words).command()
    };
    let mut command = script(&rehearsal);
    let places = faults::places(command.stdin(File::open(&stdin).unwrap()), CALLS, rehearsal.dir.path());
    assert!(places.len() > 10, "{places:?}");
    for place in places {
        let journal = Journal::of(before);
        let command = script(&journal);
        let mut killed = faults::at(&place, "signal=KILL", &command);
        let output = killed.stdin(File::open(&stdin).unwrap()).output().unwrap();
        let acknowledged = String::from_utf8(output.stdout).unwrap();
        let ran = journal.run(&["list"]).run();
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "after {place:?}: {ran:?}");
        let listed: BTreeSet<String> = ran.stdout.lines().map(str::to_owned).collect();
        assert!(allowed(&listed, &acknowledged), "after {place:?}: {listed:?}, acknowledged {acknowledged:?}");
        // The next call works, and takes over what is left lying.
        let next = journal.run(&["add", "next"]).run();
        assert_eq!(next.code, Some(0), "after {place:?}: {next:?}");
        let mut with_next = listed;
        with_next.insert("next".to_owned());
        let after: BTreeSet<String> = journal.list().into_iter().collect();
        // A record that lacked only its line break was never acknowledged, and may be completed.
        assert!(after.is_superset(&with_next), "after {place:?}: {after:?}");
        journal.run(&["compact"]).silent(0);
        assert_eq!(journal.list().into_iter().collect::<BTreeSet<_>>(), after, "after {place:?}");
        assert_eq!(journal.run(&["check"]).run().code, Some(0), "after {place:?}");
    }
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(ToString::to_string).collect()
}

#[test]
fn add_killed_at_every_call_is_done_or_not() {
    let (without, with) = (set(&["a", "b"]), set(&["a", "b", "new"]));
    killed_everywhere("[\"a\"]\n[\"b\"]\n", &["add", "new"], "", |listed, _| *listed == without || *listed == with);
}

#[test]
fn add_on_a_torn_tail_killed_at_every_call_mends_it() {
    let (without, with) = (set(&["a"]), set(&["a", "new"]));
    killed_everywhere("[\"a\"]\n[\"tor", &["add", "new"], "", |listed, _| *listed == without || *listed == with);
}

#[test]
fn a_stream_killed_at_every_call_has_all_it_acknowledged() {
    killed_everywhere("[\"a\"]\n", &["add", "-"], "x\ny\n", |listed, acknowledged| {
        let known = listed.iter().all(|item| ["a", "x", "y"].contains(&item.as_str()));
        known && listed.contains("a") && acknowledged.lines().all(|item| listed.contains(item))
    });
}

#[test]
fn compact_killed_at_every_call_loses_nothing() {
    let items = set(&["a", "b"]);
    killed_everywhere("[\"b\"]\n[\"a\"]\n[\"b\"]\n", &["compact"], "", |listed, _| *listed == items);
}

#[test]
fn export_killed_at_every_call_leaves_the_old_or_the_new() {
    let before = "{\"progress_mark\":1,\"key\":[\"t\",\"n\"],\"integers\":[\"n\"]}\n[\"a\",1]\n";
    let old = "{\"completed\":[],\"total_completed\":0,\"mine\":1}";
    let prepare = || {
        let journal = Journal::of(before);
        fs::write(journal.dir.path().join("out.json"), old).unwrap();
        journal
    };
    let rehearsal = prepare();
    let places = faults::places(&rehearsal.run(&["export", "out.json"]).command(), CALLS, rehearsal.dir.path());
    let read = |journal: &Journal| fs::read_to_string(journal.dir.path().join("out.json")).unwrap();
    let new = read(&rehearsal);
    assert!(new.contains("\"mine\":1") && new.contains("{\"t\":\"a\",\"n\":1}"), "{new}");
    for place in places {
        let journal = prepare();
        faults::at(&place, "signal=KILL", &journal.run(&["export", "out.json"]).command()).output().unwrap();
        let text = read(&journal);
        assert!(text == old || text == new, "after {place:?}: {text}");
        journal.run(&["export", "out.json"]).silent(0);
        assert_eq!(read(&journal), new);
    }
}

/// Every call of the kinds that write fails once: the answer is an error and the journal is as before or has the item.
#[test]
fn a_failing_call_is_no_acknowledgement() {
    for error in ["ENOSPC", "EIO"] {
        let rehearsal = Journal::of("[\"a\"]\n");
        let calls = "write,ftruncate,fdatasync,fsync,flock,openat";
        for place in faults::places(&rehearsal.run(&["add", "new"]).command(), calls, rehearsal.dir.path()) {
            let journal = Journal::of("[\"a\"]\n");
            let command = journal.run(&["add", "new"]).command();
            let output = faults::at(&place, &format!("error={error}"), &command).output().unwrap();
            let listed = journal.list();
            if output.status.success() {
                assert_eq!(listed, ["a", "new"], "{error} at {place:?}");
            } else {
                assert_eq!(output.status.code(), Some(125), "{error} at {place:?}: {output:?}");
                assert!(!output.stderr.is_empty() && listed[0] == "a", "{error} at {place:?}: {output:?}");
            }
            if ["write", "fdatasync"].contains(&place.call.as_str()) && place.nth == 1 {
                assert!(!output.status.success(), "{error} at {place:?} was acknowledged");
            }
            journal.run(&["add", "next"]).silent(0);
        }
    }
}

/// What a reader says is done, it has flushed: another may have written it without.
#[test]
fn a_reader_flushes_what_it_reports() {
    let journal = Journal::of("[\"a\"]\n");
    for words in
        [["todo"].as_slice(), &["list"], &["show"], &["due", "--every", "1"], &["run", "a", "--", "false"], &["todo", "--sorted"]]
    {
        let log = journal.dir.path().join("log");
        let command = journal.run(words).command();
        let traced =
            faults::strace(&["-o", log.to_str().unwrap(), "-e", "trace=fdatasync,fsync,write"], &command).output().unwrap();
        assert!(traced.status.success(), "{words:?}: {traced:?}");
        let trace = fs::read_to_string(&log).unwrap();
        let flushed = trace.find("fdatasync(").unwrap_or_else(|| panic!("{words:?}: {trace}"));
        assert!(trace.find("write(1,").is_none_or(|printed| flushed < printed), "{words:?}: {trace}");
        let command = journal.run(words).command();
        let place = faults::Place { call: "fdatasync".to_owned(), nth: 1 };
        let failed = faults::at(&place, "error=EIO", &command).output().unwrap();
        assert_eq!((failed.status.code(), failed.stdout.len()), (Some(125), 0), "{words:?}");
    }
}

/// The order of the calls is the rule: lock, write, unlock, flush; and a new name is flushed before the unlock.
#[test]
fn the_lock_is_given_back_before_the_flush_and_after_the_name() {
    let journal = Journal::new();
    let log = journal.dir.path().join("log");
    let order = |journal: &Journal| {
        let command = journal.run(&["add", "x"]).command();
        let options = ["-y", "-o", log.to_str().unwrap(), "-e", "trace=flock,write,fsync,fdatasync"];
        assert!(faults::strace(&options, &command).output().unwrap().status.success());
        let line = |line: &str| match line.split_once(' ').map_or(line, |(_, call)| call.trim()) {
            call if call.starts_with("flock") && call.contains("LOCK_EX") => "lock",
            call if call.starts_with("flock") => "unlock",
            call if call.starts_with("write") => "write",
            call if call.starts_with("fsync") => "name",
            call if call.starts_with("fdatasync") => "flush",
            _ => "",
        };
        fs::read_to_string(&log).unwrap().lines().map(line).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order(&journal), "lock name write unlock flush");
    assert_eq!(order(&journal), "lock write unlock flush");
    // Replaced by an editor: a name that nobody flushed.
    fs::copy(journal.path(), journal.dir.path().join("new")).unwrap();
    fs::rename(journal.dir.path().join("new"), journal.path()).unwrap();
    assert_eq!(order(&journal), "lock name write unlock flush");
}

/// Runs a script in a mount namespace of its own, with a small tmpfs at ./m.
fn in_small_tmpfs(dir: &Path, options: &str, script: &str) -> crate::support::run::Ran {
    fs::create_dir_all(dir.join("m")).unwrap();
    let exe = crate::support::run::path_of("progress-mark");
    let whole = format!("mount -t tmpfs -o {options} tmpfs m && cd m && PM={} && {script}", exe.display());
    Run::new("unshare").args(["-m", "--propagation", "private", "sh", "-c", &whole]).cwd(dir).run()
}

#[test]
fn a_disk_that_fills_up_in_a_record_keeps_what_was_acknowledged() {
    let dir = scratch();
    // 64 KiB, most of it taken: writes run out of room at every place of a record.
    let script = r#"
        $PM add first || exit 1
        head -c 20000 /dev/zero > fill
        n=0; while [ $n -lt 3000 ]; do echo "item_$n"; n=$((n+1)); done > all
        $PM add - < all > ../acked 2> ../err; echo "rc $?"
        big=$(head -c 5000 /dev/zero | tr '\0' x)
        i=0; while $PM add "$big$i" 2>> ../err; do echo "$big$i" >> ../acked; i=$((i+1)); [ $i -lt 50 ] || exit 9; done; echo "full after $i"
        tail -c 1 progress.jsonl | od -An -c
        $PM list > ../listed || exit 3
        rm fill
        (echo first; cat ../acked) | sort > ../want; sort ../listed > ../listed.s
        comm -23 ../want ../listed.s | wc -l
        $PM add last && $PM check && grep -c . progress.jsonl"#;
    let ran = in_small_tmpfs(dir.path(), "size=64k", script);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().map(str::trim).collect();
    assert!(lines[0] == "rc 0" || lines[0] == "rc 125", "{ran:?}");
    assert!(lines[1].starts_with("full after"), "{ran:?}");
    assert_eq!((lines[2], lines[3]), ("\\n", "0"), "a torn line stayed, or an acknowledged item is gone: {ran:?}");
}

#[test]
fn a_file_size_limit_is_an_error_and_not_a_death() {
    let journal = Journal::of("[\"a\"]\n");
    let exe = crate::support::run::path_of("progress-mark");
    // One block of 1024 bytes; the lock file is larger than that, so it is made before.
    journal.run(&["add", "b"]).silent(0);
    let script = format!("ulimit -f 1; x=$(head -c 3000 /dev/zero | tr '\\0' x); exec {} add \"$x\"", exe.display());
    let ran = Run::new("bash").args(["-c", &script]).cwd(journal.dir.path()).run();
    assert!(ran.code == Some(125) && ran.stderr.contains("cannot write"), "{ran:?}");
    assert_eq!(journal.text(), "[\"a\"]\n[\"b\"]\n");
}

#[test]
fn sixteen_writers_a_compaction_and_an_editor_lose_nothing_unreported() {
    const WRITERS: usize = 16;
    const EACH: usize = 2000;
    let journal = Journal::new();
    journal.run(&["add", "seed"]).silent(0);
    let done = AtomicUsize::new(0);
    let (mut acknowledged, mut said) = (BTreeSet::new(), String::new());
    thread::scope(|scope| {
        let (journal, done) = (&journal, &done);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || feed(journal.run(&["add", "-"]).command(), writer, EACH, done)))
            .collect();
        // A new inode under the same name each time, with what the file was when sed read it.
        let editor = scope.spawn(|| {
            for edit in 1..=20 {
                until("more items", || done.load(Relaxed) >= edit * WRITERS * EACH / 22);
                let sed = Command::new("sed").args(["-i", "s/nothing/nothing/"]).arg(journal.path()).status().unwrap();
                assert!(sed.success());
            }
        });
        for compaction in 1..=20 {
            until("more items", || done.load(Relaxed) >= compaction * WRITERS * EACH / 21);
            let ran = journal.run(&["compact"]).run();
            assert_eq!(ran.code, Some(0), "{ran:?}");
            said += &ran.stderr;
        }
        editor.join().unwrap();
        for writer in writers {
            let (items, stderr) = writer.join().unwrap();
            acknowledged.extend(items);
            said += &stderr;
        }
    });
    assert_eq!(acknowledged.len(), WRITERS * EACH);
    let last = journal.run(&["add", "last"]).run();
    said += &last.stderr;
    let listed: BTreeSet<String> = journal.list().into_iter().collect();
    let missing: Vec<&String> = acknowledged.difference(&listed).collect();
    let reported: usize =
        said.lines().filter_map(|line| line.split("has ").nth(1)?.split(' ').next()?.parse::<usize>().ok()).sum();
    assert_eq!(journal.run(&["check"]).run().code, Some(0));
    assert!(missing.len() <= reported, "{} missing, {reported} reported\n{said}", missing.len());
}

/// Feeds one writer its items and gives back those that were acknowledged.
fn feed(mut command: Command, writer: usize, count: usize, done: &AtomicUsize) -> (Vec<String>, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut items = Vec::new();
    for n in 0..count {
        input.write_all(format!("w{writer:02}_{n:05}\n").as_bytes()).unwrap();
        items.push(output.next().unwrap().unwrap());
        done.fetch_add(1, Relaxed);
    }
    drop(input);
    let rest = child.wait_with_output().unwrap();
    assert!(rest.status.success(), "{rest:?}");
    (items, String::from_utf8(rest.stderr).unwrap())
}

#[test]
fn single_adds_beside_compactions_lose_nothing() {
    let journal = Journal::new();
    let dir = journal.dir.path().to_owned();
    let adders: Vec<_> = (0..8)
        .map(|writer| {
            let dir = dir.clone();
            thread::spawn(move || {
                for n in 0..25 {
                    tool("progress-mark").cwd(&dir).args(["add", &format!("w{writer}_{n}")]).silent(0);
                }
            })
        })
        .collect();
    while adders.iter().any(|adder| !adder.is_finished()) {
        journal.run(&["compact"]).silent(0);
    }
    for adder in adders {
        adder.join().unwrap();
    }
    assert_eq!(journal.list().len(), 200);
}

#[test]
fn deleted_lines_are_to_do_again_and_a_raced_append_is_named() {
    let journal = Journal::new();
    journal.run(&["add", "a", "b", "c"]).silent(0);
    // As vim does by default: a new file takes the name. Meanwhile somebody marks d, which the editor never saw.
    let edited = journal.text().replace("[\"b\"]\n", "");
    journal.run(&["add", "d"]).silent(0);
    fs::write(journal.dir.path().join("4913"), &edited).unwrap();
    fs::rename(journal.dir.path().join("4913"), journal.path()).unwrap();
    let ran = journal.run(&["todo"]).stdin("a\nb\nc\nd\n").run();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "b\nd\n"));
    assert!(ran.stderr.contains("b, d") && ran.stderr.contains("2 fewer lines"), "{ran:?}");
    let ran = journal.run(&["check"]).run();
    assert!(ran.code == Some(1) && ran.stdout.contains("lost"), "{ran:?}");
    // A writer hears of it once.
    let ran = journal.run(&["add", "e"]).run();
    assert!(ran.code == Some(0) && ran.stderr.contains("b, d"), "{ran:?}");
    journal.run(&["add", "f"]).silent(0);
    journal.run(&["check"]).silent(0);
    assert_eq!(journal.list(), ["a", "c", "e", "f"]);
    // In place, the same inode: shorter, then of another text.
    fs::write(journal.path(), "[\"a\"]\n[\"e\"]\n").unwrap();
    let ran = journal.run(&["add", "g"]).run();
    assert!(ran.code == Some(0) && ran.stderr.contains('f') && ran.stderr.contains("do again: f"), "{ran:?}");
    assert_eq!(journal.list(), ["a", "e", "g"]);
    // A line that a person adds is an item like others, with or without its line break.
    journal.append(b"[\"hand\"]\n[\"last\"]");
    journal.run(&["add", "h"]).silent(0);
    assert_eq!(journal.list(), ["a", "e", "g", "hand", "last", "h"]);
    // Gone altogether: it begins anew, and says so.
    fs::remove_file(journal.path()).unwrap();
    let ran = journal.run(&["add", "i"]).run();
    assert!(ran.code == Some(0) && ran.stderr.contains("6 fewer lines"), "{ran:?}");
    assert_eq!(journal.list(), ["i"]);
}

#[test]
fn vim_itself_edits_a_journal() {
    for copy in ["yes", "no", "auto"] {
        let journal = Journal::new();
        journal.run(&["add", "a", "b", "c"]).silent(0);
        let option = format!("set backupcopy={copy}");
        let edit = ["-u", "NONE", "-es", "-c", &option, "-c", "2d", "-c", "wq", "progress.jsonl"];
        let ran = Run::new("vim.tiny").args(edit).env("TERM", "dumb").cwd(journal.dir.path()).run();
        assert_eq!(journal.list_with_warnings(), ["a", "c"], "{copy}: {ran:?}");
        let added = journal.run(&["add", "d"]).run();
        assert!(added.code == Some(0) && added.stderr.contains("do again: b"), "{copy}: {added:?}");
        assert_eq!(journal.list(), ["a", "c", "d"]);
    }
}

#[test]
fn edit_keeps_what_is_marked_meanwhile() {
    let journal = Journal::new();
    journal.run(&["add", "a", "b"]).silent(0);
    let exe = crate::support::run::path_of("progress-mark");
    let editor = format!("sh -c 'sed -i /b/d \"$1\" && {} add c' editor", exe.display());
    journal.run(&["edit"]).env("EDITOR", &editor).silent(0);
    assert_eq!(journal.list(), ["a", "c"]);
    journal.run(&["add", "d"]).silent(0);
    journal.run(&["edit"]).env("EDITOR", "false").fails(125, &["editor"]);
    // Rewritten by another meanwhile: nothing is changed, and the text isn't lost.
    let editor = "sh -c 'echo \"[\\\"x\\\"]\" >> \"$1\"; echo \"[\\\"y\\\"]\" > progress.jsonl' editor";
    let ran = journal.run(&["edit"]).env("EDITOR", editor).run();
    assert!(ran.code == Some(125) && ran.stderr.contains("your text is in"), "{ran:?}");
    assert_eq!(journal.text(), "[\"y\"]\n");
}

#[test]
fn a_stopped_writer_in_a_stream_blocks_nobody() {
    let journal = Journal::new();
    let mut stream = journal.run(&["add", "-"]).command();
    let mut child = stream.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
    let mut echo = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut echo).unwrap();
    assert_eq!(echo, "a\n");
    // It waits for input and holds no lock.
    journal.run(&["add", "b"]).silent(0);
    journal.run(&["compact"]).silent(0);
    child.stdin.as_mut().unwrap().write_all(b"c\n").unwrap();
    output.read_line(&mut echo).unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(journal.list(), ["a", "b", "c"]);
}

/// Group commit: what is there at once is flushed at once, and a single item doesn't wait.
#[test]
fn a_stream_flushes_batches_and_not_items() {
    let journal = Journal::new();
    let input: String = (0..5000).map(|n| format!("item_{n}\n")).collect();
    let file = journal.dir.path().join("input");
    fs::write(&file, &input).unwrap();
    let log = journal.dir.path().join("log");
    let command = journal.run(&["add", "-"]).command();
    let mut traced = faults::strace(&["-o", log.to_str().unwrap(), "-e", "trace=fdatasync"], &command);
    let output = traced.stdin(File::open(&file).unwrap()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), input);
    let flushes = fs::read_to_string(&log).unwrap().matches("fdatasync(").count();
    assert!((1..=3).contains(&flushes), "{flushes} flushes for 5000 items");
}

#[test]
fn a_reader_that_goes_away_leaves_no_item_unmarked() {
    let journal = Journal::new();
    let mut command = journal.run(&["add", "-"]).command();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    for n in 0..10 {
        input.write_all(format!("item_{n}\n").as_bytes()).unwrap();
        until("the item is marked", || journal.list().len() == n + 1);
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn acknowledged_items_survive_a_power_cut() {
    let ran = Run::new(root().join("tests/lab/power-cut.sh")).arg(crate::support::run::path_of("progress-mark")).run();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let count = |what: &str| -> u64 {
        let line = ran.stdout.lines().find(|line| line.starts_with(what)).unwrap_or_else(|| panic!("no {what}: {ran:?}"));
        line.split_whitespace().last().unwrap().parse().unwrap()
    };
    assert!(count("acknowledged") >= 200, "{ran:?}");
    assert_eq!(count("missing"), 0, "{ran:?}");
    // The same machine and moment lose what nobody flushed: the cut is real.
    assert_eq!(count("unflushed survived"), 0, "{ran:?}");
}
