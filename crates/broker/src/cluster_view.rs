//! The cluster as a client on one connection sees it: which brokers there are, and at which address it reaches them.

use millstream_base::NodeId;
use millstream_metadata::{BrokerRegistration, ClusterImage, Partition};
use millstream_wire::Str;

use crate::context::RequestContext;

/// A broker with the host and port at which a client reaches it.
pub(crate) type Reachable<'a> = (&'a BrokerRegistration, Str, i32);

/// `broker` with its address, unless it has no listener of the name that the client came in by.
pub(crate) fn reach<'a>(
    context: &RequestContext,
    image: &ClusterImage,
    broker: &'a BrokerRegistration,
) -> Option<Reachable<'a>> {
    let (host, port) = context.address_of(image, broker.id)?;
    Some((broker, host, port))
}

/// The brokers that this client can reach, with their addresses.
pub(crate) fn reachable<'a>(
    context: &'a RequestContext,
    image: &'a ClusterImage,
) -> impl Iterator<Item = Reachable<'a>> {
    image.alive_brokers().filter_map(|broker| reach(context, image, broker))
}

/// Whom clients take for the controller: any broker that takes admin requests, the one asked first.
pub(crate) fn controller(context: &RequestContext, image: &ClusterImage) -> i32 {
    let me = context.broker.node_id();
    let alive = image.alive_brokers().map(|broker| broker.id);
    let controller = if image.is_active(me) { Some(me) } else { alive.min() };
    controller.map_or(-1, NodeId::get)
}

/// Whether clients are told of that broker.
pub(crate) fn is_alive(image: &ClusterImage, id: NodeId) -> bool {
    image.broker(id).is_some_and(|broker| !broker.fenced)
}

/// The replicas of a partition that lie on brokers, or in log directories, which are not there.
pub(crate) fn offline_replicas(image: &ClusterImage, partition: &Partition) -> Vec<i32> {
    let is_there = |id: NodeId| is_alive(image, id) && image.is_directory_online(id, partition);
    let gone = partition.replicas.iter().filter(|id| !is_there(**id));
    gone.map(|id| id.get()).collect()
}

/// Ids as the wire has them.
pub(crate) fn numbers(ids: &[NodeId]) -> Vec<i32> {
    ids.iter().map(|id| id.get()).collect()
}
