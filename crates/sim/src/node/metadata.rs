//! Roles after the metadata.

use std::sync::Arc;

use millstream_base::{NodeId, Offset, Uuid};
use millstream_metadata::{ClusterImage, Partition};
use millstream_partition::{FollowerState, LeaderState, MetadataOutcome, PartitionInfo};

use super::replica::{Replica, Role};
use super::{Context, Node};
use crate::controller::partition_of;
use crate::scenario::Bug;

impl Node {
    /// The metadata log has been read up to `upto`.
    pub(crate) fn on_metadata(
        &mut self,
        upto: usize,
        image: Arc<ClusterImage>,
        ctx: &mut Context<'_>,
    ) {
        if upto <= self.applied {
            return;
        }
        (self.applied, self.image) = (upto, image);
        // Until it is registered under its own incarnation, a process acts by no metadata: what it says of this broker
        // is about the process before.
        let mut incarnation = [0; 16];
        incarnation[..8].copy_from_slice(&self.incarnation.to_be_bytes());
        let own = self.image.broker(self.id).map(|broker| broker.incarnation_id);
        if own == Some(Uuid(incarnation)) {
            self.apply_roles(ctx);
        }
    }

    pub(super) fn apply_roles(&mut self, ctx: &mut Context<'_>) {
        let Some(topic) = self.image.topics.get_by_id(crate::controller::TOPIC) else { return };
        let partitions: Vec<i32> = topic.partitions.keys().map(|index| index.get()).collect();
        for partition in partitions {
            let Some(wanted) = partition_of(&self.image, partition).cloned() else { continue };
            if !wanted.has_replica(self.id) {
                self.fail_waiting(partition, ctx);
                self.replicas.remove(&partition);
                continue;
            }
            self.replicas.entry(partition).or_insert_with(Replica::new);
            match wanted.leader {
                Some(leader) if leader == self.id => self.lead(partition, &wanted, ctx),
                Some(leader) => self.follow(partition, leader, &wanted, ctx),
                None => self.idle(partition, ctx),
            }
        }
    }

    fn lead(&mut self, partition: i32, wanted: &Partition, ctx: &mut Context<'_>) {
        let now = self.local(ctx.now_us);
        let info = PartitionInfo {
            leader_epoch: wanted.leader_epoch,
            partition_epoch: wanted.partition_epoch,
            replicas: wanted.replicas.clone(),
            isr: wanted.isr.clone(),
            adding: wanted.adding.clone(),
            removing: wanted.removing.clone(),
        };
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let epoch = info.leader_epoch;
        let who = (self.id, partition);
        match &mut replica.role {
            Role::Leader { state, .. } => match state.on_metadata(info, now) {
                MetadataOutcome::NewEpoch(_) => {
                    replica.log.begin_epoch(epoch);
                    ctx.checker.on_leader(who, epoch.get(), &replica.log);
                }
                MetadataOutcome::Stale | MetadataOutcome::Updated(_) => {}
            },
            Role::Idle | Role::Follower { .. } => {
                let state = LeaderState::new(self.id, info, self.settings, replica.position(), now);
                replica.log.begin_epoch(epoch);
                replica.role =
                    Role::Leader { state: Box::new(state), waiting: Vec::new(), proposed: None };
                ctx.checker.on_leader(who, epoch.get(), &replica.log);
            }
        }
        self.drop_old_proposal(partition);
        self.after_leading(partition, ctx);
    }

    fn follow(
        &mut self,
        partition: i32,
        leader: NodeId,
        wanted: &Partition,
        ctx: &mut Context<'_>,
    ) {
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        if let Role::Follower { state, .. } = &replica.role
            && (state.leader(), state.leader_epoch()) == (leader, wanted.leader_epoch)
        {
            return;
        }
        self.fail_waiting(partition, ctx);
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        if self.bug == Some(Bug::TruncateToHighWatermark) {
            replica.log.truncate_to(replica.high_watermark);
            ctx.checker.cut = true;
        }
        let mut position = replica.position();
        position.high_watermark = Offset(replica.high_watermark).min(position.end);
        let state = FollowerState::new(leader, wanted.leader_epoch, position);
        replica.role = Role::Follower { state, fetch: None };
    }

    fn idle(&mut self, partition: i32, ctx: &mut Context<'_>) {
        self.fail_waiting(partition, ctx);
        if let Some(replica) = self.replicas.get_mut(&partition) {
            replica.role = Role::Idle;
        }
    }
}
