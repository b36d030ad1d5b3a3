//! The commands that are to hear of a job's end: run by sh(1), the record on their standard input.

use std::ffi::OsStr;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Job;
use crate::clock;
use crate::process::{Handle, Identity};
use crate::record::{End, line};
use crate::sys;
use crate::text::Text;

/// Longer than this none may take: the job's lock is held meanwhile.
const LIMIT: Duration = Duration::from_secs(60);
/// How much of its complaints is kept.
const KEPT: u64 = 500;

/// Runs one; says in a line what came of it. Nothing that it does changes the verdict.
pub(super) fn run(job: &mut Job<'_>, option: &str, command: &Text) -> String {
    let claims = job.kept.spec.as_ref().map(|spec| spec.claims.clone()).unwrap_or_default();
    for claim in &claims {
        drop(sys::close_on_exec(*claim));
    }
    let said = attempt(job, command);
    for claim in &claims {
        drop(sys::keep_on_exec(*claim));
    }
    let said = said.unwrap_or_else(|error| format!("could not be run: {error}"));
    format!("{option}: {said}")
}

fn attempt(job: &mut Job<'_>, command: &Text) -> std::io::Result<String> {
    let record = &job.kept.record;
    let mut input = memory()?;
    input.write_all(&line(record))?;
    input.rewind()?;
    let mut errors = memory()?;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command.as_os_str()).stdin(input).stdout(Stdio::null()).stderr(errors.try_clone()?);
    let run = record.run.to_string();
    let marks: [(&str, &OsStr); 6] = [
        ("BG_JOB_ID", record.id.as_ref()),
        ("BG_JOB_NAME", record.name.as_ref()),
        ("BG_JOB_RUN", run.as_ref()),
        ("BG_JOB_STATE", record.state.word().as_ref()),
        ("BG_JOB_DIR", job.dir.path().as_ref()),
        ("BG_JOB_LOG", record.log.as_os_str()),
    ];
    shell.envs(marks).process_group(0);
    let mut child = shell.spawn()?;
    let pid = child.id().cast_signed();
    let until = clock::monotonic() + LIMIT;
    let handle = Identity::of(pid).map(Handle::open).transpose()?.flatten();
    let mut stopped = None;
    if let Some(handle) = &handle {
        loop {
            let left = if stopped.is_some() { LIMIT } else { until.saturating_sub(clock::monotonic()) };
            if sys::readable(&[handle.as_fd(), job.signals.as_fd()], sys::poll_ms(left))?[0] {
                break;
            }
            // Whoever cancels the job meanwhile need not wait for it.
            let sender = job.signals.drain();
            job.heard = sender.or(job.heard);
            let late = clock::monotonic() >= until;
            if sender.is_some() || late {
                stopped = Some(if late { format!("killed after {}", clock::brief(LIMIT)) } else { "killed for a cancel".into() });
                sys::pidfd_signal_group(handle.as_fd(), libc::SIGKILL).or_else(|_| handle.signal(libc::SIGKILL).map(drop))?;
            }
        }
    }
    let end = std::os::unix::process::ExitStatusExt::into_raw(child.wait()?);
    let mut complaint = Vec::new();
    errors.rewind()?;
    errors.take(KEPT).read_to_end(&mut complaint)?;
    let complaint = String::from_utf8_lossy(&complaint);
    let end = stopped.unwrap_or_else(|| End::from_wait(end).to_string());
    Ok(complaint.lines().next().map_or_else(|| end.clone(), |first| format!("{end}: {first}")))
}

fn memory() -> std::io::Result<std::fs::File> {
    Ok(nix::sys::memfd::memfd_create("hook", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?.into())
}
