//! The log through its public face, over a file system that fails on purpose.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod aborted;
mod basics;
mod compact;
mod crash;
mod fault_fs;
mod follow;
mod inspect;
mod model;
mod scale;
mod support;
mod takeover;
mod threads;
mod times;
mod untimed;
