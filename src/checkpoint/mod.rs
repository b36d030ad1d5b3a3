//! Checkpoints: what in a directory is one, whether it is good, which stay, and how the others go.

pub mod digest;
pub mod dir;
pub mod entry;
pub mod formats;
pub mod held;
pub mod json;
pub mod judge;
pub mod layouts;
pub mod listing;
pub mod manifest;
pub mod metric;
pub mod name;
pub mod plan;
pub mod pointers;
pub mod remove;
pub mod scan;
pub mod snapshot;
pub mod stock;
pub mod temporary;
pub mod trash;
pub mod tree;
pub mod verdict;
