//! What OffsetCommit and TxnOffsetCommit have in common: which offsets go to the coordinator, and where its codes go.
//!
//! Key type: [`Commits`]. Every check that needs no coordinator is made here and nowhere else, so that no API leaves one
//! out. Partitions are told of in the request's order, and their codes come out in the same.

use std::sync::Arc;

use millstream_base::{ErrorCode, PartitionIndex, Uuid};
use millstream_groups::CommitOffset;
use millstream_metadata::ClusterImage;
use millstream_wire::Str;

use super::convert::own;
use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

/// What the coordinator says of the whole, or of each offset that it was given.
pub(crate) type Codes = Result<Vec<ErrorCode>, ErrorCode>;

/// How a request names a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TopicRef<'a> {
    /// Older versions.
    Name(&'a Str),
    /// Newer ones.
    Id(Uuid),
}

/// One partition of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AskedPartition<'a> {
    /// Which.
    pub index: i32,
    /// The next offset to read.
    pub offset: i64,
    /// -1 when not known.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: Option<&'a Str>,
}

/// The partitions of a request, sorted into those refused here and those that the coordinator decides.
#[derive(Debug)]
pub(crate) struct Commits<'a> {
    context: &'a RequestContext,
    image: Arc<ClusterImage>,
    allowed: Result<(), ErrorCode>,
    offsets: Vec<CommitOffset>,
    sorted: Sorted,
}

/// Of each partition why it is refused; `None` where the coordinator has the word.
#[derive(Debug, Default)]
pub(crate) struct Sorted(Vec<Option<ErrorCode>>);

impl<'a> Commits<'a> {
    /// `allowed` says whether the client may commit for the group at all.
    pub(crate) fn new(context: &'a RequestContext, allowed: Result<(), ErrorCode>) -> Self {
        let image = context.broker.image();
        Self { context, image, allowed, offsets: Vec::new(), sorted: Sorted::default() }
    }

    /// Sorts the partitions of one topic.
    pub(crate) fn sort<'p>(
        &mut self,
        topic: TopicRef<'_>,
        partitions: impl Iterator<Item = AskedPartition<'p>>,
    ) {
        let named = self.allowed.and_then(|()| self.resolve(topic));
        let topic = named.map(|name| (self.image.topics.get(&name).cloned(), name));
        for asked in partitions {
            let known = topic.as_ref().map_err(|code| *code).and_then(|(topic, name)| {
                let topic = topic.as_ref().ok_or(ErrorCode::UnknownTopicOrPartition)?;
                let partition = topic.partition(PartitionIndex(asked.index));
                partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
                Ok((Arc::clone(name), topic.id))
            });
            self.sorted.0.push(known.as_ref().err().copied());
            let Ok((topic, topic_id)) = known else { continue };
            self.offsets.push(CommitOffset {
                topic,
                topic_id,
                partition: asked.index,
                offset: asked.offset,
                leader_epoch: asked.leader_epoch,
                metadata: asked.metadata.map(|text| &**text).unwrap_or_default().into(),
            });
        }
    }

    /// What the coordinator has to decide, and what is decided.
    pub(crate) fn finish(self) -> (Vec<CommitOffset>, Sorted) {
        (self.offsets, self.sorted)
    }

    fn resolve(&self, topic: TopicRef<'_>) -> Result<Arc<str>, ErrorCode> {
        let name = match topic {
            TopicRef::Name(name) => own(name),
            TopicRef::Id(id) => {
                self.image.topics.name_of(id).cloned().ok_or(ErrorCode::UnknownTopicId)?
            }
        };
        if self.context.allows(Operation::Read, Resource::Topic(&name)) {
            Ok(name)
        } else {
            Err(ErrorCode::TopicAuthorizationFailed)
        }
    }
}

impl Sorted {
    /// The code of every partition in the request's order, with the coordinator's where it had the word.
    pub(crate) fn codes(&self, answer: &Codes) -> impl Iterator<Item = i16> {
        let mut each = answer.iter().flatten();
        self.0.iter().map(move |refused| match (refused, answer) {
            (Some(code), _) | (None, Err(code)) => code.code(),
            (None, Ok(_)) => each.next().copied().unwrap_or(ErrorCode::UnknownServerError).code(),
        })
    }
}
