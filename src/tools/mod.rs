//! The tools, each as its options and a list of steps. Only here is the environment read.

pub mod bgcancel;
pub mod bgrun;
pub mod bgstatus;
pub mod ckpt_rotate;
pub mod progress_mark;
pub mod resgate;

mod jobs;
mod place;
mod waiting;
