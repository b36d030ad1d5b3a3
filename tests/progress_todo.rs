//! progress-mark: the filter, leases, `run`, the pipelines' own format, and a job's progress.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::progress_journal::Journal;
use crate::support::run::path_of;
use crate::support::{Run, root, until};

/// Large enough for two threads and for both kinds of set.
#[test]
fn a_large_list_is_filtered_in_order_by_both_kinds_of_set() {
    use std::fmt::Write as _;
    for tuple in [true, false] {
        let key = |n: u32| if tuple { format!("{}\t{}", n / 40, n % 40) } else { format!("sample_{:08}", n * 7) };
        let (mut records, mut candidates, mut expected) = (String::new(), String::new(), String::new());
        for n in 0..300_000 {
            let key = key(n);
            let _ = writeln!(candidates, "{key}");
            if n % 3 == 0 {
                let _ = writeln!(records, "[\"{}\"]", key.replace('\t', "\",\""));
            } else {
                let _ = writeln!(expected, "{key}");
            }
        }
        let journal = Journal::of(&records);
        for pass in ["without a cache", "with one"] {
            assert!(journal.todo(&candidates) == expected, "{pass}, tuple {tuple}");
        }
        journal.run(&["compact"]).silent(0);
        if !tuple {
            assert!(journal.run(&["todo", "--sorted"]).stdin(candidates).ok() == expected, "sorted");
        }
    }
}

#[test]
fn output_is_flushed_whenever_the_input_pauses() {
    for options in [["todo"].as_slice(), &["todo", "--claim", "1m"], &["todo", "--sorted"]] {
        let journal = Journal::of("[\"b\"]\n");
        let mut child = spawn(journal.run(options).command());
        let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        for line in ["a\n", "c\n", "d\n"] {
            input.write_all(line.as_bytes()).unwrap();
            let mut got = String::new();
            output.read_line(&mut got).unwrap();
            assert_eq!(got, line);
        }
        drop(input);
        assert!(child.wait().unwrap().success());
    }
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// A shell of its own that runs `script` with `$PM`, as a worker would.
fn worker(journal: &Journal, script: &str) -> Child {
    let mut command = Run::new("bash").args(["-c", script]).cwd(journal.dir.path()).env("PM", path_of("progress-mark")).command();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn read_lines(child: &mut Child, count: usize) -> Vec<String> {
    let output = child.stdout.as_mut().unwrap();
    let mut text = Vec::new();
    let mut byte = [0];
    let mut lines = 0;
    while lines < count {
        assert_eq!(output.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
        lines += usize::from(byte[0] == b'\n');
    }
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn workers_never_get_the_same_item_and_a_killed_ones_return() {
    let journal = Journal::of("[\"done\"]\n");
    let all: String = (0..2000).map(|n| format!("item_{n}\n")).chain(["done\n".to_owned()]).collect();
    fs::write(journal.dir.path().join("all"), &all).unwrap();
    let claim = "$PM todo --claim 10m -n 700 < all; echo end; read wait";
    let mut workers: Vec<Child> = (0..4).map(|_| worker(&journal, claim)).collect();
    let mut got: Vec<Vec<String>> = Vec::new();
    thread::scope(|scope| {
        let readers: Vec<_> = workers
            .iter_mut()
            .map(|worker| {
                scope.spawn(|| {
                    let mut lines = Vec::new();
                    while lines.last().is_none_or(|line| line != "end") {
                        lines.extend(read_lines(worker, 1));
                    }
                    lines.pop();
                    lines
                })
            })
            .collect();
        got = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    });
    let handed: Vec<&String> = got.iter().flatten().collect();
    let distinct: BTreeSet<&String> = handed.iter().copied().collect();
    assert_eq!((handed.len(), distinct.len()), (2000, 2000), "each item once, and none left out");
    assert!(!distinct.contains(&"done".to_owned()));
    // Nothing is left for a fifth.
    assert_eq!(journal.run(&["todo", "--claim", "10m"]).stdin(all.clone()).ok(), "");
    // One is killed: what it had and didn't finish comes back, and only that.
    let one = (0..got.len()).max_by_key(|worker| got[*worker].len()).unwrap();
    let finished: Vec<&str> = got[one].iter().take(100).map(String::as_str).collect();
    journal.run(&["add"]).args(&finished).silent(0);
    workers[one].kill().unwrap();
    workers[one].wait().unwrap();
    let again: BTreeSet<String> = journal.run(&["todo", "--claim", "10m"]).stdin(all).ok().lines().map(str::to_owned).collect();
    let expected: BTreeSet<String> = got[one].iter().skip(100).cloned().collect();
    assert_eq!(again, expected);
    for mut worker in workers {
        drop(worker.stdin.take());
        worker.wait().unwrap();
    }
}

#[test]
fn a_lease_ends_at_its_time_and_what_nobody_received_is_nobodys() {
    let journal = Journal::new();
    let claim = |time: &str| journal.run(&["todo", "--claim", time]).stdin("a\na\n").ok();
    // A candidate that stands there twice is handed out once.
    assert_eq!(claim("0.05s"), "a\n");
    until("the lease ran out", || claim("1h") == "a\n");
    assert_eq!(claim("1h"), "");
    // A reader that went away.
    let journal = Journal::new();
    let mut child = spawn(journal.run(&["todo", "--claim", "1h"]).command());
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"a\nb\n").unwrap();
    child.wait().unwrap();
    assert_eq!(journal.run(&["todo", "--claim", "1h"]).stdin("a\nb\n").ok(), "a\nb\n");
    journal.run(&["todo", "--claim", "1h", "--holder", "999999999"]).stdin("c\n").fails(125, &["no process"]);
}

#[test]
fn run_marks_on_success_skips_what_is_done_and_passes_the_status_on() {
    let journal = Journal::new();
    assert_eq!(journal.run(&["run", "a", "--", "sh", "-c", "echo ran"]).ok(), "ran\n");
    journal.run(&["run", "a", "--", "sh", "-c", "echo again"]).silent(0);
    journal.run(&["run", "b", "--", "sh", "-c", "exit 7"]).silent(7);
    journal.run(&["run", "b", "--", "sh", "-c", "kill -9 $$"]).silent(137);
    journal.run(&["run", "b", "--", "./none"]).fails(127, &["./none"]);
    fs::write(journal.dir.path().join("plain"), "").unwrap();
    journal.run(&["run", "b", "--", "./plain"]).fails(126, &["./plain"]);
    // A command that has the code of a usage error isn't mistaken for one.
    journal.run(&["run", "b", "--", "sh", "-c", "exit 2"]).silent(2);
    assert_eq!(journal.list(), ["a"]);
    let options = ["run", "-t", ",", "x,1", "--", "true"];
    journal.run(&options).silent(0);
    assert_eq!(journal.list(), ["a", "x\t1"]);
}

#[test]
fn a_key_runs_once_at_a_time_and_its_holder_may_run_it() {
    let journal = Journal::new();
    let mut first = spawn(journal.run(&["run", "a", "--", "sh", "-c", "echo started; read line"]).command());
    assert_eq!(read_lines(&mut first, 1), ["started"]);
    journal.run(&["run", "a", "--", "true"]).fails(75, &["'a'"]);
    journal.run(&["run", "b", "--", "true"]).silent(0);
    assert_eq!(journal.run(&["todo", "--claim", "1m"]).stdin("a\n").ok(), "", "a running item isn't handed out");
    // Killed: the command goes on, and keeps the item.
    first.kill().unwrap();
    let mut input = first.stdin.take().unwrap();
    first.wait().unwrap();
    journal.run(&["run", "a", "--", "true"]).fails(75, &["'a'"]);
    input.write_all(b"go\n").unwrap();
    drop(input);
    until("the command ended, and with it its lease", || journal.run(&["run", "a", "--", "true"]).run().code == Some(0));
    assert_eq!(journal.list(), ["b", "a"]);
    // A worker that leased an item runs it; a stranger may not.
    let script = "printf 'c\\n' | $PM todo --claim 10m; read go; $PM run c -- echo mine; read end";
    let mut holder = worker(&journal, script);
    assert_eq!(read_lines(&mut holder, 1), ["c"]);
    journal.run(&["run", "c", "--", "echo", "stolen"]).fails(75, &["'c'"]);
    holder.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(read_lines(&mut holder, 1), ["mine"]);
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

#[test]
fn a_hundred_runs_of_one_key_run_it_once() {
    let journal = Journal::new();
    let codes: Vec<i32> = thread::scope(|scope| {
        let runs: Vec<_> = (0..24)
            .map(|_| scope.spawn(|| journal.run(&["run", "a", "--", "sh", "-c", "echo x >> ran"]).run().code.unwrap()))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(codes.iter().all(|code| [0, 75].contains(code)) && codes.contains(&0), "{codes:?}");
    assert_eq!(fs::read_to_string(journal.dir.path().join("ran")).unwrap(), "x\n");
}

const PIPELINE: &str = r#"{
 "completed": [
  {"task_id": "007bbfb7", "round_index": 0, "data_type": "original"},
  {"task_id": "00d62c1b", "round_index": 12, "data_type": "途中"}
 ],
 "total_completed": 2,
 "last_saved_to_parquet": 1,
 "started_at": "2025-11-29", "settings": {"a": [1, 2]}
}"#;

#[test]
fn a_pipelines_progress_is_imported_on_first_use_and_exported_for_its_reader() {
    let journal = Journal::new();
    let document = journal.dir.path().join("progress.json");
    fs::write(&document, PIPELINE).unwrap();
    let ran = journal.run(&["todo"]).stdin("007bbfb7\t0\toriginal\n007bbfb7\t1\toriginal\n").run();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "007bbfb7\t1\toriginal\n"), "{ran:?}");
    assert!(ran.stderr.contains("imported 2 items"), "{ran:?}");
    // Once; and the document's own name means the same journal.
    journal.run(&["due", "--every", "1"]).silent(0);
    journal.run(&["due", "--every", "2"]).silent(1);
    journal.run(&["-f", "progress.json", "add", "007bbfb7\t1\toriginal"]).silent(0);
    journal.run(&["saved"]).silent(0);
    journal.run(&["export", "progress.json"]).silent(0);
    // The reader that the pipeline has, unchanged.
    let reader = r"
import json
with open('progress.json', encoding='utf-8') as f:
    p = json.load(f)
done = {(c['task_id'], c['round_index'], c['data_type']) for c in p['completed']}
assert done == {('007bbfb7', 0, 'original'), ('007bbfb7', 1, 'original'), ('00d62c1b', 12, '途中')}, done
assert (p['total_completed'], p['last_saved_to_parquet']) == (3, 3), p
assert (p['started_at'], p['settings']) == ('2025-11-29', {'a': [1, 2]}), p
";
    Run::new("python3").args(["-c", reader]).cwd(journal.dir.path()).silent(0);
    let printed: Value = serde_json::from_str(&journal.run(&["export"]).ok()).unwrap();
    assert_eq!(printed["total_completed"], json!(3));
    // Back again, into a journal of another name and one that is there already.
    journal.run(&["-f", "other.jsonl", "import", "progress.json"]).silent(0);
    journal.run(&["-f", "other.jsonl", "import", "progress.json"]).silent(0);
    assert_eq!(journal.run(&["-f", "other.jsonl", "list"]).ok(), journal.run(&["list"]).ok());
}

#[test]
fn a_progress_file_that_is_torn_or_another_programs_is_no_empty_journal() {
    let journal = Journal::new();
    let document = journal.dir.path().join("progress.json");
    fs::write(&document, &PIPELINE[..PIPELINE.len() / 2]).unwrap();
    journal.run(&["todo"]).stdin("a\n").fails(125, &["cannot import", "progress.json"]);
    assert!(!journal.path().exists());
    fs::write(&document, PIPELINE.replace("12", "[]")).unwrap();
    journal.run(&["todo"]).stdin("a\n").fails(125, &["item 2"]);
    // JSON of another kind has nothing to do with us.
    fs::write(&document, "{\n\"version\": 3}").unwrap();
    assert_eq!(journal.todo("a\n"), "a\n");
    journal.run(&["import", "progress.json"]).fails(125, &["completed"]);
    journal.run(&["add", "a"]).silent(0);
    journal.run(&["export", "progress.json"]).fails(125, &["progress.json"]);
    // A journal may be called .json.
    journal.run(&["-f", "mine.json", "add", "x"]).silent(0);
    assert_eq!(journal.run(&["-f", "mine.json", "list"]).ok(), "x\n");
}

#[test]
fn set_writes_the_progress_of_the_job_it_runs_in() {
    let journal = Journal::new();
    let id = "train_20251129_120300";
    let dir = journal.dir.path();
    let set = |words: &[&str]| {
        let run = journal.run(&["set"]).args(words).env("BG_JOB_ID", id).env("BG_JOB_DIR", dir).env("BG_JOB_RUN", "1");
        run.silent(0);
        let text = fs::read(dir.join(format!("{id}.d/progress.json"))).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()
    };
    let said = set(&["50", "--note", "途中経過"]);
    assert_eq!((said["percent"].as_f64(), said["note"].as_str()), (Some(50.0), Some("途中経過")));
    assert!(said["updated"].as_str().unwrap().contains('T'));
    assert_eq!(set(&["60%"])["note"].as_str(), Some("途中経過"), "what isn't given stays");
    let said = set(&["--done", "30", "--total", "120"]);
    assert_eq!((said["percent"].as_f64(), said["done"].as_u64(), said["total"].as_u64()), (Some(25.0), Some(30), Some(120)));
    set(&["--done", "31"]);
    let progress = bgtools::progress::read(&dir.join(format!("{id}.d"))).unwrap().unwrap();
    let pace = bgtools::progress::pace(&progress, progress.samples.last().unwrap().at);
    assert!(pace.rate_per_s.unwrap() > 0.0 && pace.eta_s.is_some() && pace.text.contains("31/120"), "{pace:?}");
    journal.run(&["set", "50"]).fails(2, &["isn't a job"]);
    journal.run(&["set", "50"]).env("BG_JOB_ID", "../x").env("BG_JOB_DIR", dir).fails(2, &["isn't a job"]);
    journal.run(&["set", "50", "--job", "none", "--dir"]).arg(dir).fails(1, &["none"]);
}

#[test]
fn a_job_shows_its_progress_in_the_table_of_jobs() {
    let journal = Journal::new();
    let jobs = journal.dir.path().join("jobs");
    let (fifo, exe) = (journal.dir.path().join("go"), path_of("progress-mark"));
    Run::new("mkfifo").arg(&fifo).silent(0);
    let script = format!("'{}' set 50 --note '途中経過'; echo said; read go < '{}'", exe.display(), fifo.display());
    let bgrun = crate::support::tool("bgrun").env("BGTOOLS_DIR", &jobs).args(["-n", "work", "--", "sh", "-c", &script]);
    let id = bgrun.ok().trim().to_owned();
    let file = jobs.join(format!("{id}.d/progress.json"));
    until("the job said how far it is", || file.exists());
    let status = || {
        let shown = crate::support::tool("bgstatus").env("BGTOOLS_DIR", &jobs).args(["--json", &id]).ok();
        serde_json::from_str::<Value>(&shown).unwrap()["progress"].clone()
    };
    assert_eq!((status()["percent"].as_f64(), status()["note"].as_str()), (Some(50.0), Some("途中経過")));
    // From outside, by name.
    journal.run(&["set", "75", "--job", "work"]).env("BGTOOLS_DIR", &jobs).silent(0);
    let now = status();
    assert_eq!(now["percent"].as_f64(), Some(75.0));
    // Two words make a rate, and a time left unless the second is too long ago.
    assert!(now["rate_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{now}");
    assert!(now["eta_s"].as_array().is_some_and(|eta| eta.len() == 2) || now["stalled"] == true, "{now}");
    let table = crate::support::tool("bgstatus").env("BGTOOLS_DIR", &jobs).args(["-o", "progress", &id]).ok();
    assert!(table.contains("[#######---] 75%") && table.contains("途中経過"), "{table}");
    fs::write(&fifo, "go\n").unwrap();
    crate::support::tool("bgstatus").env("BGTOOLS_DIR", &jobs).args(["--wait", &id]).run();
    journal.run(&["set", "80", "--job", "work"]).env("BGTOOLS_DIR", &jobs).fails(1, &["work"]);
}

#[test]
fn a_bar_is_drawn_on_a_terminal_and_nowhere_else() {
    let journal = Journal::of("[\"a\"]\n");
    fs::write(journal.dir.path().join("all"), "a\nb\n").unwrap();
    let exe = path_of("progress-mark");
    let on_terminal = |command: &str| {
        let whole = format!("'{}' {command}", exe.display());
        Run::new("script").args(["-qec", &whole, "/dev/null"]).cwd(journal.dir.path()).env("TERM", "xterm").run().stdout
    };
    assert!(on_terminal("show --total 2").contains("[###############---------------] 50%"));
    assert!(!on_terminal("-q show --total 2").contains('['));
    let shown = on_terminal("todo < all");
    assert!(shown.contains("b\r\n") && shown.contains("100%"), "{shown:?}");
    assert_eq!(journal.run(&["todo"]).stdin("a\nb\n").ok(), "b\n");
}

#[test]
fn the_example_of_a_killed_pipeline_ends_with_each_item_once() {
    for way in ["xargs", "coprocess"] {
        let ran = Run::new("python3")
            .arg(root().join("examples/resume/killed_at_random.py"))
            .args(["--way", way, "--items", "4000", "--kills", "4"])
            .env("PROGRESS_MARK", path_of("progress-mark"))
            .run();
        assert_eq!(ran.code, Some(0), "{way}: {ran:?}");
        assert!(ran.stdout.contains("4000 items done, none left") && ran.stdout.contains("4 kills"), "{way}: {ran:?}");
    }
}
