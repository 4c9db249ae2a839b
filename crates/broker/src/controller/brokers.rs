//! Brokers that register, are heard from, stop, and are gone.

use millstream_base::{BrokerEpoch, NodeId};
use millstream_metadata::decide::{
    BrokerChange, Heartbeat, HeartbeatReply, RegisterBroker, Registered, change_broker,
    register_broker, unregister_broker,
};
use millstream_metadata::{BrokerRegistration, ClusterImage};
use millstream_quorum::{CommitError, Turn};
use tracing::{info, warn};

use super::ActiveController;

impl ActiveController {
    /// Registers a broker; `command` needs neither `other_is_alive` nor `defaults`.
    ///
    /// # Errors
    /// [`CommitError`]: `NOT_CONTROLLER`, `DUPLICATE_BROKER_REGISTRATION`, `UNSUPPORTED_VERSION`, `INVALID_REGISTRATION`.
    pub(crate) async fn register(
        &self,
        mut command: RegisterBroker,
    ) -> Result<Registered, CommitError> {
        self.check_active()?;
        let id = command.id;
        command.defaults = self.defaults();
        let known = self.quorum.image().broker(id).map(|broker| broker.epoch);
        command.other_is_alive = match self.incarnation.get() {
            Some(mine) if id == self.me => *mine != command.incarnation_id,
            _ => known.is_some_and(|epoch| self.heartbeats.lock().is_alive(id, epoch, self.now())),
        };
        let decide = move |image: &ClusterImage, turn: &Turn| {
            register_broker(image, &command, turn.next_offset)
        };
        let registered = self.quorum.execute(decide).await?;
        self.heartbeats.lock().registered(id, registered.epoch, self.now());
        self.settle_rest(registered.settled).await?;
        info!(broker = %id, epoch = %registered.epoch, "a broker is registered");
        Ok(registered)
    }

    /// Takes a heartbeat; `heartbeat` needs neither `may_end` nor `defaults`. One that changes nothing writes nothing.
    ///
    /// # Errors
    /// [`CommitError`]: `NOT_CONTROLLER`, `STALE_BROKER_EPOCH`.
    pub(crate) async fn heartbeat(
        &self,
        mut heartbeat: Heartbeat,
    ) -> Result<HeartbeatReply, CommitError> {
        self.check_active()?;
        let (id, epoch, applied) = (heartbeat.id, heartbeat.epoch, heartbeat.applied);
        let image = self.quorum.image();
        heartbeat.defaults = self.defaults();
        heartbeat.may_end = heartbeat.want_shut_down && self.may_end(&image, id);
        let now = self.now();
        let unchanged = heartbeat.decide(&image).map_err(CommitError::Refused)?;
        self.heartbeats.lock().heard(id, epoch, applied, now);
        if unchanged.records.is_empty() {
            return Ok(unchanged.reply);
        }
        let decide = move |image: &ClusterImage, _: &Turn| heartbeat.decide(image);
        let reply = self.quorum.execute(decide).await?;
        self.settle_rest(reply.settled).await?;
        self.tell(&image, id, &reply);
        Ok(reply)
    }

    /// Says what a heartbeat changed; `before` is the image that it met.
    fn tell(&self, before: &ClusterImage, id: NodeId, reply: &HeartbeatReply) {
        let moved = reply.settled.changed;
        let was =
            |what: fn(&BrokerRegistration) -> bool| before.broker(id).is_some_and(|b| what(b));
        let (was_fenced, was_stopping) = (was(|b| b.fenced), was(|b| b.in_controlled_shutdown));
        if reply.should_shut_down {
            info!(broker = %id, moved, "a broker may stop now");
        } else if reply.is_stopping {
            // What every other broker has to know before this one ends is on disk now.
            let last = self.quorum.applied().plus(-1);
            self.heartbeats.lock().stops_after(id, last, self.now());
            if !was_stopping || moved > 0 {
                info!(broker = %id, moved, "a broker is about to stop; others lead its partitions");
            }
        } else if reply.is_fenced != was_fenced {
            let now = if reply.is_fenced { "fenced as it asked for" } else { "unfenced" };
            info!(broker = %id, moved, "a broker is {now}");
        } else {
            info!(broker = %id, moved, "a broker's log directories changed");
        }
    }

    /// Whether the others know who leads in place of a broker that stops.
    fn may_end(&self, image: &ClusterImage, id: NodeId) -> bool {
        let status = self.quorum.status();
        let mut heartbeats = self.heartbeats.lock();
        for replica in status.voters.iter().chain(&status.observers) {
            heartbeats.replicated(replica.peer.id, replica.log_end_offset.plus(-1));
        }
        heartbeats.may_end(image, id, self.now())
    }

    /// Takes a broker out of the cluster for good.
    ///
    /// # Errors
    /// [`CommitError`]: `NOT_CONTROLLER`, `BROKER_ID_NOT_REGISTERED`.
    pub(crate) async fn unregister(&self, id: NodeId) -> Result<(), CommitError> {
        self.check_active()?;
        let defaults = self.defaults();
        let decide = move |image: &ClusterImage, _: &Turn| unregister_broker(image, defaults, id);
        let settled = self.quorum.execute(decide).await?;
        self.heartbeats.lock().forget(id);
        info!(broker = %id, moved = settled.changed, "a broker is unregistered");
        // One that votes stays until it is removed as a voter.
        if let Err(error) = self.quorum.remove_observer(id).await {
            warn!(broker = %id, %error, "the metadata log is still sent to a broker that was unregistered");
        }
        self.settle_rest(settled).await
    }

    /// The broker's process is known to be gone (its connections closed, a new one was refused): it is fenced at once
    /// instead of after `broker.session.timeout.ms`. Of no effect where this node is not the active controller.
    pub(crate) async fn broker_is_gone(&self, id: NodeId) {
        if id == self.me || !self.is_active() {
            return;
        }
        self.heartbeats.lock().forget(id);
        let image = self.quorum.image();
        let Some(broker) = image.broker(id).filter(|broker| !broker.fenced) else { return };
        let (epoch, why) = (broker.epoch, "its process is gone");
        self.fence(id, epoch, why).await;
    }

    /// The connection over which the broker's heartbeats came is closed: its id is free for another process, should one ask.
    pub(crate) fn broker_hung_up(&self, id: NodeId) {
        self.heartbeats.lock().hung_up(id);
    }

    /// Fences a broker, if it is still registered at that epoch.
    pub(super) async fn fence(&self, id: NodeId, epoch: BrokerEpoch, why: &str) {
        let defaults = self.defaults();
        let decide = move |image: &ClusterImage, _: &Turn| {
            change_broker(image, defaults, id, epoch, BrokerChange::Fence)
        };
        match self.quorum.execute(decide).await {
            Ok(settled) => {
                warn!(broker = %id, moved = settled.changed, "a broker is fenced: {why}");
                if let Err(error) = self.settle_rest(settled).await {
                    warn!(broker = %id, %error, "not all of its partitions were moved; they are looked for again");
                    self.wake.notify_one();
                }
            }
            Err(CommitError::Refused(_)) => {}
            Err(error) => {
                warn!(broker = %id, %error, "a broker that is silent could not be fenced");
            }
        }
    }
}
