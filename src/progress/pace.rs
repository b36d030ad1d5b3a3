//! Rate and time left, from what a job said of itself so far.
#![expect(clippy::cast_precision_loss, reason = "counts of items and seconds: 2^53 of them is enough")]

use std::time::Duration;

use super::store::Progress;
use crate::clock;

/// How a job gets on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pace {
    /// 0 to 100.
    pub percent: Option<f64>,
    /// Items a second; percent a second where the job counts no items.
    pub rate_per_s: Option<f64>,
    /// The time left in seconds, between the faster and the slower of the whole run's rate and the latest one.
    pub eta_s: Option<(f64, f64)>,
    /// No word for more than three usual gaps.
    pub stalled: bool,
    /// All of it for people, without the bar.
    pub text: String,
}

/// What `progress` means at the time `now`, in seconds since 1970.
#[must_use]
pub fn pace(progress: &Progress, now: f64) -> Pace {
    let samples = &progress.samples;
    let percent = progress.percent();
    let target = progress.total.map_or(100.0, |total| total as f64);
    let mut pace = Pace { percent, ..Pace::default() };
    if let (Some(first), Some(last)) = (samples.first(), samples.last())
        && last.at > first.at
        && last.value > first.value
    {
        let rate = |from: &super::store::Sample| (last.value - from.value) / (last.at - from.at);
        let overall = rate(first);
        // The later third: what the job does now, where that differs from what it did.
        let recent =
            samples[samples.len() * 2 / 3 - 1..].first().filter(|s| s.at < last.at && s.value < last.value).map_or(overall, rate);
        pace.rate_per_s = Some(recent);
        let gap = (last.at - first.at) / (samples.len() - 1) as f64;
        pace.stalled = target > last.value && now - last.at > (3.0 * gap).max(2.0);
        if !pace.stalled && target >= last.value && (progress.total.is_some() || progress.done.is_none()) {
            let left = |rate: f64| ((target - last.value) / rate - (now - last.at)).max(0.0);
            pace.eta_s = Some((left(overall.max(recent)), left(overall.min(recent))));
        }
    }
    pace.text = text(progress, &pace, now);
    pace
}

fn text(progress: &Progress, pace: &Pace, now: f64) -> String {
    let mut parts = Vec::new();
    match (progress.done, progress.total) {
        (Some(done), Some(total)) => parts.push(format!("{done}/{total}")),
        (Some(done), None) => parts.push(done.to_string()),
        _ => {}
    }
    if let (Some(rate), Some(_)) = (pace.rate_per_s, progress.done) {
        parts.push(rate_text(rate));
    }
    if pace.stalled {
        let since = now - progress.samples.last().map_or(now, |sample| sample.at);
        parts.push(format!("stalled for {}", clock::brief(Duration::from_secs_f64(since.max(0.0)))));
    } else if let Some(eta) = pace.eta_s.filter(|(_, slow)| *slow > 0.0) {
        parts.push(eta_text(eta));
    }
    if let Some(note) = progress.note.as_deref().filter(|note| !note.is_empty()) {
        parts.push(note.to_owned());
    }
    parts.join(", ")
}

/// A rate for people: `12/s`, `3.1/min`, `2/h`.
#[must_use]
pub fn rate_text(per_s: f64) -> String {
    let (rate, unit) = if per_s >= 1.0 {
        (per_s, "s")
    } else if per_s * 60.0 >= 1.0 {
        (per_s * 60.0, "min")
    } else {
        (per_s * 3600.0, "h")
    };
    if rate >= 10.0 { format!("{rate:.0}/{unit}") } else { format!("{rate:.1}/{unit}") }
}

/// The time left for people: one figure where both ends agree, else the range.
#[must_use]
pub fn eta_text((fast, slow): (f64, f64)) -> String {
    let brief = |s: f64| clock::brief(Duration::try_from_secs_f64(s.max(0.0)).unwrap_or(Duration::MAX));
    if slow <= fast * 1.1 + 1.0 { format!("{} left", brief(slow)) } else { format!("{} to {} left", brief(fast), brief(slow)) }
}

/// A bar of `width` characters for a percentage.
#[must_use]
pub fn bar(percent: f64, width: usize) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the width")]
    let full = (percent.clamp(0.0, 100.0) / 100.0 * width as f64).floor() as usize;
    format!("{}{}", "#".repeat(full), "-".repeat(width - full))
}

#[cfg(test)]
mod tests {
    use super::super::store::Sample;
    use super::*;

    fn at(samples: &[(f64, u32)], total: Option<u64>) -> Progress {
        let done = samples.last().map(|(_, value)| u64::from(*value));
        let samples: Vec<Sample> = samples.iter().map(|(at, value)| Sample { at: *at, value: f64::from(*value) }).collect();
        Progress { done, total, samples, ..Progress::default() }
    }

    #[test]
    fn a_steady_job_has_one_answer() {
        let progress = at(&[(0.0, 0), (10.0, 100), (20.0, 200), (30.0, 300)], Some(600));
        let pace = pace(&progress, 30.0);
        assert_eq!((pace.percent, pace.rate_per_s, pace.eta_s), (Some(50.0), Some(10.0), Some((30.0, 30.0))));
        assert_eq!(pace.text, "300/600, 10/s, 30s left");
    }

    #[test]
    fn a_job_that_slows_down_has_a_range() {
        let progress = at(&[(0.0, 0), (10.0, 200), (20.0, 250), (30.0, 300)], Some(600));
        let (fast, slow) = pace(&progress, 30.0).eta_s.unwrap();
        assert!((fast - 30.0).abs() < 1e-9 && (slow - 60.0).abs() < 1e-9);
    }

    #[test]
    fn silence_is_a_stall_only_after_three_usual_gaps() {
        let progress = at(&[(0.0, 0), (10.0, 1), (20.0, 2)], Some(10));
        assert!(!pace(&progress, 49.0).stalled);
        let stalled = pace(&progress, 51.0);
        assert!(stalled.stalled && stalled.eta_s.is_none() && stalled.text.contains("stalled for 31s"));
    }

    #[test]
    fn one_word_is_no_rate() {
        let pace = pace(&at(&[(5.0, 3)], Some(10)), 6.0);
        assert_eq!((pace.rate_per_s, pace.eta_s, pace.percent), (None, None, Some(30.0)));
    }

    #[test]
    fn a_bar_fills() {
        assert_eq!([bar(0.0, 4), bar(50.0, 4), bar(99.9, 4), bar(100.0, 4)], ["----", "##--", "###-", "####"]);
    }
}
