//! Records become state: from the log at start, and as they are written.
//!
//! Key entry: [`Shard::replay`]. The one difference between the two ways is a live classic group, which takes from its own
//! record only what was decided; soft state that follows from records is in [`Shard::follow`].

use std::sync::Arc;

use millstream_base::ErrorCode;

use crate::classic::{ClassicGroup, Cx};
use crate::consumer::ConsumerGroup;
use crate::effect::{After, RequestToken, Response};
use crate::record::{ConsumerPart, Record};
use crate::request::Now;
use crate::shard::{Group, LOADING, Origin, Shard};
use crate::timers::TimerKey;

impl Shard {
    /// Replays one record. Replies come only of a group that is converted while members wait in it.
    pub(crate) fn replay(
        &mut self,
        now: Now,
        record: &Record,
        origin: Origin,
        loading: bool,
    ) -> Vec<(RequestToken, Response)> {
        match record {
            Record::Offset { group_id, topic, partition, value } => {
                let key = (Arc::clone(group_id), Arc::clone(topic), *partition);
                match (value, origin.producer_id) {
                    (None, _) => self.offsets.remove(&key),
                    (Some(value), Some(producer_id)) => {
                        self.offsets.put_open(producer_id, key, value.clone(), origin.log_offset);
                    }
                    (Some(value), None) => {
                        self.ensure_simple_group(group_id);
                        self.offsets.put(key, value.clone(), origin.log_offset);
                    }
                }
                Vec::new()
            }
            Record::Classic { group_id, value: None } => match self.groups.get(group_id) {
                Some(Group::Classic(_)) => self.drop_group(group_id),
                _ => Vec::new(),
            },
            Record::Consumer { group_id, part } => self.replay_consumer(group_id, part),
            Record::Classic { group_id, value: Some(value) } => {
                match self.groups.get_mut(group_id) {
                    Some(Group::Classic(group)) if !loading => group.apply(value),
                    _ => {
                        let group = ClassicGroup::from_record(Arc::clone(group_id), value, now);
                        let group = Group::Classic(Box::new(group));
                        self.groups.insert(Arc::clone(group_id), group);
                    }
                }
                Vec::new()
            }
        }
    }

    fn replay_consumer(
        &mut self,
        group_id: &Arc<str>,
        part: &ConsumerPart,
    ) -> Vec<(RequestToken, Response)> {
        let mut replies = Vec::new();
        if !matches!(self.groups.get(group_id), Some(Group::Consumer(_))) {
            if part.is_tombstone() {
                return replies;
            }
            // A group with offsets alone, or one that is being converted.
            replies = self.drop_group(group_id);
            let group = Group::Consumer(Box::new(ConsumerGroup::new(Arc::clone(group_id))));
            self.groups.insert(Arc::clone(group_id), group);
        }
        if matches!(part, ConsumerPart::Epoch(None)) {
            return self.drop_group(group_id);
        }
        if let Some(Group::Consumer(group)) = self.groups.get_mut(group_id) {
            group.replay(part, &mut self.timers);
        }
        replies
    }

    /// A group whose record is gone is gone, whatever it still waited for.
    fn drop_group(&mut self, group_id: &Arc<str>) -> Vec<(RequestToken, Response)> {
        let mut cx = Cx::new(LOADING, &self.config, &mut self.timers);
        match self.groups.remove(group_id) {
            // Only empty groups are deleted; members of a converted one join it again.
            Some(Group::Classic(mut group)) => {
                group.dissolve(&mut cx, ErrorCode::RebalanceInProgress);
            }
            Some(Group::Consumer(mut group)) => group.dissolve(cx.timers),
            None => {}
        }
        let replies = cx.finish(()).replies;
        // Its offsets may be left: then it is a group of offsets alone.
        if self.offsets.of_group(group_id).next().is_some() {
            self.ensure_simple_group(group_id);
        }
        replies
    }

    /// Soft state that follows from applied records.
    pub(crate) fn follow(&mut self, now: Now, after: After) {
        let deadline = |after_ms: i64| now.mono_ms.saturating_add(after_ms.max(0));
        let timers = &mut self.timers;
        match after {
            After::Session { group_id, member_id, timeout_ms } => {
                if let Some(Group::Consumer(group)) = self.groups.get_mut(&group_id) {
                    group.arm_session(&member_id, deadline(timeout_ms), timers);
                }
            }
            After::Rebalance { group_id, member_id, epoch, timeout_ms } => {
                let Some(Group::Consumer(group)) = self.groups.get_mut(&group_id) else { return };
                match timeout_ms {
                    Some(timeout_ms) => {
                        group.arm_rebalance(&member_id, epoch, deadline(timeout_ms), timers);
                    }
                    None => group.cancel_rebalance(&member_id, timers),
                }
            }
            After::Seen { group_id, topics, regexes, reason } => {
                if let Some(Group::Consumer(group)) = self.groups.get_mut(&group_id) {
                    group.soft.seen_topics = Some(topics);
                    if regexes || group.soft.regexes_seen_ms.is_none() {
                        group.soft.regexes_seen_ms = Some(now.mono_ms);
                    }
                    if reason.is_some() {
                        group.soft.rebalance_reason = reason;
                    }
                }
            }
            After::RetentionSoon { instead_of_ms } => {
                timers.remove(instead_of_ms, TimerKey::Retention);
                timers.insert(deadline(1), TimerKey::Retention);
            }
            After::ClassicAgain { group_id, reason } => {
                let mut cx = Cx::new(now, &self.config, timers);
                if let Some(Group::Classic(group)) = self.groups.get_mut(&group_id) {
                    group.start_timers(&mut cx);
                    // Nobody can wait in a group that has just been made, so nothing is lost here.
                    group.prepare_rebalance(&mut cx, reason);
                }
            }
        }
    }

    pub(crate) fn ensure_simple_group(&mut self, group_id: &Arc<str>) {
        if !self.groups.contains_key(group_id) {
            let group = ClassicGroup::new(Arc::clone(group_id), LOADING);
            self.groups.insert(Arc::clone(group_id), Group::Classic(Box::new(group)));
        }
    }
}
