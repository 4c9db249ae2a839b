//! A shard with its log: what was decided is written, and a restart reads it back.

use bytes::Bytes;
use millstream_base::ErrorCode;

use crate::*;

pub(super) const TIMEOUT_MS: i32 = 60_000;

/// A shard and the records behind it.
pub(super) struct Lab {
    pub shard: Shard,
    pub log: Vec<(Bytes, Option<Bytes>)>,
    pub now_ms: i64,
    pub next_id: i64,
    /// Ends that were decided, with markers still to be written.
    pub pending: Vec<Markers>,
}

pub(super) fn init_refused(refusal: InitRefused) -> ErrorCode {
    match refusal {
        InitRefused::Code(code) => code,
        InitRefused::NeedsProducerId => panic!("an unused id was at hand"),
    }
}

impl Lab {
    pub(super) fn new() -> Self {
        let shard = Shard::new(TxnConfig::default());
        Self { shard, log: Vec::new(), now_ms: 1_000, next_id: 100, pending: Vec::new() }
    }

    pub(super) fn settle<R>(&mut self, decided: Decided<R>) -> R {
        for record in &decided.records {
            self.log.push(record.encode().unwrap());
        }
        self.shard.apply(decided.records);
        self.pending.extend(decided.markers);
        decided.reply
    }

    /// The coordinator comes back with nothing but its log.
    pub(super) fn restart(&mut self) {
        let mut shard = Shard::new(TxnConfig::default());
        for (key, value) in &self.log {
            assert_eq!(shard.load(key, value.as_deref()).unwrap(), Loaded::Applied);
        }
        self.pending = shard.finish_loading();
        self.shard = shard;
    }

    pub(super) fn init(
        &mut self,
        id: &str,
        expected: Option<Producer>,
    ) -> Result<Producer, ErrorCode> {
        self.init_with_timeout(id, expected, TIMEOUT_MS)
    }

    pub(super) fn init_with_timeout(
        &mut self,
        id: &str,
        expected: Option<Producer>,
        timeout_ms: i32,
    ) -> Result<Producer, ErrorCode> {
        let mut request =
            InitProducerId { transactional_id: id.into(), timeout_ms, expected, fresh_id: None };
        let mut decided = self.shard.init_producer_id(self.now_ms, &request);
        if decided.reply == Err(InitRefused::NeedsProducerId) {
            request.fresh_id = Some(self.fresh_id());
            decided = self.shard.init_producer_id(self.now_ms, &request);
        }
        self.settle(decided).map_err(init_refused)
    }

    fn fresh_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn add(
        &mut self,
        id: &str,
        producer: Producer,
        partitions: &[i32],
        client_version: i16,
    ) -> Result<(), ErrorCode> {
        let partitions = partitions.iter().map(|p| ("t".into(), *p)).collect();
        let request =
            AddPartitions { transactional_id: id.into(), producer, partitions, client_version };
        let decided = self.shard.add_partitions(self.now_ms, &request);
        self.settle(decided)
    }

    pub(super) fn verify(
        &self,
        id: &str,
        producer: Producer,
        partition: i32,
    ) -> Result<(), ErrorCode> {
        let partitions = [("t".into(), partition)];
        let request = VerifyPartitions { transactional_id: id, producer, partitions: &partitions };
        match self.shard.verify_partitions(&request)?[0] {
            ErrorCode::None => Ok(()),
            code => Err(code),
        }
    }

    pub(super) fn end(
        &mut self,
        id: &str,
        producer: Producer,
        commit: bool,
        client_version: i16,
    ) -> Result<Producer, ErrorCode> {
        let transactional_id = id.into();
        let mut request =
            EndTxn { transactional_id, producer, commit, client_version, fresh_id: None };
        let mut decided = self.shard.end_txn(self.now_ms, &request);
        if decided.reply == Err(InitRefused::NeedsProducerId) {
            request.fresh_id = Some(self.fresh_id());
            decided = self.shard.end_txn(self.now_ms, &request);
        }
        self.settle(decided).map_err(init_refused)
    }

    /// All pending markers are written.
    pub(super) fn complete_all(&mut self) -> Vec<Markers> {
        let written = std::mem::take(&mut self.pending);
        for markers in &written {
            let decided = self.shard.complete(self.now_ms, markers);
            self.settle(decided);
        }
        written
    }

    pub(super) fn state(&self, id: &str) -> TxnState {
        self.shard.get(id).unwrap().state
    }

    /// Puts an id into a state with an epoch of its producer.
    pub(super) fn force(&mut self, id: &str, change: impl FnOnce(&mut Transaction)) {
        let mut txn = self.shard.get(id).unwrap().clone();
        change(&mut txn);
        self.settle(Decided {
            records: vec![Record { transactional_id: id.into(), value: Some(Box::new(txn)) }],
            reply: (),
            markers: None,
        });
    }
}
