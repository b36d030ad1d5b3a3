//! The one integration test binary: each module is a topic, `support` is what they share.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs, unreachable_pub)]

mod ckpt;
mod support;
