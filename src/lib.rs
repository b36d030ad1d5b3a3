//! bgtools: six small tools for heavy background jobs.
pub mod claims;
pub mod clock;
pub mod entry;
pub mod exit;
pub mod gate;
pub mod gauges;
pub mod probe;
pub mod process;
pub mod size;
pub mod sys;
pub mod text;
pub mod tools;
