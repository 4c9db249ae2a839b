#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]
//! The metadata log from outside: one node, and quorums of several over a network that loses messages.

mod cluster;
mod net;
mod single;
