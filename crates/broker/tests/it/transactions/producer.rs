//! A transactional producer of raw requests, which does what it is told, and readers of both isolation levels.
//!
//! Key types: [`Producer`], [`Version`] (which of the two protocols it speaks), [`Reader`].

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use millstream_base::ErrorCode;
use millstream_records::Batches;
use millstream_wire::Records;
use millstream_wire::messages::add_offsets_to_txn::AddOffsetsToTxnRequest;
use millstream_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic,
};
use millstream_wire::messages::end_txn::EndTxnRequest;
use millstream_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use millstream_wire::messages::find_coordinator::FindCoordinatorRequest;
use millstream_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use millstream_wire::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use millstream_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};

use crate::support::PATIENCE;
use crate::support::batch::{self, batch_of, by_producer};
use crate::support::client::{Client, Topic, code};

/// Which protocol a producer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// As librdkafka: partitions are added, the epoch stays.
    Old,
    /// `transaction.version` 2: partitions join by themselves, the epoch grows with each end.
    New,
}

pub use Version::{New, Old};

pub const BOTH: [Version; 2] = [Old, New];

/// A producer.
#[derive(Debug)]
pub struct Producer {
    pub client: Client,
    pub name: String,
    pub version: Version,
    pub id: i64,
    pub epoch: i16,
    sequences: HashMap<(String, i32), i32>,
    added: Vec<(String, i32)>,
}

/// Asks again while the coordinator is being found, is loading, or has to finish something.
fn patiently<T>(mut ask: impl FnMut() -> (ErrorCode, T)) -> (ErrorCode, T) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (code, answer) = ask();
        let is_passing = matches!(
            code,
            ErrorCode::ConcurrentTransactions
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::NotCoordinator
                | ErrorCode::NotEnoughReplicas
        );
        if !is_passing {
            return (code, answer);
        }
        assert!(Instant::now() < deadline, "still {code:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Has the coordinator's topic made.
pub fn find_coordinator(client: &mut Client, kind: i8, key: &str) {
    let request = FindCoordinatorRequest {
        key_type: kind,
        coordinator_keys: vec![key.into()],
        ..Default::default()
    };
    patiently(|| (code(client.call(4, &request).coordinators[0].error_code), ()));
}

pub fn init(
    client: &mut Client,
    name: &str,
    expected: (i64, i16),
    timeout_ms: i32,
) -> InitProducerIdResponse {
    let request = InitProducerIdRequest {
        transactional_id: Some(name.into()),
        transaction_timeout_ms: timeout_ms,
        producer_id: expected.0,
        producer_epoch: expected.1,
        ..Default::default()
    };
    patiently(|| {
        let answer = client.call(5, &request);
        (code(answer.error_code), answer)
    })
    .1
}

impl Producer {
    /// A producer whose transactional id is initialized.
    pub fn new(client: Client, name: &str, version: Version) -> Self {
        Self::with_timeout(client, name, version, 60_000)
    }

    pub fn with_timeout(mut client: Client, name: &str, version: Version, timeout: i32) -> Self {
        find_coordinator(&mut client, 1, name);
        let answer = init(&mut client, name, (-1, -1), timeout);
        assert_eq!(code(answer.error_code), ErrorCode::None);
        Self {
            client,
            name: name.to_owned(),
            version,
            id: answer.producer_id,
            epoch: answer.producer_epoch,
            sequences: HashMap::new(),
            added: Vec::new(),
        }
    }

    /// AddPartitionsToTxn.
    pub fn add(&mut self, topic: &Topic, partition: i32) -> ErrorCode {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.name.as_str().into(),
            v3_and_below_producer_id: self.id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.name.as_str().into(),
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        patiently(|| {
            let answer = self.client.call(3, &request);
            let topic = &answer.results_by_topic_v3_and_below[0];
            (code(topic.results_by_partition[0].partition_error_code), ())
        })
        .0
    }

    /// The partition was added by hand.
    pub fn note_added(&mut self, topic: &Topic, partition: i32) {
        self.added.push((topic.name.clone(), partition));
    }

    /// Whether the partition is part of the open transaction, as far as this producer knows.
    pub fn has_added(&self, topic: &Topic, partition: i32) -> bool {
        self.added.contains(&(topic.name.clone(), partition))
    }

    /// Sequences of a partition go on after so many records, where the epoch stays.
    pub fn forget(&mut self, topic: &Topic, partition: i32, records: usize) {
        if self.version == Old {
            let sequence = i32::try_from(records).unwrap();
            self.sequences.insert((topic.name.clone(), partition), sequence);
        }
    }

    /// A transactional batch with the next sequence.
    pub fn batch(&self, topic: &Topic, partition: i32, values: &[&str]) -> Vec<u8> {
        let key = (topic.name.clone(), partition);
        let sequence = self.sequences.get(&key).copied().unwrap_or(0);
        let options = by_producer(self.id, self.epoch, sequence);
        batch_of(millstream_records::BatchOptions { transactional: true, ..options }, values)
    }

    /// Produces as the version does it; gives the answer of the partition.
    pub fn try_send(
        &mut self,
        topic: &Topic,
        at: i32,
        values: &[&str],
    ) -> PartitionProduceResponse {
        let key = (topic.name.clone(), at);
        if self.version == Old && !self.added.contains(&key) {
            let added = self.add(topic, at);
            if added != ErrorCode::None {
                let error_code = added.code();
                return PartitionProduceResponse { error_code, ..Default::default() };
            }
            self.added.push(key.clone());
        }
        let version = if self.version == Old { 9 } else { 13 };
        let bytes = self.batch(topic, at, values);
        let answer = self.produce_raw(version, topic, at, bytes);
        if answer.error_code == 0 {
            let count = i32::try_from(values.len()).unwrap();
            *self.sequences.entry(key).or_default() += count;
        }
        answer
    }

    /// Produces a batch in this request version, with the transactional id.
    pub fn produce_raw(
        &mut self,
        version: i16,
        topic: &Topic,
        partition: i32,
        batch: Vec<u8>,
    ) -> PartitionProduceResponse {
        let name = Some(self.name.as_str().into());
        let request = produce_request(version, name, topic, partition, batch);
        patiently(|| {
            let mut answer = self.client.call(version, &request);
            let answer = answer.responses.remove(0).partition_responses.remove(0);
            (code(answer.error_code), answer)
        })
        .1
    }

    pub fn send(&mut self, topic: &Topic, partition: i32, values: &[&str]) -> i64 {
        let answer = self.try_send(topic, partition, values);
        assert_eq!(code(answer.error_code), ErrorCode::None, "{:?}", answer.error_message);
        answer.base_offset
    }

    /// EndTxn.
    pub fn try_end(&mut self, commit: bool) -> ErrorCode {
        let request = EndTxnRequest {
            transactional_id: self.name.as_str().into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            committed: commit,
        };
        let version = if self.version == Old { 4 } else { 5 };
        let (code, answer) = patiently(|| {
            let answer = self.client.call(version, &request);
            (code(answer.error_code), answer)
        });
        if code == ErrorCode::None {
            self.added.clear();
            if self.version == New {
                self.id = answer.producer_id;
                self.epoch = answer.producer_epoch;
                self.sequences.clear();
            }
        }
        code
    }

    pub fn commit(&mut self) {
        assert_eq!(self.try_end(true), ErrorCode::None);
    }

    pub fn abort(&mut self) {
        assert_eq!(self.try_end(false), ErrorCode::None);
    }

    /// Commits an offset within the transaction.
    pub fn try_commit_offset(&mut self, group: &str, topic: &Topic, offset: i64) -> ErrorCode {
        find_coordinator(&mut self.client, 0, group);
        if self.version == Old {
            let added = self.add_offsets(group);
            if added != ErrorCode::None {
                return added;
            }
        }
        self.commit_offset_raw(if self.version == Old { 3 } else { 5 }, group, topic, offset)
    }

    /// AddOffsetsToTxn.
    pub fn add_offsets(&mut self, group: &str) -> ErrorCode {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.name.as_str().into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            group_id: group.into(),
        };
        patiently(|| (code(self.client.call(3, &request).error_code), ())).0
    }

    /// TxnOffsetCommit alone.
    pub fn commit_offset_raw(
        &mut self,
        version: i16,
        group: &str,
        topic: &Topic,
        offset: i64,
    ) -> ErrorCode {
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: offset,
            committed_leader_epoch: -1,
            committed_metadata: Some("".into()),
        };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.name.as_str().into(),
            group_id: group.into(),
            producer_id: self.id,
            producer_epoch: self.epoch,
            generation_id_or_member_epoch: -1,
            topics: vec![TxnOffsetCommitRequestTopic {
                name: topic.name.as_str().into(),
                topic_id: topic.id,
                partitions: vec![partition],
            }],
            ..Default::default()
        };
        patiently(|| {
            let answer = self.client.call(version, &request);
            (code(answer.topics[0].partitions[0].error_code), ())
        })
        .0
    }
}

pub fn produce_request(
    version: i16,
    transactional_id: Option<millstream_wire::Str>,
    topic: &Topic,
    partition: i32,
    batch: Vec<u8>,
) -> ProduceRequest {
    let data =
        PartitionProduceData { index: partition, records: Some(Records::Bytes(batch.into())) };
    let by_id = version >= 13;
    ProduceRequest {
        transactional_id,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: if by_id { "".into() } else { topic.name.as_str().into() },
            topic_id: if by_id { topic.id } else { Default::default() },
            partition_data: vec![data],
        }],
    }
}

/// Fetches from one partition with an isolation level.
pub fn fetch_at(
    client: &mut Client,
    topic: &Topic,
    partition: i32,
    offset: i64,
    isolation: i8,
) -> PartitionData {
    let request = fetch_request(topic, partition, offset, isolation, 1, 0);
    client.call(17, &request).responses.remove(0).partitions.remove(0)
}

pub fn fetch_request(
    topic: &Topic,
    partition: i32,
    offset: i64,
    isolation: i8,
    min_bytes: i32,
    max_wait_ms: i32,
) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        fetch_offset: offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms,
        min_bytes,
        max_bytes: 1 << 20,
        isolation_level: isolation,
        session_id: 0,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic_id: topic.id,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Reads committed records as consumers do: up to the last stable offset, without what the list of aborted
/// transactions takes out.
pub fn read_committed(client: &mut Client, topic: &Topic, partition: i32) -> Vec<String> {
    let mut values = Vec::new();
    let mut next = 0;
    loop {
        let data = fetch_at(client, topic, partition, next, 1);
        assert_eq!(code(data.error_code), ErrorCode::None, "at {next}");
        assert!(data.last_stable_offset <= data.high_watermark);
        let Some(after) = take_committed(&data, next, &mut values) else {
            assert_eq!(next, data.last_stable_offset, "a hole below the last stable offset");
            return values;
        };
        next = after;
    }
}

/// The values among `data`; the next offset, `None` when there was nothing.
fn take_committed(data: &PartitionData, from: i64, values: &mut Vec<String>) -> Option<i64> {
    let listed =
        data.aborted_transactions.as_ref().expect("a list for readers of committed records");
    let mut aborted: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for txn in listed {
        aborted.entry(txn.first_offset).or_default().push(txn.producer_id);
    }
    let mut open: Vec<i64> = Vec::new();
    let mut next = None;
    let bytes = crate::support::client::bytes(data);
    for view in Batches::new(bytes).map_while(Result::ok) {
        let header = *view.header();
        let last = header.last_offset().get();
        assert!(last < data.last_stable_offset, "records above the last stable offset");
        while let Some(entry) = aborted.first_entry().filter(|entry| *entry.key() <= last) {
            open.extend(entry.remove());
        }
        let start = view.bytes();
        let id = header.producer_id.get();
        next = Some(last + 1);
        if header.attributes.is_control() {
            open.retain(|aborted| *aborted != id);
            continue;
        }
        if !(header.attributes.is_transactional() && open.contains(&id)) {
            values.extend(batch::values(start, from));
        }
    }
    next
}
