//! The environment of a job: its caller's, what the options add, and the marks.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::Spec;
use crate::process::{JOB_KEY, SUPERVISOR_MARK};

/// What a library of numbers would else do on each of many processes: a thread a core, an arena a thread.
const MEMSAFE: [(&str, &str); 5] = [
    ("OMP_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
    ("NUMEXPR_MAX_THREADS", "1"),
    ("MALLOC_ARENA_MAX", "2"),
];

/// The environment of run `run` of job `id`, as execve(2) takes it.
#[must_use]
pub fn job_environment(inherited: Vec<(OsString, OsString)>, spec: &Spec, id: &str, run: u32, log: &Path) -> Vec<CString> {
    let run = run.to_string();
    let marks: [(&str, &OsStr); 7] = [
        ("GRAV_BG_JOB", "1".as_ref()),
        ("BG_JOB_ID", id.as_ref()),
        ("BG_JOB_NAME", spec.name.as_ref()),
        ("BG_JOB_RUN", run.as_ref()),
        ("BG_JOB_DIR", spec.dir.as_ref()),
        ("BG_JOB_LOG", log.as_ref()),
        (JOB_KEY, spec.key.as_ref()),
    ];
    let is_mark = |name: &OsStr| name == SUPERVISOR_MARK || marks.iter().any(|(mark, _)| name == *mark);
    let given = |name: &OsStr| name.to_str().is_some_and(|name| spec.env.contains_key(name));
    let mut entries = Vec::with_capacity(64);
    let mut unset = if spec.memsafe { &MEMSAFE[..] } else { &[] }.to_vec();
    unset.retain(|(name, _)| !spec.env.contains_key(*name));
    for (name, value) in inherited.into_iter().filter(|(name, _)| !is_mark(name) && !given(name)) {
        unset.retain(|(memsafe, _)| name != *memsafe);
        let of_make = name == "MAKEFLAGS" || name == "MFLAGS";
        entries.push(entry(&name, if of_make { without_jobserver(&value) } else { value }.as_ref()));
    }
    entries.extend(unset.iter().map(|(name, value)| entry(name.as_ref(), value.as_ref())));
    let others = spec.env.iter().map(|(name, value)| (OsStr::new(name), value.as_os_str()));
    entries.extend(others.filter(|(name, _)| !is_mark(name)).map(|(name, value)| entry(name, value)));
    entries.extend(marks.map(|(name, value)| entry(name.as_ref(), value)));
    entries.into_iter().flatten().collect()
}

/// One as execve(2) takes it; none where a zero byte is in it.
fn entry(name: &OsStr, value: &OsStr) -> Option<CString> {
    let mut bytes = Vec::with_capacity(name.len() + value.len() + 2);
    for part in [name.as_bytes(), b"=", value.as_bytes()] {
        bytes.extend_from_slice(part);
    }
    CString::new(bytes).ok()
}

/// make(1)'s flags without the jobserver: its pipes are closed in the job, and a job that is a make of its own would
/// warn of them and run its recipes one by one. The variables behind `--` stay as they are.
fn without_jobserver(flags: &OsStr) -> OsString {
    let bytes = flags.as_bytes();
    let variables = bytes.windows(4).position(|w| w == b" -- ").unwrap_or(bytes.len());
    let (head, tail) = bytes.split_at(variables);
    let foreign = |word: &[u8]| word.starts_with(b"--jobserver") || word.starts_with(b"-j") || word.starts_with(b"--jobs");
    let kept: Vec<&[u8]> = head.split(|b| *b == b' ').filter(|word| !foreign(word)).collect();
    OsString::from_vec([&kept.join(&b' ')[..], tail].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_jobserver_leaves_makes_flags() {
        let of = |flags: &str| without_jobserver(OsStr::new(flags)).into_string().unwrap();
        assert_eq!(of("kw -j4 --jobserver-auth=3,4 -- NOTE=-j9\\ --jobs RATE=5"), "kw -- NOTE=-j9\\ --jobs RATE=5");
        assert_eq!(of(" -j --jobserver-fds=3,4"), "");
        assert_eq!(of("n"), "n");
    }
}
