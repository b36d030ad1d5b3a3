//! bgtools: six small tools for heavy background jobs.
pub mod clock;
pub mod done_set;
pub mod entry;
pub mod exit;
pub mod journal;
pub mod leases;
pub mod process;
pub mod progress;
pub mod sys;
pub mod text;
pub mod tools;
