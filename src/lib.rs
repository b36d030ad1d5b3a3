//! bgtools: six small tools for heavy background jobs.
pub mod cancel;
pub mod clock;
pub mod entry;
pub mod exit;
pub mod launch;
pub mod process;
pub mod record;
pub mod signal;
pub mod state_dir;
pub mod supervisor;
pub mod sys;
pub mod table;
pub mod text;
pub mod tools;
pub mod user;
