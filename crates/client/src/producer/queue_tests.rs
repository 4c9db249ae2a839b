//! The queue against a model of a broker that loses requests, loses answers and refuses batches.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// A batch that remembers which records it has.
#[derive(Clone, Debug)]
struct Toy {
    ids: Vec<u32>,
    full: bool,
    created: Instant,
}

impl Queued for Toy {
    fn record_count(&self) -> i32 {
        i32::try_from(self.ids.len()).unwrap()
    }
    fn is_full(&self) -> bool {
        self.full
    }
    fn created(&self) -> Instant {
        self.created
    }
}

const LIMITS: QueueLimits = QueueLimits { max_in_flight: 5, linger: Duration::from_millis(5) };

fn identity() -> Identity {
    Identity { producer_id: ProducerId(7), epoch: ProducerEpoch(0) }
}

fn toy(ids: &[u32], created: Instant) -> Toy {
    Toy { ids: ids.to_vec(), full: true, created }
}

#[test]
fn a_batch_lingers_until_it_is_full_old_or_hurried() {
    let now = Instant::now();
    let mut queue = PartitionQueue::new(Some(identity()));
    assert_eq!(queue.readiness(now, LIMITS, false), Readiness::Idle);
    queue.push(Toy { ids: vec![1], full: false, created: now });
    assert_eq!(queue.readiness(now, LIMITS, false), Readiness::At(now + LIMITS.linger));
    assert_eq!(queue.readiness(now, LIMITS, true), Readiness::Now);
    assert_eq!(queue.readiness(now + LIMITS.linger, LIMITS, false), Readiness::Now);
    queue.filling().unwrap().full = true;
    assert_eq!(queue.readiness(now, LIMITS, false), Readiness::Now);
}

#[test]
fn no_more_than_the_limit_is_in_flight_and_one_while_retrying() {
    let now = Instant::now();
    let mut queue = PartitionQueue::new(Some(identity()));
    for n in 0..8 {
        queue.push(toy(&[n], now));
    }
    let sent: Vec<_> = std::iter::from_fn(|| queue.take(now, LIMITS, false)).collect();
    assert_eq!(sent.iter().map(|(n, _)| n.sequence).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    for (numbered, batch) in sent {
        queue.retry(numbered, batch, now);
    }
    let (again, _) = queue.take(now, LIMITS, false).unwrap();
    assert_eq!(again.sequence, 0);
    assert!(queue.take(now, LIMITS, false).is_none());
    queue.landed(again.order);
    assert_eq!(queue.take(now, LIMITS, false).unwrap().0.sequence, 1);
}

#[test]
fn sequences_wrap_as_the_protocol_says() {
    assert_eq!(next_sequence(i32::MAX, 1), 0);
    assert_eq!(next_sequence(i32::MAX - 1, 4), 2);
    assert_eq!(next_sequence(3, 4), 7);
}

#[test]
fn a_spent_epoch_asks_for_another_producer_id() {
    let now = Instant::now();
    let spent = Identity { epoch: ProducerEpoch(i16::MAX), ..identity() };
    let mut queue = PartitionQueue::new(Some(spent));
    queue.push(toy(&[1], now));
    queue.push(toy(&[2], now));
    let (numbered, _) = queue.take(now, LIMITS, false).unwrap();
    queue.gave_up(numbered.order);
    assert!(queue.needs_identity());
    assert!(queue.take(now, LIMITS, false).is_none());
    queue.set_identity(Identity { producer_id: ProducerId(8), epoch: ProducerEpoch(0) });
    let (numbered, _) = queue.take(now, LIMITS, false).unwrap();
    assert_eq!((numbered.identity.unwrap().producer_id.0, numbered.sequence), (8, 0));
}

/// A partition leader's view of one producer: the checks that matter here.
#[derive(Default)]
struct Leader {
    epoch: i16,
    next: i32,
    last: VecDeque<(i16, i32, i32)>,
    log: Vec<u32>,
}

#[derive(PartialEq)]
enum Verdict {
    Appended,
    OutOfSequence,
}

impl Leader {
    fn produce(&mut self, numbered: Numbered, ids: &[u32]) -> Verdict {
        let epoch = numbered.identity.unwrap().epoch.0;
        let count = i32::try_from(ids.len()).unwrap();
        if self.last.contains(&(epoch, numbered.sequence, count)) {
            return Verdict::Appended;
        }
        assert!(epoch >= self.epoch, "an older epoch was used again");
        let expected = if epoch > self.epoch { 0 } else { self.next };
        if numbered.sequence != expected {
            return Verdict::OutOfSequence;
        }
        self.epoch = epoch;
        self.next = numbered.sequence + count;
        self.last.push_back((epoch, numbered.sequence, count));
        if self.last.len() > 5 {
            self.last.pop_front();
        }
        self.log.extend(ids);
        Verdict::Appended
    }
}

/// Runs a producer with 60 records over a faulty network; `dice` decides each fault.
fn run(dice: &[u8], refuse_some: bool) {
    let now = Instant::now();
    let mut queue = PartitionQueue::new(Some(identity()));
    let mut leader = Leader::default();
    let mut dice = dice.iter().copied().chain(std::iter::repeat(0));
    let (mut landed, mut refused) = (Vec::new(), Vec::new());
    for first in (0..60).step_by(3) {
        queue.push(toy(&[first, first + 1, first + 2], now));
    }
    let mut wire: VecDeque<(Numbered, Toy)> = VecDeque::new();
    let mut steps = 0;
    while !queue.is_empty() {
        steps += 1;
        assert!(steps < 5_000, "the queue does not come to an end");
        while let Some(sent) = queue.take(now, LIMITS, true) {
            wire.push_back(sent);
        }
        let Some((numbered, batch)) = wire.pop_front() else { panic!("nothing moves") };
        match dice.next().unwrap() % 8 {
            1 => queue.retry(numbered, batch, now),
            2 => {
                let _ = leader.produce(numbered, &batch.ids);
                queue.retry(numbered, batch, now);
            }
            3 if refuse_some => {
                refused.extend(batch.ids);
                queue.gave_up(numbered.order);
            }
            4 if batch.ids.len() > 1 => {
                let parts = batch.ids.chunks(2).map(|ids| toy(ids, now)).collect();
                queue.split(numbered, parts);
            }
            _ => match leader.produce(numbered, &batch.ids) {
                Verdict::Appended => {
                    landed.extend(batch.ids);
                    queue.landed(numbered.order);
                }
                Verdict::OutOfSequence => {
                    let lost = queue.out_of_sequence(numbered, batch, now);
                    assert!(lost.is_none(), "blamed the broker for a gap of our own");
                }
            },
        }
    }
    let mut once = leader.log.clone();
    once.dedup();
    assert!(leader.log.is_sorted(), "out of order: {:?}", leader.log);
    assert_eq!(once.len(), leader.log.len(), "appended twice: {:?}", leader.log);
    for id in &landed {
        assert!(leader.log.contains(id), "{id} was acknowledged but is not there");
    }
    assert_eq!(landed.len() + refused.len(), 60);
}

proptest! {
    #[test]
    fn each_record_lands_once_and_in_order(dice in proptest::collection::vec(0..3u8, 0..200)) {
        run(&dice, false);
    }

    #[test]
    fn refused_batches_leave_no_trace_and_hold_up_nobody(
        dice in proptest::collection::vec(0..8u8, 0..200)
    ) {
        // A split after the answer was lost could not tell what had been appended; a broker that finds a batch
        // too large has not appended it, so losses (2) and splits (4) exclude each other per batch.
        let dice: Vec<u8> = dice.into_iter().map(|d| if d == 2 { 0 } else { d }).collect();
        run(&dice, true);
    }
}

#[test]
fn a_batch_whose_answers_keep_getting_lost_is_not_overtaken_further() {
    // Found at random: the first repetition passed for new because nine others had followed it.
    run(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0], false);
}
