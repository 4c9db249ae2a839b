//! The same bytes as the `kafka-protocol` crate, for every message and version that both know.
//!
//! Our bytes are read by the other crate and written again by it; both must agree to the last byte. Bytes alone would
//! not show two fields of one type swapped, so the names of the fields are held together too, in their order.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use millstream_wire::testing::{CASES, Case, Gen};

use crate::Noise;

/// One message as the other crate has it.
struct Peer {
    name: &'static str,
    versions: (i16, i16),
    /// Decodes all of the bytes; gives them encoded again, and the value's debug text.
    recode: fn(Bytes, i16) -> Result<(Bytes, String), String>,
}

fn recode<T: Decodable + Encodable + std::fmt::Debug>(
    mut bytes: Bytes,
    version: i16,
) -> Result<(Bytes, String), String> {
    let value = T::decode(&mut bytes, version).map_err(|error| error.to_string())?;
    if !bytes.is_empty() {
        return Err(format!("{} bytes left over: {value:?}", bytes.len()));
    }
    let mut out = BytesMut::new();
    value.encode(&mut out, version).map_err(|error| error.to_string())?;
    Ok((out.freeze(), format!("{value:?}")))
}

macro_rules! peers {
    ($($name:ident,)*) => {
        const PEERS: &[Peer] = &[$(Peer {
            name: stringify!($name),
            versions: (theirs::$name::VERSIONS.min, theirs::$name::VERSIONS.max),
            recode: recode::<theirs::$name>,
        },)*];
    };
}

peers! {
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddRaftVoterRequest,
    AddRaftVoterResponse,
    AllocateProducerIdsRequest,
    AllocateProducerIdsResponse,
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    AlterConfigsRequest,
    AlterConfigsResponse,
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    AlterPartitionRequest,
    AlterPartitionResponse,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterShareGroupOffsetsRequest,
    AlterShareGroupOffsetsResponse,
    AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse,
    ApiVersionsRequest,
    ApiVersionsResponse,
    AssignReplicasToDirsRequest,
    AssignReplicasToDirsResponse,
    BeginQuorumEpochRequest,
    BeginQuorumEpochResponse,
    BrokerHeartbeatRequest,
    BrokerHeartbeatResponse,
    BrokerRegistrationRequest,
    BrokerRegistrationResponse,
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    ControllerRegistrationRequest,
    ControllerRegistrationResponse,
    CreateAclsRequest,
    CreateAclsResponse,
    CreateDelegationTokenRequest,
    CreateDelegationTokenResponse,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DefaultPrincipalData,
    DeleteAclsRequest,
    DeleteAclsResponse,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteShareGroupOffsetsRequest,
    DeleteShareGroupOffsetsResponse,
    DeleteShareGroupStateRequest,
    DeleteShareGroupStateResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DescribeAclsRequest,
    DescribeAclsResponse,
    DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
    DescribeClusterRequest,
    DescribeClusterResponse,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    DescribeDelegationTokenRequest,
    DescribeDelegationTokenResponse,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeProducersRequest,
    DescribeProducersResponse,
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsResponse,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse,
    ElectLeadersRequest,
    ElectLeadersResponse,
    EndQuorumEpochRequest,
    EndQuorumEpochResponse,
    EndTxnMarker,
    EndTxnRequest,
    EndTxnResponse,
    EnvelopeRequest,
    EnvelopeResponse,
    ExpireDelegationTokenRequest,
    ExpireDelegationTokenResponse,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    GetTelemetrySubscriptionsRequest,
    GetTelemetrySubscriptionsResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
    InitializeShareGroupStateRequest,
    InitializeShareGroupStateResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    KRaftVersionRecord,
    LeaderChangeMessage,
    LeaveGroupRequest,
    LeaveGroupResponse,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
    ListGroupsRequest,
    ListGroupsResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    ListTransactionsRequest,
    ListTransactionsResponse,
    MetadataRequest,
    MetadataResponse,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    ProduceRequest,
    ProduceResponse,
    PushTelemetryRequest,
    PushTelemetryResponse,
    ReadShareGroupStateRequest,
    ReadShareGroupStateResponse,
    ReadShareGroupStateSummaryRequest,
    ReadShareGroupStateSummaryResponse,
    RemoveRaftVoterRequest,
    RemoveRaftVoterResponse,
    RenewDelegationTokenRequest,
    RenewDelegationTokenResponse,
    RequestHeader,
    ResponseHeader,
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
    ShareAcknowledgeRequest,
    ShareAcknowledgeResponse,
    ShareFetchRequest,
    ShareFetchResponse,
    ShareGroupDescribeRequest,
    ShareGroupDescribeResponse,
    ShareGroupHeartbeatRequest,
    ShareGroupHeartbeatResponse,
    SnapshotFooterRecord,
    SnapshotHeaderRecord,
    SyncGroupRequest,
    SyncGroupResponse,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
    UnregisterBrokerRequest,
    UnregisterBrokerResponse,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
    UpdateRaftVoterRequest,
    UpdateRaftVoterResponse,
    VoteRequest,
    VoteResponse,
    VotersRecord,
    WriteShareGroupStateRequest,
    WriteShareGroupStateResponse,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
}

/// The APIs that the other crate lacks.
const MISSING: [&str; 5] = [
    // Between nodes of a quorum.
    "QuorumMessage",
    "StreamsGroupHeartbeat",
    "StreamsGroupDescribe",
    "StreamsGroupTopologyDescriptionUpdate",
    "UnregisterController",
];

/// The names of the fields in a debug text, in their order, without underscores.
fn field_names(debug: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut word, mut in_text, mut escaped) = (String::new(), false, false);
    for c in debug.chars() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '"' {
            in_text = true;
        } else if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        } else if c == ':' {
            // Renamed in version 6 of TxnOffsetCommit, which the other crate does not have yet.
            names.push(word.replace('_', "").replace("generationidormemberepoch", "generationid"));
        }
        word.clear();
    }
    names.retain(|name| name != "unknowntaggedfields");
    names
}

fn check(peer: &Peer, case: &Case, version: i16, noise: &[u8]) {
    let what = format!("{} version {version}", case.name);
    let mut ours = (case.generate)(&mut Gen::new(noise), version).unwrap();
    if matches!(case.name, "LeaderChangeMessage" | "VotersRecord") {
        // The other crate takes the field `Version` of these for the version of what follows it.
        ours = [&version.to_be_bytes(), ours.get(2..).unwrap()].concat().into();
    }
    let (again, theirs) = (peer.recode)(ours.clone(), version)
        .unwrap_or_else(|error| panic!("{what}: {error}: {ours:?}"));
    assert_eq!(ours, again, "{what}");
    let own = (case.debug)(ours, version).unwrap();
    let (mut own, mut theirs) = (field_names(&own), field_names(&theirs));
    if peer.versions != (case.min, case.max) {
        // Fields of versions that only one side has.
        let (all, others) = (own.clone(), theirs.clone());
        own.retain(|name| others.contains(name));
        theirs.retain(|name| all.contains(name));
    }
    assert_eq!(own, theirs, "{what}");
}

#[test]
fn the_same_bytes_for_every_message_and_version_that_both_know() {
    let mut noise = Noise(7);
    let mut pairs = 0;
    for round in 0..40 {
        let noise = noise.bytes(round * 12);
        pairs = 0;
        for peer in PEERS {
            let case = Case::find(peer.name).unwrap_or_else(|| panic!("{} is not ours", peer.name));
            let (min, max) = (case.min.max(peer.versions.0), case.max.min(peer.versions.1));
            assert!(min <= max, "{}: no version in common", peer.name);
            for version in min..=max {
                check(peer, case, version, &noise);
                pairs += 1;
            }
        }
    }
    assert!(pairs > 500, "only {pairs} pairs of message and version were compared");
}

#[test]
fn only_what_the_other_crate_lacks_is_left_out() {
    for case in CASES.iter().filter(|case| matches!(case.kind, "request" | "response" | "header")) {
        let api = case.name.trim_end_matches("Request").trim_end_matches("Response");
        let known = PEERS.iter().any(|peer| peer.name == case.name);
        assert_ne!(known, MISSING.contains(&api), "{}", case.name);
    }
}
