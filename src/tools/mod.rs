//! The tools, each as its options and a list of steps.
pub mod ckpt_rotate;
