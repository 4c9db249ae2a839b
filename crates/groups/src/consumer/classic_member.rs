//! Members of a consumer group that still speak the classic protocol (KIP-848, online migration).
//!
//! Their generation is their member epoch. JoinGroup takes the next step and answers at once, SyncGroup hands out what the
//! member has, Heartbeat says REBALANCE_IN_PROGRESS while there is a step to take.

use std::sync::Arc;

use bytes::Bytes;
use millstream_base::ErrorCode;

use super::change::Change;
use super::migrate;
use super::state::{ClassicMetadata, ConsumerGroup, ConsumerMember, MemberState};
use super::topics::Topics;
use crate::classic::{CONSUMER, own_protocols};
use crate::config::GroupConfig;
use crate::effect::{After, Decided, JoinResponse, RequestToken, Response, SyncResponse};
use crate::request::{Heartbeat, JoinGroup, Now, Protocol, SyncGroup};

/// Who joins, whose place it takes, and whether it has an id of its own already.
struct Joining {
    member: ConsumerMember,
    replaced: Option<ConsumerMember>,
}

impl ConsumerGroup {
    /// JoinGroup to a consumer group: answered at once.
    pub(crate) fn join_classic(
        &self,
        now: Now,
        request: &JoinGroup,
        token: RequestToken,
        topics: &dyn Topics,
        config: &GroupConfig,
    ) -> Decided<()> {
        // A classic member waits for its generation's partitions, so that its join is not gathered with others.
        let mut change = Change::new(self, topics, now, config);
        let mut decided = Decided::reply(());
        match self.join_classic_checked(request, &mut change) {
            Ok((joined, after)) => {
                decided.replies.push((token, Response::Join(joined)));
                decided.after = after;
                decided.after.push(change.seen());
                decided.records = change.records;
            }
            Err((member_id, error)) => {
                let refused = JoinResponse::error(&member_id, error);
                decided.replies.push((token, Response::Join(refused)));
            }
        }
        decided
    }

    fn join_classic_checked(
        &self,
        request: &JoinGroup,
        change: &mut Change<'_>,
    ) -> Result<(JoinResponse, Vec<After>), (Arc<str>, ErrorCode)> {
        let told = Arc::clone(&request.member_id);
        let refuse = |error| (Arc::clone(&told), error);
        if !self.supports_classic(&request.protocol_type, &request.protocols) {
            return Err(refuse(ErrorCode::InconsistentGroupProtocol));
        }
        let Some(said) = migrate::subscription(&request.protocols) else {
            return Err(refuse(ErrorCode::InconsistentGroupProtocol));
        };
        let Joining { member, replaced } = self.joining(request)?;
        let old_id = replaced.as_ref().map(|old| &old.id);
        if let Some(old) = &replaced {
            change.replace(old, &member);
        }
        let known = self.members.get(&member.id);
        let before = if replaced.is_some() { Some(&member) } else { known };
        let updated = ConsumerMember {
            instance_id: request.instance_id.clone().or_else(|| member.instance_id.clone()),
            rack: said.rack_id.as_ref().map(Arc::from).or_else(|| member.rack.clone()),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            topics: said.topics.iter().map(Arc::from).collect(),
            regex: None,
            client: request.client.clone(),
            classic: Some(ClassicMetadata {
                session_timeout_ms: request.session_timeout_ms,
                protocols: own_protocols(&request.protocols),
            }),
            ..member.clone()
        };
        let resubscribed = change.describe(before, &updated).map_err(|error| refuse(error.code))?;
        change.bump(resubscribed, &format!("classic member {} joined", updated.id));
        let target = change.target_of(&updated.id, old_id);
        let owned = said.owned_partitions.iter().map(|it| (&it.topic, &it.partitions));
        let owned = migrate::to_ids(owned, change.topics);
        let next = change
            .step(before, updated, &target, Some(&owned), resubscribed, old_id)
            .map_err(|error| refuse(error.code))?;
        let first = request.protocols.first().map(|protocol| Arc::clone(&protocol.name));
        let joined = JoinResponse {
            generation: next.epoch,
            protocol_type: Some(CONSUMER.into()),
            protocol_name: first,
            ..JoinResponse::error(&next.id, ErrorCode::None)
        };
        // It must sync within its rebalance timeout.
        let must_sync = After::Rebalance {
            group_id: Arc::clone(&self.id),
            member_id: Arc::clone(&next.id),
            epoch: next.epoch,
            timeout_ms: Some(request.rebalance_timeout_ms.into()),
        };
        Ok((joined, vec![self.session(&next.id, request.session_timeout_ms), must_sync]))
    }

    fn joining(&self, request: &JoinGroup) -> Result<Joining, (Arc<str>, ErrorCode)> {
        let told = &request.member_id;
        let fresh = || {
            let prefix = request.instance_id.as_ref().unwrap_or(&request.client.id);
            crate::classic::member_id(prefix, request.random)
        };
        let Some(instance_id) = &request.instance_id else {
            if told.is_empty() && request.requires_known_member_id {
                return Err((fresh(), ErrorCode::MemberIdRequired));
            }
            let id = if told.is_empty() { fresh() } else { Arc::clone(told) };
            let member = self.members.get(&id).cloned();
            let member = member.unwrap_or_else(|| ConsumerMember::new(id));
            return Ok(Joining { member, replaced: None });
        };
        let known = self.static_members.get(instance_id).and_then(|id| self.members.get(id));
        match known {
            Some(known) if told.is_empty() => {
                let id = fresh();
                let member = ConsumerMember { id, epoch: 0, previous_epoch: 0, ..known.clone() };
                Ok(Joining { member, replaced: Some(known.clone()) })
            }
            Some(known) if known.id == *told => {
                Ok(Joining { member: known.clone(), replaced: None })
            }
            Some(_) => Err((Arc::clone(told), ErrorCode::FencedInstanceId)),
            None if told.is_empty() => {
                Ok(Joining { member: ConsumerMember::new(fresh()), replaced: None })
            }
            None => Err((Arc::clone(told), ErrorCode::UnknownMemberId)),
        }
    }

    /// Whether a classic member with these protocols can be beside the other classic members.
    fn supports_classic(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if protocol_type != CONSUMER || protocols.is_empty() {
            return false;
        }
        let classic = || self.members.values().filter_map(|member| member.classic.as_ref());
        protocols.iter().any(|wanted| {
            classic().all(|known| known.protocols.iter().any(|it| it.name == wanted.name))
        })
    }

    fn classic_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(&ConsumerMember, &ClassicMetadata), ErrorCode> {
        let member = self.member(member_id, instance_id)?;
        let classic = member.classic.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
        if member.epoch == generation {
            Ok((member, classic))
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    /// SyncGroup to a consumer group: what the member has.
    pub(crate) fn sync_classic(
        &self,
        request: &SyncGroup,
        token: RequestToken,
        topics: &dyn Topics,
    ) -> Decided<()> {
        let mut decided = Decided::reply(());
        let response = match self.sync_classic_checked(request, topics) {
            Ok((protocol, assignment, after)) => {
                decided.after = after;
                SyncResponse {
                    error: ErrorCode::None,
                    protocol_type: Some(CONSUMER.into()),
                    protocol_name: protocol,
                    assignment,
                }
            }
            Err((error, after)) => {
                decided.after = after;
                SyncResponse::error(error)
            }
        };
        decided.replies.push((token, Response::Sync(response)));
        decided
    }

    #[expect(clippy::type_complexity, reason = "what the one caller takes apart at once")]
    fn sync_classic_checked(
        &self,
        request: &SyncGroup,
        topics: &dyn Topics,
    ) -> Result<(Option<Arc<str>>, Bytes, Vec<After>), (ErrorCode, Vec<After>)> {
        let instance_id = request.instance_id.as_deref();
        let (member, classic) = self
            .classic_member(&request.member_id, instance_id, request.generation)
            .map_err(|error| (error, Vec::new()))?;
        let protocol = classic.protocols.first().map(|protocol| Arc::clone(&protocol.name));
        let other_type = request.protocol_type.as_deref().is_some_and(|it| it != CONSUMER);
        let other_name = request.protocol_name.is_some() && request.protocol_name != protocol;
        if other_type || other_name {
            return Err((ErrorCode::InconsistentGroupProtocol, Vec::new()));
        }
        if self.epoch > member.epoch && member.state != MemberState::UnrevokedPartitions {
            return Err((ErrorCode::RebalanceInProgress, self.must_join(member)));
        }
        let synced = After::Rebalance {
            group_id: Arc::clone(&self.id),
            member_id: Arc::clone(&member.id),
            epoch: member.epoch,
            timeout_ms: None,
        };
        let after = vec![self.session(&member.id, classic.session_timeout_ms), synced];
        Ok((protocol, migrate::assignment_bytes(member, topics), after))
    }

    /// The member has to join again within its rebalance timeout.
    fn must_join(&self, member: &ConsumerMember) -> Vec<After> {
        if self.has_rebalance_timer(&member.id) {
            return Vec::new();
        }
        vec![After::Rebalance {
            group_id: Arc::clone(&self.id),
            member_id: Arc::clone(&member.id),
            epoch: member.epoch,
            timeout_ms: Some(member.rebalance_timeout_ms.into()),
        }]
    }

    /// Heartbeat to a consumer group.
    pub(crate) fn heartbeat_classic(
        &self,
        request: &Heartbeat<'_>,
    ) -> (Result<(), ErrorCode>, Vec<After>) {
        let found = self.classic_member(request.member_id, request.instance_id, request.generation);
        let (member, classic) = match found {
            Ok(found) => found,
            Err(error) => return (Err(error), Vec::new()),
        };
        let mut after = vec![self.session(&member.id, classic.session_timeout_ms)];
        let must_join = member.epoch < self.epoch
            || member.state == MemberState::UnrevokedPartitions
            || (member.state == MemberState::UnreleasedPartitions && !self.waits(member));
        if must_join {
            after.extend(self.must_join(member));
            return (Err(ErrorCode::RebalanceInProgress), after);
        }
        (Ok(()), after)
    }

    /// Whether everything that the member still has to get is with others.
    fn waits(&self, member: &ConsumerMember) -> bool {
        let Some(target) = self.target.get(&member.id) else { return false };
        let mut missing = target.iter().flat_map(|(topic, partitions)| {
            let has = member.assigned.get(topic);
            let lacks = move |it: &&i32| has.is_none_or(|has| !has.contains_key(*it));
            partitions.iter().filter(lacks).map(move |it| (*topic, *it))
        });
        missing.all(|(topic, partition)| {
            self.owner(topic, partition).is_some_and(|owner| *owner != member.id)
        })
    }

    /// Members go. If only classic ones are left, the group becomes classic and rebalances.
    pub(crate) fn fence_or_downgrade(
        &self,
        now: Now,
        ids: &[Arc<str>],
        topics: &dyn Topics,
        config: &GroupConfig,
        why: &str,
    ) -> Decided<()> {
        let left: Vec<ConsumerMember> =
            self.members.values().filter(|it| !ids.contains(&it.id)).cloned().collect();
        let all_classic = !left.is_empty() && left.iter().all(|it| it.classic.is_some());
        if !all_classic || !config.may_downgrade || left.len() > config.max_size {
            return self.fence(now, ids, topics, config, why);
        }
        let mut decided = Decided::reply(());
        decided.records = migrate::to_classic(self, &left, self.epoch, now.wall_ms, topics);
        decided.after = vec![After::ClassicAgain {
            group_id: Arc::clone(&self.id),
            reason: "the last member of the consumer protocol left".into(),
        }];
        decided
    }
}
