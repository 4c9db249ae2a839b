//! What a coordinator refuses, each with its own code: over the wire, as a client without manners would ask.

use millstream_base::ErrorCode;
use millstream_testkit::{BrokerProcess, RawClient};
use millstream_wire::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use millstream_wire::messages::heartbeat::HeartbeatRequest;
use millstream_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};

use crate::cli::Session;

fn connected() -> (Session, RawClient) {
    let session = Session::start();
    session.check("topic create t -p 2", "", "created topic t with 2 partitions");
    // Makes the coordinator's topic.
    session.check("group reset warm --topic t:0 --to-offset 0 --execute", "", "warm\tt\t0\t-\t0");
    let broker: &BrokerProcess = &session.broker;
    let client = broker.connect().unwrap();
    (session, client)
}

fn entry(partition_index: i32, metadata: &str) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 1,
        committed_metadata: Some(metadata.into()),
        ..OffsetCommitRequestPartition::default()
    }
}

#[test]
fn a_commit_is_refused_partition_by_partition() {
    let (session, mut client) = connected();
    let topic = |name: &str, partitions| OffsetCommitRequestTopic {
        name: name.into(),
        partitions,
        ..OffsetCommitRequestTopic::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![
            topic("t", vec![entry(0, "fine"), entry(1, &"x".repeat(5_000)), entry(2, "")]),
            topic("nowhere", vec![entry(0, "")]),
        ],
        ..OffsetCommitRequest::default()
    };
    let answer = client.call(&request, 8).unwrap();
    let codes: Vec<ErrorCode> = answer
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .filter_map(|partition| ErrorCode::from_code(partition.error_code))
        .collect();
    assert_eq!(
        codes,
        [
            ErrorCode::None,
            ErrorCode::OffsetMetadataTooLarge,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::UnknownTopicOrPartition
        ]
    );
    session.check("group describe g", "", "g\tt\t0\t1\t0\t0\t-\t-");
}

#[test]
fn strangers_and_bad_expressions_have_their_own_codes() {
    let (_session, mut client) = connected();
    let stranger = HeartbeatRequest {
        group_id: "nobody".into(),
        generation_id: 4,
        member_id: "m".into(),
        ..HeartbeatRequest::default()
    };
    let code = client.call(&stranger, 4).unwrap().error_code;
    assert_eq!(ErrorCode::from_code(code), Some(ErrorCode::UnknownMemberId));
    let beat = |epoch, names: Option<&str>, regex: Option<&str>| ConsumerGroupHeartbeatRequest {
        group_id: "c".into(),
        member_id: "m".into(),
        member_epoch: epoch,
        rebalance_timeout_ms: if epoch == 0 { 10_000 } else { -1 },
        subscribed_topic_names: names.map(|name| vec![name.into()]),
        subscribed_topic_regex: regex.map(Into::into),
        topic_partitions: (epoch == 0).then(Vec::new),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let mut check = |request: &ConsumerGroupHeartbeatRequest, expected| {
        let answer = client.call(request, 1).unwrap();
        assert_eq!(ErrorCode::from_code(answer.error_code), Some(expected), "{request:?}");
    };
    check(&beat(3, None, None), ErrorCode::GroupIdNotFound);
    check(&beat(0, None, None), ErrorCode::InvalidRequest);
    check(&beat(0, None, Some("(")), ErrorCode::InvalidRegularExpression);
    check(&beat(0, Some("nowhere"), None), ErrorCode::None);
    check(&beat(9, None, None), ErrorCode::FencedMemberEpoch);
    check(&beat(-1, None, None), ErrorCode::None);
}
