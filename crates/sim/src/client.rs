//! A producer: one write after the other, sent again until it is answered.
//!
//! Key type: [`Client`]. With acks=all it is idempotent, so a write that was answered stands in the log once; with
//! acks=1 it sends once and promises nothing.

use std::collections::BTreeMap;

use millstream_base::ErrorCode;

use crate::disk::Batch;
use crate::rng::Rng;

/// How often a write is sent before the producer gives up and begins anew.
const MAX_TRIES: u32 = 400;

/// A write on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) request: u64,
    pub(crate) partition: i32,
    pub(crate) batch: Batch,
    pub(crate) all: bool,
    /// When it is sent again.
    retry_at_us: u64,
    tries: u32,
}

/// A producer.
#[derive(Debug)]
pub(crate) struct Client {
    number: usize,
    producer: i64,
    sequences: BTreeMap<i32, i32>,
    in_flight: Option<InFlight>,
    writes: u64,
    requests: u64,
    next_at_us: u64,
}

impl Client {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            producer: i64::try_from(number).unwrap_or(0) * 1000,
            sequences: BTreeMap::new(),
            in_flight: None,
            writes: 0,
            requests: 0,
            next_at_us: 0,
        }
    }

    /// What is to be sent now, if anything; `may_begin` allows a new write.
    pub(crate) fn tick(
        &mut self,
        now_us: u64,
        partitions: i32,
        may_begin: bool,
        rng: &mut Rng,
    ) -> Option<InFlight> {
        if let Some(out) = self.in_flight {
            if now_us < out.retry_at_us {
                return None;
            }
            if !out.all || out.tries >= MAX_TRIES {
                self.begin_anew(&out);
                return None;
            }
            return Some(self.send(InFlight { tries: out.tries + 1, ..out }, now_us));
        }
        if now_us < self.next_at_us || !may_begin {
            return None;
        }
        let count = partitions.unsigned_abs().into();
        let partition = i32::try_from(rng.below(count)).unwrap_or(0);
        let all = !rng.percent(15);
        self.writes += 1;
        let batch = Batch {
            base: 0,
            count: i64::try_from(rng.between(1, 3)).unwrap_or(1),
            epoch: 0,
            write: ((self.number as u64) << 32) | self.writes,
            producer: if all { self.producer } else { -1 },
            sequence: self.sequences.get(&partition).copied().unwrap_or(0),
        };
        let out = InFlight { request: 0, partition, batch, all, retry_at_us: 0, tries: 0 };
        Some(self.send(out, now_us))
    }

    fn send(&mut self, out: InFlight, now_us: u64) -> InFlight {
        self.requests += 1;
        let out = InFlight {
            request: ((self.number as u64) << 48) | self.requests,
            retry_at_us: now_us + 120_000,
            ..out
        };
        self.in_flight = Some(out);
        out
    }

    fn begin_anew(&mut self, out: &InFlight) {
        if out.all {
            self.producer += 1;
            self.sequences.clear();
        }
        self.in_flight = None;
    }

    pub(crate) fn on_answer(
        &mut self,
        request: u64,
        answer: Result<i64, ErrorCode>,
        now_us: u64,
        rng: &mut Rng,
    ) {
        let Some(out) = self.in_flight.as_mut().filter(|out| out.request == request) else {
            return;
        };
        if answer.is_err() {
            out.retry_at_us = now_us + rng.between(2_000, 20_000);
            return;
        }
        if out.all {
            let count = i32::try_from(out.batch.count).unwrap_or(1);
            *self.sequences.entry(out.partition).or_insert(0) += count;
        }
        self.in_flight = None;
        self.next_at_us = now_us + rng.between(500, 15_000);
    }
}
