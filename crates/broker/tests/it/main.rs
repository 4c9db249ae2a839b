#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout, unreachable_pub)]
//! The broker as its clients see it, over real sockets: what it does with what is right, and above all with what is wrong.
//!
//! Each test has a broker of its own ([`support::broker`]), in this process or in another ([`support::child`]).

mod admin;
mod bad_frames;
mod cluster;
mod crowds;
mod damage;
mod disk;
mod durable;
mod fetching;
mod groups;
mod idempotence;
mod lying_lengths;
mod offsets;
mod pipelining;
mod producing;
mod sessions;
mod settings;
mod storage;
mod storage_cleaner;
mod storage_cold;
mod storage_crash;
mod storage_scale;
mod storage_takeover;
mod strange_requests;
mod support;
mod transactions;
