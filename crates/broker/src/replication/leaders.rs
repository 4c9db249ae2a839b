//! Telling clients that came to the wrong broker who leads, within the answer itself (KIP-951).
//!
//! Key type: [`Leaders`], one an answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_base::{ErrorCode, NodeId, PartitionIndex};
use millstream_metadata::ClusterImage;
use millstream_wire::Str;

use crate::cluster_view;
use crate::context::RequestContext;
use crate::fetch::TopicKey;

/// A node as an answer names it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Its id.
    pub id: i32,
    /// Where the client reaches it.
    pub host: Str,
    /// Its port.
    pub port: i32,
    /// `broker.rack`.
    pub rack: Option<Str>,
}

/// The leaders that one answer names.
#[derive(Debug)]
pub(crate) struct Leaders<'a> {
    context: &'a RequestContext,
    image: Option<Arc<ClusterImage>>,
    named: BTreeSet<NodeId>,
}

impl<'a> Leaders<'a> {
    /// None is named yet.
    pub(crate) const fn new(context: &'a RequestContext) -> Self {
        Self { context, image: None, named: BTreeSet::new() }
    }

    /// Id and epoch of the leader that an answer with `error` should name, if another broker leads and the client can reach it.
    pub(crate) fn for_error(
        &mut self,
        error: ErrorCode,
        topic: &TopicKey,
        partition: PartitionIndex,
    ) -> Option<(i32, i32)> {
        if !matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
            return None;
        }
        let image = self.image.get_or_insert_with(|| self.context.broker.image());
        let topic = match topic {
            TopicKey::Id(id) => image.topics.get_by_id(*id),
            TopicKey::Name(name) => image.topics.get(name),
        };
        let partition = topic?.partition(partition)?;
        let leader = partition.leader.filter(|leader| image.is_active(*leader))?;
        if leader == self.context.broker.node_id() && error == ErrorCode::NotLeaderOrFollower {
            // What the image says is older than what this broker already knows.
            return None;
        }
        cluster_view::reach(self.context, image, image.broker(leader)?)?;
        self.named.insert(leader);
        Some((leader.get(), partition.leader_epoch.get()))
    }

    /// Where the client reaches those that were named.
    pub(crate) fn endpoints(self) -> Vec<Endpoint> {
        let Some(image) = self.image else { return Vec::new() };
        let reached = self.named.iter().filter_map(|id| {
            let (broker, host, port) =
                cluster_view::reach(self.context, &image, image.broker(*id)?)?;
            let rack = broker.rack.as_deref().map(Str::from);
            Some(Endpoint { id: id.get(), host, port, rack })
        });
        reached.collect()
    }
}
