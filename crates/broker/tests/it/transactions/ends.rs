//! Ends that nobody asked for, ends asked for twice, and ends across restarts.

use millstream_base::ErrorCode;

use super::producer::{BOTH, New, init, read_committed};
use super::{Old, Producer, broker, broker_with};
use crate::support::client::code;
use crate::support::eventually;

#[test]
fn a_new_instance_fences_the_old_one() {
    for version in BOTH {
        let broker = broker();
        let topic = broker.topic("t", 1, &[]);
        let mut old = Producer::new(broker.connect(), "app", version);
        old.send(&topic, 0, &["half"]);
        let mut new = Producer::new(broker.connect(), "app", version);
        assert!(new.epoch > old.epoch && new.id == old.id);
        // The open transaction was aborted for the newcomer.
        assert!(read_committed(&mut broker.connect(), &topic, 0).is_empty());
        let zombie = old.try_send(&topic, 0, &["zombie"]);
        assert_eq!(code(zombie.error_code), ErrorCode::InvalidProducerEpoch, "{version:?}");
        assert_eq!(old.try_end(true), ErrorCode::ProducerFenced);
        assert_eq!(old.try_end(false), ErrorCode::ProducerFenced);
        assert_eq!(
            old.try_commit_offset("g", &topic, 5),
            match version {
                Old => ErrorCode::ProducerFenced,
                New => ErrorCode::InvalidProducerEpoch,
            }
        );
        new.send(&topic, 0, &["mine"]);
        new.commit();
        assert_eq!(read_committed(&mut broker.connect(), &topic, 0), ["mine"]);
    }
}

#[test]
fn a_transaction_that_takes_too_long_is_aborted() {
    let interval = ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "20");
    for version in BOTH {
        let broker = broker_with(&[interval]);
        let topic = broker.topic("t", 1, &[]);
        let mut producer = Producer::with_timeout(broker.connect(), "app", version, 100);
        producer.send(&topic, 0, &["late"]);
        let mut plain = broker.connect();
        plain.produce(&topic, 0, crate::support::batch::batch(&["plain"]));
        let mut reader = broker.connect();
        eventually("the transaction does not block others for ever", || {
            Some(()).filter(|()| read_committed(&mut reader, &topic, 0) == ["plain"])
        });
        let late = producer.try_send(&topic, 0, &["later"]);
        assert_eq!(code(late.error_code), ErrorCode::InvalidProducerEpoch);
        assert_eq!(producer.try_end(true), ErrorCode::ProducerFenced);
        let mut next = Producer::new(broker.connect(), "app", version);
        next.send(&topic, 0, &["next"]);
        next.commit();
        assert_eq!(read_committed(&mut reader, &topic, 0), ["plain", "next"]);
    }
}

#[test]
fn an_open_transaction_survives_restarts() {
    for version in BOTH {
        for clean in [true, false] {
            let broker = broker();
            let topic = broker.topic("t", 2, &[]);
            let mut producer = Producer::new(broker.connect(), "app", version);
            producer.send(&topic, 0, &["a"]);
            let place = if clean { broker.stop() } else { broker.crash() };
            let broker = place.start();
            let mut reader = broker.connect();
            assert!(read_committed(&mut reader, &topic, 0).is_empty());
            producer.client = broker.connect();
            producer.send(&topic, 0, &["b"]);
            producer.send(&topic, 1, &["c"]);
            producer.commit();
            assert_eq!(read_committed(&mut reader, &topic, 0), ["a", "b"]);
            assert_eq!(read_committed(&mut reader, &topic, 1), ["c"]);
            // And what ended stays so.
            let place = if clean { broker.stop() } else { broker.crash() };
            let broker = place.start();
            let mut reader = broker.connect();
            producer.client = broker.connect();
            producer.send(&topic, 0, &["lost"]);
            producer.abort();
            assert_eq!(read_committed(&mut reader, &topic, 0), ["a", "b"]);
        }
    }
}

#[test]
fn an_end_that_is_asked_for_twice_happens_once() {
    for commit in [true, false] {
        let broker = broker();
        let topic = broker.topic("t", 1, &[]);
        let mut producer = Producer::new(broker.connect(), "old", Old);
        producer.send(&topic, 0, &["v"]);
        assert_eq!(producer.try_end(commit), ErrorCode::None);
        assert_eq!(producer.try_end(commit), ErrorCode::None, "the answer may have been lost");
        assert_eq!(producer.try_end(!commit), ErrorCode::InvalidTxnState);
        let mut producer = Producer::new(broker.connect(), "new", New);
        producer.send(&topic, 0, &["v"]);
        let (id, epoch) = (producer.id, producer.epoch);
        assert_eq!(producer.try_end(commit), ErrorCode::None);
        let next = (producer.id, producer.epoch);
        assert_eq!(next, (id, epoch + 1));
        producer.epoch = epoch;
        assert_eq!(producer.try_end(commit), ErrorCode::None);
        assert_eq!((producer.id, producer.epoch), next, "the same answer again");
        producer.epoch = epoch;
        assert_eq!(producer.try_end(!commit), ErrorCode::InvalidTxnState);
        let data = super::producer::fetch_at(&mut broker.connect(), &topic, 0, 0, 0);
        assert_eq!(data.high_watermark, 4, "two records and two markers");
    }
}

#[test]
fn a_producer_recovers_by_saying_who_it_is() {
    let broker = broker();
    let topic = broker.topic("t", 1, &[]);
    let mut producer = Producer::new(broker.connect(), "app", Old);
    producer.send(&topic, 0, &["v"]);
    producer.abort();
    let who = (producer.id, producer.epoch);
    let answer = init(&mut producer.client, "app", who, 60_000);
    assert_eq!((answer.producer_id, answer.producer_epoch), (who.0, who.1 + 1));
    let again = init(&mut producer.client, "app", who, 60_000);
    assert_eq!(again.producer_epoch, answer.producer_epoch, "repeated");
    let newcomer = init(&mut broker.connect(), "app", (-1, -1), 60_000);
    assert_eq!(newcomer.producer_epoch, answer.producer_epoch + 1);
    let fenced = init(&mut producer.client, "app", (who.0, answer.producer_epoch), 60_000);
    assert_eq!(code(fenced.error_code), ErrorCode::ProducerFenced);
}

#[test]
fn a_topic_that_is_deleted_does_not_keep_a_transaction_open() {
    use millstream_wire::messages::delete_topics::DeleteTopicsRequest;
    for version in BOTH {
        let broker = broker();
        let gone = broker.topic("gone", 2, &[]);
        let kept = broker.topic("kept", 1, &[]);
        let mut producer = Producer::new(broker.connect(), "app", version);
        producer.send(&gone, 0, &["v"]);
        producer.send(&gone, 1, &["v"]);
        producer.send(&kept, 0, &["v"]);
        let request = DeleteTopicsRequest {
            topic_names: vec!["gone".into()],
            timeout_ms: 30_000,
            ..Default::default()
        };
        let deleted = broker.connect().call(5, &request);
        assert_eq!(code(deleted.responses[0].error_code), ErrorCode::None);
        producer.commit();
        producer.send(&kept, 0, &["w"]);
        producer.commit();
        assert_eq!(read_committed(&mut broker.connect(), &kept, 0), ["v", "w"]);
    }
}
