//! Single steps, as Kafka's coordinator takes them.

use millstream_base::ErrorCode as E;

use super::lab::{Lab, TIMEOUT_MS};
use crate::*;

const OLD: i16 = 0;
const NEW: i16 = 2;

fn next(p: Producer) -> Producer {
    Producer { epoch: p.epoch + 1, ..p }
}

#[test]
fn init_checks_what_is_asked() {
    let mut lab = Lab::new();
    assert_eq!(lab.init("", None), Err(E::InvalidRequest));
    for timeout in [0, -1, 900_001] {
        let refused = lab.init_with_timeout("app", None, timeout);
        assert_eq!(refused, Err(E::InvalidTransactionTimeout), "{timeout}");
    }
    assert!(lab.init_with_timeout("app", None, 900_000).is_ok());
}

#[test]
fn each_init_fences_the_one_before() {
    let mut lab = Lab::new();
    let first = lab.init("app", None).unwrap();
    assert_eq!(first, Producer { id: 101, epoch: 0 });
    let second = lab.init("app", None).unwrap();
    assert_eq!(second, next(first));
    for version in [OLD, NEW] {
        assert_eq!(lab.add("app", first, &[0], version), Err(E::ProducerFenced));
        assert_eq!(lab.end("app", first, false, version), Err(E::ProducerFenced));
    }
    assert_eq!(lab.verify("app", first, 0), Err(E::ProducerFenced));
    // The fenced one cannot come back by saying who it is.
    assert_eq!(lab.init("app", Some(first)), Err(E::ProducerFenced));
    lab.add("app", second, &[0], NEW).unwrap();
    assert_eq!(lab.init("app", Some(first)), Err(E::ProducerFenced));
    assert_eq!(lab.state("app"), TxnState::Ongoing);
}

#[test]
fn unknown_ids_and_producers_are_told_apart() {
    let mut lab = Lab::new();
    let p = lab.init("app", None).unwrap();
    let stranger = Producer { id: 999, ..p };
    for (id, who, code) in [
        ("other", p, E::InvalidProducerIdMapping),
        ("app", stranger, E::InvalidProducerIdMapping),
        ("app", next(p), E::ProducerFenced),
        ("", p, E::InvalidRequest),
    ] {
        for version in [OLD, NEW] {
            assert_eq!(lab.add(id, who, &[0], version), Err(code), "{id} {who:?}");
            assert_eq!(lab.end(id, who, true, version), Err(code), "{id} {who:?}");
        }
        assert_eq!(lab.verify(id, who, 0), Err(code));
    }
}

#[test]
fn a_producer_recovers_with_what_it_has() {
    let mut lab = Lab::new();
    let p = lab.init("app", None).unwrap();
    let bumped = lab.init("app", Some(p)).unwrap();
    assert_eq!(bumped, next(p));
    // The answer was lost: the same question gets the same answer.
    assert_eq!(lab.init("app", Some(p)), Ok(bumped));
    // A new instance came: no more repeats.
    let other = lab.init("app", None).unwrap();
    assert_eq!(lab.init("app", Some(bumped)), Err(E::ProducerFenced));
    assert_eq!(other, next(bumped));
    // An unknown transactional id: whoever asks is welcome.
    assert!(lab.init("fresh", Some(p)).is_ok());
}

#[test]
fn epochs_run_out_and_a_new_id_follows() {
    let mut lab = Lab::new();
    let p = lab.init("app", None).unwrap();
    lab.force("app", |txn| txn.epoch = i16::MAX - 1);
    let last = Producer { epoch: i16::MAX - 1, ..p };
    let rotated = lab.init("app", Some(last)).unwrap();
    assert_eq!(rotated, Producer { id: 102, epoch: 0 });
    // Repeated: the epoch that ran out was the last one.
    assert_eq!(lab.init("app", Some(last)), Ok(rotated));
    lab.force("app", |txn| txn.epoch = i16::MAX);
    assert_eq!(lab.init("app", None), Ok(Producer { id: 103, epoch: 0 }));
}

#[test]
fn epochs_run_out_at_an_end() {
    let mut lab = Lab::new();
    let p = lab.init("app", None).unwrap();
    lab.force("app", |txn| txn.epoch = i16::MAX - 1);
    let last = Producer { epoch: i16::MAX - 1, ..p };
    lab.add("app", last, &[0], NEW).unwrap();
    let rotated = lab.end("app", last, true, NEW).unwrap();
    assert_eq!(rotated, Producer { id: 102, epoch: 0 });
    // The markers still name the old id, with the epoch kept for this.
    assert_eq!(lab.pending[0].producer, Producer { id: p.id, epoch: i16::MAX });
    // The client goes on before the markers are written: it has to wait, not to give up.
    assert_eq!(lab.add("app", rotated, &[0], NEW), Err(E::ConcurrentTransactions));
    lab.restart();
    lab.complete_all();
    assert_eq!(lab.end("app", last, true, NEW), Ok(rotated));
    assert_eq!(lab.end("app", last, false, NEW), Err(E::InvalidTxnState));
    lab.add("app", rotated, &[0], NEW).unwrap();
}

#[test]
fn partitions_are_verified_not_added() {
    let mut lab = Lab::new();
    let p = lab.init("app", None).unwrap();
    assert_eq!(lab.verify("app", p, 0), Err(E::TransactionAbortable));
    lab.add("app", p, &[0], OLD).unwrap();
    assert_eq!(lab.verify("app", p, 0), Ok(()));
    assert_eq!(lab.verify("app", p, 1), Err(E::TransactionAbortable));
    let records = lab.log.len();
    lab.add("app", p, &[0], OLD).unwrap();
    assert_eq!(lab.log.len(), records, "nothing new, nothing written");
    lab.end("app", p, true, OLD).unwrap();
    assert_eq!(lab.verify("app", p, 0), Err(E::ConcurrentTransactions));
    assert_eq!(lab.add("app", p, &[0], OLD), Err(E::ConcurrentTransactions));
    assert_eq!(lab.init("app", None), Err(E::ConcurrentTransactions));
    lab.complete_all();
    assert_eq!(lab.verify("app", p, 0), Err(E::TransactionAbortable));
}

#[test]
fn old_ends_keep_the_epoch() {
    for commit in [true, false] {
        let mut lab = Lab::new();
        let p = lab.init("app", None).unwrap();
        assert_eq!(lab.end("app", p, commit, OLD), Err(E::InvalidTxnState), "nothing began");
        lab.add("app", p, &[0, 1], OLD).unwrap();
        assert_eq!(lab.end("app", p, commit, OLD), Ok(p));
        assert_eq!(lab.end("app", p, commit, OLD), Err(E::ConcurrentTransactions));
        let markers = lab.complete_all();
        assert_eq!((markers[0].producer, markers[0].commit), (p, commit));
        assert_eq!(markers[0].partitions.len(), 2);
        assert_eq!(lab.end("app", p, commit, OLD), Ok(p), "a repeat");
        assert_eq!(lab.end("app", p, !commit, OLD), Err(E::InvalidTxnState));
        lab.add("app", p, &[0], OLD).unwrap();
    }
}

/// Kafka's table for the states in which no transaction is open, version 2: state, whether the request repeats an earlier one,
/// commit, outcome. `Ok(true)`: the epoch grows.
#[test]
fn new_ends_where_nothing_is_open() {
    use TxnState::{CompleteAbort, CompleteCommit, Empty};
    for (state, repeat, commit, expected) in [
        (Empty, true, false, Err(E::ProducerFenced)),
        (Empty, false, false, Ok(true)),
        (Empty, true, true, Err(E::ProducerFenced)),
        (Empty, false, true, Err(E::InvalidTxnState)),
        (CompleteAbort, true, false, Ok(false)),
        (CompleteAbort, false, false, Ok(true)),
        (CompleteAbort, true, true, Err(E::InvalidTxnState)),
        (CompleteAbort, false, true, Err(E::InvalidTxnState)),
        (CompleteCommit, true, false, Err(E::InvalidTxnState)),
        (CompleteCommit, false, false, Ok(true)),
        (CompleteCommit, true, true, Ok(false)),
        (CompleteCommit, false, true, Err(E::InvalidTxnState)),
    ] {
        let mut lab = Lab::new();
        lab.init("app", None).unwrap();
        lab.init("app", None).unwrap();
        let mut current = lab.init("app", None).unwrap();
        if state != Empty {
            lab.add("app", current, &[0], NEW).unwrap();
            current = lab.end("app", current, state == CompleteCommit, NEW).unwrap();
            lab.complete_all();
        }
        assert_eq!(lab.state("app"), state);
        let asking = match repeat {
            true => Producer { epoch: current.epoch - 1, ..current },
            false => current,
        };
        let outcome = lab.end("app", asking, commit, NEW);
        let expected = expected.map(|grows| if grows { next(current) } else { current });
        assert_eq!(outcome, expected, "{state:?} repeat={repeat} commit={commit}");
        lab.complete_all();
        assert!(lab.state("app").is_idle());
    }
}

#[test]
fn an_open_transaction_is_aborted_for_a_new_instance() {
    let mut lab = Lab::new();
    let old = lab.init("app", None).unwrap();
    lab.add("app", old, &[3], NEW).unwrap();
    assert_eq!(lab.init("app", None), Err(E::ConcurrentTransactions));
    let markers = lab.pending[0].clone();
    assert!(!markers.commit && markers.producer.epoch > old.epoch);
    // The old one can neither commit nor take the abort for its own.
    for commit in [true, false] {
        assert_eq!(lab.end("app", old, commit, NEW), Err(E::ProducerFenced));
        assert_eq!(lab.end("app", old, commit, OLD), Err(E::ProducerFenced));
    }
    lab.complete_all();
    for commit in [true, false] {
        assert_eq!(lab.end("app", old, commit, NEW), Err(E::ProducerFenced));
    }
    let new = lab.init("app", None).unwrap();
    assert!(new.epoch > markers.producer.epoch);
}

#[test]
fn a_late_transaction_is_aborted_and_its_producer_fenced() {
    let mut lab = Lab::new();
    let p = lab.init("app", None).unwrap();
    lab.add("app", p, &[0], NEW).unwrap();
    lab.now_ms += i64::from(TIMEOUT_MS);
    assert!(lab.shard.timed_out(lab.now_ms).is_empty());
    lab.now_ms += 1;
    let late = lab.shard.timed_out(lab.now_ms);
    assert_eq!(late, [("app".into(), p)]);
    let decided = lab.shard.abort_timed_out(lab.now_ms, &late[0].0, late[0].1);
    assert!(lab.settle(decided));
    let again = lab.shard.abort_timed_out(lab.now_ms, &late[0].0, late[0].1);
    assert!(!again.reply && again.records.is_empty());
    assert_eq!(lab.end("app", p, true, NEW), Err(E::ProducerFenced));
    lab.restart();
    assert_eq!(lab.complete_all().len(), 1);
    assert_eq!(lab.state("app"), TxnState::CompleteAbort);
}

#[test]
fn idle_ids_expire_and_open_ones_do_not() {
    let mut lab = Lab::new();
    lab.init("idle", None).unwrap();
    let p = lab.init("open", None).unwrap();
    lab.add("open", p, &[0], NEW).unwrap();
    lab.now_ms += TxnConfig::default().id_expiration_ms;
    let decided = lab.shard.expire(lab.now_ms);
    assert!(!lab.settle(decided));
    assert!(lab.shard.get("idle").is_none() && lab.shard.get("open").is_some());
    lab.restart();
    assert_eq!(lab.shard.len(), 1);
}

#[test]
fn restarts_finish_what_was_decided() {
    for commit in [true, false] {
        let mut lab = Lab::new();
        let p = lab.init("app", None).unwrap();
        lab.add("app", p, &[0, 7], NEW).unwrap();
        lab.restart();
        assert!(lab.pending.is_empty(), "an open transaction stays open");
        lab.end("app", p, commit, NEW).unwrap();
        let decided = lab.pending.clone();
        lab.restart();
        assert_eq!(lab.pending, decided);
        assert_eq!(lab.end("app", p, !commit, NEW), Err(E::ConcurrentTransactions));
        lab.complete_all();
        lab.restart();
        assert!(lab.pending.is_empty());
        assert_eq!(lab.end("app", p, commit, NEW), Ok(next(p)), "the client asks again");
        // Written a second time, the markers of the first end complete nothing.
        lab.add("app", next(p), &[0], NEW).unwrap();
        let decided = lab.shard.complete(lab.now_ms, &decided[0]);
        assert!(!decided.reply && decided.records.is_empty());
    }
}

#[test]
fn lists_and_descriptions() {
    let mut lab = Lab::new();
    let a = lab.init("a", None).unwrap();
    let b = lab.init("b", None).unwrap();
    lab.add("a", a, &[0, 2], NEW).unwrap();
    lab.now_ms += 500;
    let ids = |filter: &ListFilter<'_>| -> String {
        let listed = lab.shard.list(lab.now_ms, filter);
        listed.iter().map(|txn| &*txn.transactional_id).collect()
    };
    let all = || ListFilter { running_longer_than_ms: -1, ..ListFilter::default() };
    assert_eq!(ids(&all()), "ab");
    assert_eq!(ids(&ListFilter { states: &[TxnState::Ongoing], ..all() }), "a");
    assert_eq!(ids(&ListFilter { producer_ids: &[b.id], ..all() }), "b");
    assert_eq!(ids(&ListFilter { running_longer_than_ms: 499, ..all() }), "a");
    assert_eq!(ids(&ListFilter { running_longer_than_ms: 500, ..all() }), "");
    assert_eq!(ids(&ListFilter { transactional_id: Some(&|id| id == "b"), ..all() }), "b");
    let described = lab.shard.describe("a").unwrap();
    assert_eq!((described.state, described.start_ms), (TxnState::Ongoing, 1_000));
    assert_eq!(described.partitions, [("t".into(), 0), ("t".into(), 2)]);
    assert_eq!(lab.shard.describe("c"), None);
}
