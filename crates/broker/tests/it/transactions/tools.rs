//! What administrators ask: lists, descriptions, and the way out of a transaction that hangs.

use millstream_base::ErrorCode;
use millstream_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use millstream_wire::messages::describe_transactions::DescribeTransactionsRequest;
use millstream_wire::messages::list_transactions::ListTransactionsRequest;
use millstream_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};

use super::producer::{New, read_committed};
use super::{Old, Producer, broker};
use crate::support::client::{Client, code};

fn list(client: &mut Client, change: impl FnOnce(&mut ListTransactionsRequest)) -> Vec<String> {
    let mut request = ListTransactionsRequest { duration_filter: -1, ..Default::default() };
    change(&mut request);
    let answer = client.call(2, &request);
    assert_eq!(code(answer.error_code), ErrorCode::None);
    let mut ids: Vec<_> =
        answer.transaction_states.iter().map(|txn| txn.transactional_id.to_string()).collect();
    ids.sort();
    ids
}

#[test]
fn transactions_are_listed_and_described() {
    let broker = broker();
    let topic = broker.topic("t", 3, &[]);
    let mut client = broker.connect();
    assert!(list(&mut client, |_| {}).is_empty(), "before there is a coordinator");
    let mut open = Producer::new(broker.connect(), "open", New);
    open.send(&topic, 2, &["v"]);
    open.send(&topic, 0, &["v"]);
    let mut done = Producer::new(broker.connect(), "done", Old);
    done.send(&topic, 1, &["v"]);
    done.commit();
    Producer::new(broker.connect(), "idle", Old);
    assert_eq!(list(&mut client, |_| {}), ["done", "idle", "open"]);
    assert_eq!(list(&mut client, |r| r.state_filters = vec!["Ongoing".into()]), ["open"]);
    let states = || vec!["Empty".into(), "CompleteCommit".into(), "Nonsense".into()];
    assert_eq!(list(&mut client, |r| r.state_filters = states()), ["done", "idle"]);
    assert!(list(&mut client, |r| r.state_filters = vec!["Nonsense".into()]).is_empty());
    assert_eq!(list(&mut client, |r| r.producer_id_filters = vec![open.id]), ["open"]);
    assert_eq!(list(&mut client, |r| r.duration_filter = 0), ["open"]);
    assert!(list(&mut client, |r| r.duration_filter = 3_600_000).is_empty());
    let pattern = |p: &'static str| {
        move |r: &mut ListTransactionsRequest| {
            r.transactional_id_pattern = Some(p.into());
        }
    };
    assert_eq!(list(&mut client, pattern("(open|idle)")), ["idle", "open"]);
    assert!(list(&mut client, pattern("ope")).is_empty(), "the whole id has to match");
    let bad = ListTransactionsRequest {
        duration_filter: -1,
        transactional_id_pattern: Some("(".into()),
        ..Default::default()
    };
    assert_eq!(code(client.call(2, &bad).error_code), ErrorCode::InvalidRegularExpression);

    let request = DescribeTransactionsRequest {
        transactional_ids: vec!["open".into(), "nobody".into(), "".into()],
    };
    let answer = client.call(0, &request).transaction_states;
    let codes: Vec<_> = answer.iter().map(|state| code(state.error_code)).collect();
    use ErrorCode::{InvalidRequest, None, TransactionalIdNotFound};
    assert_eq!(codes, [None, TransactionalIdNotFound, InvalidRequest]);
    assert_eq!(&*answer[0].transaction_state, "Ongoing");
    assert_eq!((answer[0].producer_id, answer[0].transaction_timeout_ms), (open.id, 60_000));
    assert_eq!(answer[0].topics[0].partitions, [0, 2]);
}

#[test]
fn a_hanging_transaction_is_found_and_ended() {
    let broker = broker();
    let topic = broker.topic("t", 1, &[]);
    let mut client = broker.connect();
    let mut producer = Producer::new(broker.connect(), "app", Old);
    producer.send(&topic, 0, &["hangs"]);
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest { name: "t".into(), partition_indexes: vec![0, 9] }],
    };
    let answer = client.call(0, &request);
    let partitions = &answer.topics[0].partitions;
    assert_eq!(code(partitions[1].error_code), ErrorCode::UnknownTopicOrPartition);
    let found = &partitions[0].active_producers[0];
    assert_eq!((found.producer_id, found.current_txn_start_offset), (producer.id, 0));
    assert_eq!((found.last_sequence, found.coordinator_epoch), (0, -1));

    let mut abort = |epoch: i16, coordinator_epoch, version| {
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: producer.id,
                producer_epoch: epoch,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: "t".into(),
                    partition_indexes: vec![0],
                }],
                coordinator_epoch,
                transaction_version: version,
            }],
        };
        let answer = client.call(2, &request);
        code(answer.markers[0].topics[0].partitions[0].error_code)
    };
    // A marker of version 2 carries a larger epoch than the records that it ends.
    assert_eq!(abort(found_epoch(found), 0, 2), ErrorCode::InvalidProducerEpoch);
    assert_eq!(abort(found_epoch(found), 0, 0), ErrorCode::None);
    assert!(read_committed(&mut broker.connect(), &topic, 0).is_empty());
    let data = super::producer::fetch_at(&mut broker.connect(), &topic, 0, 0, 1);
    assert_eq!(data.last_stable_offset, 2);
    // A second time there is nothing to end, and nothing is written.
    assert_eq!(abort(found_epoch(found), 0, 0), ErrorCode::None);
    let data = super::producer::fetch_at(&mut broker.connect(), &topic, 0, 0, 1);
    assert_eq!(data.high_watermark, 2);
}

fn found_epoch(state: &millstream_wire::messages::describe_producers::ProducerState) -> i16 {
    state.producer_epoch.try_into().unwrap()
}
