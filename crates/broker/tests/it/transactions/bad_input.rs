//! What producers get wrong, by mistake or on purpose.

use millstream_base::ErrorCode;

use super::producer::{BOTH, New, find_coordinator, init, produce_request, read_committed};
use super::{Old, Producer, broker};
use crate::support::batch::{batch_of, by_producer};
use crate::support::client::code;

#[test]
fn records_outside_the_transaction_are_refused() {
    let broker = broker();
    let topic = broker.topic("t", 2, &[]);
    let mut producer = Producer::new(broker.connect(), "app", Old);
    let bytes = producer.batch(&topic, 0, &["x"]);
    // Nobody added the partition: who knows better is told so.
    for (version, expected) in [
        (3, ErrorCode::InvalidTxnState),
        (10, ErrorCode::InvalidTxnState),
        (11, ErrorCode::TransactionAbortable),
    ] {
        let answer = producer.produce_raw(version, &topic, 0, bytes.clone());
        assert_eq!(code(answer.error_code), expected, "version {version}");
    }
    // Records of a transaction without a transactional id.
    let request = produce_request(9, None, &topic, 0, bytes.clone());
    let answer = producer.client.call(9, &request);
    let refused = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(code(refused), ErrorCode::TransactionalIdAuthorizationFailed);
    // Added, but another partition.
    assert_eq!(producer.add(&topic, 1), ErrorCode::None);
    let answer = producer.produce_raw(11, &topic, 0, bytes.clone());
    assert_eq!(code(answer.error_code), ErrorCode::TransactionAbortable);
    // After the end.
    producer.send(&topic, 0, &["kept"]);
    producer.commit();
    let late = producer.batch(&topic, 0, &["late"]);
    let answer = producer.produce_raw(11, &topic, 0, late);
    assert_eq!(code(answer.error_code), ErrorCode::TransactionAbortable);
    assert_eq!(read_committed(&mut broker.connect(), &topic, 0), ["kept"]);
    let end = super::producer::fetch_at(&mut broker.connect(), &topic, 0, 0, 1);
    assert_eq!(end.last_stable_offset, 2, "nothing hangs");
}

#[test]
fn wrong_producers_are_refused() {
    for version in BOTH {
        let broker = broker();
        let topic = broker.topic("t", 1, &[]);
        let mut producer = Producer::new(broker.connect(), "app", version);
        let (id, epoch) = (producer.id, producer.epoch);
        producer.id = id + 500;
        let answer = producer.try_send(&topic, 0, &["x"]);
        assert_eq!(code(answer.error_code), ErrorCode::InvalidProducerIdMapping);
        assert_eq!(producer.try_end(true), ErrorCode::InvalidProducerIdMapping);
        producer.id = id;
        producer.epoch = epoch + 1;
        let answer = producer.try_send(&topic, 0, &["x"]);
        let fenced = match version {
            Old => ErrorCode::ProducerFenced,
            New => ErrorCode::InvalidProducerEpoch,
        };
        assert_eq!(code(answer.error_code), fenced);
        assert_eq!(producer.try_end(true), ErrorCode::ProducerFenced);
        producer.epoch = epoch;
        producer.name = "nobody".to_owned();
        assert_eq!(producer.try_end(true), ErrorCode::InvalidProducerIdMapping);
        producer.name.clear();
        assert_eq!(producer.try_end(true), ErrorCode::InvalidRequest);
        producer.name = "app".to_owned();
        producer.send(&topic, 0, &["right"]);
        producer.commit();
        assert_eq!(read_committed(&mut broker.connect(), &topic, 0), ["right"]);
    }
}

#[test]
fn gaps_and_repeats_are_told_apart() {
    for version in BOTH {
        let broker = broker();
        let topic = broker.topic("t", 1, &[]);
        let mut producer = Producer::new(broker.connect(), "app", version);
        let request = if version == Old { 9 } else { 13 };
        let first = producer.batch(&topic, 0, &["1", "2"]);
        let base = producer.send(&topic, 0, &["1", "2"]);
        let repeat = producer.produce_raw(request, &topic, 0, first);
        assert_eq!((code(repeat.error_code), repeat.base_offset), (ErrorCode::None, base));
        let options = by_producer(producer.id, producer.epoch, 5);
        let options = millstream_records::BatchOptions { transactional: true, ..options };
        let gap = producer.produce_raw(request, &topic, 0, batch_of(options, &["gap"]));
        assert_eq!(code(gap.error_code), ErrorCode::OutOfOrderSequenceNumber);
        // Not part of the open transaction of the same producer.
        let outside = batch_of(by_producer(producer.id, producer.epoch, 2), &["outside"]);
        let answer = producer.produce_raw(request, &topic, 0, outside);
        assert_eq!(code(answer.error_code), ErrorCode::InvalidTxnState);
        producer.commit();
        assert_eq!(read_committed(&mut broker.connect(), &topic, 0), ["1", "2"]);
    }
}

#[test]
fn time_outs_have_bounds() {
    let broker = broker();
    let mut client = broker.connect();
    find_coordinator(&mut client, 1, "app");
    for timeout in [900_001, 0, -5, i32::MAX] {
        let answer = init(&mut client, "app", (-1, -1), timeout);
        assert_eq!(code(answer.error_code), ErrorCode::InvalidTransactionTimeout, "{timeout}");
    }
    for expected in [(5, -1), (-1, 5)] {
        let answer = init(&mut client, "app", expected, 1_000);
        assert_eq!(code(answer.error_code), ErrorCode::InvalidRequest);
    }
    let answer = init(&mut client, "", (-1, -1), 1_000);
    assert_eq!(code(answer.error_code), ErrorCode::InvalidRequest);
    let answer = init(&mut client, "app", (-1, -1), 900_000);
    assert_eq!(code(answer.error_code), ErrorCode::None);
}

#[test]
fn unknown_and_internal_partitions_do_not_join() {
    use crate::support::client::Topic;
    let broker = broker();
    let topic = broker.topic("t", 1, &[]);
    let mut producer = Producer::new(broker.connect(), "app", Old);
    assert_eq!(producer.add(&topic, 7), ErrorCode::UnknownTopicOrPartition);
    let unknown = Topic { name: "unknown".to_owned(), ..topic.clone() };
    assert_eq!(producer.add(&unknown, 0), ErrorCode::UnknownTopicOrPartition);
    let internal = Topic { name: "__transaction_state".to_owned(), ..topic };
    assert_eq!(producer.add(&internal, 0), ErrorCode::TopicAuthorizationFailed);
    assert_eq!(producer.try_end(true), ErrorCode::InvalidTxnState, "nothing began");
}

#[test]
fn an_empty_transaction_of_the_new_kind_can_be_aborted() {
    let broker = broker();
    let mut producer = Producer::new(broker.connect(), "app", New);
    assert_eq!(producer.try_end(true), ErrorCode::InvalidTxnState);
    let epoch = producer.epoch;
    producer.abort();
    assert_eq!(producer.epoch, epoch + 1);
    producer.abort();
    assert_eq!(producer.epoch, epoch + 2);
}
