//! bgtools: six small tools for heavy background jobs.
pub mod clock;
pub mod entry;
pub mod exit;
pub mod text;
pub mod tools;
