//! Fetch requests of a follower: an incremental session, and what each request adds to it.
//!
//! Key type: [`FollowerSession`]. Pure: no waiting here.

use std::time::Duration;

use millstream_base::{NodeId, Uuid};
use millstream_config::ReplicationConfig;
use millstream_partition::FetchPosition;
use millstream_wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, ReplicaState,
};

use super::fetchers::Key;

/// What a follower says of itself in every fetch, and its limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// This broker.
    pub me: NodeId,
    /// The epoch of its registration.
    pub broker_epoch: i64,
    /// Most bytes of one partition.
    pub partition_max_bytes: i32,
    /// Most bytes of one answer.
    pub max_bytes: i32,
    /// How long the leader may wait.
    pub max_wait_ms: i32,
    /// For how many bytes.
    pub min_bytes: i32,
}

impl Terms {
    /// As the settings have them.
    pub(super) fn new(me: NodeId, broker_epoch: i64, config: &ReplicationConfig) -> Self {
        Self {
            me,
            broker_epoch,
            partition_max_bytes: config.replica_fetch_max_bytes,
            max_bytes: config.replica_fetch_response_max_bytes,
            max_wait_ms: config.replica_fetch_wait_max_ms,
            min_bytes: config.replica_fetch_min_bytes,
        }
    }

    /// How long a request may take at most.
    pub(super) fn time_out(&self, config: &ReplicationConfig) -> Duration {
        let ms = i64::from(config.replica_socket_timeout_ms) + i64::from(self.max_wait_ms);
        Duration::from_millis(u64::try_from(ms).unwrap_or_default())
    }
}

/// The session at the leader, as far as it is known here.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct FollowerSession {
    id: i32,
    epoch: i32,
    /// A first request was sent on this connection.
    asked: bool,
}

impl FollowerSession {
    /// Whether there is none yet: the next request names everything and begins one.
    pub(super) const fn is_new(&self) -> bool {
        self.epoch == 0
    }

    /// The leader answered a request that asked for a session.
    pub(super) fn answered(&mut self, id: i32) {
        if id == 0 {
            // It keeps none for us; each request names everything.
            *self = Self { asked: true, ..Self::default() };
        } else if self.is_new() || self.id != id {
            (self.id, self.epoch) = (id, 1);
        }
    }

    /// The session is not there any more.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// The next request. The first does not wait: until it is answered no other can follow, with partitions to add.
    pub(super) fn request(
        &mut self,
        terms: &Terms,
        named: &[(Key, FetchPosition)],
        gone: &[Key],
    ) -> FetchRequest {
        let (session_id, session_epoch) = (self.id, self.epoch);
        let max_wait_ms =
            if std::mem::replace(&mut self.asked, true) { terms.max_wait_ms } else { 0 };
        if self.epoch > 0 {
            self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        }
        FetchRequest {
            replica_state: ReplicaState {
                replica_id: terms.me.get(),
                replica_epoch: terms.broker_epoch,
            },
            max_wait_ms,
            min_bytes: terms.min_bytes,
            max_bytes: terms.max_bytes,
            session_id,
            session_epoch,
            topics: topics(terms, named),
            forgotten_topics_data: forgotten(gone),
            ..FetchRequest::default()
        }
    }
}

fn topics(terms: &Terms, named: &[(Key, FetchPosition)]) -> Vec<FetchTopic> {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for ((topic_id, index), position) in named {
        let partition = FetchPartition {
            partition: index.get(),
            current_leader_epoch: position.leader_epoch.get(),
            fetch_offset: position.offset.get(),
            last_fetched_epoch: position.last_epoch.get(),
            log_start_offset: position.log_start.get(),
            partition_max_bytes: terms.partition_max_bytes,
            ..FetchPartition::default()
        };
        match topics.last_mut().filter(|topic| topic.topic_id == *topic_id) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic_id: *topic_id,
                partitions: vec![partition],
                ..FetchTopic::default()
            }),
        }
    }
    topics
}

fn forgotten(gone: &[Key]) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    for &(topic_id, index) in gone {
        add_forgotten(&mut topics, topic_id, index.get());
    }
    topics
}

fn add_forgotten(topics: &mut Vec<ForgottenTopic>, topic_id: Uuid, index: i32) {
    match topics.last_mut().filter(|topic| topic.topic_id == topic_id) {
        Some(topic) => topic.partitions.push(index),
        None => topics.push(ForgottenTopic {
            topic_id,
            partitions: vec![index],
            ..ForgottenTopic::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use millstream_base::{LeaderEpoch, Offset, PartitionIndex};

    use super::*;

    const TERMS: Terms = Terms {
        me: NodeId(2),
        broker_epoch: 7,
        partition_max_bytes: 1,
        max_bytes: 2,
        max_wait_ms: 3,
        min_bytes: 4,
    };

    #[test]
    fn a_session_begins_with_everything_and_goes_on_with_changes() {
        let position = FetchPosition {
            leader_epoch: LeaderEpoch(3),
            offset: Offset(10),
            last_epoch: LeaderEpoch(2),
            log_start: Offset(5),
        };
        let key = |index| (Uuid::ZERO, PartitionIndex(index));
        let mut session = FollowerSession::default();
        let named = [(key(0), position), (key(1), position)];
        let first = session.request(&TERMS, &named, &[]);
        assert_eq!((first.session_id, first.session_epoch), (0, 0));
        assert_eq!(first.topics.len(), 1, "the partitions of a topic stand together");
        assert_eq!(first.topics[0].partitions.len(), 2);
        assert_eq!(first.replica_state.replica_epoch, 7);
        assert_eq!(first.max_wait_ms, 0, "there may be more to add");
        session.answered(99);
        let second = session.request(&TERMS, &[], &[key(1)]);
        assert_eq!((second.session_id, second.session_epoch), (99, 1));
        assert_eq!(second.max_wait_ms, 3);
        assert_eq!(second.forgotten_topics_data[0].partitions, [1]);
        let third = session.request(&TERMS, &[], &[]);
        assert_eq!(third.session_epoch, 2, "even before the second is answered");
        session.answered(99);
        session.answered(99);
        assert_eq!(session.request(&TERMS, &[], &[]).session_epoch, 3);
        session.answered(0);
        assert!(session.is_new());
        assert_eq!(session.request(&TERMS, &[], &[]).max_wait_ms, 3, "a leader without sessions");
        session.reset();
        assert!(session.is_new());
        assert_eq!(session.request(&TERMS, &[], &[]).max_wait_ms, 0);
    }
}
