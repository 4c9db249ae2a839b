//! What the coordinators of groups and of transactions do alike with the partitions of their topics.
//!
//! Key types: [`Shards`] (which partitions this broker coordinates, after the cluster image), [`CommitLine`] (what is
//! written and what of it is committed), [`Reading`] (a log on its way into a shard), [`keep_time`] (the one task that
//! drives deadlines), [`append`] (records on their way into a log).
//!
//! A shard belongs to one leader epoch of its partition: in another epoch it neither loads, nor writes, nor answers. What it
//! decided counts for itself at once and for others when it is committed; when that can never be known, because another
//! broker leads, the shard is given up with all that it believed, and whoever leads reads what the log kept.

mod commits;
mod reading;
mod shards;
mod timer;
mod writing;

pub(crate) use commits::{Commit, CommitLine};
pub(crate) use reading::{LoadReport, Reading, load};
pub(crate) use shards::{Hosted, Shards};
pub(crate) use timer::{TimeKeeper, keep_time};
pub(crate) use writing::{Batch, append};

use millstream_base::ErrorCode;

/// Whether a shard can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its log is being read.
    Loading,
    /// It answers.
    Active,
    /// Its log cannot be read, or written.
    Failed,
    /// This broker does not lead its partition any more.
    Closed,
}

impl State {
    /// What a client is told.
    pub(crate) const fn refusal(self) -> Option<ErrorCode> {
        match self {
            Self::Active => None,
            Self::Loading => Some(ErrorCode::CoordinatorLoadInProgress),
            Self::Failed => Some(ErrorCode::CoordinatorNotAvailable),
            Self::Closed => Some(ErrorCode::NotCoordinator),
        }
    }
}
