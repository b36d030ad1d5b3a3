//! One module a tool: its options, and what it does as a list of steps.
pub mod progress_mark;
