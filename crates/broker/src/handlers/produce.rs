//! Produce (key 0, v3-13): appends record batches.
//!
//! The request is read where it lies in the connection's buffer: checksums and records are checked outside any lock, then
//! each batch is patched in place and written by one write under its partition's lock. Nothing is copied.

use std::cell::RefCell;
use std::time::Duration;

use millstream_base::{ErrorCode, Offset, TimestampMs};
use millstream_config::TimestampType;
use millstream_env::task;
use millstream_log::StorageError;
use millstream_partition::AppendOrigin;
use millstream_records::Validator;
use millstream_wire::Str;
use millstream_wire::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use millstream_wire::produce_view::{ProducePart, ProduceTopic, ProduceView};
use tokio::sync::oneshot;

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::dispatch::{self, Outcome, Refusal};
use crate::replica::{AppendFailure, Lookup};
use crate::server::Outgoing;
use crate::topic_rules;

thread_local! {
    /// Working memory, kept between requests: one set a thread, never held across a wait.
    static WORK: RefCell<Work> = RefCell::default();
}

#[derive(Default)]
struct Work {
    parts: Vec<ProducePart>,
    validator: Validator,
}

/// `acks=all`.
const ALL: i16 = -1;

/// The answer for one partition, and what it may still wait for.
struct Part {
    topic_entry: u32,
    response: PartitionProduceResponse,
    durable: Option<oneshot::Receiver<Result<(), StorageError>>>,
}

/// Why a partition's records are refused.
struct Refused {
    code: ErrorCode,
    message: Option<String>,
    records: Vec<BatchIndexAndErrorMessage>,
    log_start: Offset,
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new(), log_start: Offset::NONE }
    }
}

impl Refused {
    fn because(code: ErrorCode, message: impl std::fmt::Display) -> Self {
        Self { message: Some(message.to_string()), ..Self::from(code) }
    }
}

pub(crate) fn handle(
    context: RequestContext,
    body: &mut [u8],
    out: &mut Outgoing,
) -> Result<Outcome, Refusal> {
    let (acks, timeout_ms, parts, topics) =
        WORK.with_borrow_mut(|work| append_all(&context, body, work))?;
    if acks == 0 {
        // There is no answer that could carry an error.
        let failed = parts.iter().find(|part| part.response.error_code != 0);
        return match failed.and_then(|part| ErrorCode::from_code(part.response.error_code)) {
            Some(code) => Err(Refusal::Unacknowledged(code)),
            None => Ok(Outcome::Answered),
        };
    }
    if parts.iter().all(|part| part.durable.is_none()) {
        dispatch::answer(&context, &response(parts, topics), out)?;
        return Ok(Outcome::Answered);
    }
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or_default());
    Ok(Outcome::Overlapping(Box::pin(async move {
        let parts = wait_durable(parts, timeout).await;
        let mut out = Outgoing::default();
        dispatch::answer(&context, &response(parts, topics), &mut out)?;
        Ok(out)
    })))
}

type AppendedAll = (i16, i32, Vec<Part>, Vec<TopicProduceResponse>);

/// Appends every partition's batch. Returns acks, time-out, the parts, and the topics without their partitions.
fn append_all(
    context: &RequestContext,
    body: &mut [u8],
    work: &mut Work,
) -> Result<AppendedAll, Refusal> {
    let (api, version) = (context.api, context.version);
    let view = ProduceView::parse(body, version, &mut work.parts)
        .map_err(|source| Refusal::Body { api, version, source })?;
    let (acks, timeout_ms) = (view.acks, view.timeout_ms);
    let transactional = view.transactional_id.is_some();
    let now = context.broker.clock().now_ms();
    let mut parts = Vec::with_capacity(work.parts.len());
    let mut topics = Vec::new();
    for part in &work.parts {
        if topics.len() <= part.topic_entry as usize {
            topics.push(named(part, body));
        }
        let appended = if transactional {
            Err(Refused::because(
                ErrorCode::InvalidTxnState,
                "transactions are not served yet: produce without a transactional.id",
            ))
        } else {
            append(context, part, body, acks, now, &mut work.validator)
        };
        parts.push(Part::new(part, appended));
    }
    Ok((acks, timeout_ms, parts, topics))
}

fn named(part: &ProducePart, body: &[u8]) -> TopicProduceResponse {
    TopicProduceResponse {
        name: part.topic_name(body).map(Str::from).unwrap_or_default(),
        topic_id: part.topic_id().unwrap_or_default(),
        partition_responses: Vec::new(),
    }
}

struct Stored {
    first_offset: Offset,
    log_append_time: TimestampMs,
    log_start: Offset,
    durable: Option<oneshot::Receiver<Result<(), StorageError>>>,
}

fn append(
    context: &RequestContext,
    part: &ProducePart,
    body: &mut [u8],
    acks: i16,
    now: TimestampMs,
    validator: &mut Validator,
) -> Result<Stored, Refused> {
    if !matches!(acks, ALL..=1) {
        return Err(Refused::because(
            ErrorCode::InvalidRequiredAcks,
            format_args!("acks is {acks}; it must be 0, 1 or -1 (all)"),
        ));
    }
    let replicas = context.broker.replicas();
    let lookup = match part.topic {
        ProduceTopic::Name(_) => {
            replicas.by_name(part.topic_name(body).unwrap_or_default(), part.index.into())
        }
        ProduceTopic::Id(id) => replicas.by_id(id, part.index.into()),
    };
    let partition = match lookup {
        Lookup::Here(partition) => partition,
        Lookup::Refused(code) => return Err(code.into()),
    };
    let topic = &*partition.name.topic;
    if !context.allows(Operation::Write, Resource::Topic(topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed.into());
    }
    if topic_rules::is_internal(topic) && context.client_id() != topic_rules::ADMIN_CLIENT_ID {
        return Err(Refused::because(
            ErrorCode::InvalidTopicException,
            "clients may not write to internal topics",
        ));
    }
    let config = partition.config();
    let records = part.records.and_then(|span| body.get_mut(span.range())).unwrap_or_default();
    topic_rules::check_codec_version(records, context.version)?;
    let accepted = validator
        .validate_produce(records, &topic_rules::produce_rules(&config), now)
        .map_err(Refused::from)?;
    let mut rewritten = accepted.rewritten;
    let batch = rewritten.as_deref_mut().unwrap_or(records);
    let required = usize::try_from(config.min_insync_replicas).ok().filter(|_| acks == ALL);
    let appended = partition.append(batch, AppendOrigin::Client, required, now)?;
    let log_append_time = match config.message_timestamp_type {
        TimestampType::LogAppendTime => now,
        TimestampType::CreateTime => TimestampMs::NONE,
    };
    Ok(Stored {
        first_offset: appended.first_offset,
        log_append_time,
        log_start: appended.log_start,
        durable: appended.durable,
    })
}

impl From<millstream_records::ProduceRejection> for Refused {
    fn from(rejection: millstream_records::ProduceRejection) -> Self {
        let records = rejection.record_errors().iter().map(|record| BatchIndexAndErrorMessage {
            batch_index: record.batch_index,
            batch_index_error_message: Some(record.message.as_str().into()),
        });
        let records = records.collect();
        Self { records, ..Self::because(rejection.code(), &rejection) }
    }
}

impl From<AppendFailure> for Refused {
    fn from(failure: AppendFailure) -> Self {
        Self::because(failure.code(), &failure)
    }
}

impl Part {
    fn new(part: &ProducePart, stored: Result<Stored, Refused>) -> Self {
        let mut response = PartitionProduceResponse { index: part.index, ..Default::default() };
        let mut durable = None;
        match stored {
            Ok(stored) => {
                response.base_offset = stored.first_offset.get();
                response.log_append_time_ms = stored.log_append_time.get();
                response.log_start_offset = stored.log_start.get();
                durable = stored.durable;
            }
            Err(refused) => {
                response.error_code = refused.code.code();
                response.base_offset = Offset::NONE.get();
                response.log_start_offset = refused.log_start.get();
                response.record_errors = refused.records;
                response.error_message = refused.message.map(Str::from);
            }
        }
        Self { topic_entry: part.topic_entry, response, durable }
    }
}

async fn wait_durable(mut parts: Vec<Part>, timeout: Duration) -> Vec<Part> {
    let deadline = task::Instant::now() + timeout;
    for part in &mut parts {
        let Some(durable) = part.durable.take() else { continue };
        let left = deadline.saturating_duration_since(task::Instant::now());
        let code = match task::timeout(left, durable).await {
            Ok(Ok(Ok(()))) => continue,
            Ok(Ok(Err(failure))) => failure.code(),
            // The partition was deleted meanwhile.
            Ok(Err(_)) => ErrorCode::UnknownTopicOrPartition,
            Err(_) => ErrorCode::RequestTimedOut,
        };
        part.response.error_code = code.code();
        part.response.base_offset = Offset::NONE.get();
    }
    parts
}

fn response(parts: Vec<Part>, mut topics: Vec<TopicProduceResponse>) -> ProduceResponse {
    for part in parts {
        if let Some(topic) = topics.get_mut(part.topic_entry as usize) {
            topic.partition_responses.push(part.response);
        }
    }
    ProduceResponse { responses: topics, ..Default::default() }
}
