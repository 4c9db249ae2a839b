//! A broker in this process, with a directory of its own.
//!
//! Key types: [`TestBroker`] (serving) and [`Stopped`] (its directory and settings, to be started again). A broker is stopped in order
//! ([`TestBroker::stop`]) or dropped as a kill would leave it ([`TestBroker::crash`]): nothing is closed or marked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use millstream_base::ErrorCode;
use millstream_broker::{Running, StartError};
use millstream_config::{BrokerConfig, ServerProperties};
use millstream_wire::messages::metadata::MetadataRequest;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::client::{Client, Topic, code};
use super::{PATIENCE, logs};

/// A serving broker.
#[derive(Debug)]
pub struct TestBroker {
    running: Running,
    runtime: Runtime,
    place: Stopped,
}

/// A broker that does not run: where it lies and how it is set.
#[derive(Debug)]
pub struct Stopped {
    dir: TempDir,
    settings: Vec<(String, String)>,
}

/// The text of a test broker's settings.
pub fn properties(dir: &Path, settings: &[(String, String)]) -> ServerProperties {
    let mut properties = ServerProperties::default();
    properties.set("listeners", "PLAINTEXT://127.0.0.1:0");
    properties.set("log.dirs", dir.to_str().unwrap());
    for (name, value) in settings {
        properties.set(name, value);
    }
    properties
}

/// A small runtime: many brokers run beside one another.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

impl Stopped {
    /// An empty directory.
    pub fn new(settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        Self { dir: tempfile::tempdir().unwrap(), settings }
    }

    /// The data directory.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The directory of a partition.
    pub fn partition(&self, topic: &Topic, partition: i32) -> PathBuf {
        self.path().join(format!("{}-{partition}", topic.name))
    }

    /// Changes a setting for the next start.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts a broker, or says why it does not start.
    pub fn try_start(self) -> Result<TestBroker, (StartError, Self)> {
        logs::keep();
        let runtime = runtime();
        let config = BrokerConfig::load(&properties(&self.path(), &self.settings)).unwrap();
        match runtime.block_on(millstream_broker::start(config)) {
            Ok(running) => Ok(TestBroker { running, runtime, place: self }),
            Err(error) => Err((error, self)),
        }
    }

    /// Starts a broker.
    pub fn start(self) -> TestBroker {
        let deadline = Instant::now() + PATIENCE;
        let mut place = self;
        loop {
            match place.try_start() {
                Ok(broker) => return broker,
                // A process that another test starts holds our files, locks included, until it has become another program.
                Err((error, again)) if error.to_string().contains("used by another broker") => {
                    assert!(Instant::now() < deadline, "{error}");
                    place = again;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => panic!("the broker does not start: {error}"),
            }
        }
    }

    /// The text with which a start fails.
    pub fn refuses_to_start(self) -> (String, Self) {
        match self.try_start() {
            Ok(_) => panic!("the broker started"),
            Err((error, place)) => (error.to_string(), place),
        }
    }
}

impl TestBroker {
    /// A broker on an empty directory.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same with settings.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        Stopped::new(settings).start()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.listeners()[0].address
    }

    /// Where it lies.
    pub const fn place(&self) -> &Stopped {
        &self.place
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// Creates a topic.
    pub fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Topic {
        self.connect().create_topic(name, partitions, settings)
    }

    /// Stops in order.
    pub fn stop(self) -> Stopped {
        self.runtime.block_on(self.running.stop());
        self.runtime.shutdown_timeout(PATIENCE);
        logs::assert_no_panic();
        self.place
    }

    /// Ends as a kill would: what is written is written, nothing is closed.
    pub fn crash(self) -> Stopped {
        drop(self.running);
        self.runtime.shutdown_timeout(PATIENCE);
        logs::assert_no_panic();
        self.place
    }

    /// A newcomer is served.
    pub fn assert_alive(&self) {
        assert_alive(self.address());
    }
}

/// A newcomer is served.
pub fn assert_alive(address: SocketAddr) {
    logs::assert_no_panic();
    let mut client = Client::connect(address);
    let versions = client.api_versions();
    assert_eq!(code(versions.error_code), ErrorCode::None);
    assert!(!versions.api_keys.is_empty());
    let metadata =
        client.call(12, &MetadataRequest { topics: Some(Vec::new()), ..Default::default() });
    assert_eq!(metadata.brokers.len(), 1);
    assert_eq!(metadata.brokers[0].port, i32::from(address.port()));
}
