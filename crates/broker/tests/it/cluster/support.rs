//! Nodes of one cluster in this process, each with a runtime and a directory of its own.
//!
//! Key types: [`Plan`] (which nodes there are, and where they listen) and [`Node`] (one that runs). A node is stopped in
//! order, or crashed: then nothing is closed or handed over, and its sockets end as they do when a process is killed.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_base::ErrorCode;
use millstream_broker::{Running, StartError};
use millstream_config::{BrokerConfig, ServerProperties};
use millstream_env::fs::{Fs, OsFs};
use millstream_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use millstream_wire::messages::describe_quorum::{
    DescribeQuorumRequest, RequestPartitionData, RequestTopicData, ResponsePartitionData,
};
use millstream_wire::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponsePartition,
    MetadataResponseTopic,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::client::{Client, code};
use crate::support::{broker, eventually, logs};

/// How long a cluster may take for what it does by itself.
pub const SOON: Duration = Duration::from_secs(20);

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Combined,
    Controller,
    Broker,
}

/// The nodes of a cluster: node `n` is at place `n - 1`.
#[derive(Debug)]
pub struct Plan {
    dir: TempDir,
    places: Vec<Place>,
    settings: Vec<(String, String)>,
    /// Its voters, if not all that are controllers.
    pub voters: Option<Vec<i32>>,
}

#[derive(Debug)]
struct Place {
    role: Role,
    client_port: u16,
    controller_port: u16,
}

/// A node that serves.
#[derive(Debug)]
pub struct Node {
    pub id: i32,
    pub running: Running,
    runtime: Runtime,
}

/// Ports that are free at the moment.
pub fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(|it| it.local_addr().unwrap().port()).collect()
}

impl Plan {
    pub fn new(roles: &[Role]) -> Self {
        let ports = free_ports(roles.len() * 2);
        let places = roles.iter().zip(ports.chunks(2));
        let place = |(role, ports): (&Role, &[u16])| Place {
            role: *role,
            client_port: ports[0],
            controller_port: ports[1],
        };
        Self {
            dir: tempfile::tempdir().unwrap(),
            places: places.map(place).collect(),
            settings: Vec::new(),
            voters: None,
        }
    }

    /// A setting of all nodes.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    fn place(&self, id: i32) -> &Place {
        &self.places[usize::try_from(id - 1).unwrap()]
    }

    pub fn ids(&self) -> Vec<i32> {
        (1..=i32::try_from(self.places.len()).unwrap()).collect()
    }

    pub fn path(&self, id: i32) -> PathBuf {
        self.dir.path().join(format!("node-{id}"))
    }

    pub fn address(&self, id: i32) -> SocketAddr {
        ([127, 0, 0, 1], self.place(id).client_port).into()
    }

    pub fn controller_address(&self, id: i32) -> SocketAddr {
        ([127, 0, 0, 1], self.place(id).controller_port).into()
    }

    /// The settings of a node.
    pub fn properties(&self, id: i32) -> ServerProperties {
        let place = self.place(id);
        let client = format!("PLAINTEXT://127.0.0.1:{}", place.client_port);
        let controller = format!("CONTROLLER://127.0.0.1:{}", place.controller_port);
        let (roles, listeners) = match place.role {
            Role::Combined => ("broker,controller", format!("{client},{controller}")),
            Role::Controller => ("controller", controller),
            Role::Broker => ("broker", client),
        };
        let all = || self.ids().into_iter().filter(|id| self.place(*id).role != Role::Broker);
        let voters = self.voters.clone().unwrap_or_else(|| all().collect());
        let voters = voters
            .iter()
            .map(|id| format!("{id}@127.0.0.1:{}", self.place(*id).controller_port))
            .collect::<Vec<_>>();
        let mut properties = ServerProperties::default();
        for (name, value) in [
            ("node.id", &*id.to_string()),
            ("process.roles", roles),
            ("listeners", &*listeners),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.voters", &*voters.join(",")),
            ("log.dirs", self.path(id).to_str().unwrap()),
        ] {
            properties.set(name, value);
        }
        for (name, value) in &self.settings {
            properties.set(name, value);
        }
        properties
    }

    /// Starts these nodes beside one another; all serve when this returns.
    pub fn start(&self, ids: &[i32]) -> Vec<Node> {
        self.start_with(ids, 0, &OsFs::shared())
    }

    /// Starts all nodes; the one named lies on another file system.
    pub fn start_with(&self, ids: &[i32], special: i32, fs: &Arc<dyn Fs>) -> Vec<Node> {
        let fs_of = |id| if id == special { Arc::clone(fs) } else { OsFs::shared() };
        let begin = |id: &i32| (*id, self.begin(&self.properties(*id), fs_of(*id)));
        self.wait(ids.iter().map(begin).collect())
    }

    fn wait(&self, starting: Vec<(i32, Begun)>) -> Vec<Node> {
        let deadline = Instant::now() + 2 * SOON;
        let wait = |(id, (runtime, starting)): (i32, Begun)| {
            let left = deadline.saturating_duration_since(Instant::now());
            let outcome = runtime.block_on(async { tokio::time::timeout(left, starting).await });
            match outcome {
                Ok(Ok(Ok(running))) => Node { id, running, runtime },
                Ok(Ok(Err(error))) => panic!("node {id} does not start: {error}"),
                Ok(Err(error)) => panic!("node {id}: {error}"),
                Err(_) => panic!("node {id} has not started in time:\n{}", logs::all()),
            }
        };
        starting.into_iter().map(wait).collect()
    }

    pub fn start_one(&self, id: i32) -> Node {
        self.start(&[id]).remove(0)
    }

    /// Starts a node with settings of its own.
    pub fn start_as(&self, id: i32, properties: &ServerProperties) -> Node {
        self.wait(vec![(id, self.begin(properties, OsFs::shared()))]).remove(0)
    }

    /// Begins to start a node that may never serve.
    pub fn begin_as(&self, properties: &ServerProperties) -> Begun {
        self.begin(properties, OsFs::shared())
    }

    /// The text with which a start fails.
    pub fn refuses(&self, properties: &ServerProperties) -> String {
        let (runtime, starting) = self.begin(properties, OsFs::shared());
        let outcome = runtime.block_on(async { tokio::time::timeout(2 * SOON, starting).await });
        let text = match outcome {
            Ok(Ok(Ok(_))) => panic!("the node started"),
            Ok(Ok(Err(error))) => error.to_string(),
            other => panic!("the node neither starts nor refuses to: {:?}", other.map(drop)),
        };
        runtime.shutdown_timeout(SOON);
        text
    }

    fn begin(&self, properties: &ServerProperties, fs: Arc<dyn Fs>) -> Begun {
        logs::keep();
        let runtime = broker::runtime();
        let config = BrokerConfig::load(properties).unwrap();
        let starting = runtime.spawn(Box::pin(millstream_broker::start_on(config, fs)));
        (runtime, starting)
    }

    /// A client of a node.
    pub fn client(&self, id: i32) -> Client {
        Client::connect(self.address(id))
    }

    /// The metadata of all topics as node `id` tells it.
    pub fn metadata(&self, id: i32) -> MetadataResponse {
        self.client(id).call(12, &MetadataRequest { topics: None, ..Default::default() })
    }

    /// Waits until node `id` tells of exactly these brokers.
    pub fn await_brokers(&self, id: i32, expected: &[i32]) {
        eventually(&format!("node {id} knows the brokers {expected:?}"), || {
            let mut known: Vec<i32> =
                self.metadata(id).brokers.iter().map(|broker| broker.node_id).collect();
            known.sort_unstable();
            (known == expected).then_some(())
        });
    }

    /// Waits until all replicas of all partitions are in sync, as node `id` tells it.
    pub fn await_in_sync(&self, id: i32) {
        let is_whole = |it: &MetadataResponsePartition| {
            it.leader_id > 0 && it.isr_nodes.len() == it.replica_nodes.len()
        };
        let lagging = || {
            let topics = self.metadata(id).topics;
            let all = topics.into_iter().flat_map(|topic| topic.partitions);
            all.filter(|it| !is_whole(it)).collect::<Vec<_>>()
        };
        let deadline = Instant::now() + SOON;
        while !lagging().is_empty() {
            assert!(Instant::now() < deadline, "never in sync: {:?}\n{}", lagging(), logs::all());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Creates a topic by way of node `by`.
    pub fn create_topic(&self, by: i32, name: &str, partitions: i32, replicas: i16) {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: replicas,
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
        let answer = self.client(by).call(7, &request);
        assert_eq!(code(answer.topics[0].error_code), ErrorCode::None, "{answer:?}");
    }

    /// A topic as node `id` tells it, once it knows it.
    pub fn topic(&self, id: i32, name: &str) -> MetadataResponseTopic {
        eventually(&format!("node {id} knows the topic {name}"), || {
            let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
            let request = MetadataRequest {
                topics: Some(vec![topic]),
                allow_auto_topic_creation: false,
                ..Default::default()
            };
            let topic = self.client(id).call(12, &request).topics.remove(0);
            (topic.error_code == 0).then_some(topic)
        })
    }

    /// The quorum as the active controller tells it by way of node `by`.
    pub fn quorum(&self, by: i32) -> ResponsePartitionData {
        let partitions = vec![RequestPartitionData { partition_index: 0 }];
        let topic = RequestTopicData { topic_name: "__cluster_metadata".into(), partitions };
        eventually("the quorum is described", || {
            let request = DescribeQuorumRequest { topics: vec![topic.clone()] };
            let mut answer = self.client(by).call(2, &request);
            (answer.error_code == 0).then(|| answer.topics.remove(0).partitions.remove(0))
        })
    }
}

/// A node that starts, and the runtime that it does so on.
pub type Begun = (Runtime, tokio::task::JoinHandle<Result<Running, StartError>>);

impl Node {
    /// Stops in order.
    pub fn stop(self) -> Duration {
        let began = Instant::now();
        self.runtime.block_on(self.running.stop());
        self.runtime.shutdown_timeout(SOON);
        logs::assert_no_panic();
        began.elapsed()
    }

    /// Stops in order, however long that takes.
    pub fn end(self) {
        self.stop();
    }

    /// Ends as a kill would.
    pub fn crash(self) {
        drop(self.running);
        self.runtime.shutdown_timeout(SOON);
        logs::assert_no_panic();
    }
}

/// Takes node `id` out of the list.
pub fn take(nodes: &mut Vec<Node>, id: i32) -> Node {
    let at = nodes.iter().position(|node| node.id == id).unwrap();
    nodes.remove(at)
}
