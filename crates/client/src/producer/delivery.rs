//! The future of one record: where it landed, or why it did not.
//!
//! Key types: [`Delivery`] (the caller's end), [`Promise`] (the sender's end, one a batch). One promise serves
//! all records of a batch, so a record costs no allocation of its own. A batch that was split is answered in
//! several ranges of records.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use millstream_base::{Offset, TimestampMs, TopicPartition};
use parking_lot::Mutex;

use super::ProduceError;

/// Where a record landed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// Topic and partition.
    pub topic_partition: TopicPartition,
    /// The record's offset; `None` when the broker did not say (acks 0, or a duplicate that it knew already).
    pub offset: Option<Offset>,
    /// The record's timestamp: the producer's, or the broker's where the topic says so.
    pub timestamp: Option<TimestampMs>,
}

/// What became of a range of a batch's records.
#[derive(Clone, Debug)]
struct Part {
    /// Places of the records within the promise.
    records: Range<u32>,
    outcome: Outcome,
}

/// What became of the records of one sent batch.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// Appended; the first record has this offset, if the broker said so.
    Landed {
        /// Offset of the first record.
        base_offset: Option<Offset>,
        /// The broker's timestamp, for topics with LogAppendTime.
        append_time: Option<TimestampMs>,
    },
    /// Refused or given up.
    Failed(ProduceError),
}

/// The sender's end: answers all records of one batch.
#[derive(Debug)]
pub(super) struct Promise {
    topic_partition: TopicPartition,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    parts: Vec<Part>,
    /// Timestamps as the producer set them, by place.
    timestamps: Vec<TimestampMs>,
    waiters: Vec<(u32, Waker)>,
}

impl Promise {
    pub(super) fn new(topic_partition: TopicPartition) -> Arc<Self> {
        Arc::new(Self { topic_partition, state: Mutex::new(State::default()) })
    }

    /// Adds a record and returns its future.
    pub(super) fn add(self: &Arc<Self>, timestamp: TimestampMs) -> Delivery {
        let mut state = self.state.lock();
        let place = u32::try_from(state.timestamps.len()).unwrap_or(u32::MAX);
        state.timestamps.push(timestamp);
        Delivery { promise: self.clone(), place }
    }

    /// Answers the records at `places`.
    pub(super) fn complete(&self, places: Range<u32>, outcome: Outcome) {
        let woken = {
            let mut state = self.state.lock();
            state.parts.push(Part { records: places.clone(), outcome });
            let waiters = std::mem::take(&mut state.waiters);
            let (woken, rest): (Vec<_>, Vec<_>) =
                waiters.into_iter().partition(|(place, _)| places.contains(place));
            state.waiters = rest;
            woken
        };
        // Outside the lock: a waker may run code that asks again.
        for (_, waker) in woken {
            waker.wake();
        }
    }
}

/// Completes when the fate of one record is known. Dropping it does not take the record back.
#[derive(Debug)]
#[must_use = "a record's fate is known only when its delivery was awaited"]
pub struct Delivery {
    promise: Arc<Promise>,
    place: u32,
}

impl Delivery {
    /// What is known now, without waiting.
    pub fn peek(&self) -> Option<Result<RecordMetadata, ProduceError>> {
        self.answer(&self.promise.state.lock())
    }

    fn answer(&self, state: &State) -> Option<Result<RecordMetadata, ProduceError>> {
        let part = state.parts.iter().find(|part| part.records.contains(&self.place))?;
        Some(match &part.outcome {
            Outcome::Failed(error) => Err(error.for_place(self.place - part.records.start)),
            Outcome::Landed { base_offset, append_time } => {
                let within = i64::from(self.place - part.records.start);
                let place = usize::try_from(self.place).unwrap_or(usize::MAX);
                let own = state.timestamps.get(place).copied();
                Ok(RecordMetadata {
                    topic_partition: self.promise.topic_partition.clone(),
                    offset: base_offset.map(|base| base.plus(within)),
                    timestamp: append_time.or(own),
                })
            }
        })
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ProduceError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.promise.state.lock();
        if let Some(answer) = self.answer(&state) {
            return Poll::Ready(answer);
        }
        let place = self.place;
        match state.waiters.iter_mut().find(|(waiting, _)| *waiting == place) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => state.waiters.push((place, context.waker().clone())),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_batch_answers_each_half_by_itself() {
        let promise = Promise::new(TopicPartition::new("t", 1));
        let deliveries: Vec<Delivery> = (0..4).map(|n| promise.add(TimestampMs(n))).collect();
        assert!(deliveries[0].peek().is_none());
        let landed = |base| Outcome::Landed { base_offset: Some(Offset(base)), append_time: None };
        promise.complete(0..2, landed(10));
        let first = deliveries[1].peek().unwrap().unwrap();
        assert_eq!((first.offset, first.timestamp), (Some(Offset(11)), Some(TimestampMs(1))));
        assert!(deliveries[2].peek().is_none());
        promise.complete(2..4, landed(50));
        assert_eq!(deliveries[3].peek().unwrap().unwrap().offset, Some(Offset(51)));
    }

    #[test]
    fn waiting_ends_with_the_answer() {
        let promise = Promise::new(TopicPartition::new("t", 0));
        let delivery = promise.add(TimestampMs(5));
        millstream_env::task::runtime(Some(1)).unwrap().block_on(async {
            let waiting = millstream_env::task::spawn(delivery);
            millstream_env::task::sleep(std::time::Duration::from_millis(5)).await;
            promise.complete(0..1, Outcome::Failed(ProduceError::Closed));
            assert!(matches!(waiting.await.unwrap(), Err(ProduceError::Closed)));
        });
    }
}
