//! Queues: never more than their slots at a time, in order, and nobody's death stands in the way.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::jobs::{alive, send, status_of};
use crate::support::tracer::shoot_at;
use crate::support::wait::undisturbed;
use crate::support::{Jobs, Running, path_of, until, until_some};

/// Two jobs of a queue and their marks: a command that says so in a file when it finds more at work than are allowed.
struct Marks<'a> {
    jobs: &'a Jobs,
    slots: usize,
}

impl Marks<'_> {
    fn file(&self) -> PathBuf {
        self.jobs.path("marks")
    }

    /// Each takes one of as many locks as there are slots, and keeps it as long as its own process lives.
    fn script(&self, rest: &str) -> String {
        let locks = self.jobs.path("at-work");
        let numbers: Vec<String> = (1..=self.slots).map(|n| n.to_string()).collect();
        format!(
            "for n in {} {0}; do exec 9>> '{}.'$n; if flock -n 9; then n=; break; fi; done; \
             if [ \"$n\" ]; then echo \"over $BG_JOB_NAME\" >> '{2}'; fi; echo \"start $BG_JOB_NAME\" >> '{2}'; ({rest}) 9>&-; \
             echo \"end $BG_JOB_NAME\" >> '{2}'",
            numbers.join(" "),
            locks.display(),
            self.file().display(),
        )
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(self.file()).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The names of those that were started, in that order.
    #[track_caller]
    fn started(&self) -> Vec<String> {
        let lines = self.lines();
        assert!(!lines.iter().any(|line| line.starts_with("over")), "more than {} at work: {lines:#?}", self.slots);
        lines.iter().filter_map(|line| line.strip_prefix("start ")).map(str::to_owned).collect()
    }
}

fn slots(jobs: &Jobs, queue: &str, slots: u32) {
    jobs.bgrun(["--queue", queue, "--slots", &slots.to_string()]).silent(0);
}

fn enter(jobs: &Jobs, queue: &str, name: &str, options: &[&str], script: &str) -> String {
    jobs.start([&["-n", name, "--queue", queue], options, &["--", "sh", "-c", script]].concat())
}

fn tickets(jobs: &Jobs, queue: &str) -> Vec<String> {
    let names = fs::read_dir(jobs.dir().join(".queue").join(queue)).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut tickets: Vec<String> = names.filter(|name| !name.starts_with("slots")).collect();
    tickets.sort();
    tickets
}

#[track_caller]
fn runs(jobs: &Jobs, id: &str) {
    until(&format!("{id} to run"), || jobs.record(id)["state"] == "running");
}

/// Its supervisor waits for its turn: it sleeps, and its ticket is there.
#[track_caller]
fn waits(jobs: &Jobs, id: &str) {
    let wchan = || fs::read_to_string(format!("/proc/{}/wchan", jobs.supervisor(id))).unwrap_or_default();
    until(&format!("{id} to wait"), || wchan().contains("poll"));
    assert_eq!(jobs.record(id)["state"], "queued");
}

fn succeeded(jobs: &Jobs, id: &str) {
    assert_eq!(jobs.ended(id)["state"], "succeeded", "{}", jobs.log(id));
}

#[test]
fn who_comes_first_is_served_first_and_priority_passes() {
    let jobs = Jobs::new();
    let marks = Marks { jobs: &jobs, slots: 1 };
    let first = jobs.start_held_with(&["--queue", "gpu"], "first", 0);
    runs(&jobs, &first.id);
    let script = marks.script("true");
    let ids: Vec<String> = [("a", "0"), ("b", "0"), ("low", "-3"), ("high", "7"), ("c", "0"), ("high2", "7")]
        .iter()
        .map(|(name, priority)| enter(&jobs, "gpu", name, &["--priority", priority], &script))
        .collect();
    let order = ["high", "high2", "a", "b", "c", "low"];
    let said = jobs.bgstatus(["--json"]).ok();
    let told: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| told.iter().find(|job| job["name"] == name).unwrap();
    for (at, name) in order.iter().enumerate() {
        assert_eq!((&of(name)["state"], &of(name)["queue_position"]), (&json!("queued"), &json!(at + 1)), "{name}");
    }
    assert!(of("first")["queue_position"].is_null());
    let behind = of("high2")["id"].as_str().unwrap();
    assert_eq!(of("a")["reason"], format!("3rd in queue gpu (1 slot): behind {behind}"));
    assert_eq!(of("high")["reason"], format!("1st in queue gpu (1 slot): behind {}, which runs", first.id));
    assert_eq!(of("a")["policy"]["place"], json!({"queue": "gpu", "priority": 0}));
    // The stored record says nothing that the next arrival would make untrue.
    assert_eq!(jobs.record(&ids[0])["reason"], "in queue gpu");
    let table = jobs.bgstatus(["-o", "name,reason", "low"]).ok();
    assert!(table.contains("low") && table.contains("6th in queue gpu (1 slot): behind c_"), "{table}");
    first.end();
    for id in &ids {
        succeeded(&jobs, id);
    }
    assert_eq!(marks.started(), order);
    assert_eq!(tickets(&jobs, "gpu"), [""; 0]);
    assert_eq!(jobs.record(&ids[0])["reason"], Value::Null);
}

#[test]
fn slots_are_changed_while_jobs_run() {
    let jobs = Jobs::new();
    slots(&jobs, "q", 2);
    let all: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|name| jobs.start_held_with(&["--queue", "q"], name, 0)).collect();
    let state = |at: usize| jobs.record(&all[at].id)["state"].as_str().unwrap().to_owned();
    runs(&jobs, &all[0].id);
    runs(&jobs, &all[1].id);
    waits(&jobs, &all[2].id);
    slots(&jobs, "q", 3);
    runs(&jobs, &all[2].id);
    waits(&jobs, &all[3].id);
    // Fewer now: those that run go on, and two of them have to end before the next may begin.
    slots(&jobs, "q", 2);
    assert_eq!([0, 1, 2].map(state), ["running"; 3]);
    all[1].end();
    waits(&jobs, &all[3].id);
    assert_eq!(jobs.truth(&all[3].id)["queue_position"], 1);
    all[0].end();
    runs(&jobs, &all[3].id);
    waits(&jobs, &all[4].id);
    // With a command the option does the same.
    let last = enter(&jobs, "q", "last", &["--slots", "9"], "true");
    runs(&jobs, &all[4].id);
    succeeded(&jobs, &last);
    assert_eq!(fs::read_to_string(jobs.dir().join(".queue/q/slots.json")).unwrap(), "{\"version\":1,\"slots\":9}\n");
    for held in &all[2..] {
        assert_eq!(held.end()["state"], "succeeded");
    }
}

#[test]
fn a_job_of_a_queue_that_is_cancelled_makes_room_at_once() {
    let jobs = Jobs::new();
    let first = jobs.start_held_with(&["--queue", "q"], "first", 0);
    let marks = Marks { jobs: &jobs, slots: 1 };
    let [a, b, c] = ["a", "b", "c"].map(|name| enter(&jobs, "q", name, &[], &marks.script("true")));
    runs(&jobs, &first.id);
    assert_eq!(jobs.tool("bgcancel").arg(&a).ok(), format!("{a} cancelled\n"));
    let record = jobs.record(&a);
    assert_eq!((&record["state"], &record["run"]), (&json!("cancelled"), &json!(0)));
    let positions = [&b, &c].map(|id| jobs.truth(id)["queue_position"].as_u64().unwrap());
    assert_eq!(positions, [1, 2]);
    assert_eq!(tickets(&jobs, "q").len(), 3);
    jobs.tool("bgcancel").arg(&first.id).ok();
    succeeded(&jobs, &b);
    succeeded(&jobs, &c);
    assert_eq!(marks.started(), ["b", "c"]);
}

#[test]
fn killed_supervisors_stand_in_nobodys_way() {
    let jobs = Jobs::new();
    let running = jobs.start_held_with(&["--queue", "q"], "running", 0);
    runs(&jobs, &running.id);
    let [dead, next, last] = ["dead", "next", "last"].map(|name| jobs.start_held_with(&["--queue", "q"], name, 0));
    waits(&jobs, &next.id);
    jobs.kill_supervisor(&dead.id);
    assert_eq!(jobs.truth(&next.id)["queue_position"], 1);
    // The command lives: its slot is taken, whoever watches over it.
    jobs.kill_supervisor(&running.id);
    waits(&jobs, &next.id);
    let truth = jobs.truth(&next.id);
    assert_eq!(truth["reason"], format!("1st in queue q (1 slot): behind {}, which runs", running.id));
    running.release();
    runs(&jobs, &next.id);
    assert_eq!([&running, &dead].map(|job| jobs.state(&job.id)), ["lost", "lost"]);
    // Who is lost has no ticket any more, once somebody behind it has looked.
    assert_eq!(tickets(&jobs, "q").len(), 2);
    // Supervisor and command at once, and the same between two runs.
    let (supervisor, command) = (jobs.supervisor(&next.id), jobs.pid(&next.id));
    send(supervisor, Signal::SIGKILL);
    send(command, Signal::SIGKILL);
    runs(&jobs, &last.id);
    let pauses = enter(&jobs, "q", "pauses", &["--every", "1h"], "true");
    let after = enter(&jobs, "q", "after", &[], "true");
    last.end();
    until("the pause", || jobs.record(&pauses)["state"] == "waiting");
    // Until it is over, a job keeps its slot.
    waits(&jobs, &after);
    jobs.kill_supervisor(&pauses);
    succeeded(&jobs, &after);
}

#[test]
fn a_recovered_job_has_its_slot_or_stands_in_line_again() {
    let jobs = Jobs::new();
    let adopted = jobs.start_held_with(&["--queue", "q"], "adopted", 0);
    runs(&jobs, &adopted.id);
    let next = jobs.start_held_with(&["--queue", "q", "--restart", "always"], "next", 0);
    let other = jobs.start_held_with(&["--queue", "q"], "other", 0);
    jobs.kill_supervisor(&adopted.id);
    let said = jobs.bgrun(["--recover"]).ok();
    assert!(said.contains(&adopted.id), "{said}");
    waits(&jobs, &next.id);
    // Its command lives, and so does its slot; then it is given on.
    adopted.release();
    runs(&jobs, &next.id);
    waits(&jobs, &other.id);
    send(jobs.supervisor(&next.id), Signal::SIGKILL);
    send(jobs.pid(&next.id), Signal::SIGKILL);
    runs(&jobs, &other.id);
    jobs.bgrun(["--recover"]).ok();
    until("its place at the end", || jobs.truth(&next.id)["queue_position"] == 1);
    assert_eq!((jobs.record(&next.id)["state"].as_str(), jobs.record(&next.id)["run"].as_u64()), (Some("waiting"), Some(1)));
    other.end();
    until("its second run", || jobs.record(&next.id)["run"] == 2);
    jobs.tool("bgcancel").arg(&next.id).ok();
    assert_eq!(tickets(&jobs, "q"), [""; 0]);
}

#[test]
fn what_a_job_leaves_behind_holds_no_slot() {
    let jobs = Jobs::new();
    let left = jobs.path("left");
    let script = format!(
        "setsid -f sh -c 'trap \"\" TERM; echo $$ > {0}; exec sleep 600'; while ! [ -s '{0}' ]; do sleep 0.01; done",
        left.display()
    );
    let first = enter(&jobs, "q", "first", &["--grace", "100ms"], &script);
    let second = enter(&jobs, "q", "second", &[], "true");
    succeeded(&jobs, &first);
    succeeded(&jobs, &second);
    // The next finds the room that it was promised.
    let child: i32 = fs::read_to_string(&left).unwrap().trim().parse().unwrap();
    assert!(!alive(child));
    assert_eq!(jobs.record(&first)["evidence"]["left_running"], 0);

    // Without a supervisor nobody tidies up, and the command is what counts.
    fs::remove_file(&left).unwrap();
    let third = enter(&jobs, "q", "third", &[], &format!("{script}; exec sleep 600"));
    let fourth = enter(&jobs, "q", "fourth", &[], "true");
    until("the child", || fs::read_to_string(&left).is_ok_and(|pid| !pid.trim().is_empty()));
    jobs.kill_supervisor(&third);
    send(jobs.pid(&third), Signal::SIGKILL);
    succeeded(&jobs, &fourth);
    let child: i32 = fs::read_to_string(&left).unwrap().trim().parse().unwrap();
    assert!(alive(child));
}

#[test]
fn two_queues_have_nothing_to_do_with_each_other() {
    let jobs = Jobs::new();
    let held: Vec<_> = ["a", "b", "学習"].iter().map(|queue| jobs.start_held_with(&["--queue", queue], queue, 0)).collect();
    for held in &held {
        runs(&jobs, &held.id);
    }
    let [a, b] = ["a", "b"].map(|queue| enter(&jobs, queue, "next", &[], "true"));
    held[1].end();
    succeeded(&jobs, &b);
    assert_eq!(jobs.record(&a)["state"], "queued");
    held[0].end();
    succeeded(&jobs, &a);
    // A name that another tool's command, or a program of the machine, ends with is no matter either.
    held[2].end();
}

/// It stands in line only when all else that it waits for is so.
#[test]
fn what_a_job_waits_for_comes_before_its_queue() {
    let jobs = Jobs::new();
    let before = jobs.start_held("before", 0);
    let first = jobs.start_held_with(&["--queue", "q"], "first", 0);
    runs(&jobs, &first.id);
    let late = enter(&jobs, "q", "late", &["--after", "before", "--priority", "9"], "true");
    let skipped = enter(&jobs, "q", "skipped", &["--after", "before"], "true");
    let next = enter(&jobs, "q", "next", &[], "true");
    until("its reason", || jobs.record(&late)["reason"] == format!("waits for job {}", before.id));
    assert!(jobs.truth(&late)["queue_position"].is_null());
    assert_eq!(jobs.truth(&next)["queue_position"], 1);
    jobs.tool("bgcancel").arg(&skipped).ok();
    before.end();
    until("its place", || jobs.truth(&late)["queue_position"] == 1);
    assert_eq!(jobs.truth(&next)["queue_position"], 2);
    first.end();
    succeeded(&jobs, &late);
    succeeded(&jobs, &next);
}

#[test]
fn a_gate_inside_a_job_of_a_queue_has_its_own_say() {
    let jobs = Jobs::new();
    let flag = jobs.path("open");
    fs::create_dir(&flag).unwrap();
    let limit = format!("0:{}", flag.display());
    let resgate = path_of("resgate");
    let words = ["--queue", "q", "-n", "gated", "--", resgate.to_str().unwrap(), "--min-disk", &limit, "--wait", "--"];
    let gated = jobs.start(words.into_iter().chain(["sh", "-c", "echo went"]));
    succeeded(&jobs, &gated);
    assert_eq!(jobs.log(&gated), "went\n");
    // One that is closed holds the slot: the job runs, and its command waits.
    let limit = format!("900P:{}", flag.display());
    let words = ["--queue", "q", "-n", "closed", "--", resgate.to_str().unwrap(), "--min-disk", &limit, "--wait", "--", "true"];
    let closed = jobs.start(words);
    let next = enter(&jobs, "q", "next", &[], "true");
    runs(&jobs, &closed);
    waits(&jobs, &next);
    jobs.tool("bgcancel").arg(&closed).ok();
    succeeded(&jobs, &next);
}

#[test]
fn who_waits_sleeps() {
    let jobs = Jobs::new();
    let first = jobs.start_held_with(&["--queue", "q"], "first", 0);
    runs(&jobs, &first.id);
    let next = enter(&jobs, "q", "next", &[], "true");
    let other = enter(&jobs, "q", "other", &[], "true");
    waits(&jobs, &next);
    let supervisor = jobs.supervisor(&next);
    let switches = || {
        let of = |field: &str| status_of(supervisor, field).unwrap().parse::<u64>().unwrap();
        of("voluntary_ctxt_switches") + of("nonvoluntary_ctxt_switches")
    };
    // What came before may have woken it once more.
    undisturbed(Duration::from_millis(200));
    let before = switches();
    undisturbed(Duration::from_secs(2));
    assert_eq!(switches(), before, "a wakeup while nothing happened");
    first.end();
    succeeded(&jobs, &next);
    succeeded(&jobs, &other);
}

/// Where the kernel grants no notices of a folder, the end of those before it wakes a job all the same.
#[test]
fn without_notices_the_next_is_woken_by_the_end_of_the_one_before() {
    let jobs = Jobs::new();
    let first = jobs.start_held_with(&["--queue", "q"], "first", 0);
    runs(&jobs, &first.id);
    let bgrun = jobs.bgrun(["-n", "blind", "--queue", "q", "--", "true"]).command();
    let strace = crate::support::faults::strace(&["-o", "/dev/null", "-e", "inject=inotify_init1:error=EMFILE"], &bgrun);
    let mut running = Running::start(strace);
    let id = running.first_line("the id");
    waits(&jobs, &id);
    assert!(!first.end().is_null());
    let ended = jobs.ended(&id);
    assert_eq!(ended["state"], "succeeded");
    let time = |value: &Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let late = time(&ended["started"]).duration_since(time(&jobs.record(&first.id)["ended"])).as_secs_f64();
    assert!(late < 10.0, "it slept {late} s, as long as without any event");
    running.end("the tracer's end");
}

#[test]
fn a_damaged_queue_costs_that_queue_alone() {
    let jobs = Jobs::new();
    let first = jobs.start_held_with(&["--queue", "q", "--slots", "5"], "first", 0);
    runs(&jobs, &first.id);
    let file = jobs.dir().join(".queue/q/slots.json");
    for (content, why) in [
        ("", "damaged: EOF while parsing a value at line 1 column 0"),
        ("{\"version\":1,\"slots\":0}", "damaged: it names no slots"),
        ("[1, 5]", "damaged: it is no object"),
        ("{\"version\":2,\"lanes\":4}", "version 2 is newer than this program's 1"),
    ] {
        fs::write(&file, content).unwrap();
        // One slot, which is taken.
        let next = enter(&jobs, "q", "next", &[], "true");
        waits(&jobs, &next);
        let reason = format!("in queue q, which has 1 slot since its file can't be read: {why}");
        until("its reason", || jobs.record(&next)["reason"] == reason);
        let said = jobs.bgrun(["--queue", "q", "--slots", "2"]).fails(125, &["cannot set the slots of queue 'q'", why]);
        assert_eq!(said.contains("slots.json"), why.starts_with("damaged"), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
        assert_eq!(jobs.ended(&enter(&jobs, "other", "other", &[], "true"))["state"], "succeeded");
        jobs.tool("bgcancel").arg(&next).ok();
    }
    let next = enter(&jobs, "q", "next", &[], "true");
    waits(&jobs, &next);
    fs::remove_file(&file).unwrap();
    // Whatever else lies there is no ticket, one of a job that isn't there holds nothing, and unknown fields stay.
    for name in ["granted.1.0.ghost_20251129_120300", "granted.x", "queued.1.99.", "notes.txt"] {
        fs::write(file.with_file_name(name), "x").unwrap();
    }
    fs::write(&file, "{\"version\": 1, \"slots\": 1, \"later\": true}").unwrap();
    first.end();
    succeeded(&jobs, &next);
    slots(&jobs, "q", 4);
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"version\":1,\"slots\":4,\"later\":true}\n");
    assert_eq!(tickets(&jobs, "q"), ["granted.x", "notes.txt", "queued.1.99."]);
}

/// What can't be joined isn't launched, and nothing of it is left.
#[test]
fn a_launch_into_a_queue_that_cannot_be_joined_fails_whole() {
    let jobs = Jobs::new();
    slots(&jobs, "q", 1);
    let folder = jobs.dir().join(".queue/q");
    fs::write(folder.join("queued.4294967295.0.x_20251129_120300"), "").unwrap();
    let before = jobs.files();
    jobs.bgrun(["--queue", "q", "--", "true"]).fails(125, &["cannot join queue 'q': its tickets have run out of numbers"]);
    assert_eq!(jobs.files(), [&before[..], &["logs/".to_owned()]].concat());
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    jobs.bgrun(["--queue", "q", "--", "true"]).fails(125, &["cannot use queue 'q': Not a directory"]);
    jobs.bgrun(["--queue", "q", "--slots", "1"]).fails(125, &["cannot use queue 'q': Not a directory"]);
    until("the end of all that was started", || jobs.processes().is_empty());
}

/// Somebody removes it while jobs wait: they stand in line again.
#[test]
fn a_queue_that_is_removed_is_made_again() {
    let jobs = Jobs::new();
    let first = jobs.start_held_with(&["--queue", "q"], "first", 0);
    runs(&jobs, &first.id);
    let next = enter(&jobs, "q", "next", &[], "true");
    waits(&jobs, &next);
    fs::rename(jobs.dir().join(".queue/q"), jobs.path("away")).unwrap();
    // Its slot was the ticket: who removes that gives it away.
    succeeded(&jobs, &next);
    first.end();
}

/// The end of the one that runs would start the next, only to be cancelled itself.
#[test]
fn a_cancel_of_all_starts_nobody_who_waits() {
    let jobs = Jobs::new();
    let held = jobs.start_held_with(&["--queue", "q"], "held", 0);
    let waiting: Vec<String> = (0..3).map(|n| enter(&jobs, "q", &format!("w{n}"), &[], "exec sleep 600")).collect();
    jobs.tool("bgcancel").args(["-q", "--all"]).silent(0);
    for id in waiting.iter().chain([&held.id]) {
        let record = jobs.ended(id);
        assert_eq!((&record["state"], &record["run"]), (&json!("cancelled"), &json!(u8::from(*id == held.id))), "{id}");
    }
}

#[test]
fn options_of_a_queue_that_make_no_sense_are_refused() {
    let jobs = Jobs::new();
    for wrong in [
        &["--queue", "q", "--slots", "0"][..],
        &["--queue", "q", "--slots", "-1"],
        &["--slots", "2"],
        &["--priority", "2"],
        &["--queue", "q", "--priority", "1001"],
        &["--queue", "q", "--priority", "high"],
        &["--queue", "../q"],
        &["--queue", ""],
        &["--queue", ".q"],
        &["--queue", "a b"],
    ] {
        let said = jobs.bgrun(wrong).args(["--", "true"]).fails(125, &[]);
        assert!(said.starts_with("bgrun: "), "{wrong:?}: {said}");
    }
    jobs.bgrun(["--queue", "q"]).fails(125, &["CMD"]);
    jobs.bgrun(["--queue", "a/b", "--slots", "1"]).fails(125, &["is no name of a queue"]);
    jobs.bgrun(["--queue", "q", "--slots", "2", "--dry-run"]).silent(0);
    assert!(!jobs.dir().exists(), "something is left");
}

/// A queued supervisor is killed at each call that it makes from the moment on in which its turn comes to its exec: the
/// slot is given to the next, and never to two.
#[test]
fn a_supervisor_killed_at_any_call_of_its_grant_holds_nothing() {
    let jobs = Jobs::new();
    let marks = Marks { jobs: &jobs, slots: 1 };
    let holder = jobs.start_held_with(&["--queue", "q"], "holder", 0);
    runs(&jobs, &holder.id);
    let script = marks.script("true");
    let mut count = 0;
    for nth in 2.. {
        let victim = enter(&jobs, "q", "victim", &[], &script);
        let next = enter(&jobs, "q", "next", &[], &script);
        waits(&jobs, &victim);
        waits(&jobs, &next);
        let fired = shoot_at(jobs.supervisor(&victim), nth, || slots(&jobs, "q", 2));
        let record = jobs.ended(&next);
        assert_eq!(record["state"], "succeeded", "{nth}: {record:#}");
        if !fired {
            succeeded(&jobs, &victim);
            break;
        }
        let state = jobs.state(&victim);
        assert!(["lost", "running"].contains(&state.as_str()), "{nth}: {state}");
        until("the end of what was started", || jobs.state(&victim) == "lost");
        assert_eq!(jobs.truth(&holder.id)["state"], "running");
        slots(&jobs, "q", 1);
        count += 1;
    }
    assert!(count > 40, "only {count} calls: not the grant");
    marks.started();
}

/// One that passes all who wait comes in the instant between the last look of the next and its grant: it finds the folder
/// locked, and then the slot taken.
#[test]
fn of_two_that_see_the_last_slot_one_gets_it() {
    let jobs = Jobs::new();
    let marks = Marks { jobs: &jobs, slots: 1 };
    let holder = jobs.start_held_with(&["--queue", "q"], "holder", 0);
    runs(&jobs, &holder.id);
    let next = enter(&jobs, "q", "next", &[], &marks.script("sleep 0.2"));
    waits(&jobs, &next);
    let mut strace = std::process::Command::new("strace");
    strace.args(["-e", "inject=renameat:delay_enter=400ms:when=1", "-o", "/dev/null"]);
    let mut tracer = Running::start({
        strace.args(["-p", &jobs.supervisor(&next).to_string()]);
        strace
    });
    tracer.complains("attached");
    let folder = fs::File::open(jobs.dir().join(".queue/q")).unwrap();
    holder.release();
    until("the grant", || fs2::FileExt::try_lock_shared(&folder).is_err() || fs2::FileExt::unlock(&folder).is_err());
    let passes = enter(&jobs, "q", "passes", &["--priority", "9"], &marks.script("true"));
    succeeded(&jobs, &next);
    succeeded(&jobs, &passes);
    assert_eq!(marks.started(), ["next", "passes"]);
    tracer.end("the tracer's end");
}

/// A small generator of numbers, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[test]
fn fifty_jobs_and_a_killer_leave_three_slots_three() {
    let jobs = Jobs::new();
    let marks = Marks { jobs: &jobs, slots: 3 };
    slots(&jobs, "q", 3);
    let script = marks.script("sleep 0.04");
    // Nobody has his turn before the last has come.
    let gates: Vec<_> = ["g1", "g2", "g3"].iter().map(|name| jobs.start_held_with(&["--queue", "q"], name, 0)).collect();
    let ids: Vec<String> = (0..50).map(|n| enter(&jobs, "q", &format!("j{n:02}"), &[], &script)).collect();
    for gate in &gates {
        runs(&jobs, &gate.id);
    }
    for gate in &gates {
        gate.release();
    }
    let mut dice = Dice(20_251_129);
    let (mut killed, mut queued) = (vec![false; ids.len()], 0);
    let kill = |pid: &Value| {
        let pid = pid.as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.is_some_and(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
    };
    for _ in 0..30 {
        // Often one of the next, whose turn may be coming, else anybody.
        let done = ids.iter().filter(|id| !jobs.dir().join(format!("{id}.lock")).exists()).count();
        let left = u64::try_from(ids.len() - done).unwrap().max(1);
        let at = done + usize::try_from(if dice.below(2) == 0 { dice.below(left) } else { dice.below(left.min(5)) }).unwrap();
        let Some(id) = ids.get(at) else { break };
        let before = jobs.record(id);
        if before["ended"].is_null() && !killed[at] {
            // Supervisor, command, or both, in this order.
            let (supervisor, command) = (dice.below(3) != 0, dice.below(2) == 0);
            killed[at] = (supervisor || before["state"] == "queued") && kill(&before["supervisor"]["pid"]);
            killed[at] |= command && kill(&before["pid"]);
            queued += usize::from(before["state"] == "queued" && killed[at]);
        }
        // Until another one says something, or nobody is left who could.
        let said = marks.lines().len();
        let over = |at: usize| killed[at] || !jobs.dir().join(format!("{}.lock", ids[at])).exists();
        until("a further mark", || marks.lines().len() > said || (0..ids.len()).all(over));
    }
    let mut order = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        let state = until_some(&format!("the end of {id}"), || {
            Some(jobs.state(id)).filter(|state| !["queued", "running"].contains(&state.as_str()))
        });
        if !killed[at] {
            assert_eq!(state, "succeeded", "{id}");
            order.push(jobs.record(id)["name"].as_str().unwrap().to_owned());
        }
    }
    assert!(killed.iter().filter(|killed| **killed).count() >= 10 && queued > 2, "{killed:?}");
    let mut started = marks.started();
    started.retain(|name| order.contains(name));
    assert_eq!(started.len(), order.len(), "each once: {started:?}");
    // Of those that have slots at the same time any may be the first to say so.
    for (at, name) in started.iter().enumerate() {
        let due = order.iter().position(|other| other == name).unwrap();
        assert!(at.abs_diff(due) < 3, "{name} ran as {at}, it came as {due}: {started:?}");
    }
}
