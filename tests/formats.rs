//! Records as they were written once are read for ever: one file for each kind that a released version wrote.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use bgtools::isolation::{How, Limits};
use bgtools::process::Identity;
use bgtools::progress::{Progress, Sample};
use bgtools::record::{
    Breaker, CancelRequest, End, Evidence, Place, Policy, Record, Restart, RunRecord, Settings, State, Supervisor, Usage,
    VERSION, Warn, Watchdog, amend, parse,
};
use bgtools::text::Text;
use serde_json::{Value, json};

use crate::support::{Run, root, scratch, tool};

fn fixtures() -> PathBuf {
    root().join("tests/fixtures/records/v1")
}

fn fixture(id: &str) -> (Vec<u8>, Record) {
    let bytes = fs::read(fixtures().join(format!("{id}.json"))).unwrap();
    let record = parse(id, &bytes).unwrap_or_else(|why| panic!("{id}: {why}"));
    (bytes, record)
}

fn ids() -> Vec<String> {
    let mut ids: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

/// The fixtures in a jobs directory.
fn copied() -> tempfile::TempDir {
    let dir = scratch();
    for id in ids() {
        let file = format!("{id}.json");
        fs::copy(fixtures().join(&file), dir.path().join(&file)).unwrap();
    }
    dir
}

fn status(dir: &Path) -> crate::support::Run {
    tool("bgstatus").arg("--dir").arg(dir)
}

#[test]
fn version_1_is_read_by_this_code() {
    assert_eq!(VERSION, 1, "a new version needs fixtures of its own beside v1");
    let states =
        ids().iter().map(|id| (id.split('_').next().unwrap().to_owned(), fixture(id).1.state)).collect::<BTreeMap<_, _>>();
    let wanted = [
        ("bytes", State::Succeeded),
        ("cancelled", State::Cancelled),
        ("failed", State::Failed),
        ("later", State::Succeeded),
        ("lost", State::Lost),
        ("running", State::Running),
        ("signalled", State::Failed),
        ("succeeded", State::Succeeded),
        ("survived", State::Running),
    ];
    assert_eq!(states, wanted.map(|(name, state)| (name.to_owned(), state)).into());
}

#[test]
fn what_version_1_says_is_understood() {
    let of = |name: &str| fixture(&format!("{name}_20251129_120300")).1;
    assert_eq!(of("succeeded").exit, Some(End::Code { code: 0 }));
    assert_eq!(of("signalled").exit, Some(End::Signal { signal: 9, core: false }));
    assert_eq!(of("signalled").evidence.unwrap().oom_kills_machine, Some(1));
    assert_eq!(fixture("failed_20251129_120300_2").1.exit, Some(End::Code { code: 3 }));
    assert_eq!(of("cancelled").evidence.unwrap().cancel.unwrap().reason.as_deref(), Some("wrong learning rate"));
    assert_eq!(of("cancelled").parent.as_deref(), Some("running_20251129_120300"));
    assert_eq!(of("lost").exit, None);
    assert_eq!(of("running").env_secret, ["API_TOKEN"]);
    assert_eq!(of("running").process(), Some(Identity { pid: 4243, start_ticks: 123_457 }));
    let bytes = of("bytes");
    let text = |bytes: &[u8]| Text(OsString::from_vec(bytes.to_vec()));
    assert_eq!(bytes.cmd, [text(b"./fit"), text(b"caf\xe9"), text("café".as_bytes())]);
    assert_eq!(bytes.cwd, Some(text(b"/home/u/caf\xe9")));
    assert_eq!(bytes.env["LABEL"], text(b"\xff\xfe"));
}

#[test]
fn nothing_that_version_1_wrote_is_lost_in_a_rewrite() {
    for id in ids() {
        let (bytes, _) = fixture(&id);
        let before: Value = serde_json::from_slice(&bytes).unwrap();
        let mut after: Value = serde_json::from_slice(&amend(&id, &bytes, |record| record.run += 1).unwrap()).unwrap();
        assert_eq!(after["run"], 2, "{id}");
        after["run"] = 1.into();
        assert_kept(&id, &before, &after);
    }
}

/// Every value of `before` stands in `after`, where fields may have been added.
fn assert_kept(path: &str, before: &Value, after: &Value) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                assert_kept(&format!("{path}.{key}"), value, after.get(key).unwrap_or(&Value::Null));
            }
        }
        _ => assert_eq!(before, after, "{path}"),
    }
}

#[test]
fn bgstatus_lists_all_of_version_1() {
    let dir = copied();
    let printed = status(dir.path()).args(["-a", "--json"]).ok();
    let jobs: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(jobs.len(), ids().len());
    let job = |name: &str| jobs.iter().find(|job| job["name"] == name).unwrap();
    assert_eq!(job("later")["weather"], json!({"sky": ["blue", 1]}), "what a later program of this version added is shown");
    assert_eq!(job("bytes")["cmd"][1], json!({"base64": "Y2Fm6Q=="}));
    assert_eq!(job("running")["state"], "running", "another host's job is never called lost");
    assert!(job("running")["note"].as_str().unwrap().contains("gpu1"));
    let by_hand = dir.path().join("later_20251129_120300.json");
    fs::write(&by_hand, format!("{:#}\n", job("later"))).unwrap();
    assert_eq!(status(dir.path()).args(["--json", "later"]).ok(), format!("{}\n", job("later")), "one object a line");
    let table = status(dir.path()).args(["-a", "-o", "name,cmd"]).ok();
    assert!(table.contains(r"./fit caf\xe9 café"), "{table}");
}

/// The example in bgtools-record(5) is run as it stands there.
#[test]
fn the_jq_example_of_the_page_works() {
    let page = fs::read_to_string(root().join("man/bgtools-record.5")).unwrap();
    let start = page.find("$ jq ").unwrap() + 2;
    let script = &page[start..start + page[start..].find("\n.Ed").unwrap()];
    let dir = copied();
    let printed = Run::new("sh").args(["-c", script]).cwd(dir.path()).ok();
    let names: Vec<&str> = printed.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(names, ["bytes", "later", "succeeded"], "{printed}");
}

/// A record in which every field is set. A field that is added fails to compile here, and then in the page's test.
pub(crate) fn full_record() -> Record {
    let usage = Usage { wall_s: 1.0, user_s: 1.0, sys_s: 1.0, max_rss_bytes: 1, memory_peak_bytes: Some(1) };
    let time = || "2025-11-29T12:03:00.001+09:00".to_owned();
    let end = End::Code { code: 3 };
    Record {
        version: VERSION,
        id: "a_20251129_120300".into(),
        name: "a".into(),
        state: State::Failed,
        cmd: vec!["a".into(), Text(OsString::from_vec(vec![0xff]))],
        cwd: Some("/".into()),
        env: BTreeMap::from([("K".into(), "V".into())]),
        env_secret: vec!["S".into()],
        log: "/a.log".into(),
        user: "u".into(),
        host: "gpu1".into(),
        machine_id: "m".into(),
        boot_id: "b".into(),
        pid_ns: 1,
        key: "k".into(),
        parent: Some("b_20251129_120300".into()),
        isolation: "session".into(),
        cgroup: Some("/".into()),
        unit: Some("a.scope".into()),
        supervisor: Some(Supervisor { identity: Identity { pid: 1, start_ticks: 1 }, reaper: 1, adopted: true }),
        pid: Some(1),
        pgid: Some(1),
        sid: Some(1),
        start_ticks: Some(1),
        created: time(),
        started: Some(time()),
        ended: Some(time()),
        exit: Some(end),
        reason: Some("why".into()),
        evidence: Some(Evidence {
            from: Some("wait".into()),
            oom_kills_machine: Some(1),
            oom_kills: Some(1),
            memory_peak_bytes: Some(1),
            memory_max_bytes: Some(1),
            kernel_log: Some("Killed process 1 (a)".into()),
            left_running: Some(1),
            late: Some("late".into()),
            survivors: vec!["pid 1".into()],
            hooks: vec!["--on-end: exit 0".into()],
            cancel: Some(full_request()),
        }),
        run: 1,
        runs: vec![RunRecord {
            n: 1,
            started: Some(time()),
            ended: Some(time()),
            exit: Some(end),
            reason: Some("why".into()),
            usage,
        }],
        usage,
        policy: Policy {
            grace_s: 10.0,
            timeout_s: Some(1.0),
            warn: Some(Warn { signal: 10, before_s: 0.5 }),
            restart: Restart::OnFailure,
            max_restarts: Some(1),
            backoff_s: Some((1.0, 2.0)),
            breaker: Some(Breaker { failures: 5, within_s: 600.0 }),
            every_s: Some(1.0),
            max_runs: Some(1),
            delay_s: Some(1.0),
            watchdog: Some(Watchdog { after_s: 1.0, any_cpu: true }),
            after: vec!["c_20251129_120300".into()],
            after_any: vec!["c_20251129_120300".into()],
            place: Some(Place { queue: "q".into(), priority: 1 }),
            on_end: Some("x".into()),
            on_fail: Some("x".into()),
            on_stuck: Some("x".into()),
        },
        settings: Settings {
            memsafe: true,
            unique: true,
            claimed: true,
            nice: Some(1),
            ionice: Some((2, 4)),
            oom_score_adj: Some(1),
            isolate: How::Cgroup,
            limits: Limits {
                memory_high: Some(1),
                memory_max: Some(1),
                memory_swap_max: Some(1),
                cpus: Some(1.0),
                pids_max: Some(1),
            },
        },
    }
}

/// The same with each form that a field can take.
pub(crate) fn full_records() -> Vec<Record> {
    let signalled = Record { exit: Some(End::Signal { signal: 9, core: true }), ..full_record() };
    vec![full_record(), signalled]
}

pub(crate) fn full_request() -> CancelRequest {
    CancelRequest {
        signal: 15,
        grace_s: 10.0,
        by: "u".into(),
        reason: Some("why".into()),
        at: "2025-11-29T12:03:00+09:00".into(),
    }
}

pub(crate) fn full_progress() -> Progress {
    let sample = Sample { at: 1.0, value: 1.0 };
    Progress {
        percent: Some(1.0),
        done: Some(1),
        total: Some(1),
        note: Some("n".into()),
        updated: "t".into(),
        run: Some(1),
        samples: vec![sample],
        other: serde_json::Map::new(),
    }
}

#[test]
fn a_full_record_reads_back() {
    for record in full_records() {
        let bytes = bgtools::record::line(&record);
        assert_eq!(parse(&record.id, &bytes).unwrap(), record);
    }
}
