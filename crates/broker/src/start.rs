//! Starting and stopping a broker, in the order that leaves no half-open state behind.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{NodeId, Uuid};
use millstream_config::{BrokerConfig, Listener as ListenerConfig};
use millstream_env::clock::{Clock, SystemClock};
use millstream_env::fs::{Fs, OsFs};
use millstream_env::random::{OsRandom, Random};
use millstream_env::{net, process, task};
use millstream_log::{LogDirError, StorageError};
use millstream_metadata::decide::{
    ElectionDefaults, RegisterBroker, assign_directories, lead_anew, register_broker,
};
use millstream_metadata::{ClusterImage, Endpoint, SupportedFeature};
use millstream_quorum::{CommitError, OpenError};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::broker::{BoundListener, Broker, Parts};
use crate::context::ConnectionLimits;
use crate::coordinator::FollowMetadata;
use crate::server::{self, Listener, ListenerLimits, RequestMemory};
use crate::storage::{self, Storage};
use crate::{features, housekeeping, transactions};

/// How long answers to requests that waited have to reach their clients.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// How long connections have to end after the listeners closed.
const GRACE: Duration = Duration::from_millis(200);

/// Why a broker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A data directory is not fit, in use, or belongs to someone else.
    #[error(transparent)]
    Directory(#[from] LogDirError),
    /// The metadata log cannot be read.
    #[error(transparent)]
    Metadata(#[from] OpenError),
    /// The metadata log cannot be written.
    #[error("the broker cannot register itself: {0}")]
    Register(#[from] CommitError),
    /// The logs cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An address cannot be listened on.
    #[error("cannot listen on {listener}: {source}{}", hint(source))]
    Listen {
        /// As it is set.
        listener: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The operating system refuses something basic.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            " (is another broker running? choose another port with --listener)"
        }
        std::io::ErrorKind::PermissionDenied => " (ports below 1024 need privileges)",
        _ => "",
    }
}

/// A broker that serves.
#[derive(Debug)]
pub struct Running {
    broker: Arc<Broker>,
    listeners: Vec<BoundListener>,
    stop: watch::Sender<bool>,
    accepting: Vec<task::JoinHandle<()>>,
    keeping: Vec<task::JoinHandle<()>>,
}

/// Starts a broker; it serves when this returns.
///
/// # Errors
/// [`StartError`], with what to do about it. Nothing is changed in a directory that is not this broker's.
pub async fn start(config: BrokerConfig) -> Result<Running, StartError> {
    start_on(config, OsFs::shared()).await
}

/// The same on another file system: one that fails on purpose, or is simulated.
///
/// # Errors
/// [`StartError`].
pub async fn start_on(config: BrokerConfig, fs: Arc<dyn Fs>) -> Result<Running, StartError> {
    let files = process::raise_open_file_limit();
    let clock: Arc<dyn Clock> = SystemClock::new();
    let random: Arc<dyn Random> = OsRandom::new()?;
    info!(open_files = files, "starting");
    let sockets = listen(&config).await?;
    let open = {
        let (config, clock, random) = (config.clone(), Arc::clone(&clock), Arc::clone(&random));
        move || storage::open(&config, files, &fs, &clock, &random)
    };
    let opened = task::spawn_blocking(open).await.map_err(std::io::Error::other)??;
    let Storage { identity, quorum, replicas, settings, unclean } = opened;
    quorum.add_listener(Arc::clone(&settings) as _);
    quorum.add_listener(Arc::clone(&replicas) as _);
    let broker = Broker::new(Parts {
        node_id: NodeId(config.node.node_id),
        identity,
        config: settings.current(),
        clock,
        random,
        quorum,
        replicas,
    });
    let follow = FollowMetadata::new(Arc::clone(broker.groups()), Arc::clone(broker.replicas()));
    broker.quorum().add_listener(Arc::clone(&follow) as _);
    follow.start(&broker.image());
    broker.groups().start_timers();
    let follow = transactions::FollowMetadata::new(
        Arc::clone(broker.transactions()),
        Arc::clone(broker.replicas()),
    );
    broker.quorum().add_listener(Arc::clone(&follow) as _);
    follow.refresh(&broker.image());
    broker.transactions().start_timers();
    let listeners = bound(&sockets)?;
    register(&broker, &config, &listeners, unclean).await?;
    let (stop, stopped) = watch::channel(false);
    let mut keeping = housekeeping::start(&broker, &stopped);
    keeping.push(broker.active_controller().start(&stopped));
    let accepting = sockets
        .into_iter()
        .map(|(_, socket)| task::spawn(socket.run(Arc::clone(&broker), stopped.clone())))
        .collect();
    Ok(Running { broker, listeners, stop, accepting, keeping })
}

impl Running {
    /// Where it listens.
    pub fn listeners(&self) -> &[BoundListener] {
        &self.listeners
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        self.broker.cluster_id()
    }

    /// Whether a data directory was empty and is new.
    pub fn is_new(&self) -> bool {
        self.broker.parts.identity.formatted > 0
    }

    /// Where the data lies.
    pub fn data_dirs(&self) -> Vec<PathBuf> {
        self.broker.directories().iter().map(|(path, _)| path.clone()).collect()
    }

    /// Stops: no new requests, logs closed, so that the next start needs no recovery.
    pub async fn stop(self) {
        let Self { broker, stop, accepting, keeping, .. } = self;
        // Members that wait in a rebalance are told to look for another coordinator, while their connections last.
        if broker.groups().close_all() > 0 {
            task::sleep(LAST_WORDS).await;
        }
        broker.transactions().close_all();
        stop.send_replace(true);
        for task in accepting.into_iter().chain(keeping) {
            // A task that panicked has said so.
            drop(task.await);
        }
        task::sleep(GRACE).await;
        broker.quorum().close().await;
        let replicas = Arc::clone(broker.replicas());
        drop(task::spawn_blocking(move || replicas.close()).await);
        info!("stopped");
    }
}

/// Binds every listener before anything else is touched: the commonest failure comes first and costs nothing.
async fn listen(config: &BrokerConfig) -> Result<Vec<(ListenerConfig, Listener)>, StartError> {
    let mut sockets = Vec::with_capacity(config.listeners.len());
    let limits = limits(config);
    for listener in &config.listeners {
        let failed = |source| StartError::Listen { listener: listener.to_string(), source };
        let host = if listener.host.is_empty() { "0.0.0.0" } else { &listener.host };
        let addresses = net::resolve(host, listener.port).await.map_err(failed)?;
        let address = addresses.into_iter().min_by_key(SocketAddr::is_ipv6);
        let address = address.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        // Kafka's 50 makes clients of a burst wait a second for their second try; the system caps what is too much.
        let set = config.is_set("socket.listen.backlog.size");
        let backlog =
            if set { config.network.socket_listen_backlog_size } else { i32::from(i16::MAX) };
        let backlog = u32::try_from(backlog).unwrap_or(1);
        let socket = server::bind(&listener.name, address, backlog, limits.clone());
        sockets.push((listener.clone(), socket.map_err(failed)?));
    }
    Ok(sockets)
}

fn limits(config: &BrokerConfig) -> ListenerLimits {
    let network = &config.network;
    let count = |value: i32| usize::try_from(value).unwrap_or_default();
    let idle = u64::try_from(network.connections_max_idle_ms).ok().filter(|ms| *ms > 0);
    ListenerLimits {
        max_connections: count(network.max_connections),
        max_per_ip: count(network.max_connections_per_ip),
        connection: ConnectionLimits {
            request_max_bytes: count(network.socket_request_max_bytes),
            max_idle: idle.map(Duration::from_millis),
            memory: usize::try_from(network.queued_max_request_bytes)
                .ok()
                .filter(|bytes| *bytes > 0)
                .map(RequestMemory::new),
        },
        per_ip_overrides: per_ip_overrides(config),
        send_buffer: config.socket_send_buffer_bytes(),
        receive_buffer: config.socket_receive_buffer_bytes(),
    }
}

fn per_ip_overrides(config: &BrokerConfig) -> HashMap<IpAddr, usize> {
    let overrides = config.network.ip_overrides().unwrap_or_default().into_iter();
    let parsed = overrides.filter_map(|(host, count)| {
        let address = host.parse().inspect_err(|_| {
            warn!(host, "max.connections.per.ip.overrides takes addresses; this entry is left out");
        });
        Some((address.ok()?, usize::try_from(count).unwrap_or(usize::MAX)))
    });
    parsed.collect()
}

fn bound(sockets: &[(ListenerConfig, Listener)]) -> Result<Vec<BoundListener>, StartError> {
    let bound = sockets.iter().map(|(config, socket)| {
        let address = socket.local_addr()?;
        Ok(BoundListener { name: config.name.as_str().into(), address })
    });
    bound.collect()
}

/// Makes this broker known: clients may be told of it, partitions may be led by it.
async fn register(
    broker: &Arc<Broker>,
    config: &BrokerConfig,
    bound: &[BoundListener],
    unclean: bool,
) -> Result<(), StartError> {
    let command = RegisterBroker {
        id: broker.node_id(),
        incarnation_id: Uuid::from_random(broker.random().bytes16()),
        endpoints: endpoints(config, bound),
        features: supported_features(),
        rack: config.node.rack.clone(),
        log_dirs: broker.replicas().logs().online_ids(),
        unfenced: true,
        defaults: ElectionDefaults::of(config),
        ..RegisterBroker::default()
    };
    let unassigned = broker.replicas().take_unassigned();
    let decide = move |image: &ClusterImage, turn: &millstream_quorum::Turn| {
        let mut decision = register_broker(image, &command, turn.next_offset)?;
        if unclean {
            decision.records.extend(lead_anew(image, command.id));
        }
        let places = assign_directories(image, command.id, &unassigned);
        decision.records.extend(places.records);
        Ok(decision)
    };
    broker.quorum().execute(decide).await?;
    Ok(())
}

/// What other brokers and tools are told: `advertised.listeners`, or where we listen.
fn endpoints(config: &BrokerConfig, bound: &[BoundListener]) -> Vec<Endpoint> {
    let advertised = config.advertised_listeners.as_deref().unwrap_or(&config.listeners);
    let endpoint = |listener: &ListenerConfig| {
        let here = bound.iter().find(|bound| *bound.name == listener.name);
        let port =
            if listener.port == 0 { here.map_or(0, |b| b.address.port()) } else { listener.port };
        let host = if listener.host.is_empty() { "localhost" } else { &listener.host };
        Endpoint {
            name: listener.name.as_str().into(),
            host: host.into(),
            port,
            security_protocol: 0,
        }
    };
    advertised.iter().map(endpoint).collect()
}

fn supported_features() -> Vec<SupportedFeature> {
    let feature =
        |(name, min, max): (&str, i16, i16)| SupportedFeature { name: name.into(), min, max };
    features::supported().map(feature).collect()
}
