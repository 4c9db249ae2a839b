#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]
//! The metadata log from outside: one node, and quorums of several over a network that loses messages.

mod bounds;
mod cluster;
mod deposed;
mod disk;
#[expect(dead_code, reason = "the log's own tests use more of it")]
#[path = "../../../log/tests/it/fault_fs.rs"]
mod fault_fs;
mod handover;
mod members;
mod net;
mod single;
mod support;
