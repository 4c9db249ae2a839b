//! Tests of the coordinator's host.

use super::host::assignors;
use super::partition_of;

#[test]
fn groups_lie_where_kafka_puts_them() {
    // Taken from a directory that Kafka 4.0.0 wrote, with four partitions.
    for (group, partition) in [("dashboard", 0), ("mailer", 0), ("billing", 1)] {
        assert_eq!(partition_of(group, 4), partition, "{group}");
    }
    // Java: "polygenelubricants".hashCode() is the least integer.
    assert_eq!(partition_of("polygenelubricants", 50), 0);
    assert_eq!(partition_of("", 50), 0);
    assert_eq!(partition_of("anything", 0), 0);
}

#[test]
fn assignors_are_named_as_members_ask_for_them() {
    let class = "org.apache.kafka.coordinator.group.assignor.RangeAssignor";
    let names = [class.to_owned(), "uniform".to_owned(), "range".to_owned()];
    assert_eq!(assignors(&names), ["range", "uniform"]);
}

/// A group's coordinator changes: partitions of three brokers, no network; see `replica::testing`.
mod failover {
    use std::sync::Arc;
    use std::time::Duration;

    use millstream_base::ErrorCode;
    use millstream_groups::{
        ClientInfo, CommitOffset, GroupConfig, JoinGroup, Now, OffsetCommit, Protocol, Response,
    };

    use super::super::load::load;
    use super::super::shard::HostedShard;
    use crate::replica::Partition;
    use crate::replica::testing::{Cluster, replicate_all};
    use crate::state_log::Hosted as _;

    const NOW: Now = Now { wall_ms: 1_000, mono_ms: 1_000 };

    struct Lab {
        cluster: Cluster,
        replicas: [Arc<Partition>; 3],
        _dir: tempfile::TempDir,
    }

    impl Lab {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let cluster = Cluster::new(3);
            let replicas = [1, 2, 3].map(|broker| cluster.partition(broker, dir.path()));
            Self { cluster, replicas, _dir: dir }
        }

        fn elect(&mut self, leader: i32) {
            let [one, two, three] = &self.replicas;
            self.cluster.elect(leader, &[2, 3], &[one, two, three]);
        }

        fn coordinator(&self, broker: usize) -> Arc<HostedShard> {
            let partition = Arc::clone(&self.replicas[broker - 1]);
            let epoch = self.cluster.image.leader_epoch;
            let config = GroupConfig { initial_rebalance_delay_ms: 0, ..GroupConfig::default() };
            let hosted = HostedShard::new(partition, epoch, config.clone(), Duration::from_secs(5));
            let loaded = load(&hosted, config, 1 << 20, || Duration::ZERO);
            let (shard, report) = loaded.unwrap();
            hosted.activate(NOW, shard, &report);
            hosted
        }
    }

    fn commit(offset: i64) -> OffsetCommit {
        OffsetCommit {
            group_id: "g".into(),
            member_id: "".into(),
            instance_id: None,
            generation: -1,
            knows_member_epochs: true,
            retention_ms: None,
            offsets: vec![CommitOffset {
                topic: "t".into(),
                topic_id: millstream_base::Uuid::ZERO,
                partition: 0,
                offset,
                leader_epoch: -1,
                metadata: "".into(),
            }],
        }
    }

    fn offsets(hosted: &HostedShard) -> (Vec<i64>, bool) {
        let seen = hosted.read(|shard| {
            shard.committed_offsets("g").map(|(_, _, committed)| committed.offset).collect()
        });
        let seen = seen.unwrap();
        (seen.reply, seen.committed.is_none())
    }

    fn join(random: u8) -> JoinGroup {
        JoinGroup {
            group_id: "h".into(),
            member_id: "".into(),
            instance_id: None,
            client: ClientInfo { id: "c".into(), host: "/".into() },
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: bytes::Bytes::new() }],
            reason: None,
            requires_known_member_id: false,
            supports_skip_assignment: false,
            random: [random; 16],
        }
    }

    #[tokio::test]
    async fn commits_count_when_they_are_committed() {
        let mut lab = Lab::new();
        let old = lab.coordinator(1);
        let written = old.decide(NOW, |shard| shard.commit_offsets(NOW, &commit(5))).unwrap();
        assert_eq!(offsets(&old), (vec![5], false), "seen, but not told");
        replicate_all(&lab.replicas[0], &[&lab.replicas[1], &lab.replicas[2]]);
        assert_eq!(written.committed().await.unwrap().unwrap(), [ErrorCode::None]);
        assert_eq!(offsets(&old), (vec![5], true));
        // Written, and lost with its leader.
        let lost = old.decide(NOW, |shard| shard.commit_offsets(NOW, &commit(6))).unwrap();
        lab.elect(2);
        assert_eq!(lost.committed().await.unwrap_err(), ErrorCode::NotCoordinator);
        assert_eq!(old.read(|_| ()).unwrap_err(), ErrorCode::NotCoordinator);
        let next = lab.coordinator(2);
        assert_eq!(offsets(&next), (vec![5], true));
    }

    #[tokio::test]
    async fn who_waits_is_sent_on_at_once() {
        let lab = Lab::new();
        let old = lab.coordinator(1);
        let parked = |random: u8| {
            let request = join(random);
            old.park(NOW, |shard, token| shard.join_group(NOW, &request, token)).unwrap()
        };
        // The first waits for its group's record to be committed, the second for the first.
        let (first, second) = (parked(1), parked(2));
        assert!(old.close() > 0);
        for waiting in [first, second] {
            match waiting.await {
                Ok(Response::Join(answer)) => assert_eq!(answer.error, ErrorCode::NotCoordinator),
                // Their handlers say the same when nothing comes.
                Err(_) => {}
                Ok(Response::Sync(_)) => panic!("not what was asked"),
            }
        }
        let beat = old.touch(|_| ());
        assert_eq!(beat.unwrap_err(), ErrorCode::NotCoordinator);
    }
}
