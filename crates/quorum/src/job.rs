//! A command on its way: decided, then answered once its records are durable.
//!
//! Key types: [`Turn`] (what a decision may know beside the image) and [`Job`] (a command without its types).

use millstream_base::{Offset, TimestampMs};
use millstream_metadata::decide::{Decision, Refusal};
use millstream_metadata::{ClusterImage, MetadataRecord};

use crate::error::CommitError;

/// What a decision may know beside the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The offset that the decision's first record gets.
    pub next_offset: Offset,
    /// The time.
    pub now: TimestampMs,
}

/// A command of any type.
pub(crate) trait Job: Send {
    /// Decides, keeps the reply, and gives the records.
    fn decide(&mut self, image: &ClusterImage, turn: &Turn) -> Vec<MetadataRecord>;

    /// Hands out the reply, or why there is none.
    fn finish(self: Box<Self>, outcome: Result<(), CommitError>);
}

/// A command whose decision is still to come, or whose reply waits for the disk.
pub(crate) struct Pending<D, R, A> {
    decide: Option<D>,
    reply: Option<Result<R, Refusal>>,
    answer: A,
}

impl<D, R, A> Pending<D, R, A> {
    pub(crate) const fn new(decide: D, answer: A) -> Self {
        Self { decide: Some(decide), reply: None, answer }
    }
}

impl<D, R, A> Job for Pending<D, R, A>
where
    D: FnOnce(&ClusterImage, &Turn) -> Result<Decision<R>, Refusal> + Send,
    R: Send,
    A: FnOnce(Result<R, CommitError>) + Send,
{
    fn decide(&mut self, image: &ClusterImage, turn: &Turn) -> Vec<MetadataRecord> {
        let Some(decide) = self.decide.take() else { return Vec::new() };
        match decide(image, turn) {
            Ok(Decision { records, reply }) => {
                self.reply = Some(Ok(reply));
                records
            }
            Err(refusal) => {
                self.reply = Some(Err(refusal));
                Vec::new()
            }
        }
    }

    fn finish(self: Box<Self>, outcome: Result<(), CommitError>) {
        let reply = match (outcome, self.reply) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(reply)) => reply.map_err(CommitError::Refused),
            (Ok(()), None) => Err(CommitError::Closed),
        };
        (self.answer)(reply);
    }
}
