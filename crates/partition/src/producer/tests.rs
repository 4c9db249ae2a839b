//! Producer states against scripts of batches and markers.

use super::*;

fn batch(id: i64, epoch: i16, base: i32, count: i32, offset: i64) -> ProducerBatch {
    ProducerBatch {
        producer_id: ProducerId(id),
        epoch: ProducerEpoch(epoch),
        base_sequence: base,
        last_sequence: increment_sequence(base, count - 1),
        first_offset: Offset(offset),
        last_offset: Offset(offset + i64::from(count) - 1),
        timestamp: TimestampMs(1000),
        transactional: false,
    }
}

/// Applies `(epoch, base sequence, count)` one after the other and shows the last one's outcome.
fn run(steps: &[(i16, i32, i32)]) -> String {
    let mut table = ProducerTable::new();
    let mut offset = 0;
    let mut shown = String::new();
    for &(epoch, base, count) in steps {
        let batch = batch(7, epoch, base, count, offset);
        shown = match table.check(&[], &batch, AppendOrigin::Client) {
            Ok(Verdict::New) => {
                table.apply(&batch);
                offset += i64::from(count);
                "new".to_owned()
            }
            Ok(Verdict::Duplicate(d)) => format!("duplicate {}-{}", d.first_offset, d.last_offset),
            Err(e) => e.code().name().to_owned(),
        };
    }
    shown
}

fn check(steps: &[(i16, i32, i32)], expected: &str) {
    assert_eq!(run(steps), expected, "{steps:?}");
}

#[test]
fn sequences() {
    const MAX: i32 = i32::MAX;
    check(&[(0, 0, 5)], "new");
    check(&[(0, 0, 5), (0, 5, 1)], "new");
    check(&[(0, 0, 5), (0, 0, 5)], "duplicate 0-4");
    check(&[(0, 0, 5), (0, 6, 1)], "OUT_OF_ORDER_SEQUENCE_NUMBER");
    check(&[(0, 0, 5), (0, 4, 1)], "OUT_OF_ORDER_SEQUENCE_NUMBER");
    // The same start but another length is not the same batch.
    check(&[(0, 0, 5), (0, 0, 4)], "OUT_OF_ORDER_SEQUENCE_NUMBER");
    // A producer of which nothing is known may begin anywhere (its records may have been deleted).
    check(&[(0, 17, 5)], "new");
    check(&[(0, 17, 5), (0, 22, 1)], "new");
    // Epochs.
    check(&[(1, 0, 5), (0, 5, 1)], "INVALID_PRODUCER_EPOCH");
    check(&[(0, 0, 5), (1, 0, 1)], "new");
    check(&[(0, 0, 5), (1, 5, 1)], "OUT_OF_ORDER_SEQUENCE_NUMBER");
    check(&[(0, 0, 5), (1, 0, 5), (1, 0, 5)], "duplicate 5-9");
    // The last five batches are remembered, no more.
    let six = [(0, 0, 1), (0, 1, 1), (0, 2, 1), (0, 3, 1), (0, 4, 1), (0, 5, 1)];
    check(&[&six[..], &[(0, 1, 1)]].concat(), "duplicate 1-1");
    check(&[&six[..], &[(0, 0, 1)]].concat(), "OUT_OF_ORDER_SEQUENCE_NUMBER");
    // After the largest sequence comes 0.
    check(&[(0, MAX - 1, 2), (0, 0, 1)], "new");
    check(&[(0, MAX - 1, 4), (0, 2, 1)], "new");
    check(&[(0, MAX - 1, 4), (0, MAX - 1, 4)], "duplicate 0-3");
    check(&[(0, MAX - 1, 4), (0, 3, 1)], "OUT_OF_ORDER_SEQUENCE_NUMBER");
}

#[test]
fn batches_of_one_append_are_checked_one_after_the_other() {
    let table = ProducerTable::new();
    let first = batch(7, 0, 0, 3, 0);
    let second = batch(7, 0, 3, 3, 3);
    let gap = batch(7, 0, 9, 3, 3);
    assert_eq!(table.check(&[first], &second, AppendOrigin::Client), Ok(Verdict::New));
    assert!(table.check(&[first], &gap, AppendOrigin::Client).is_err());
    assert!(table.check(&[first], &gap, AppendOrigin::Coordinator).is_ok());
}

#[test]
fn transactions_hold_the_stable_offset_back() {
    let mut table = ProducerTable::new();
    let txn = |id, offset| ProducerBatch { transactional: true, ..batch(id, 0, 0, 2, offset) };
    table.apply(&txn(1, 10));
    table.apply(&txn(2, 12));
    assert_eq!(table.first_unstable_offset(), Some(Offset(10)));
    let outside = batch(1, 0, 2, 1, 14);
    let refused = table.check(&[], &outside, AppendOrigin::Client).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidTxnState);
    let marker = |id: i64, offset, commit| Marker {
        producer_id: ProducerId(id),
        epoch: ProducerEpoch(0),
        coordinator_epoch: 3,
        offset: Offset(offset),
        timestamp: TimestampMs(2000),
        commit,
    };
    let done = table.apply_marker(&marker(1, 14, false)).unwrap();
    assert!(done.aborted);
    assert_eq!((done.first_offset, done.last_stable_offset), (Offset(10), Offset(12)));
    // Over, but not below the high watermark yet.
    assert_eq!(table.first_unstable_offset(), Some(Offset(10)));
    table.on_high_watermark(Offset(15));
    assert_eq!(table.first_unstable_offset(), Some(Offset(12)));
    let done = table.apply_marker(&marker(2, 15, true)).unwrap();
    assert_eq!((done.aborted, done.last_stable_offset), (false, Offset(16)));
    assert_eq!(table.apply_marker(&marker(2, 16, true)), None);
    let old = Marker { coordinator_epoch: 2, ..marker(2, 17, true) };
    let fenced = table.check_marker(&old, AppendOrigin::Coordinator).unwrap_err();
    assert_eq!(fenced.code(), ErrorCode::TransactionCoordinatorFenced);
    assert!(table.check_marker(&old, AppendOrigin::Replication).is_ok());
}

#[test]
fn a_marker_of_a_newer_epoch_starts_sequences_anew() {
    let mut table = ProducerTable::new();
    table.apply(&batch(1, 0, 0, 5, 0));
    table.apply_marker(&Marker {
        producer_id: ProducerId(1),
        epoch: ProducerEpoch(1),
        coordinator_epoch: 0,
        offset: Offset(5),
        timestamp: TimestampMs(0),
        commit: true,
    });
    let late = table.check(&[], &batch(1, 0, 5, 1, 6), AppendOrigin::Client).unwrap_err();
    assert_eq!(late.code(), ErrorCode::InvalidProducerEpoch);
    assert_eq!(table.check(&[], &batch(1, 1, 0, 1, 6), AppendOrigin::Client), Ok(Verdict::New));
}

#[test]
fn idle_producers_expire_unless_their_transaction_is_open() {
    let mut table = ProducerTable::new();
    table.apply(&batch(1, 0, 0, 5, 0));
    table.apply(&ProducerBatch { transactional: true, ..batch(2, 0, 0, 5, 5) });
    assert_eq!(table.expire(TimestampMs(1999), 1000), 0);
    assert_eq!(table.expire(TimestampMs(2000), 1000), 1);
    assert!(table.get(ProducerId(1)).is_none() && table.has_open_txn(ProducerId(2)));
}

#[test]
fn snapshots_come_back_and_changed_ones_do_not() {
    let mut table = ProducerTable::new();
    table.apply(&batch(1, 0, 0, 5, 0));
    table.apply(&batch(1, 0, 5, 2, 5));
    table.apply(&ProducerBatch { transactional: true, ..batch(9, 3, 0, 1, 7) });
    let bytes = table.to_snapshot();
    assert_eq!(bytes.len(), 10 + 2 * 46);
    let back = ProducerTable::from_snapshot(&bytes).unwrap();
    assert_eq!(back.to_snapshot(), bytes);
    assert_eq!(back.first_unstable_offset(), Some(Offset(7)));
    let last = *back.get(ProducerId(1)).unwrap().last().unwrap();
    assert_eq!((last.base_sequence(), last.last_sequence, last.first_offset()), (5, 6, Offset(5)));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(ProducerTable::from_snapshot(&changed).is_err(), "byte {at}");
        assert!(ProducerTable::from_snapshot(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn kafkas_own_snapshots_are_read() {
    // An empty one and one with a producer (id 5, last sequence 118, last offset 153), written by Kafka.
    let empty = [0, 1, 0x48, 0x67, 0x4b, 0xc7, 0, 0, 0, 0];
    assert!(ProducerTable::from_snapshot(&empty).unwrap().is_empty());
    assert_eq!(ProducerTable::new().to_snapshot(), empty);
    let one = [
        0x00, 0x01, 0x85, 0xf0, 0x90, 0x7b, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0,
        0x76, 0, 0, 0, 0, 0, 0, 0, 0x99, 0, 0, 0, 3, 0, 0, 0x01, 0xa1, 0xfc, 0xbd, 0xe5, 0x9c, 0,
        0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    ];
    let table = ProducerTable::from_snapshot(&one).unwrap();
    let state = table.get(ProducerId(5)).unwrap();
    assert_eq!(
        (state.epoch.get(), state.last_sequence(), state.last_offset().get()),
        (0, 118, 153)
    );
    assert_eq!(table.to_snapshot(), one);
}

#[test]
fn batches_without_sequence_are_no_duplicates() {
    let mut table = ProducerTable::new();
    // What a coordinator writes: no sequence, several times in one epoch.
    for offset in [0, 1] {
        let batch = ProducerBatch { transactional: true, ..batch(7, 0, -1, 1, offset) };
        assert_eq!(table.check(&[], &batch, AppendOrigin::Coordinator), Ok(Verdict::New));
        table.apply(&batch);
    }
}

/// A snapshot brings back the last batch; those before it are handed in newest first.
#[test]
fn earlier_batches_are_remembered_beside_the_last() {
    let all: Vec<_> = (0..8).map(|n| batch(7, 1, n * 2, 2, i64::from(n) * 2)).collect();
    let mut live = ProducerTable::new();
    live.apply(&batch(7, 0, 0, 1, 0));
    all.iter().for_each(|batch| live.apply(batch));
    let mut table = ProducerTable::from_snapshot(&live.to_snapshot()).unwrap();
    table.remember_earlier(&batch(9, 0, 0, 1, 0));
    // The last one is known already; one of another epoch is not taken.
    for earlier in all.iter().rev().chain([&batch(7, 0, 0, 1, 0)]) {
        table.remember_earlier(earlier);
    }
    assert_eq!(table.len(), 1);
    let known = |table: &ProducerTable| table.get(ProducerId(7)).unwrap().batches().to_vec();
    assert_eq!(known(&table), known(&live));
    let again = table.check(&[], &all[3], AppendOrigin::Client);
    assert!(matches!(again, Ok(Verdict::Duplicate(first)) if first.first_offset == Offset(6)));
}
