//! What makes files a checkpoint of a certain trainer, and when it is whole.

pub mod deepspeed;
pub mod distributed;
pub mod huggingface;
pub mod index;
pub mod markers;
pub mod tensorflow;
