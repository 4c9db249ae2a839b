//! Consumers in groups against a real broker: sharing, joining, leaving, committing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream_base::{ErrorCode, Offset, TopicPartition};
use millstream_client::assignor::Assignor;
use millstream_client::{
    Admin, Cluster, CommittedOffset, Consumer, ConsumerConfig, OffsetReset, Producer,
    ProducerConfig, ProducerRecord,
};
use millstream_env::task::Instant;
use millstream_testkit::{BrokerOptions, BrokerProcess};

use crate::{cluster, create, run};

fn broker() -> BrokerProcess {
    let options = BrokerOptions::default()
        .set("group.initial.rebalance.delay.ms", "0")
        .set("group.min.session.timeout.ms", "500");
    BrokerProcess::start_with(options).unwrap()
}

fn member(assignor: Assignor) -> ConsumerConfig {
    ConsumerConfig {
        group_id: Some("g".to_owned()),
        assignors: vec![assignor],
        offset_reset: OffsetReset::Earliest,
        heartbeat_interval: Duration::from_millis(50),
        session_timeout: Duration::from_secs(6),
        ..ConsumerConfig::default()
    }
}

async fn fill(cluster: &Cluster, range: std::ops::Range<u32>) {
    let producer = Producer::new(cluster.clone(), ProducerConfig::default()).await.unwrap();
    for number in range {
        let record = ProducerRecord::to("t")
            .partition(i32::try_from(number % 6).unwrap())
            .value(number.to_string());
        drop(producer.send(record).await.unwrap());
    }
    producer.close().await;
}

/// Members by name, and how often each record was read.
#[derive(Default)]
struct Group {
    members: BTreeMap<&'static str, Consumer>,
    reads: BTreeMap<(i32, i64), u32>,
}

impl Group {
    fn join(&mut self, name: &'static str, cluster: &Cluster, config: &ConsumerConfig) {
        let mut consumer = Consumer::new(cluster.clone(), config.clone());
        consumer.subscribe(["t"]).unwrap();
        self.members.insert(name, consumer);
    }

    /// Lets everyone poll in turn.
    async fn poll(&mut self) {
        for consumer in self.members.values_mut() {
            for record in consumer.poll(Duration::from_millis(10)).await.unwrap() {
                *self.reads.entry((record.partition, record.offset.get())).or_default() += 1;
            }
        }
    }

    /// Polls until the members hold partitions as many as said, all six of them together.
    async fn until(&mut self, counts: &[usize]) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            self.poll().await;
            let held: Vec<BTreeSet<TopicPartition>> =
                self.members.values().map(Consumer::assignment).collect();
            let all: BTreeSet<&TopicPartition> = held.iter().flatten().collect();
            let mut sizes: Vec<usize> = held.iter().map(BTreeSet::len).collect();
            sizes.sort_unstable();
            if sizes == counts && all.len() == 6 {
                return;
            }
            assert!(Instant::now() < deadline, "{held:?}");
        }
    }

    async fn until_read(&mut self, records: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.reads.len() < records {
            self.poll().await;
            assert!(Instant::now() < deadline, "{} of {records}", self.reads.len());
        }
    }

    /// Two members, a third comes, one goes: nothing is missed, and nothing read twice, as all commit when they
    /// give up.
    async fn through_changes(&mut self, cluster: &Cluster, config: &ConsumerConfig) {
        create(cluster, "t", 6, &[]).await;
        fill(cluster, 0..600).await;
        self.join("a", cluster, config);
        self.until(&[6]).await;
        self.join("b", cluster, config);
        self.until(&[3, 3]).await;
        self.until_read(600).await;
        self.join("c", cluster, config);
        self.until(&[2, 2, 2]).await;
        fill(cluster, 600..1_200).await;
        self.until_read(1_200).await;
        self.members.remove("b").unwrap().close().await;
        self.until(&[3, 3]).await;
        fill(cluster, 1_200..1_800).await;
        self.until_read(1_800).await;
        let twice = self.reads.values().filter(|&&reads| reads > 1).count();
        assert_eq!(twice, 0, "read more than once");
        for (_, consumer) in std::mem::take(&mut self.members) {
            consumer.close().await;
        }
    }
}

#[test]
fn members_share_and_hand_over_with_each_assignor() {
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
        run(async {
            let broker = broker();
            let cluster = cluster(&broker).await;
            let mut group = Group::default();
            group.through_changes(&cluster, &member(assignor)).await;
            let committed = Admin::new(cluster.clone()).committed_offsets("g").await.unwrap();
            let offsets: Vec<Offset> = committed.values().map(|c| c.offset).collect();
            assert_eq!(offsets, [Offset(300); 6], "{assignor:?}");
        });
    }
}

#[test]
fn a_member_that_does_not_poll_is_replaced_and_may_come_back() {
    run(async {
        let broker = broker();
        let cluster = cluster(&broker).await;
        create(&cluster, "t", 6, &[]).await;
        let config = ConsumerConfig {
            max_poll_interval: Duration::from_millis(700),
            ..member(Assignor::Range)
        };
        let mut stuck = Consumer::new(cluster.clone(), config.clone());
        stuck.subscribe(["t"]).unwrap();
        while stuck.assignment().len() < 6 {
            drop(stuck.poll(Duration::from_millis(10)).await.unwrap());
        }
        let mut group = Group::default();
        group.join("other", &cluster, &config);
        group.until(&[6]).await;
        // It polls again and gets its share.
        group.members.insert("stuck", stuck);
        group.until(&[3, 3]).await;
    });
}

#[test]
fn a_group_goes_on_after_its_coordinator_crashed() {
    run(async {
        let mut broker = broker();
        let cluster = cluster(&broker).await;
        create(&cluster, "t", 6, &[]).await;
        fill(&cluster, 0..60).await;
        let mut group = Group::default();
        group.join("a", &cluster, &member(Assignor::CooperativeSticky));
        group.until(&[6]).await;
        group.until_read(60).await;
        group.members.get_mut("a").unwrap().commit().await.unwrap();
        broker.kill().unwrap();
        broker.restart().unwrap();
        fill(&cluster, 60..120).await;
        group.until_read(120).await;
        group.members.remove("a").unwrap().close().await;
    });
}

#[test]
fn offsets_can_be_set_read_and_deleted_from_outside() {
    run(async {
        let broker = broker();
        let cluster = cluster(&broker).await;
        create(&cluster, "t", 6, &[]).await;
        fill(&cluster, 0..60).await;
        let admin = Admin::new(cluster.clone());
        let t = TopicPartition::new("t", 2);
        let noted =
            CommittedOffset { metadata: "by hand".to_owned(), ..CommittedOffset::at(Offset(7)) };
        admin.set_committed_offsets("g", &[(t.clone(), noted.clone())].into()).await.unwrap();
        assert_eq!(admin.committed_offsets("g").await.unwrap().get(&t), Some(&noted));
        let mut consumer = Consumer::new(cluster.clone(), member(Assignor::Range));
        consumer.assign([t.clone()]).unwrap();
        let first = consumer.poll(Duration::from_secs(5)).await.unwrap();
        assert_eq!(first.first().map(|record| record.offset), Some(Offset(7)));
        drop(consumer);
        admin.delete_committed_offsets("g", &[t.clone()].into()).await.unwrap();
        assert!(admin.committed_offsets("g").await.unwrap().is_empty());
        drop(admin.delete_group("g").await);
        let error = admin.describe_group("g").await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::GroupIdNotFound));
    });
}
