//! From a frame to its handler, and from the handler's reply to response bytes.
//!
//! [`dispatch`] is the one place that knows which handler serves which API. Handlers come in three shapes: [`now`] (a
//! function), [`later`] (a future: it waits for a disk, a commit or other members), and the two data paths, produce and
//! fetch, which take the frame itself.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use millstream_base::ErrorCode;
use millstream_log::FileRange;
use millstream_wire::frame::{HeaderError, RequestHeaderView};
use millstream_wire::messages::api_versions::ApiVersionsResponse;
use millstream_wire::{ApiKey, DecodeError, Decoder, Encode, EncodeError, Request};
use tracing::warn;

use crate::apis::{self, ListenerKind};
use crate::cluster;
use crate::context::{ConnectionContext, RequestContext};
use crate::handlers;
use crate::server::Outgoing;

/// How much is read ahead from a connection whose request is still being answered.
pub(crate) const READ_AHEAD: usize = 64 * 1024;

/// The most memory that one decoded request may take. Records do not count: they are read where they lie.
const MAX_DECODED_BYTES: usize = 64 << 20;

/// An answer that is not there yet.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = Result<Outgoing, Refusal>> + Send>>;

/// What became of a request.
pub(crate) enum Outcome {
    /// The answer, if the request has one, is in the buffer.
    Answered,
    /// The answer comes later, and the next request may start meanwhile.
    Overlapping(Waiting),
    /// The answer comes later, and the next request waits for it.
    Exclusive(Waiting),
}

/// Why a request gets no answer. The connection is closed, as Kafka does.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The header cannot be read, or names an API or version that there is not.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// An API or version that is not served here.
    #[error("API key {key} version {version} is not served here (ApiVersions lists what is)")]
    NotServed {
        /// The number of the API.
        key: i16,
        /// The request's version.
        version: i16,
    },
    /// The body cannot be read.
    #[error("an unreadable {api:?} v{version} request: {source}")]
    Body {
        /// Which API.
        api: ApiKey,
        /// At which version.
        version: i16,
        /// What is wrong.
        source: DecodeError,
    },
    /// The answer cannot be written: a mistake of ours.
    #[error("the answer to {api:?} v{version} cannot be written: {source}")]
    Answer {
        /// Which API.
        api: ApiKey,
        /// At which version.
        version: i16,
        /// What is wrong.
        source: EncodeError,
    },
    /// The broker has not taken its place in the cluster yet.
    #[error("the broker is still joining its cluster: clients are served when it has")]
    Starting,
    /// A produce with acks=0 failed; closing is the only way to tell the client (Kafka does the same).
    #[error("a produce without acknowledgement failed: {0}")]
    Unacknowledged(ErrorCode),
}

/// Hands one frame to its handler. What can be answered at once is appended to `out`.
pub(crate) fn dispatch(
    connection: &ConnectionContext,
    frame: &mut [u8],
    out: &mut Outgoing,
) -> Result<Outcome, Refusal> {
    let kind = connection.info.kind;
    let header = match RequestHeaderView::parse(frame) {
        Ok(header) if apis::serves(kind, header.key, header.version) => header,
        Ok(RequestHeaderView { key, version, .. }) => {
            return Err(Refusal::NotServed { key: key.code(), version });
        }
        Err(HeaderError::UnsupportedVersion {
            key: ApiKey::ApiVersions, correlation_id, ..
        }) => return say_what_is_served(kind, correlation_id, out),
        Err(other) => return Err(other.into()),
    };
    let (body_at, context) = (header.len, request_context(connection, &header));
    if kind == ListenerKind::Broker {
        if !context.broker.is_open() && !apis::is_served_early(context.api) {
            return Err(Refusal::Starting);
        }
        if apis::is_forwarded(context.api) && !context.broker.is_active_controller() {
            return Ok(forward(context, Bytes::copy_from_slice(frame), body_at));
        }
    }
    let body = frame.get_mut(body_at..).unwrap_or_default();
    route(context, body, out)
}

/// Hands a client's request on to the active controller. Where that cannot be reached, the handler here says so in the
/// answer's own words.
fn forward(context: RequestContext, frame: Bytes, body_at: usize) -> Outcome {
    Outcome::Exclusive(Box::pin(async move {
        let mut out = Outgoing::default();
        match cluster::forward(&context, frame.clone()).await {
            Ok(answer) => out.push_frame(&answer),
            Err(error) => {
                warn!(api = ?context.api, %error, "a client's request was not handed on to the controller");
                let mut body = frame.get(body_at..).unwrap_or_default().to_vec();
                return whole(context, &mut body).await;
            }
        }
        Ok(out)
    }))
}

/// The whole answer to a request that is already on its way inside the process.
pub(crate) async fn whole(context: RequestContext, body: &mut [u8]) -> Result<Outgoing, Refusal> {
    let mut out = Outgoing::default();
    match route(context, body, &mut out)? {
        Outcome::Answered => Ok(out),
        Outcome::Overlapping(waiting) | Outcome::Exclusive(waiting) => waiting.await,
    }
}

/// A client that asks for ApiVersions at a version too new is told which to use (KIP-511).
fn say_what_is_served(
    kind: ListenerKind,
    correlation_id: i32,
    out: &mut Outgoing,
) -> Result<Outcome, Refusal> {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: apis::advertised(kind),
        ..Default::default()
    };
    let api = ApiKey::ApiVersions;
    out.push(api, 0, correlation_id, &response, Vec::new()).map_err(|source| Refusal::Answer {
        api,
        version: 0,
        source,
    })?;
    Ok(Outcome::Answered)
}

fn request_context(
    connection: &ConnectionContext,
    header: &RequestHeaderView<'_>,
) -> RequestContext {
    RequestContext {
        broker: connection.broker.clone(),
        connection: connection.info.clone(),
        api: header.key,
        version: header.version,
        correlation_id: header.correlation_id,
        client_id: connection.keep_client_id(header.client_id),
    }
}

/// Every API that is served, and its handler.
fn route(context: RequestContext, body: &mut [u8], out: &mut Outgoing) -> Result<Outcome, Refusal> {
    use handlers as h;
    match context.api {
        ApiKey::Produce => h::produce::handle(context, body, out),
        ApiKey::Fetch => h::fetch::handle(context, body, out),
        ApiKey::ListOffsets => later(context, body, h::list_offsets::handle),
        ApiKey::ApiVersions => now(&context, body, out, h::api_versions::handle),
        ApiKey::FindCoordinator => later(context, body, h::find_coordinator::handle),
        ApiKey::JoinGroup => later(context, body, h::join_group::handle),
        ApiKey::SyncGroup => later(context, body, h::sync_group::handle),
        ApiKey::Heartbeat => now(&context, body, out, h::heartbeat::handle),
        ApiKey::LeaveGroup => later(context, body, h::leave_group::handle),
        ApiKey::OffsetCommit => h::offset_commit::handle(context, body, out),
        ApiKey::OffsetFetch => later(context, body, h::offset_fetch::handle),
        ApiKey::ListGroups => later(context, body, h::list_groups::handle),
        ApiKey::DescribeGroups => later(context, body, h::describe_groups::handle),
        ApiKey::DeleteGroups => later(context, body, h::delete_groups::handle),
        ApiKey::OffsetDelete => later(context, body, h::offset_delete::handle),
        ApiKey::ConsumerGroupHeartbeat => h::consumer_group_heartbeat::handle(context, body, out),
        ApiKey::ConsumerGroupDescribe => later(context, body, h::consumer_group_describe::handle),
        ApiKey::DeleteRecords => later(context, body, h::delete_records::handle),
        ApiKey::OffsetForLeaderEpoch => {
            now(&context, body, out, h::offset_for_leader_epoch::handle)
        }
        ApiKey::DescribeLogDirs => later(context, body, h::describe_log_dirs::handle),
        ApiKey::Metadata => later(context, body, h::metadata::handle),
        ApiKey::CreateTopics => later(context, body, h::create_topics::handle),
        ApiKey::DeleteTopics => later(context, body, h::delete_topics::handle),
        ApiKey::CreatePartitions => later(context, body, h::create_partitions::handle),
        ApiKey::DescribeTopicPartitions => {
            now(&context, body, out, h::describe_topic_partitions::handle)
        }
        ApiKey::DescribeCluster => now(&context, body, out, h::describe_cluster::handle),
        ApiKey::DescribeConfigs => now(&context, body, out, h::describe_configs::handle),
        ApiKey::AlterConfigs => later(context, body, h::alter_configs::handle),
        ApiKey::IncrementalAlterConfigs => {
            later(context, body, h::incremental_alter_configs::handle)
        }
        ApiKey::ListConfigResources => now(&context, body, out, h::list_config_resources::handle),
        ApiKey::InitProducerId => later(context, body, h::init_producer_id::handle),
        ApiKey::AddPartitionsToTxn => later(context, body, h::add_partitions_to_txn::handle),
        ApiKey::AddOffsetsToTxn => later(context, body, h::add_offsets_to_txn::handle),
        ApiKey::EndTxn => later(context, body, h::end_txn::handle),
        ApiKey::WriteTxnMarkers => later(context, body, h::write_txn_markers::handle),
        ApiKey::TxnOffsetCommit => later(context, body, h::txn_offset_commit::handle),
        ApiKey::DescribeProducers => now(&context, body, out, h::describe_producers::handle),
        ApiKey::DescribeTransactions => later(context, body, h::describe_transactions::handle),
        ApiKey::Envelope => later(context, body, h::envelope::handle),
        ApiKey::QuorumMessage => later(context, body, h::quorum_message::handle),
        ApiKey::ListTransactions => later(context, body, h::list_transactions::handle),
        api => by_controller(api, context, body),
    }
}

/// What only the active controller does, for brokers and for operators.
fn by_controller(api: ApiKey, context: RequestContext, body: &[u8]) -> Result<Outcome, Refusal> {
    use handlers as h;
    match api {
        ApiKey::ElectLeaders => later(context, body, h::elect_leaders::handle),
        ApiKey::AlterPartitionReassignments => {
            later(context, body, h::alter_partition_reassignments::handle)
        }
        ApiKey::ListPartitionReassignments => {
            later(context, body, h::list_partition_reassignments::handle)
        }
        ApiKey::DescribeQuorum => later(context, body, h::describe_quorum::handle),
        ApiKey::AlterPartition => later(context, body, h::alter_partition::handle),
        ApiKey::UpdateFeatures => later(context, body, h::update_features::handle),
        ApiKey::BrokerRegistration => later(context, body, h::broker_registration::handle),
        ApiKey::BrokerHeartbeat => later(context, body, h::broker_heartbeat::handle),
        ApiKey::UnregisterBroker => later(context, body, h::unregister_broker::handle),
        ApiKey::AllocateProducerIds => later(context, body, h::allocate_producer_ids::handle),
        ApiKey::ControllerRegistration => later(context, body, h::controller_registration::handle),
        ApiKey::AssignReplicasToDirs => later(context, body, h::assign_replicas_to_dirs::handle),
        ApiKey::AddRaftVoter => later(context, body, h::add_raft_voter::handle),
        ApiKey::RemoveRaftVoter => later(context, body, h::remove_raft_voter::handle),
        ApiKey::UnregisterController => later(context, body, h::unregister_controller::handle),
        api => Err(Refusal::NotServed { key: api.code(), version: context.version }),
    }
}

/// Serves a request by a function.
pub(crate) fn now<R: Request>(
    context: &RequestContext,
    body: &[u8],
    out: &mut Outgoing,
    handle: impl FnOnce(&RequestContext, R) -> R::Response,
) -> Result<Outcome, Refusal> {
    let request = decode(context, body)?;
    let response = handle(context, request);
    answer(context, &response, out)?;
    Ok(Outcome::Answered)
}

/// Serves a request by a future.
pub(crate) fn later<R, F>(
    context: RequestContext,
    body: &[u8],
    handle: impl FnOnce(RequestContext, R) -> F,
) -> Result<Outcome, Refusal>
where
    R: Request,
    R::Response: Send,
    F: Future<Output = R::Response> + Send + 'static,
{
    let request = decode(&context, body)?;
    let response = handle(context.clone(), request);
    Ok(Outcome::Exclusive(Box::pin(async move {
        let response = response.await;
        let mut out = Outgoing::default();
        answer(&context, &response, &mut out)?;
        Ok(out)
    })))
}

/// Reads a request's fields.
pub(crate) fn decode<R: Request>(context: &RequestContext, body: &[u8]) -> Result<R, Refusal> {
    let (api, version) = (context.api, context.version);
    let frame = Bytes::copy_from_slice(body);
    let mut decoder = Decoder::new(frame).with_memory_limit(MAX_DECODED_BYTES);
    decoder.read(version).map_err(|source| Refusal::Body { api, version, source })
}

/// Appends a response frame to `out`.
pub(crate) fn answer<R: Encode>(
    context: &RequestContext,
    response: &R,
    out: &mut Outgoing,
) -> Result<(), Refusal> {
    answer_with_records(context, response, Vec::new(), out)
}

/// Appends a response frame whose records are ranges of files to `out`.
pub(crate) fn answer_with_records<R: Encode>(
    context: &RequestContext,
    response: &R,
    ranges: Vec<FileRange>,
    out: &mut Outgoing,
) -> Result<(), Refusal> {
    let (api, version) = (context.api, context.version);
    out.push(api, version, context.correlation_id, response, ranges)
        .map_err(|source| Refusal::Answer { api, version, source })
}
