//! Producers and calls while leaders move and brokers vanish, against brokers that are scripted here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millstream_env::net::{ListenOptions, TcpListener, TcpStream, listen};
use millstream_env::task::{Instant, runtime, spawn};
use millstream_wire::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use millstream_wire::messages::init_producer_id::InitProducerIdResponse;
use millstream_wire::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use millstream_wire::messages::produce::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceResponse,
};
use millstream_wire::{ApiKey, Decoder, Encode, Encoder, frame};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::{ClientConfig, Cluster, Producer, ProducerConfig, ProducerRecord};

/// What the scripted brokers share: one topic `t` with one partition.
#[derive(Default)]
struct World {
    brokers: BTreeMap<i32, String>,
    leader: i32,
    epoch: i32,
    /// What metadata answers say instead, for as many times.
    stale: Option<(i32, i32, usize)>,
    /// The leader closes the connection instead of answering this many produce requests, though it took them.
    silent: usize,
    /// NOT_LEADER names the new leader.
    hints: bool,
    /// Sequence numbers of the records in the log, and who took them.
    log: Vec<(i32, i32)>,
    metadata_asked: usize,
}

type Shared = Arc<Mutex<World>>;

/// A broker that can be ended.
struct Scripted {
    stop: watch::Sender<bool>,
}

impl Scripted {
    fn start(id: i32, world: &Shared) -> Self {
        let options = ListenOptions { backlog: 8 };
        let listener: TcpListener = listen("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        world.lock().brokers.insert(id, address);
        let (stop, stopped) = watch::channel(false);
        let world = world.clone();
        spawn(async move {
            let mut ending = stopped.clone();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        let (world, mut ending) = (world.clone(), stopped.clone());
                        spawn(async move {
                            tokio::select! {
                                _ = serve(id, stream, world) => {}
                                _ = ending.wait_for(|end| *end) => {}
                            }
                        });
                    }
                    _ = ending.wait_for(|end| *end) => return,
                }
            }
        });
        Self { stop }
    }

    fn end(&self) {
        self.stop.send_replace(true);
    }
}

async fn serve(id: i32, mut stream: TcpStream, world: Shared) -> Option<()> {
    loop {
        let length = stream.read_i32().await.ok()?;
        let mut bytes = BytesMut::zeroed(usize::try_from(length).unwrap());
        stream.read_exact(&mut bytes).await.ok()?;
        let mut decoder = Decoder::new(bytes.freeze());
        let (key, header) = frame::read_request_header(&mut decoder).unwrap();
        let (version, correlation) = (header.request_api_version, header.correlation_id);
        let mut encoder = Encoder::new();
        let mut answer = |body: &dyn Fn(&mut Encoder)| body(&mut encoder);
        match key {
            ApiKey::ApiVersions => answer(&|e| write(e, key, version, correlation, &versions())),
            ApiKey::Metadata => {
                let body = metadata(&world);
                answer(&|e| write(e, key, version, correlation, &body));
            }
            ApiKey::InitProducerId => {
                let body = InitProducerIdResponse { producer_id: 7, ..Default::default() };
                answer(&|e| write(e, key, version, correlation, &body));
            }
            ApiKey::Produce => {
                let request: ProduceRequest = decoder.read(version).unwrap();
                let body = produce(id, &request, &world)?;
                answer(&|e| write(e, key, version, correlation, &body));
            }
            other => panic!("{other:?} is not scripted"),
        }
        stream.write_all(encoder.buffer()).await.ok()?;
    }
}

fn write(e: &mut Encoder, key: ApiKey, version: i16, correlation: i32, body: &impl Encode) {
    frame::write_response(e, key, version, correlation, body).unwrap();
}

fn versions() -> ApiVersionsResponse {
    let ranges = [
        (ApiKey::ApiVersions, 0, 4),
        (ApiKey::Metadata, 0, 9),
        (ApiKey::InitProducerId, 0, 4),
        (ApiKey::Produce, 3, 11),
    ];
    let api = |(key, min_version, max_version): (ApiKey, i16, i16)| ApiVersion {
        api_key: key.code(),
        min_version,
        max_version,
    };
    ApiVersionsResponse { api_keys: ranges.map(api).to_vec(), ..Default::default() }
}

fn split(address: &str) -> (String, i32) {
    let (host, port) = address.rsplit_once(':').unwrap();
    (host.to_owned(), port.parse().unwrap())
}

fn metadata(world: &Shared) -> MetadataResponse {
    let mut world = world.lock();
    world.metadata_asked += 1;
    let (mut leader_id, mut leader_epoch) = (world.leader, world.epoch);
    if let Some((old_leader, old_epoch, times)) = &mut world.stale
        && *times > 0
    {
        *times -= 1;
        (leader_id, leader_epoch) = (*old_leader, *old_epoch);
    }
    let broker = |(&node_id, address): (&i32, &String)| {
        let (host, port) = split(address);
        MetadataResponseBroker { node_id, host: host.into(), port, ..Default::default() }
    };
    MetadataResponse {
        brokers: world.brokers.iter().map(broker).collect(),
        controller_id: leader_id,
        topics: vec![MetadataResponseTopic {
            name: Some("t".into()),
            partitions: vec![MetadataResponsePartition {
                leader_id,
                leader_epoch,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// First sequence number and count of records of a batch.
fn numbers(batch: &Bytes) -> (i32, i32) {
    let at = |place: usize| i32::from_be_bytes(batch[place..place + 4].try_into().unwrap());
    (at(53), at(57))
}

/// `None` closes the connection.
fn produce(id: i32, request: &ProduceRequest, world: &Shared) -> Option<ProduceResponse> {
    let mut world = world.lock();
    let mut answer = PartitionProduceResponse::default();
    let mut node_endpoints = Vec::new();
    if id == world.leader {
        let batch = request.topic_data[0].partition_data[0].records.clone().unwrap();
        let (first, count) = numbers(batch.as_bytes().unwrap());
        let next = world.log.last().map_or(0, |(sequence, _)| sequence + 1);
        // Batches arrive in order, whatever is sent again.
        assert!(first <= next, "a gap: {first} after {next}");
        // What is there already is acknowledged again and not appended.
        if first == next {
            world.log.extend((first..first + count).map(|sequence| (sequence, id)));
        }
        if world.silent > 0 {
            world.silent -= 1;
            return None;
        }
        answer.base_offset = first.into();
    } else {
        answer.error_code = 6;
        if world.hints {
            answer.current_leader =
                LeaderIdAndEpoch { leader_id: world.leader, leader_epoch: world.epoch };
            let (host, port) = split(&world.brokers[&world.leader]);
            let (node_id, host) = (world.leader, host.into());
            node_endpoints.push(NodeEndpoint { node_id, host, port, ..Default::default() });
        }
    }
    let topic = TopicProduceResponse {
        name: "t".into(),
        partition_responses: vec![answer],
        ..Default::default()
    };
    Some(ProduceResponse { responses: vec![topic], node_endpoints, ..Default::default() })
}

fn run<F: Future>(future: F) -> F::Output {
    runtime(Some(2)).unwrap().block_on(future)
}

fn two_brokers() -> (Shared, Scripted, Scripted) {
    let world = Shared::default();
    let (one, two) = (Scripted::start(1, &world), Scripted::start(2, &world));
    world.lock().leader = 1;
    (world, one, two)
}

async fn connect(world: &Shared, retry_backoff: Duration) -> Cluster {
    let servers: Vec<String> = world.lock().brokers.values().cloned().collect();
    let config = ClientConfig { retry_backoff, ..ClientConfig::for_servers(&servers.join(",")) };
    Cluster::connect(config).await.unwrap()
}

/// Sends records one by one, each in a batch of its own if `linger` is nothing.
async fn send(producer: &Producer, count: i32) -> Vec<crate::Delivery> {
    let mut deliveries = Vec::new();
    for n in 0..count {
        let record = ProducerRecord::to("t").value(n.to_string());
        deliveries.push(producer.send(record).await.unwrap());
    }
    deliveries
}

fn sequences(world: &Shared) -> Vec<i32> {
    world.lock().log.iter().map(|(sequence, _)| *sequence).collect()
}

#[test]
fn a_leader_named_in_the_answer_is_used_without_waiting() {
    run(async {
        let (world, _one, _two) = two_brokers();
        // A wait before the second try would take longer than the test allows.
        let cluster = connect(&world, Duration::from_secs(20)).await;
        let producer = Producer::new(cluster, ProducerConfig::default()).await.unwrap();
        send(&producer, 1).await.pop().unwrap().await.unwrap();
        {
            let mut world = world.lock();
            (world.leader, world.epoch, world.hints) = (2, 1, true);
            world.stale = Some((1, 0, usize::MAX));
        }
        let began = Instant::now();
        for delivery in send(&producer, 3).await {
            delivery.await.unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let log = world.lock().log.clone();
        assert_eq!(log, [(0, 1), (1, 2), (2, 2), (3, 2)]);
    });
}

#[test]
fn a_leader_that_dies_with_unanswered_records_costs_no_record_and_doubles_none() {
    run(async {
        let (world, one, _two) = two_brokers();
        let cluster = connect(&world, Duration::from_millis(20)).await;
        let config = ProducerConfig { linger: Duration::ZERO, ..ProducerConfig::default() };
        let producer = Producer::new(cluster, config).await.unwrap();
        for delivery in send(&producer, 5).await {
            delivery.await.unwrap();
        }
        // It takes the next batch, says nothing, and is gone. The others hear of it three questions later.
        world.lock().silent = 1;
        let deliveries = send(&producer, 20).await;
        while world.lock().silent > 0 {
            millstream_env::task::sleep(Duration::from_millis(1)).await;
        }
        one.end();
        {
            let mut world = world.lock();
            world.stale = Some((1, 0, 3));
            (world.leader, world.epoch) = (2, 1);
        }
        let more = send(&producer, 5).await;
        for delivery in deliveries.into_iter().chain(more) {
            delivery.await.unwrap();
        }
        assert_eq!(sequences(&world), (0..30).collect::<Vec<_>>());
        assert_eq!(world.lock().log.last(), Some(&(29, 2)));
    });
}

#[test]
fn when_all_known_brokers_are_gone_the_bootstrap_servers_are_asked_again() {
    run(async {
        let world = Shared::default();
        let one = Scripted::start(1, &world);
        world.lock().leader = 1;
        let later = Scripted::start(9, &world);
        let servers: Vec<String> = world.lock().brokers.values().cloned().collect();
        // The first answers name broker 1 alone.
        let nine = world.lock().brokers.remove(&9).unwrap();
        let config = ClientConfig {
            retry_backoff: Duration::from_millis(20),
            ..ClientConfig::for_servers(&servers.join(","))
        };
        let cluster = Cluster::connect(config).await.unwrap();
        assert_eq!(cluster.metadata().brokers().count(), 1);
        let producer = Producer::new(cluster.clone(), ProducerConfig::default()).await.unwrap();
        send(&producer, 1).await.pop().unwrap().await.unwrap();
        one.end();
        {
            let mut world = world.lock();
            world.brokers = [(9, nine)].into();
            (world.leader, world.epoch) = (9, 1);
        }
        send(&producer, 1).await.pop().unwrap().await.unwrap();
        assert_eq!(world.lock().log, [(0, 1), (1, 9)]);
        drop(later);
    });
}
