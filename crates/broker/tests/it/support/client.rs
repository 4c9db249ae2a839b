//! A client of raw frames: it sends what it is told to, right or wrong, and reads what comes back.
//!
//! Key type: [`Client`]. Every read has a time limit, so that a broker that does not answer fails the test.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use bytes::Bytes;
use millstream_base::{ErrorCode, Uuid};
use millstream_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use millstream_wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use millstream_wire::messages::init_producer_id::InitProducerIdRequest;
use millstream_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsTopic,
};
use millstream_wire::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use millstream_wire::{Decode, Decoder, Encoder, Records, Request, frame};

use super::{PATIENCE, batch};

/// The version that tests produce with: topics by id.
pub const PRODUCE: i16 = 13;
/// The version that tests fetch with: topics by id, no replica state needed.
pub const FETCH: i16 = 17;

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    next: i32,
}

/// A request on its way: what is needed to read its answer.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Sent {
    pub correlation_id: i32,
    pub version: i16,
}

/// A topic as tests know it.
#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
}

/// The bytes of a request, with the length before them.
pub fn request_bytes<R: Request>(version: i16, correlation_id: i32, request: &R) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let client = Some("raw".into());
    frame::write_request(&mut encoder, version, correlation_id, client, request).unwrap();
    encoder.into_buffer()
}

impl Client {
    /// A new connection to `address`.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    /// The same to a broker that may be gone.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, next: 1 })
    }

    /// [`Self::call`] of a broker that may go meanwhile.
    pub fn try_call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        let sent = Sent { correlation_id: self.next, version };
        self.next += 1;
        self.stream.write_all(&request_bytes(version, sent.correlation_id, request))?;
        Ok(decode::<R>(self.receive_frame()?, sent))
    }

    /// The socket.
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a frame with the right length and any content.
    pub fn send_frame(&mut self, content: &[u8]) {
        let mut bytes = i32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(content);
        // The broker may have closed already.
        let _ = self.stream.write_all(&bytes);
    }

    /// Sends a request.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> Sent {
        let correlation_id = self.next;
        self.next += 1;
        let bytes = request_bytes(version, correlation_id, request);
        self.send_raw(&bytes);
        Sent { correlation_id, version }
    }

    /// Reads the next answer, which must be the one to `sent`.
    pub fn receive<R: Request>(&mut self, sent: Sent) -> R::Response {
        let bytes = self.receive_frame().unwrap();
        decode::<R>(bytes, sent)
    }

    /// Sends a request and reads its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let sent = self.send(version, request);
        self.receive::<R>(sent)
    }

    /// Reads one frame, without its length.
    pub fn receive_frame(&mut self) -> io::Result<Bytes> {
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix)?;
        let mut content = vec![0; usize::try_from(i32::from_be_bytes(prefix)).unwrap()];
        self.stream.read_exact(&mut content)?;
        Ok(content.into())
    }

    /// Waits for the broker to close; gives what it sent before.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let mut before = Vec::new();
        match self.stream.read_to_end(&mut before) {
            Ok(_) => before,
            // Bytes that the broker did not read any more turn its close into a reset.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => before,
            Err(error) => panic!("the connection was not closed: {error}"),
        }
    }

    /// The broker closes without a word.
    pub fn expect_closed(mut self) {
        assert_eq!(self.read_to_close(), b"", "the broker answered");
    }

    /// Ends sending.
    pub fn shutdown_write(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    pub fn api_versions(&mut self) -> ApiVersionsResponse {
        let request = ApiVersionsRequest {
            client_software_name: "raw".into(),
            client_software_version: "1".into(),
            ..Default::default()
        };
        self.call(4, &request)
    }

    /// Creates a topic, with settings.
    pub fn create_topic(
        &mut self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Topic {
        let setting = |(name, value): &(&str, &str)| CreatableTopicConfig {
            name: (*name).into(),
            value: Some((*value).into()),
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: settings.iter().map(setting).collect(),
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
        let response = self.call(7, &request);
        let created = &response.topics[0];
        assert_eq!(created.error_code, 0, "{:?}", created.error_message);
        Topic { name: name.to_owned(), id: created.topic_id }
    }

    /// Produces one batch and gives the partition's answer.
    pub fn try_produce(
        &mut self,
        topic: &Topic,
        partition: i32,
        acks: i16,
        batch: Vec<u8>,
    ) -> PartitionProduceResponse {
        let mut response = self.call(PRODUCE, &produce(topic, partition, acks, batch));
        response.responses.remove(0).partition_responses.remove(0)
    }

    /// Produces one batch with acks=all, which must succeed; gives its first offset.
    pub fn produce(&mut self, topic: &Topic, partition: i32, batch: Vec<u8>) -> i64 {
        let answer = self.try_produce(topic, partition, -1, batch);
        assert_eq!(code(answer.error_code), ErrorCode::None, "{:?}", answer.error_message);
        answer.base_offset
    }

    /// Fetches from one partition without a session.
    pub fn fetch(&mut self, topic: &Topic, partition: i32, offset: i64) -> PartitionData {
        only(self.call(FETCH, &fetch(topic, &[(partition, offset)])))
    }

    /// All records of a partition from `offset` on.
    pub fn read_all(&mut self, topic: &Topic, partition: i32, offset: i64) -> Vec<batch::Read> {
        let mut all: Vec<batch::Read> = Vec::new();
        loop {
            let next = all.last().map_or(offset, |last| last.offset + 1);
            let data = self.fetch(topic, partition, next);
            assert_eq!(code(data.error_code), ErrorCode::None, "at offset {next}");
            let read = batch::records(bytes(&data), next);
            if read.is_empty() {
                assert_eq!(
                    next,
                    data.high_watermark.max(offset),
                    "a hole below the high watermark"
                );
                return all;
            }
            all.extend(read);
        }
    }

    /// All values of a partition, as text.
    pub fn read_values(&mut self, topic: &Topic, partition: i32) -> Vec<String> {
        let read = self.read_all(topic, partition, 0);
        read.into_iter().map(|read| String::from_utf8(read.value.unwrap()).unwrap()).collect()
    }

    /// The offset of a time or special place.
    pub fn list_offset(
        &mut self,
        version: i16,
        topic: &Topic,
        timestamp: i64,
    ) -> ListOffsetsPartitionResponse {
        let partition = ListOffsetsPartition { timestamp, ..Default::default() };
        let topic =
            ListOffsetsTopic { name: topic.name.as_str().into(), partitions: vec![partition] };
        let request =
            ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        self.call(version, &request).topics.remove(0).partitions.remove(0)
    }

    /// A new producer's id and epoch.
    pub fn init_producer(&mut self) -> (i64, i16) {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let response = self.call(4, &request);
        assert_eq!(code(response.error_code), ErrorCode::None);
        (response.producer_id, response.producer_epoch)
    }
}

/// The answer in a frame, which must be the one to `sent`.
pub fn decode<R: Request>(bytes: Bytes, sent: Sent) -> R::Response {
    let mut decoder = Decoder::new(bytes);
    let found = frame::read_response_header(&mut decoder, R::KEY, sent.version).unwrap();
    assert_eq!(found, sent.correlation_id, "an answer to another request");
    let response = R::Response::decode(&mut decoder, sent.version).unwrap();
    decoder.finish().unwrap();
    response
}

/// A request to append one batch.
pub fn produce(topic: &Topic, partition: i32, acks: i16, batch: Vec<u8>) -> ProduceRequest {
    produce_many(topic, acks, vec![(partition, batch)])
}

/// A request to append to several partitions. It names the topic by name and id; the version decides.
pub fn produce_many(topic: &Topic, acks: i16, parts: Vec<(i32, Vec<u8>)>) -> ProduceRequest {
    let part = |(index, batch): (i32, Vec<u8>)| PartitionProduceData {
        index,
        records: Some(Records::Bytes(batch.into())),
    };
    let topic = TopicProduceData {
        name: topic.name.as_str().into(),
        topic_id: topic.id,
        partition_data: parts.into_iter().map(part).collect(),
    };
    ProduceRequest { acks, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() }
}

/// A request for records without a session, which does not wait.
pub fn fetch(topic: &Topic, parts: &[(i32, i64)]) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 50 << 20,
        session_epoch: -1,
        topics: vec![fetch_topic(topic, parts)],
        ..Default::default()
    }
}

/// Partitions and offsets of one topic.
pub fn fetch_topic(topic: &Topic, parts: &[(i32, i64)]) -> FetchTopic {
    let part = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition,
        fetch_offset,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchTopic {
        topic: topic.name.as_str().into(),
        topic_id: topic.id,
        partitions: parts.iter().map(part).collect(),
    }
}

/// The only partition of an answer that has no error of its own.
pub fn only(mut response: FetchResponse) -> PartitionData {
    assert_eq!(code(response.error_code), ErrorCode::None);
    assert_eq!(response.responses.len(), 1);
    response.responses.remove(0).partitions.remove(0)
}

/// The record bytes of a fetched partition.
pub fn bytes(data: &PartitionData) -> &[u8] {
    data.records.as_ref().and_then(Records::as_bytes).map_or(&[], |bytes| bytes)
}

/// The error behind a code.
pub fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap()
}
