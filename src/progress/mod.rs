//! How far a job is: `ID.d/progress.json`, written by the job, read by whoever asks for its state.

mod pace;
mod store;

pub use pace::{Pace, bar, eta_text, pace, rate_text};
pub use store::{Progress, Sample, Update, read, update};
