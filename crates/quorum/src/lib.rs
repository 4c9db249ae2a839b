//! The metadata log: commands decided, records fsynced, replayed, and the new cluster image published.
//!
//! Key types: [`Quorum`] (the handle that handlers use), [`ImageListener`] (who wants to know of every commit).
//!
//! A command is a closure from the current image to a [`Decision`]; see [`Quorum::execute`]. A node that is alone writes and
//! fsyncs its records itself; several nodes share a log by Raft (openraft, in `raft/`), and then the leader decides.
//!
//! Always so: an answer leaves only after its records are on disk, on a majority of the voters, and applied; the records of
//! one command come back whole or not at all; commands are decided one after the other, each against the state that all before
//! it leave, and a decision that comes to stand behind anything else has no effect; the image changes only by replaying what is
//! committed; a voter votes and acknowledges only what it has fsynced.
//!
//! # In a simulation
//! Several [`Quorum`]s run in one current-thread runtime with paused time: give each a file system of its own, the simulation's
//! clock, [`Executor::inline`], a [`QuorumOptions::seed`], and a [`Transport`] that hands the bytes to the other's
//! [`Quorum::receive`] when the simulation says so (after a sleep of simulated time, twice, or never: then wait until `within` has
//! passed and give [`TransportError::Timeout`]). All time is the runtime's, all tasks are the runtime's, no thread is started,
//! and the only random numbers are those of the seed. [`Quorum::abandon`] is a crash: what the file system then holds is what a new
//! [`Quorum::open`] finds.

mod batches;
mod cluster;
mod core;
mod error;
mod executor;
mod handle;
mod job;
mod options;
mod publish;
mod raft;
mod random;
mod snapshot;
mod status;
mod store;
mod transport;

pub use error::{CommitError, MemberError, OpenError};
pub use executor::{Executor, Work};
pub use handle::Quorum;
pub use job::Turn;
pub use millstream_metadata::decide::{Decision, Refusal};
pub use options::{QuorumOptions, QuorumOptions as Options, Timing, Voter};
pub use publish::ImageListener;
pub use status::{Leadership, QuorumStatus, ReplicaStatus};
pub use transport::{Call, Peer, Transport, TransportError};

/// The directory of the metadata log within a data directory.
pub const METADATA_DIR: &str = "__cluster_metadata-0";
