//! Fetches of followers: records up to the log's end, for brokers that hold a replica.
//!
//! A fetch of a registration that is over is refused per partition (KIP-903). A fetch that waits is answered at once when its
//! follower sends another request: it has partitions to add.

use std::time::Duration;

use millstream_base::{BrokerEpoch, ErrorCode, NodeId};
use millstream_wire::messages::fetch::FetchRequest;

use super::{FIRST_BY_ID, answer, asked, forgotten, refuse};
use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::dispatch::{Outcome, Refusal};
use crate::fetch::{FollowerFetch, FollowerSession, Found, Opened};
use crate::replica::Follower;
use crate::server::Outgoing;

/// The follower that a request comes from; consumers name none.
pub(super) fn named_by(request: &FetchRequest) -> Option<Follower> {
    let state = &request.replica_state;
    let (id, epoch) = match request.replica_id {
        id if id >= 0 => (id, -1),
        _ => (state.replica_id, state.replica_epoch),
    };
    (id >= 0).then_some(Follower { id: NodeId(id), broker_epoch: BrokerEpoch(epoch) })
}

/// Serves a follower.
pub(super) fn handle(
    context: RequestContext,
    request: FetchRequest,
    follower: Follower,
    out: &mut Outgoing,
) -> Result<Outcome, Refusal> {
    if !context.allows(Operation::ClusterAction, Resource::Cluster) {
        return refuse(&context, ErrorCode::ClusterAuthorizationFailed, out);
    }
    let opened = match open(&context, &request) {
        Ok(opened) => opened,
        Err(code) => return refuse(&context, code, out),
    };
    let bound = context.broker.config().node.fetch_max_bytes;
    let fetch = FollowerFetch {
        follower,
        min_bytes: i64::from(request.min_bytes),
        max_bytes: u32::try_from(request.max_bytes.min(bound)).unwrap_or_default(),
        incremental: opened.incremental,
        max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default()),
    };
    let replicas = context.broker.replicas();
    let found = fetch.look(&opened.session, replicas, replicas.throttle());
    if fetch.is_enough(&found) || fetch.max_wait.is_zero() {
        write(&context, &opened, found, out)?;
        return Ok(Outcome::Answered);
    }
    Ok(Outcome::Exclusive(Box::pin(async move {
        let replicas = context.broker.replicas();
        let hurry = context.connection.more_came();
        let found = fetch.wait(&opened.session, replicas, replicas.throttle(), found, hurry).await;
        let mut out = Outgoing::default();
        write(&context, &opened, found, &mut out)?;
        Ok(out)
    })))
}

fn open(
    context: &RequestContext,
    request: &FetchRequest,
) -> Result<Opened<FollowerSession>, ErrorCode> {
    let broker = &context.broker;
    let by_id = context.version >= FIRST_BY_ID;
    let sessions = broker.replicas().follower_sessions();
    let mut opened = sessions.open(
        request.session_id,
        request.session_epoch,
        by_id,
        broker.clock().monotonic(),
        || broker.random().next_u64(),
    )?;
    let named = {
        let mut session = opened.session.lock();
        session.forget(forgotten(request, by_id));
        for (topic, index, wanted) in asked(request, by_id) {
            session.set(topic, index, wanted);
        }
        session.len()
    };
    if !sessions.keep(opened.id, named) {
        if opened.incremental {
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        opened.id = 0;
    }
    Ok(opened)
}

/// Writes the answer and remembers in the session what the follower was told.
fn write(
    context: &RequestContext,
    opened: &Opened<FollowerSession>,
    found: Found,
    out: &mut Outgoing,
) -> Result<(), Refusal> {
    {
        let mut session = opened.session.lock();
        for (place, partition) in &found.partitions {
            session.tell(*place, partition.high_watermark, partition.log_start);
        }
    }
    answer::write(context, opened.id, found, out)
}
