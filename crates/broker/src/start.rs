//! Starting and stopping a node, in the order that leaves no half-open state behind.
//!
//! A node that is alone serves as soon as its logs are open. A member of a cluster first takes part in the metadata quorum,
//! registers, opens its logs after metadata that has its registration, and serves clients when the controller lets it.

mod sockets;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{NodeId, Uuid};
use millstream_config::{BrokerConfig, Formation};
use millstream_env::clock::{Clock, SystemClock};
use millstream_env::fs::{Fs, OsFs};
use millstream_env::random::{OsRandom, Random};
use millstream_env::{process, task};
use millstream_log::{LogDirError, StorageError};
use millstream_metadata::decide::{
    ElectionDefaults, RegisterBroker, assign_directories, lead_anew, register_broker,
};
use millstream_metadata::{ClusterImage, Endpoint, ImageDelta, SupportedFeature};
use millstream_quorum::{CommitError, ImageListener as _, OpenError};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::apis::ListenerKind;
use crate::broker::{BoundListener, Broker, Parts};
use crate::cluster::{self, Hosting, JoinError, Lifecycle, QuorumTransport, Registration};
use crate::coordinator::FollowMetadata;
use crate::storage::{self, Membership, Storage};
use crate::{features, housekeeping, transactions};
use sockets::Socket;

/// How long answers to requests that waited have to reach their clients.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// How long connections have to end after the listeners closed.
const GRACE: Duration = Duration::from_millis(200);
/// How often a node says that it still waits for its cluster.
const COMPLAINT: Duration = Duration::from_secs(10);

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
    /// The cluster does not take the broker in.
    #[error(transparent)]
    Join(#[from] JoinError),
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

/// A node that serves.
#[derive(Debug)]
pub struct Running {
    broker: Arc<Broker>,
    listeners: Vec<BoundListener>,
    stop: watch::Sender<bool>,
    accepting: Vec<task::JoinHandle<()>>,
    keeping: Vec<task::JoinHandle<()>>,
    lifecycle: Option<Lifecycle>,
}

/// Starts a node; it serves when this returns.
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
    info!(open_files = files, roles = %config.roles, "starting");
    let sockets = sockets::bind(&config).await?;
    let place = Place::new(&config, &sockets)?;
    let membership = place.membership(&config, &*fs).await;
    let open = {
        let (config, clock, random) = (config.clone(), Arc::clone(&clock), Arc::clone(&random));
        move || storage::open(&config, membership, files, &fs, &clock, &random)
    };
    let opened = task::spawn_blocking(open).await.map_err(std::io::Error::other)??;
    let Storage { identity, quorum, replicas, settings } = opened;
    let hosting = Hosting::new(quorum.image());
    quorum.add_listener(Arc::clone(&settings) as _);
    quorum.add_listener(Arc::clone(&hosting) as _);
    let broker = Broker::new(Parts {
        node_id: NodeId(config.node.node_id),
        identity,
        config: settings.current(),
        clock,
        random,
        quorum,
        replicas,
    });
    let starting = Starting { config, broker, hosting, sockets, place };
    if starting.place.is_alone { starting.alone().await } else { starting.member().await }
}

/// Where a node stands in its cluster before it starts.
struct Place {
    /// No other node can come: there is no listener for controllers.
    is_alone: bool,
    /// Its listeners for clients and brokers, as others reach them.
    endpoints: Vec<Endpoint>,
    /// Its listeners for controllers, as others reach them.
    controller_endpoints: Vec<Endpoint>,
    bound: Vec<BoundListener>,
}

impl Place {
    fn new(config: &BrokerConfig, sockets: &[Socket]) -> Result<Self, StartError> {
        let is_alone =
            config.formation == Formation::Alone && config.controller_listeners.is_empty();
        let host = if is_alone { "localhost".to_owned() } else { sockets::host_name() };
        let mut bound = sockets::bound(sockets, ListenerKind::Broker)?;
        let endpoints = sockets::broker_endpoints(config, &bound, &host);
        let by_controllers = sockets::bound(sockets, ListenerKind::Controller)?;
        let controller_endpoints = sockets::controller_endpoints(config, &by_controllers, &host);
        bound.extend(by_controllers);
        Ok(Self { is_alone, endpoints, controller_endpoints, bound })
    }

    /// What the quorum must know before it opens its log.
    async fn membership(&self, config: &BrokerConfig, fs: &dyn Fs) -> Membership {
        if self.is_alone {
            return Membership::default();
        }
        Membership {
            joins: config.formation != Formation::Alone,
            voters: cluster::voters(config, storage::knows_quorum(config, fs)).await,
            address: self.address(config).map(|it| (it.host.to_string(), it.port)),
        }
    }

    /// Where other nodes of the quorum reach this one.
    fn address(&self, config: &BrokerConfig) -> Option<&Endpoint> {
        let inter_broker = || {
            self.endpoints.iter().find(|endpoint| *endpoint.name == *config.inter_broker_listener)
        };
        let named = |name: &String| {
            self.controller_endpoints.iter().find(|endpoint| *endpoint.name == **name)
        };
        config.controller_listener_names.iter().find_map(named).or_else(inter_broker)
    }
}

/// A node between its disk and its service.
struct Starting {
    config: BrokerConfig,
    broker: Arc<Broker>,
    hosting: Arc<Hosting>,
    sockets: Vec<Socket>,
    place: Place,
}

impl Starting {
    /// The way of a node that no other can join.
    async fn alone(self) -> Result<Running, StartError> {
        let unclean = self.host().await?;
        let registration = self.registration();
        self.broker.active_controller().set_incarnation(registration.incarnation_id);
        register_alone(&self.broker, &registration, unclean).await?;
        self.broker.open();
        let (stop, stopped) = watch::channel(false);
        let mut keeping = housekeeping::start(&self.broker, &stopped);
        keeping.push(self.broker.active_controller().start(&stopped));
        let accepting = accept(self.sockets, &self.broker, &stopped);
        let Self { broker, place, .. } = self;
        Ok(Running { broker, listeners: place.bound, stop, accepting, keeping, lifecycle: None })
    }

    /// The way of a member of a cluster.
    async fn member(mut self) -> Result<Running, StartError> {
        let (stop, stopped) = watch::channel(false);
        // Other nodes reach this one from here on; clients are sent away until it is open.
        let accepting = accept(std::mem::take(&mut self.sockets), &self.broker, &stopped);
        let mut running = Running {
            broker: Arc::clone(&self.broker),
            listeners: self.place.bound.clone(),
            stop,
            accepting,
            keeping: Vec::new(),
            lifecycle: None,
        };
        match self.take_place(&mut running, &stopped).await {
            Ok(()) => Ok(running),
            Err(error) => {
                running.stop().await;
                Err(error)
            }
        }
    }

    async fn take_place(
        &self,
        running: &mut Running,
        stopped: &watch::Receiver<bool>,
    ) -> Result<(), StartError> {
        let broker = &self.broker;
        if let Some(at) = self.place.address(&self.config) {
            broker.quorum().set_address(&at.host, at.port);
        }
        let id = Arc::clone(&broker.parts.identity.cluster_id);
        let links = Arc::clone(broker.peers().links());
        broker.quorum().start(Arc::new(QuorumTransport::new(links, broker.node_id(), id)));
        if self.config.roles.controller {
            running.keeping.push(broker.active_controller().start(stopped));
            let watch = cluster::watch_as_controller(Arc::clone(broker), stopped.clone());
            running.keeping.push(until(stopped, watch));
        }
        self.join().await?;
        if self.config.roles.controller {
            let incarnation = Uuid::from_random(broker.random().bytes16());
            let endpoints = self.place.controller_endpoints.clone();
            let keep = cluster::keep_registered(Arc::clone(broker), incarnation, endpoints);
            running.keeping.push(until(stopped, keep));
        }
        if !self.config.roles.broker {
            return Ok(());
        }
        let registration = self.registration();
        broker.active_controller().set_incarnation(registration.incarnation_id);
        let epoch = registration.register(broker).await?;
        broker.replicas().logs().set_broker_epoch(epoch.get());
        registration.arrive(broker).await;
        self.host().await?;
        running.lifecycle = Some(Lifecycle::start(broker, registration.clone(), epoch));
        running.keeping.extend(housekeeping::start(broker, stopped));
        registration.unfenced(broker).await;
        broker.open();
        info!(%epoch, "the broker is part of its cluster");
        Ok(())
    }

    /// Learns which cluster this is, and notes it in the directories.
    async fn join(&self) -> Result<(), StartError> {
        let quorum = self.broker.quorum();
        let learned = async {
            loop {
                let learned = task::timeout(COMPLAINT, quorum.wait_for_cluster_id()).await;
                match learned {
                    Ok(id) => return id,
                    Err(_) => warn!(
                        "still waiting for the metadata quorum: are enough of controller.quorum.voters running, and reached at the addresses given there?"
                    ),
                }
            }
        };
        let id = match (self.config.roles.controller, self.registration_patience()) {
            // Controllers wait for each other.
            (true, _) => learned.await,
            (false, after) => task::timeout(after, learned).await.map_err(|_| {
                let last = "the metadata quorum was not reached".to_owned();
                JoinError::NoController { after, last }
            })?,
        };
        let broker = Arc::clone(&self.broker);
        let join = move || storage::join(&broker.parts.identity, broker.replicas(), &id);
        Ok(task::spawn_blocking(join).await.map_err(std::io::Error::other)??)
    }

    /// Opens the logs after the newest metadata and has everyone follow what is committed. Whether the run before was killed.
    async fn host(&self) -> Result<bool, StartError> {
        let Some(image) = self.hosting.begin() else { return Ok(false) };
        let (broker, newest) = (Arc::clone(&self.broker), Arc::clone(&image));
        let host =
            move || storage::host(broker.replicas(), broker.node_id(), &broker.config(), &newest);
        let unclean = task::spawn_blocking(host).await.map_err(std::io::Error::other)?;
        let broker = &self.broker;
        let replicas = Arc::clone(broker.replicas());
        let groups = FollowMetadata::new(Arc::clone(broker.groups()), Arc::clone(&replicas));
        groups.start(&image);
        broker.groups().start_timers();
        let transactions = transactions::FollowMetadata::new(
            Arc::clone(broker.transactions()),
            Arc::clone(&replicas),
        );
        // The image itself; then the shards.
        transactions.committed(&image, &ImageDelta::default());
        transactions.refresh(&image);
        broker.transactions().start_timers();
        self.hosting.follow(vec![replicas as _, groups as _, transactions as _]);
        Ok(unclean)
    }

    fn registration_patience(&self) -> Duration {
        let ms = self.config.cluster.initial_registration_timeout_ms;
        Duration::from_millis(u64::try_from(ms).unwrap_or_default())
    }

    fn registration(&self) -> Registration {
        Registration {
            incarnation_id: Uuid::from_random(self.broker.random().bytes16()),
            endpoints: self.place.endpoints.clone(),
            features: supported_features(),
            rack: self.config.node.rack.clone(),
            previous_epoch: self.broker.parts.identity.previous_epoch,
        }
    }
}

/// Begins to accept on every socket.
fn accept(
    sockets: Vec<Socket>,
    broker: &Arc<Broker>,
    stopped: &watch::Receiver<bool>,
) -> Vec<task::JoinHandle<()>> {
    let run =
        |socket: Socket| task::spawn(socket.listener.run(Arc::clone(broker), stopped.clone()));
    sockets.into_iter().map(run).collect()
}

/// Runs `work` until the node stops.
fn until(
    stopped: &watch::Receiver<bool>,
    work: impl Future<Output = ()> + Send + 'static,
) -> task::JoinHandle<()> {
    let mut stopped = stopped.clone();
    task::spawn(async move {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = work => {}
        }
    })
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

    /// Stops: leaders moved to other brokers, no new requests, logs closed, so that the next start needs no recovery.
    pub async fn stop(self) {
        let Self { broker, stop, accepting, keeping, lifecycle, .. } = self;
        if let Some(lifecycle) = lifecycle {
            lifecycle.leave(broker.config().cluster.controlled_shutdown_enable).await;
        }
        // While the others still reach this node, and its clients are told of the next controller.
        broker.quorum().hand_over().await;
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

/// Makes a broker without others known: clients may be told of it, partitions may be led by it.
async fn register_alone(
    broker: &Arc<Broker>,
    registration: &Registration,
    unclean: bool,
) -> Result<(), StartError> {
    let command = RegisterBroker {
        id: broker.node_id(),
        incarnation_id: registration.incarnation_id,
        endpoints: registration.endpoints.clone(),
        features: registration.features.clone(),
        rack: registration.rack.clone(),
        log_dirs: broker.replicas().logs().online_ids(),
        unfenced: true,
        defaults: ElectionDefaults::of(&broker.config()),
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

fn supported_features() -> Vec<SupportedFeature> {
    let feature =
        |(name, min, max): (&str, i16, i16)| SupportedFeature { name: name.into(), min, max };
    features::supported().map(feature).collect()
}
