//! The metadata log: commands decided, records fsynced, replayed, and the new cluster image published.
//!
//! Key types: [`Quorum`] (the handle that handlers use), [`ImageListener`] (who wants to know of every commit).
//!
//! A command is a closure from the current image to a [`Decision`]; see [`Quorum::execute`]. Whoever calls it does
//! not see how its records become durable: today one node writes and fsyncs them itself, a Raft log can take that
//! place behind the same handle.
//!
//! Always so: an answer leaves only after its records are on disk; the records of one command are one batch and
//! come back whole or not at all; commands are decided one after the other, each against the state that all
//! before it leave; the image changes only by replaying what is in the log.

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
