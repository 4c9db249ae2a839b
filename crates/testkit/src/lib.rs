//! Brokers as processes, and raw protocol access, for tests.
//!
//! Key types: [`BrokerProcess`] (a `millstream serve` of its own port and directory), [`RawClient`] (frames over a
//! socket, good or bad). Everything blocks: tests read from top to bottom. Nothing here is for production.

mod process;
mod raw;

pub use process::{BrokerOptions, BrokerProcess, millstream_binary, run_cli};
pub use raw::{RawClient, frame, request_frame};
