//! Brokers as processes, and raw protocol access, for tests.
//!
//! Key types: [`BrokerProcess`] (a `millstream serve` of its own port and directory), [`RawClient`] (frames over a
//! socket, good or bad), [`TestCluster`] (several brokers, and what can happen to them). Everything blocks: tests read
//! from top to bottom. Nothing here is for production.

mod cluster;
mod process;
mod raw;

pub use cluster::{ClusterOptions, Network, TestCluster, can_limit_disks};
pub use process::{BrokerOptions, BrokerProcess, millstream_binary, run_cli};
pub use raw::{RawClient, frame, request_frame};
