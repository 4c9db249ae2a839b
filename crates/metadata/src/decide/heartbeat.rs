//! BrokerHeartbeat (API key 63): what a broker's heartbeat changes, and what it is told.
//!
//! Key type: [`Heartbeat`]. A broker is fenced, unfenced, stopping (KIP-841: it leads nothing, and waits until the others
//! know) or free to end. A heartbeat that changes nothing gives no records, so it costs no write.

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, Offset, Uuid};
use millstream_wire::stored::BrokerRegistrationChangeRecord;

use super::brokers::{BrokerChange, change_broker, check_epoch};
use super::directories::fail_directories;
use super::rules::ElectionDefaults;
use super::settle::{Settled, leads_any};
use super::{Decision, Refusal};
use crate::image::{BrokerRegistration, ClusterImage};
use crate::record::MetadataRecord;

/// What a broker says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// The broker.
    pub id: NodeId,
    /// Its broker epoch.
    pub epoch: BrokerEpoch,
    /// The last offset of the metadata log that it has applied.
    pub applied: Offset,
    /// It does not want to lead.
    pub want_fence: bool,
    /// It wants to stop.
    pub want_shut_down: bool,
    /// Its directories that are out of service.
    pub offline_dirs: Vec<Uuid>,
    /// Its directories that take no new replicas; `None` where it does not say.
    pub cordoned_dirs: Option<Vec<Uuid>>,
    /// Everybody who is active knows who leads in place of this broker, which is stopping.
    pub may_end: bool,
    /// The controller's own settings.
    pub defaults: ElectionDefaults,
}

/// What the broker is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// It has applied its own registration.
    pub is_caught_up: bool,
    /// It may not lead.
    pub is_fenced: bool,
    /// It is on its way down: its partitions are led by others.
    pub is_stopping: bool,
    /// It can end now.
    pub should_shut_down: bool,
    /// What became of the partitions.
    pub settled: Settled,
}

impl Heartbeat {
    /// Decides what changes.
    ///
    /// # Errors
    /// `STALE_BROKER_EPOCH` when the broker is not registered at that epoch: it must register anew.
    pub fn decide(&self, image: &ClusterImage) -> Result<Decision<HeartbeatReply>, Refusal> {
        check_epoch(image, self.id, self.epoch).map_err(|refusal| Refusal {
            code: ErrorCode::StaleBrokerEpoch,
            message: refusal.message,
        })?;
        let Some(broker) = image.broker(self.id) else {
            return Ok(Decision::reply(HeartbeatReply::default()));
        };
        let is_caught_up = self.applied.get() >= self.epoch.get();
        let (change, should_shut_down) = self.next(image, broker, is_caught_up);
        let decision = match change {
            Some(change) => change_broker(image, self.defaults, self.id, self.epoch, change)?,
            None => self.directories(image, broker),
        };
        let Decision { mut records, reply: settled } = decision;
        records.extend(self.cordon(broker));
        let is_fenced = match change {
            Some(BrokerChange::Fence) => true,
            Some(BrokerChange::Unfence) => false,
            Some(BrokerChange::ControlledShutdown) | None => broker.fenced,
        };
        let is_stopping =
            broker.in_controlled_shutdown || change == Some(BrokerChange::ControlledShutdown);
        let reply =
            HeartbeatReply { is_caught_up, is_fenced, is_stopping, should_shut_down, settled };
        Ok(Decision { records, reply })
    }

    /// What changes about the broker, and whether it can end.
    fn next(
        &self,
        image: &ClusterImage,
        broker: &BrokerRegistration,
        is_caught_up: bool,
    ) -> (Option<BrokerChange>, bool) {
        if broker.fenced {
            if self.want_shut_down {
                return (None, true);
            }
            let unfence = !self.want_fence && is_caught_up;
            return (unfence.then_some(BrokerChange::Unfence), false);
        }
        if broker.in_controlled_shutdown {
            let is_free = self.may_end && !leads_any(image, self.id);
            return (is_free.then_some(BrokerChange::Fence), is_free);
        }
        match (self.want_fence, self.want_shut_down) {
            (true, ends) => (Some(BrokerChange::Fence), ends),
            (false, true) if leads_any(image, self.id) => {
                (Some(BrokerChange::ControlledShutdown), false)
            }
            (false, true) => (Some(BrokerChange::Fence), true),
            (false, false) => (None, false),
        }
    }

    /// Directories that failed since the last heartbeat.
    fn directories(&self, image: &ClusterImage, broker: &BrokerRegistration) -> Decision<Settled> {
        let is_online = |dir: &&Uuid| !self.offline_dirs.contains(dir);
        let online: Vec<Uuid> = broker.log_dirs.iter().filter(is_online).copied().collect();
        if online.len() == broker.log_dirs.len() {
            return Decision::reply(Settled::default());
        }
        fail_directories(image, self.defaults, self.id, &online)
    }

    fn cordon(&self, broker: &BrokerRegistration) -> Option<MetadataRecord> {
        let wanted = self.cordoned_dirs.as_ref()?;
        let known = broker.cordoned_log_dirs.as_deref().unwrap_or_default();
        (wanted != known).then(|| {
            MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
                broker_id: self.id.get(),
                broker_epoch: self.epoch.get(),
                cordoned_log_dirs: Some(wanted.clone()),
                ..BrokerRegistrationChangeRecord::default()
            })
        })
    }
}
