//! bgtools: six small tools for heavy background jobs.
pub mod checkpoint;
pub mod clock;
pub mod entry;
pub mod exit;
pub mod process;
pub mod sys;
pub mod text;
pub mod tools;
