//! Fetch (key 1, v4-18): hands out ranges of log files, at once or when there is enough.
//!
//! Sessions are KIP-227's, size limits KIP-74's: `max.bytes` holds for all but the first batch, so that a batch larger
//! than the limit still gets through. An empty answer waits on exactly the partitions that were named. What followers
//! fetch is in [`followers`].

mod answer;
mod followers;

use std::time::Duration;

use millstream_base::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};
use millstream_env::task;
use millstream_wire::Str;
use millstream_wire::messages::fetch::{FetchPartition, FetchRequest, FetchResponse};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::dispatch::{self, Outcome, Refusal};
use crate::fetch::{FetchLimits, Found, Opened, Session, TopicKey, Wanted, collect, wait_for_more};
use crate::replica::{Isolation, Reader};
use crate::replication::Nearest;
use crate::server::Outgoing;

/// Fetch names topics by id from this version on (KIP-516).
const FIRST_BY_ID: i16 = 13;
/// From this version on a consumer may read from followers (KIP-392).
const FIRST_FROM_FOLLOWER: i16 = 11;

/// A fetch that was understood.
struct Fetch {
    opened: Opened,
    limits: FetchLimits,
    max_wait: Duration,
    nearest: Option<Nearest>,
}

pub(crate) fn handle(
    context: RequestContext,
    body: &[u8],
    out: &mut Outgoing,
) -> Result<Outcome, Refusal> {
    let request: FetchRequest = dispatch::decode(&context, body)?;
    if let Some(follower) = followers::named_by(&request) {
        return followers::handle(context, request, follower, out);
    }
    let fetch = match open(&context, &request) {
        Ok(fetch) => fetch,
        Err(code) => return refuse(&context, code, out),
    };
    let found = look(&context, &fetch);
    let wait = fetch.max_wait > Duration::ZERO && fetch.opened.session.lock().len() > 0;
    if found.is_enough(&fetch.limits) || !wait {
        answer(&context, &fetch, found, out)?;
        return Ok(Outcome::Answered);
    }
    Ok(Outcome::Exclusive(Box::pin(async move {
        let found = wait_until_enough(&context, &fetch, found.bytes).await;
        let mut out = Outgoing::default();
        answer(&context, &fetch, found, &mut out)?;
        Ok(out)
    })))
}

/// The whole fetch is refused.
fn refuse(
    context: &RequestContext,
    code: ErrorCode,
    out: &mut Outgoing,
) -> Result<Outcome, Refusal> {
    let response = FetchResponse { error_code: code.code(), ..Default::default() };
    dispatch::answer(context, &response, out)?;
    Ok(Outcome::Answered)
}

/// Finds the session and brings it up to date with the request.
fn open(context: &RequestContext, request: &FetchRequest) -> Result<Fetch, ErrorCode> {
    let broker = &context.broker;
    let by_id = context.version >= FIRST_BY_ID;
    let mut opened = broker.fetch_sessions().open(
        request.session_id,
        request.session_epoch,
        by_id,
        broker.clock().monotonic(),
        || broker.random().next_u64(),
    )?;
    let isolation = match request.isolation_level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let named = {
        let mut session = opened.session.lock();
        update(&mut session, request, by_id, opened.incremental);
        session.len()
    };
    if !broker.fetch_sessions().keep(opened.id, named) {
        if opened.incremental {
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        opened.id = 0;
    }
    let bound = broker.config().node.fetch_max_bytes;
    let from_follower = context.version >= FIRST_FROM_FOLLOWER;
    let limits = FetchLimits {
        min_bytes: i64::from(request.min_bytes),
        max_bytes: u32::try_from(request.max_bytes.min(bound)).unwrap_or_default(),
        reader: Reader { isolation, from_follower },
    };
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
    let nearest = Nearest::new(broker, &request.rack_id);
    Ok(Fetch { opened, limits, max_wait, nearest })
}

fn update(session: &mut Session, request: &FetchRequest, by_id: bool, incremental: bool) {
    let gone: Vec<_> = forgotten(request, by_id).collect();
    session.forget(&gone);
    for (topic, index, wanted) in asked(request, by_id) {
        match incremental {
            true => session.set(topic, index, wanted),
            false => session.add(topic, index, wanted),
        }
    }
}

fn key(by_id: bool, name: &Str, id: millstream_base::Uuid) -> TopicKey {
    match by_id {
        true => TopicKey::Id(id),
        false => TopicKey::Name(name.into()),
    }
}

/// The partitions that a request takes out of its session.
fn forgotten(
    request: &FetchRequest,
    by_id: bool,
) -> impl Iterator<Item = (TopicKey, PartitionIndex)> {
    request.forgotten_topics_data.iter().flat_map(move |topic| {
        let key = key(by_id, &topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |p| (key.clone(), PartitionIndex(*p)))
    })
}

/// The partitions that a request names.
fn asked(
    request: &FetchRequest,
    by_id: bool,
) -> impl Iterator<Item = (TopicKey, PartitionIndex, Wanted)> {
    request.topics.iter().flat_map(move |topic| {
        let key = key(by_id, &topic.topic, topic.topic_id);
        let entry = move |p: &FetchPartition| (key.clone(), PartitionIndex(p.partition), wanted(p));
        topic.partitions.iter().map(entry)
    })
}

fn wanted(partition: &FetchPartition) -> Wanted {
    Wanted {
        offset: Offset(partition.fetch_offset),
        max_bytes: u32::try_from(partition.partition_max_bytes).unwrap_or_default(),
        current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
        last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
        log_start: Offset(partition.log_start_offset),
    }
}

fn look(context: &RequestContext, fetch: &Fetch) -> Found {
    let mut session = fetch.opened.session.lock();
    let may_read = |topic: &str| context.allows(Operation::Read, Resource::Topic(topic));
    let replicas = context.broker.replicas();
    let nearest = fetch.nearest.as_ref();
    let nearer = |partition: &_, wanted: &_| nearest.and_then(|n| n.instead(partition, wanted));
    collect(&mut session, replicas, &fetch.limits, fetch.opened.incremental, &may_read, &nearer)
}

async fn wait_until_enough(context: &RequestContext, fetch: &Fetch, bytes: i64) -> Found {
    let deadline = task::Instant::now() + fetch.max_wait;
    let mut bytes = bytes;
    loop {
        let left = deadline.saturating_duration_since(task::Instant::now());
        let missing = (fetch.limits.min_bytes - bytes).max(1);
        let session = &fetch.opened.session;
        let isolation = fetch.limits.reader.isolation;
        let more = wait_for_more(session, isolation, missing, left).await;
        let found = look(context, fetch);
        if !more || found.is_enough(&fetch.limits) {
            return found;
        }
        bytes = found.bytes;
    }
}

/// Writes the answer and remembers in the session what the client was told.
fn answer(
    context: &RequestContext,
    fetch: &Fetch,
    found: Found,
    out: &mut Outgoing,
) -> Result<(), Refusal> {
    let mut session = fetch.opened.session.lock();
    for (place, partition) in &found.partitions {
        session.tell(*place, partition.high_watermark, partition.log_start);
    }
    answer::write(context, fetch.opened.id, found, out)
}
