//! This broker's registration with the cluster: what it says of itself, and until when it tries.
//!
//! Key types: [`Registration`] and [`JoinError`].

use std::sync::Arc;
use std::time::Duration;

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, Uuid};
use millstream_env::task::{self, Instant};
use millstream_metadata::{Endpoint, SupportedFeature};
use millstream_wire::messages::broker_registration::{
    BrokerRegistrationRequest, Feature, Listener,
};
use tracing::{info, warn};

use super::error::ControllerError;
use crate::broker::Broker;

/// One try to reach the controller.
const TRY: Duration = Duration::from_secs(5);
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// What a broker says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    /// Drawn anew by every process.
    pub incarnation_id: Uuid,
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// What it can work with.
    pub features: Vec<SupportedFeature>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// The epoch of the run before, if that stopped cleanly.
    pub previous_epoch: Option<i64>,
}

/// Why a broker does not come into its cluster.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JoinError {
    /// Another process has this broker's id.
    #[error(
        "another broker is registered as node {id} and alive: give each node of the cluster a node.id of its own, or stop that one"
    )]
    Duplicate {
        /// The id.
        id: NodeId,
    },
    /// The controllers belong to another cluster.
    #[error(
        "the controllers belong to another cluster than {ours}, which the data directory names: set controller.quorum.voters to those of that cluster, or name another directory"
    )]
    OtherCluster {
        /// The data directory's cluster.
        ours: String,
    },
    /// The controller refuses this broker.
    #[error("the controller refuses this broker with {code}: see its log for the reason")]
    Refused {
        /// Its answer.
        code: &'static str,
    },
    /// No controller was there in time.
    #[error(
        "no controller took the registration within initial.broker.registration.timeout.ms ({after:?}): {last}"
    )]
    NoController {
        /// How long it was tried.
        after: Duration,
        /// What the last try came to.
        last: String,
    },
}

impl Registration {
    /// Registers until a controller takes it.
    pub(crate) async fn register(&self, broker: &Arc<Broker>) -> Result<BrokerEpoch, JoinError> {
        let config = broker.config().clone();
        let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or_default());
        let patience = millis(config.cluster.initial_registration_timeout_ms);
        // After a kill the run before is alive for the controller until its session ends.
        let session = millis(config.cluster.broker_session_timeout_ms);
        let began = Instant::now();
        let mut duplicate = None;
        loop {
            let answer = broker.controller().call_within(self.request(broker), TRY).await;
            let last = match answer.map(|answer| (answer.error_code, answer.broker_epoch)) {
                Ok((0, epoch)) => return Ok(BrokerEpoch(epoch)),
                Ok((code, _)) => match ErrorCode::from_code(code) {
                    Some(ErrorCode::DuplicateBrokerRegistration) => {
                        let since = *duplicate.get_or_insert_with(|| {
                            info!("an earlier run of this broker still counts as alive; waiting until it does not");
                            Instant::now()
                        });
                        if since.elapsed() > session + session / 2 {
                            return Err(JoinError::Duplicate { id: broker.node_id() });
                        }
                        task::sleep(PAUSE).await;
                        continue;
                    }
                    Some(ErrorCode::InconsistentClusterId) => {
                        let ours = broker.cluster_id().to_owned();
                        return Err(JoinError::OtherCluster { ours });
                    }
                    Some(code) if code.is_retriable() => code.name().to_owned(),
                    other => {
                        let code = other.map_or("an unknown error", ErrorCode::name);
                        return Err(JoinError::Refused { code });
                    }
                },
                Err(error) => {
                    if !matches!(error, ControllerError::Stopping) {
                        warn!(%error, "the broker cannot register yet");
                    }
                    error.to_string()
                }
            };
            if began.elapsed() > patience {
                return Err(JoinError::NoController { after: patience, last });
            }
            task::sleep(PAUSE).await;
        }
    }

    fn request(&self, broker: &Broker) -> BrokerRegistrationRequest {
        let listener = |endpoint: &Endpoint| Listener {
            name: (&endpoint.name).into(),
            host: (&endpoint.host).into(),
            port: endpoint.port,
            security_protocol: endpoint.security_protocol,
        };
        let feature = |feature: &SupportedFeature| Feature {
            name: (&feature.name).into(),
            min_supported_version: feature.min,
            max_supported_version: feature.max,
        };
        BrokerRegistrationRequest {
            broker_id: broker.node_id().get(),
            cluster_id: broker.cluster_id().into(),
            incarnation_id: self.incarnation_id,
            listeners: self.endpoints.iter().map(listener).collect(),
            features: self.features.iter().map(feature).collect(),
            rack: self.rack.as_deref().map(Into::into),
            log_dirs: broker.replicas().logs().online_ids(),
            previous_broker_epoch: self.previous_epoch.unwrap_or(-1),
            ..Default::default()
        }
    }

    /// Waits until the metadata here has this registration, and so everything before it.
    pub(crate) async fn arrive(&self, broker: &Broker) {
        let mut images = broker.quorum().watch();
        let (me, incarnation) = (broker.node_id(), self.incarnation_id);
        let arrived = images.wait_for(|image| {
            image.broker(me).is_some_and(|broker| broker.incarnation_id == incarnation)
        });
        drop(arrived.await);
    }

    /// Waits until the cluster lets this broker lead and be seen.
    pub(crate) async fn unfenced(&self, broker: &Broker) {
        let mut images = broker.quorum().watch();
        let me = broker.node_id();
        drop(images.wait_for(|image| image.broker(me).is_some_and(|it| !it.fenced)).await);
    }
}
