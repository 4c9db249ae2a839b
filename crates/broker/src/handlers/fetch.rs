//! Fetch (key 1, v4-18): hands out ranges of log files, at once or when there is enough.
//!
//! Sessions are KIP-227's, size limits KIP-74's: `max.bytes` holds for all but the first batch, so that a batch larger
//! than the limit still gets through. An empty answer waits on exactly the partitions that were named.

use std::time::Duration;

use millstream_base::{ErrorCode, LeaderEpoch, Offset, PartitionIndex};
use millstream_env::task;
use millstream_log::FileRange;
use millstream_wire::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse,
    PartitionData,
};
use millstream_wire::{Records, Str};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::dispatch::{self, Outcome, Refusal};
use crate::fetch::{
    FetchLimits, Found, Opened, PartitionFound, Session, TopicKey, Wanted, collect, wait_for_more,
};
use crate::replica::Isolation;
use crate::server::Outgoing;

/// Fetch names topics by id from this version on (KIP-516).
const FIRST_BY_ID: i16 = 13;
/// A fetch that was understood.
struct Fetch {
    opened: Opened,
    limits: FetchLimits,
    max_wait: Duration,
}

pub(crate) fn handle(
    context: RequestContext,
    body: &[u8],
    out: &mut Outgoing,
) -> Result<Outcome, Refusal> {
    let request: FetchRequest = dispatch::decode(&context, body)?;
    let fetch = match open(&context, &request) {
        Ok(fetch) => fetch,
        Err(code) => {
            let response = FetchResponse { error_code: code.code(), ..Default::default() };
            dispatch::answer(&context, &response, out)?;
            return Ok(Outcome::Answered);
        }
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
    let limits = FetchLimits {
        min_bytes: i64::from(request.min_bytes),
        max_bytes: u32::try_from(request.max_bytes.min(bound)).unwrap_or_default(),
        isolation,
    };
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
    Ok(Fetch { opened, limits, max_wait })
}

fn update(session: &mut Session, request: &FetchRequest, by_id: bool, incremental: bool) {
    let key = |name: &Str, id| match by_id {
        true => TopicKey::Id(id),
        false => TopicKey::Name(name.into()),
    };
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let key = key(&topic.topic, topic.topic_id);
        forgotten.extend(topic.partitions.iter().map(|p| (key.clone(), PartitionIndex(*p))));
    }
    session.forget(&forgotten);
    for topic in &request.topics {
        let key = key(&topic.topic, topic.topic_id);
        for partition in &topic.partitions {
            let wanted = Wanted {
                offset: Offset(partition.fetch_offset),
                max_bytes: u32::try_from(partition.partition_max_bytes).unwrap_or_default(),
                current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
                last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
            };
            let index = PartitionIndex(partition.partition);
            match incremental {
                true => session.set(key.clone(), index, wanted),
                false => session.add(key.clone(), index, wanted),
            }
        }
    }
}

fn look(context: &RequestContext, fetch: &Fetch) -> Found {
    let mut session = fetch.opened.session.lock();
    let may_read = |topic: &str| context.allows(Operation::Read, Resource::Topic(topic));
    let replicas = context.broker.replicas();
    collect(&mut session, replicas, &fetch.limits, fetch.opened.incremental, &may_read)
}

async fn wait_until_enough(context: &RequestContext, fetch: &Fetch, bytes: i64) -> Found {
    let deadline = task::Instant::now() + fetch.max_wait;
    let mut bytes = bytes;
    loop {
        let left = deadline.saturating_duration_since(task::Instant::now());
        let missing = (fetch.limits.min_bytes - bytes).max(1);
        let session = &fetch.opened.session;
        let more = wait_for_more(session, fetch.limits.isolation, missing, left).await;
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
    let mut ranges = Vec::new();
    let mut topics: Vec<(TopicKey, FetchableTopicResponse)> = Vec::new();
    for (place, mut partition) in found.partitions {
        session.tell(place, partition.high_watermark, partition.log_start);
        let range = partition.range.take();
        let data = partition_data(&partition, range.as_ref());
        ranges.extend(range);
        match topics.last_mut().filter(|(key, _)| *key == partition.topic) {
            Some((_, topic)) => topic.partitions.push(data),
            None => {
                let topic = topic_response(&partition.topic, data);
                topics.push((partition.topic, topic));
            }
        }
    }
    let response = FetchResponse {
        session_id: fetch.opened.id,
        responses: topics.into_iter().map(|(_, topic)| topic).collect(),
        ..Default::default()
    };
    dispatch::answer_with_records(context, &response, ranges, out)
}

fn topic_response(key: &TopicKey, first: PartitionData) -> FetchableTopicResponse {
    let mut topic = FetchableTopicResponse { partitions: vec![first], ..Default::default() };
    match key {
        TopicKey::Id(id) => topic.topic_id = *id,
        TopicKey::Name(name) => topic.topic = name.into(),
    }
    topic
}

/// In the order of their markers, as readers of committed records expect them; null for others.
fn aborted(partition: &PartitionFound) -> Option<Vec<AbortedTransaction>> {
    let aborted = partition.aborted.as_ref()?.iter().map(|txn| AbortedTransaction {
        producer_id: txn.producer_id.get(),
        first_offset: txn.first_offset.get(),
    });
    Some(aborted.collect())
}

fn partition_data(partition: &PartitionFound, range: Option<&FileRange>) -> PartitionData {
    let (epoch, end_offset) =
        partition.diverging.map_or((-1, -1), |(epoch, end)| (epoch.get(), end.get()));
    PartitionData {
        partition_index: partition.partition.get(),
        error_code: partition.error.code(),
        high_watermark: partition.high_watermark.get(),
        last_stable_offset: partition.last_stable.get(),
        log_start_offset: partition.log_start.get(),
        diverging_epoch: EpochEndOffset { epoch, end_offset },
        aborted_transactions: aborted(partition),
        records: Some(
            range.map_or_else(Records::default, |range| Records::External { len: range.len }),
        ),
        ..Default::default()
    }
}
