//! The file itself.
#![expect(clippy::cast_precision_loss, reason = "counts of items and seconds: 2^53 of them is enough")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock;

/// How many samples are kept: enough for a rate now and one of the whole run.
const SAMPLES: usize = 24;

/// What a job says of its progress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100, as the job gave it.
    pub percent: Option<f64>,
    /// Items done.
    pub done: Option<u64>,
    /// Items there are.
    pub total: Option<u64>,
    /// What the job wants to say.
    pub note: Option<String>,
    /// When it last said so, RFC 3339.
    pub updated: String,
    /// Of which run of the job this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// How it came here.
    #[serde(default)]
    pub samples: Vec<Sample>,
    /// Fields of a newer version.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A point on the way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since 1970.
    pub at: f64,
    /// Items done, or percent.
    pub value: f64,
}

/// What a job says now; what it leaves out stays as it was.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// 0 to 100.
    pub percent: Option<f64>,
    /// Items done.
    pub done: Option<u64>,
    /// Items there are.
    pub total: Option<u64>,
    /// What the job wants to say.
    pub note: Option<String>,
    /// The number of the job's run: a new run begins anew.
    pub run: Option<u64>,
}

impl Progress {
    /// 0 to 100: of the items where they are counted, else as given.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        match (self.done, self.total) {
            (Some(done), Some(total)) if total > 0 => Some((100.0 * done as f64 / total as f64).min(100.0)),
            _ => self.percent,
        }
    }

    fn apply(&mut self, update: Update, now: f64) {
        if update.run != self.run {
            *self = Self { run: update.run, other: std::mem::take(&mut self.other), ..Self::default() };
        }
        let counted = self.done.is_some();
        if update.percent.is_some() && update.done.is_none() {
            // A bare percentage takes over from a count.
            (self.percent, self.done, self.total) = (update.percent, None, None);
        }
        self.done = update.done.or(self.done);
        self.total = update.total.or(self.total);
        self.note = update.note.or(self.note.take());
        self.percent = self.percent();
        let Some(value) = self.done.map(|done| done as f64).or(self.percent) else { return };
        let backwards = self.samples.last().is_some_and(|last| value < last.value || now < last.at);
        if backwards || counted != self.done.is_some() {
            self.samples.clear();
        }
        self.samples.push(Sample { at: now, value });
        if self.samples.len() > SAMPLES {
            // Every second one of those between goes: the first stays, and the latest stay close together.
            let middle = self.samples.len() / 2;
            let mut at = 0;
            self.samples.retain(|_| {
                at += 1;
                at == 1 || at > middle || at % 2 == 1
            });
        }
    }
}

/// Reads the progress in a job's own directory; `None` where the job has said nothing.
///
/// # Errors
/// When the file is there and can't be read or understood.
pub fn read(dir: &Path) -> io::Result<Option<Progress>> {
    match fs::read(dir.join("progress.json")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => Ok(Some(serde_json::from_slice(&other?)?)),
    }
}

/// Says something new. A reader sees the old file or the new one.
///
/// # Errors
/// When it can't be written. A file that can't be understood is replaced: only its history is lost.
pub fn update(dir: &Path, update: Update, now: f64) -> io::Result<Progress> {
    fs::create_dir_all(dir)?;
    let mut progress = read(dir).ok().flatten().unwrap_or_default();
    progress.apply(update, now);
    progress.updated = clock::rfc3339(&clock::now());
    let mut text = serde_json::to_vec(&progress)?;
    text.push(b'\n');
    let next = dir.join(format!("progress.json.{}", std::process::id()));
    let written = File::create(&next)
        .and_then(|mut file| file.write_all(&text))
        .and_then(|()| fs::rename(&next, dir.join("progress.json")));
    if let Err(error) = written {
        let _ = fs::remove_file(&next);
        return Err(error);
    }
    Ok(progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stay_few_and_keep_both_ends() {
        let mut progress = Progress::default();
        for n in 0..1000_u32 {
            progress.apply(Update { done: Some(u64::from(n)), ..Update::default() }, f64::from(n));
        }
        assert!(progress.samples.len() <= SAMPLES && progress.samples.is_sorted_by(|a, b| a.at < b.at));
        assert_eq!((progress.samples[0].value, progress.samples.last().unwrap().value), (0.0, 999.0));
    }

    #[test]
    fn a_new_run_begins_anew() {
        let mut progress = Progress::default();
        let say = |run, percent| Update { run: Some(run), percent: Some(percent), ..Update::default() };
        progress.apply(Update { note: Some("half".to_owned()), ..say(1, 50.0) }, 1.0);
        progress.apply(say(1, 60.0), 2.0);
        assert_eq!((progress.note.as_deref(), progress.samples.len()), (Some("half"), 2));
        progress.apply(say(2, 5.0), 3.0);
        assert_eq!((progress.note, progress.samples.len(), progress.percent), (None, 1, Some(5.0)));
    }
}
