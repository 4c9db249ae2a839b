//! Records and ends of one transaction on two connections at once: whichever comes first, nothing hangs and nothing gets
//! into the next transaction.

use millstream_base::ErrorCode;
use millstream_wire::messages::end_txn::EndTxnRequest;
use millstream_wire::messages::produce::ProduceRequest;

use super::producer::{BOTH, fetch_at, produce_request, read_committed};
use super::{Old, Producer, broker};
use crate::support::client::code;
use crate::support::eventually;

#[test]
fn a_record_that_races_with_the_end_never_hangs() {
    for version in BOTH {
        let broker = broker();
        let topic = broker.topic("t", 2, &[]);
        let mut reader = broker.connect();
        let mut ender = broker.connect();
        let mut producer = Producer::new(broker.connect(), "app", version);
        let (mut in_time, mut late) = (0, 0);
        for round in 0..150 {
            // Opens the transaction; the race is about the first record in another partition.
            producer.send(&topic, 0, &["first"]);
            if version == Old {
                assert_eq!(producer.add(&topic, 1), ErrorCode::None);
            }
            let (produce, end) = if version == Old { (9, 4) } else { (13, 5) };
            let name = Some(producer.name.as_str().into());
            let bytes = producer.batch(&topic, 1, &["racing"]);
            let record = produce_request(produce, name, &topic, 1, bytes);
            let request = EndTxnRequest {
                transactional_id: producer.name.as_str().into(),
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                committed: true,
            };
            let (sent_record, sent_end);
            if round % 2 == 0 {
                sent_end = ender.send(end, &request);
                sent_record = producer.client.send(produce, &record);
            } else {
                sent_record = producer.client.send(produce, &record);
                sent_end = ender.send(end, &request);
            }
            let answer = producer.client.receive::<ProduceRequest>(sent_record);
            let ended = ender.receive::<EndTxnRequest>(sent_end);
            assert_eq!(code(ended.error_code), ErrorCode::None);
            match code(answer.responses[0].partition_responses[0].error_code) {
                ErrorCode::None => in_time += 1,
                ErrorCode::InvalidTxnState
                | ErrorCode::InvalidProducerEpoch
                | ErrorCode::ConcurrentTransactions
                | ErrorCode::NotEnoughReplicas => late += 1,
                other => panic!("{other:?}"),
            }
            // The producer learns the outcome by asking again, and starts sequences anew where the epoch stays.
            producer.commit();
            producer.forget(&topic, 1, in_time);
            eventually("every partition is stable", || {
                let at = |reader: &mut _, p| fetch_at(reader, &topic, p, 0, 1);
                let stable = [0, 1]
                    .map(|p| at(&mut reader, p))
                    .iter()
                    .all(|data| data.last_stable_offset == data.high_watermark);
                stable.then_some(())
            });
        }
        println!("{version:?}: {in_time} in time, {late} late");
        assert_eq!(read_committed(&mut reader, &topic, 1).len(), in_time);
        assert_eq!(read_committed(&mut reader, &topic, 0).len(), 150);
    }
}
