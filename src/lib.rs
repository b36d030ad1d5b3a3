//! bgtools: six small tools for heavy background jobs.
//!
//! They share one directory of JSON files and one table of exit codes, and nothing else. `bgtools(7)` tells users what
//! that means, `bgtools-record(5)` is the format; this is how the code does it.
//!
//! # Picture
//!
//! ```text
//!   a shell, make, cron, systemd                      the jobs directory
//!        │                                     ┌──────────────────────────────┐
//!      bgrun ───────── launches ──▶ supervisor │ ID.json   record             │
//!        ▲                              │   ├──▶ ID.lock   held while it lives│
//!        └─ "started", then it exits    │   │  │ ID.d/     cancel, progress   │
//!                                       │   │  │ .ended    hint: who ended    │
//!                                  forks, waits│ .pruned/  names stay taken   │
//!                                       │      │ .queue/   who may run next   │
//!                                       │      └───▲──────────────▲───────────┘
//!                                       ▼          │ reads        │ asks in ID.d/cancel.json,
//!                            the job: a session    │              │ then signals the supervisor
//!                            of its own, its log   bgstatus       bgcancel
//! ```
//!
//! There is one supervisor a job and no other process that stays. A reader needs nobody's help: the record says what was
//! written last, the lock whether somebody lives to write more, and `/proc` the rest.
//!
//! # Rooms
//!
//! Each may use only those above it in this list; a test keeps it so, and an arrow that is missing there is a decision.
//!
//! | room | what it is for |
//! | --- | --- |
//! | [`exit`] | the exit codes, one enum, and the error that knows its own |
//! | [`clock`], [`signal`], [`text`], [`user`] | times, signals, untrusted bytes and users, as people and records have them |
//! | [`size`] | sizes as people type and read them |
//! | [`sys`] | system calls that the crates don't give: the only `unsafe` |
//! | [`table`] | a table as wide as the terminal |
//! | [`process`] | who a process is, whose it is, and how it is stopped without hitting another |
//! | [`record`] | what is written of a job: the stored form, names and ids, damage and versions |
//! | [`state_dir`] | the directory: claims, locks, durable replacement, and what is true of a job now |
//! | [`queue`] | who of a queue's jobs may run, told from their tickets and their lives |
//! | [`probe`] | asking what may never answer: a child with a deadline |
//! | [`gauges`] | what the machine has to spare, measured or unknown, one module a source |
//! | [`isolation`] | a job's own scope or control group: limits, counters, members |
//! | [`launch`] | from a command line to a running command, all or nothing |
//! | [`cancel`] | stopping a job whether its supervisor is well, slow, stopped or dead |
//! | [`claims`] | what was promised: locks that the kernel frees, and what of each is still to come |
//! | [`gate`] | limits and wishes against gauges and claims: the verdict, the choice, the line |
//! | [`policy`] | what a supervisor does at which event, and what follows a run: one table and one judgement |
//! | [`supervisor`] | one job's life: wait, reap, write the verdict |
//! | [`checkpoint`] | checkpoints of every format: units, series, checks, the plan, the trash, snapshots |
//! | [`journal`] | the file of done items: records, its lock, append, compaction, what an editor lost |
//! | [`done_set`] | a journal's items in memory, and their cache |
//! | [`leases`] | who works on which item now |
//! | [`progress`] | how far a job says it is: its file, rate and time left |
//! | [`entry`] | the one main: parse, run, flush, report |
//! | [`tools`] | each tool as its options and a list of steps |
//!
//! Nothing below [`tools`] prints, reads the environment or exits. What a room needs of them it is given, so that each
//! runs in a test as it runs in a tool. The few exceptions stand in that test with their reasons.
//!
//! # Invariants
//!
//! - **The record is durable before the command runs.** Its process is started first and waits at a gate; a launcher or
//!   supervisor that dies leaves the gate closed, and nothing runs that nobody knows of.
//! - **The verdict is durable before the lock goes.** So a free lock without a verdict, read again, means that the
//!   supervisor was killed. Readers derive `lost` from it and write nothing.
//! - **Only the holder of the lock writes the record**, whole, by a rename in the same directory. An id is claimed by making
//!   its lock file, and is never given out again.
//! - **A process is its pid, its start time, its boot and its pid namespace**, and is signalled through a pidfd that was
//!   checked after it was opened. What differs in any of them is reported and never touched.
//! - **A supervisor is no member of any job.** It bears a mark instead of a key, so that a sweep of one job stops at the
//!   next.
//! - **A slot is held by a live job and not by a file.** A ticket says what its job wants; whoever waits looks at the lives of
//!   those before it, and takes a slot only under the lock of the queue.
//! - **What a file says is data.** Every text that comes from one goes through [`text::shown`] before a terminal sees it.
//! - **A file that isn't understood stays as it is**, and costs that file alone.
//! - **A supervisor waits in one `poll(2)`**, without timers and threads, and needs less memory than the smallest queue.
//!
//! # What stays absent
//!
//! - A daemon, a socket, a database, a configuration file: nothing that has to be up for the rest to be right.
//! - Threads and an async runtime in a supervisor: it waits for one thing at a time.
//! - A process that copies the job's output: the log is the job's own descriptor, so that nothing can fill up or die.
//! - A shell between `bgrun` and the command.
//! - A reader that repairs, resets or upgrades what it reads.
//! - A default that makes a success out of a failure.
//! - Schedules across machines and users: other programs do that, and these run inside them. A queue is first come, first
//!   served, with a priority for who may pass; fair shares and backfilling are not in it.

pub mod cancel;
pub mod checkpoint;
pub mod claims;
pub mod clock;
pub mod done_set;
pub mod entry;
pub mod exit;
pub mod gate;
pub mod gauges;
pub mod isolation;
pub mod journal;
pub mod launch;
pub mod leases;
pub mod policy;
pub mod probe;
pub mod process;
pub mod progress;
pub mod queue;
pub mod record;
pub mod signal;
pub mod size;
pub mod state_dir;
pub mod supervisor;
pub mod sys;
pub mod table;
pub mod text;
pub mod tools;
pub mod user;
