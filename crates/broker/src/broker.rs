//! The broker as a whole: what its parts share, how it starts and how it stops.
//!
//! Key types: [`Broker`] (shared by every connection) and [`Running`] (a started broker, to be stopped). Start order: directories
//! checked and locked, logs recovered, metadata replayed, replicas hosted, coordinators loading, listeners open. Stop
//! is the reverse; a log that was closed needs no recovery.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use millstream_base::{NodeId, Uuid};
use millstream_config::BrokerConfig;
use millstream_env::clock::Clock;
use millstream_env::random::Random;
use millstream_metadata::ClusterImage;
use millstream_quorum::{Leadership, Quorum};
use tokio::sync::watch;

use crate::authorizer::{AllowAll, Authorizer};
use crate::cluster::{ControllerChannel, Controllers, Links, Peers};
use crate::controller::ActiveController;
use crate::coordinator::GroupCoordinator;
use crate::fetch::SessionCache;
use crate::producer_ids::ProducerIds;
use crate::replica::Replicas;
use crate::storage::Identity;
use crate::transactions::{Surroundings, TransactionCoordinator};

/// What a listener is bound to.
#[derive(Debug, Clone)]
pub struct BoundListener {
    /// Its name in the settings.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What all connections share.
#[derive(Debug)]
pub struct Broker {
    pub(crate) parts: Parts,
    sessions: SessionCache,
    groups: Arc<GroupCoordinator>,
    transactions: Arc<TransactionCoordinator>,
    producer_ids: ProducerIds,
    active_controller: Arc<ActiveController>,
    authorizer: Box<dyn Authorizer>,
    peers: Peers,
    controllers: Controllers,
    leadership: watch::Receiver<Leadership>,
    /// Clients are served.
    open: watch::Sender<bool>,
    me: Weak<Self>,
}

/// What a broker is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub node_id: NodeId,
    pub identity: Identity,
    pub config: Arc<ArcSwap<BrokerConfig>>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub quorum: Quorum,
    pub replicas: Arc<Replicas>,
}

impl Broker {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let slots = parts.config.load().node.max_incremental_fetch_session_cache_slots;
        let sessions = SessionCache::new(usize::try_from(slots).unwrap_or_default());
        let groups = GroupCoordinator::new(
            parts.node_id,
            Arc::clone(&parts.config),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.random),
        );
        let listener = parts.config.load().inter_broker_listener.as_str().into();
        let peers = Peers::new(links(&parts), parts.quorum.clone(), listener);
        let transactions = TransactionCoordinator::new(Surroundings {
            me: parts.node_id,
            config: Arc::clone(&parts.config),
            clock: Arc::clone(&parts.clock),
            image: parts.quorum.image(),
            replicas: Arc::clone(&parts.replicas),
            groups: Arc::clone(&groups),
        });
        let controllers = Controllers::new(&parts.config.load());
        let leadership = parts.quorum.leadership();
        let active_controller = ActiveController::new(
            parts.node_id,
            parts.quorum.clone(),
            Arc::clone(&parts.config),
            Arc::clone(&parts.clock),
        );
        let broker = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            peers,
            controllers,
            leadership,
            open: watch::Sender::new(false),
            parts,
            sessions,
            groups,
            transactions,
            producer_ids: ProducerIds::default(),
            active_controller,
            authorizer: Box::new(AllowAll),
        });
        broker.transactions.set_broker(Arc::downgrade(&broker));
        broker
    }

    /// This broker's id.
    pub(crate) fn node_id(&self) -> NodeId {
        self.parts.node_id
    }

    /// The cluster's id; empty while a node that joins has not learned it.
    pub(crate) fn cluster_id(&self) -> &str {
        let known = &self.parts.identity.cluster_id;
        if known.get().is_none()
            && let Some(agreed) = self.parts.quorum.cluster_id()
        {
            // Learned by another thread at the same time, it is the same.
            let _ = known.set(agreed.to_string());
        }
        known.get().map_or("", String::as_str)
    }

    /// Whether clients are served: the broker has taken its place in the cluster.
    pub(crate) fn is_open(&self) -> bool {
        *self.open.borrow()
    }

    /// Serves clients from now on.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Who leads the metadata quorum.
    pub(crate) fn leadership(&self) -> &watch::Receiver<Leadership> {
        &self.leadership
    }

    /// Whether this node decides about metadata now.
    pub(crate) fn is_active_controller(&self) -> bool {
        self.leadership.borrow().is_me
    }

    /// Where the controllers are.
    pub(crate) fn controllers(&self) -> &Controllers {
        &self.controllers
    }

    /// The data directories and their ids.
    pub(crate) fn directories(&self) -> &[(PathBuf, Uuid)] {
        &self.parts.identity.directories
    }

    /// The settings as they are now, run-time changes included.
    pub(crate) fn config(&self) -> Guard<Arc<BrokerConfig>> {
        self.parts.config.load()
    }

    /// The wall clock and the monotonic one.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.parts.clock
    }

    /// Random ids.
    pub(crate) fn random(&self) -> &dyn Random {
        &*self.parts.random
    }

    /// The cluster's metadata, to change it.
    pub(crate) fn quorum(&self) -> &Quorum {
        &self.parts.quorum
    }

    /// The cluster's metadata, to read it.
    pub(crate) fn image(&self) -> Arc<ClusterImage> {
        self.parts.quorum.image()
    }

    /// The partitions hosted here.
    pub(crate) fn replicas(&self) -> &Arc<Replicas> {
        &self.parts.replicas
    }

    /// Incremental fetch sessions.
    pub(crate) fn fetch_sessions(&self) -> &SessionCache {
        &self.sessions
    }

    /// Consumer groups whose coordinator this broker is.
    pub(crate) fn groups(&self) -> &Arc<GroupCoordinator> {
        &self.groups
    }

    /// Ids for idempotent producers.
    pub(crate) fn producer_ids(&self) -> &ProducerIds {
        &self.producer_ids
    }

    /// Transactional ids whose coordinator this broker is.
    pub(crate) fn transactions(&self) -> &Arc<TransactionCoordinator> {
        &self.transactions
    }

    /// The way to the active controller: what the broker changes about metadata for itself goes through it.
    pub(crate) fn controller(&self) -> ControllerChannel {
        ControllerChannel::new(Weak::clone(&self.me))
    }

    /// The other brokers, to call them.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// What this node does while it is the active controller.
    pub(crate) fn active_controller(&self) -> &Arc<ActiveController> {
        &self.active_controller
    }

    /// Who decides what a principal may do.
    pub(crate) fn authorizer(&self) -> &dyn Authorizer {
        &*self.authorizer
    }

    /// Whether a client that expects this cluster and node has come to the right place (KIP-1242).
    pub(crate) fn is_meant(&self, cluster_id: Option<&str>, node_id: i32) -> bool {
        cluster_id.is_none_or(|id| id == self.cluster_id())
            && (node_id < 0 || node_id == self.node_id().get())
    }
}

/// Connections to the other nodes; none is open yet.
fn links(parts: &Parts) -> Arc<Links> {
    /// An answer may be larger than was asked for by one batch.
    const ROOM: usize = 128 << 20;
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    Arc::new(Links::new(format!("broker-{}", parts.node_id), CONNECT_TIMEOUT, ROOM))
}
