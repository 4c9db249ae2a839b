//! Produce (key 0, v3-13): appends record batches.
//!
//! The request is read where it lies in the connection's buffer: checksums and records are checked outside any lock, then
//! each batch is patched in place and written by one write under its partition's lock. Nothing is copied.

mod answer;
mod transactional;

use std::cell::RefCell;
use std::sync::Arc;

use millstream_base::{ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs};
use millstream_config::TimestampType;
use millstream_partition::AppendOrigin;
use millstream_records::Validator;
use millstream_wire::Str;
use millstream_wire::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use millstream_wire::produce_view::{ProducePart, ProduceTopic, ProduceView};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::dispatch::{self, Outcome, Refusal};
use crate::replica::{AppendFailure, Appended, Durable, Lookup, Partition};
use crate::server::Outgoing;
use crate::topic_rules;
use transactional::{Entered, Entrance};

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
    durable: Option<Durable>,
    /// Whether other replicas are waited for, not only our disk.
    waits_for_others: bool,
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
    let step = WORK.with_borrow_mut(|work| enter_and_append(&context, body, work))?;
    let all = match step {
        Step::Appended(all) => all,
        Step::Waiting(entrance) => return Ok(append_later(context, entrance, body.to_vec())),
    };
    if let Some(done) = all.without_answer() {
        return done.map(|()| Outcome::Answered);
    }
    if all.parts.iter().all(|part| part.durable.is_none()) {
        dispatch::answer(&context, &all.response(&context), out)?;
        return Ok(Outcome::Answered);
    }
    Ok(Outcome::Overlapping(Box::pin(all.answer_when_durable(context))))
}

/// How far a request came at once.
enum Step {
    Appended(AppendedAll),
    /// The transaction coordinator has to think about it.
    Waiting(Entrance),
}

fn enter_and_append(
    context: &RequestContext,
    body: &mut [u8],
    work: &mut Work,
) -> Result<Step, Refusal> {
    let view = parse(context, body, &mut work.parts)?;
    let terms = Terms { acks: view.acks, timeout_ms: view.timeout_ms };
    let mut entered = None;
    if let Some(transactional_id) = view.transactional_id {
        let mut entrance = Entrance::new(context, transactional_id, &work.parts, body);
        if !entrance.ask(context) {
            return Ok(Step::Waiting(entrance));
        }
        entered = Some(entrance.into_entered());
    }
    Ok(Step::Appended(append_all(context, terms, body, work, entered)))
}

/// The connection's buffer is needed while the coordinator thinks.
fn append_later(context: RequestContext, mut entrance: Entrance, mut body: Vec<u8>) -> Outcome {
    Outcome::Exclusive(Box::pin(async move {
        entrance.ask_patiently(&context).await;
        let entered = Some(entrance.into_entered());
        let append = |work: &mut Work| {
            let view = parse(&context, &body, &mut work.parts)?;
            let terms = Terms { acks: view.acks, timeout_ms: view.timeout_ms };
            Ok::<_, Refusal>(append_all(&context, terms, &mut body, work, entered))
        };
        let all = WORK.with_borrow_mut(append)?;
        match all.without_answer() {
            Some(done) => done.map(|()| Outgoing::default()),
            None => all.answer_when_durable(context).await,
        }
    }))
}

fn parse<'a>(
    context: &RequestContext,
    body: &'a [u8],
    parts: &mut Vec<ProducePart>,
) -> Result<ProduceView<'a>, Refusal> {
    let (api, version) = (context.api, context.version);
    ProduceView::parse(body, version, parts).map_err(|source| Refusal::Body {
        api,
        version,
        source,
    })
}

/// What a request asks of the acknowledgement.
#[derive(Clone, Copy)]
struct Terms {
    acks: i16,
    timeout_ms: i32,
}

/// A request whose records are in their logs, or refused.
struct AppendedAll {
    terms: Terms,
    parts: Vec<Part>,
    /// The topics, without their partitions.
    topics: Vec<TopicProduceResponse>,
}

impl AppendedAll {
    /// With acks=0 there is no answer that could carry an error; `None` when there is one.
    fn without_answer(&self) -> Option<Result<(), Refusal>> {
        if self.terms.acks != 0 {
            return None;
        }
        let failed = self.parts.iter().find(|part| part.response.error_code != 0);
        let code = failed.and_then(|part| ErrorCode::from_code(part.response.error_code));
        Some(code.map_or(Ok(()), |code| Err(Refusal::Unacknowledged(code))))
    }

    fn response(self, context: &RequestContext) -> ProduceResponse {
        answer::response(context, self.parts, self.topics)
    }

    async fn answer_when_durable(mut self, context: RequestContext) -> Result<Outgoing, Refusal> {
        self.parts = answer::wait_durable(self.parts, self.terms).await;
        let mut out = Outgoing::default();
        dispatch::answer(&context, &self.response(&context), &mut out)?;
        Ok(out)
    }
}

/// Appends the batches of `work.parts`. `entered`: what the parts of a transactional request may do.
fn append_all(
    context: &RequestContext,
    terms: Terms,
    body: &mut [u8],
    work: &mut Work,
    entered: Option<Vec<Entered>>,
) -> AppendedAll {
    let now = context.broker.clock().now_ms();
    let mut parts = Vec::with_capacity(work.parts.len());
    let mut topics = Vec::new();
    for (at, part) in work.parts.iter().enumerate() {
        // An entry without partitions has an answer without partitions.
        while topics.len() < part.topic_entry as usize {
            topics.push(TopicProduceResponse::default());
        }
        if topics.len() == part.topic_entry as usize {
            topics.push(named(part, body));
        }
        let entered = entered.as_ref().and_then(|all| all.get(at)).unwrap_or(&Entered::Plain);
        let append = Append { context, part, acks: terms.acks, now, entered };
        parts.push(Part::new(part, append.run(body, &mut work.validator)));
    }
    AppendedAll { terms, parts, topics }
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
    durable: Option<Durable>,
    waits_for_others: bool,
}

/// The partition that a part names.
fn find(context: &RequestContext, part: &ProducePart, body: &[u8]) -> Lookup {
    let replicas = context.broker.replicas();
    match part.topic {
        ProduceTopic::Name(_) => {
            replicas.by_name(part.topic_name(body).unwrap_or_default(), part.index.into())
        }
        ProduceTopic::Id(id) => replicas.by_id(id, part.index.into()),
    }
}

fn may_write(context: &RequestContext, topic: &str) -> Result<(), ErrorCode> {
    if !context.allows(Operation::Write, Resource::Topic(topic)) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    if topic_rules::is_internal(topic) && context.client_id() != topic_rules::ADMIN_CLIENT_ID {
        return Err(ErrorCode::InvalidTopicException);
    }
    Ok(())
}

/// One partition's append.
struct Append<'a> {
    context: &'a RequestContext,
    part: &'a ProducePart,
    acks: i16,
    now: TimestampMs,
    entered: &'a Entered,
}

impl Append<'_> {
    fn run(&self, body: &mut [u8], validator: &mut Validator) -> Result<Stored, Refused> {
        let acks = self.acks;
        if !matches!(acks, ALL..=1) {
            return Err(Refused::because(
                ErrorCode::InvalidRequiredAcks,
                format_args!("acks is {acks}; it must be 0, 1 or -1 (all)"),
            ));
        }
        let partition = match find(self.context, self.part, body) {
            Lookup::Here(partition) => partition,
            Lookup::Refused(code) => return Err(code.into()),
        };
        may_write(self.context, &partition.name.topic).map_err(|code| match code {
            ErrorCode::InvalidTopicException => {
                Refused::because(code, "clients may not write to internal topics")
            }
            code => code.into(),
        })?;
        let config = partition.config();
        let span = self.part.records;
        let records = span.and_then(|span| body.get_mut(span.range())).unwrap_or_default();
        topic_rules::check_codec_version(records, self.context.version)?;
        let accepted = validator
            .validate_produce(records, &topic_rules::produce_rules(&config), self.now)
            .map_err(Refused::from)?;
        if accepted.header.attributes.is_transactional() && matches!(self.entered, Entered::Plain) {
            let why = "records of a transaction need the request to name its transactional id";
            return Err(Refused::because(ErrorCode::TransactionalIdAuthorizationFailed, why));
        }
        let mut rewritten = accepted.rewritten;
        let batch = rewritten.as_deref_mut().unwrap_or(records);
        let required = usize::try_from(config.min_insync_replicas).ok().filter(|_| acks == ALL);
        let appended = self.store(&partition, batch, required)?;
        let log_append_time = match config.message_timestamp_type {
            TimestampType::LogAppendTime => self.now,
            TimestampType::CreateTime => TimestampMs::NONE,
        };
        Ok(Stored {
            first_offset: appended.first_offset,
            log_append_time,
            log_start: appended.log_start,
            durable: appended.durable,
            waits_for_others: appended.waits_for_others,
        })
    }

    fn store(
        &self,
        partition: &Arc<Partition>,
        batch: &mut [u8],
        required: Option<usize>,
    ) -> Result<Appended, Refused> {
        let (producer, verification) = match self.entered {
            Entered::Plain | Entered::Unasked => {
                return Ok(partition.append(batch, AppendOrigin::Client, required, self.now)?);
            }
            Entered::Refused(code) => {
                let why = "the transaction coordinator does not let these records in";
                return Err(Refused::because(*code, why));
            }
            Entered::Open(producer) => (producer, None),
            Entered::Verified(producer, verification) => (producer, Some(verification)),
        };
        Ok(partition.append_in_transaction(
            batch,
            (ProducerId(producer.id), ProducerEpoch(producer.epoch)),
            verification,
            AppendOrigin::Client,
            required,
            self.now,
        )?)
    }
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
        let (mut durable, mut waits_for_others) = (None, false);
        match stored {
            Ok(stored) => {
                response.base_offset = stored.first_offset.get();
                response.log_append_time_ms = stored.log_append_time.get();
                response.log_start_offset = stored.log_start.get();
                durable = stored.durable;
                waits_for_others = stored.waits_for_others;
            }
            Err(refused) => {
                response.error_code = refused.code.code();
                response.base_offset = Offset::NONE.get();
                response.log_start_offset = refused.log_start.get();
                response.record_errors = refused.records;
                response.error_message = refused.message.map(Str::from);
            }
        }
        Self { topic_entry: part.topic_entry, response, durable, waits_for_others }
    }
}
