//! A group of consumers while brokers die, its coordinator among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millstream_base::{ErrorCode, Offset};
use millstream_client::{Admin, Consumer, ConsumerConfig, OffsetReset};
use millstream_testkit::TestCluster;
use millstream_wire::messages::find_coordinator::FindCoordinatorRequest;

use super::numbers::{Writer, read_all};
use super::{Dice, PARTITIONS, SOON, alone, client, create, three};

/// Partition and offset of every record that a group has read.
type Read = BTreeSet<(i32, i64)>;

#[test]
fn a_group_reads_everything_while_brokers_die() {
    let _one = alone();
    let mut dice = Dice::cast();
    let mut cluster = TestCluster::start_with(&three()).unwrap();
    create(&mut cluster, "numbers");
    let writer = Writer::start(&cluster, "numbers");
    let (bootstrap, stop) = (cluster.bootstrap(), AtomicBool::new(false));
    let read: Read = std::thread::scope(|scope| {
        // Also when what follows panics: else the scope would wait for the members for ever.
        let stop_members = Stop(&stop);
        let members: Vec<_> =
            (0..2).map(|_| scope.spawn(|| crate::run(member(&bootstrap, &stop)))).collect();
        for round in 0..2 {
            dice.pause(500, 1_500);
            let victim =
                if round == 0 { coordinator(&cluster, "g") } else { dice.pick(&[1, 2, 3]) };
            writer.through("kill -9 beside a group", || {
                cluster.kill(victim).unwrap();
            });
            cluster.restart(victim).unwrap();
            cluster.wait_in_sync("numbers", SOON).unwrap();
        }
        let bootstrap = cluster.bootstrap();
        writer.stop_and_check(&cluster);
        let ends = crate::run(ends(&bootstrap));
        crate::run(until_committed(&bootstrap, &ends));
        drop(stop_members);
        members.into_iter().flat_map(|member| member.join().unwrap()).collect()
    });
    let all = crate::run(read_all(&cluster.bootstrap(), "numbers"));
    for (partition, records) in all {
        for (offset, number) in records {
            assert!(read.contains(&(partition, offset)), "{partition}: {number} was never read");
        }
    }
}

/// Tells the members to stop when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads and commits until all is done.
async fn member(bootstrap: &str, stop: &AtomicBool) -> Read {
    let config = ConsumerConfig {
        group_id: Some("g".to_owned()),
        offset_reset: OffsetReset::Earliest,
        heartbeat_interval: Duration::from_millis(300),
        session_timeout: Duration::from_secs(10),
        ..ConsumerConfig::default()
    };
    let mut consumer = Consumer::new(client(bootstrap).await, config);
    consumer.subscribe(["numbers"]).unwrap();
    let mut read = Read::new();
    while !stop.load(Ordering::Relaxed) {
        let records = consumer.poll(Duration::from_millis(50)).await.unwrap();
        read.extend(records.iter().map(|record| (record.partition, record.offset.get())));
        // A commit that meets a rebalance or a new coordinator is made up for by a later one.
        drop(consumer.commit().await);
    }
    consumer.close().await;
    read
}

fn coordinator(cluster: &TestCluster, group: &str) -> i32 {
    let request = FindCoordinatorRequest {
        coordinator_keys: vec![group.into()],
        ..FindCoordinatorRequest::default()
    };
    let deadline = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < deadline, "no coordinator");
        let answer = cluster.connect(1).unwrap().call(&request, 4).unwrap();
        let found = answer.coordinators.first().unwrap();
        if found.error_code == ErrorCode::None.code() {
            return found.node_id;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

async fn ends(bootstrap: &str) -> BTreeMap<i32, i64> {
    let all = read_all(bootstrap, "numbers").await;
    let end = |records: &Vec<(i64, u32)>| records.last().map_or(0, |(offset, _)| offset + 1);
    all.iter().map(|(&partition, records)| (partition, end(records))).collect()
}

async fn until_committed(bootstrap: &str, ends: &BTreeMap<i32, i64>) {
    assert_eq!(ends.len(), usize::try_from(PARTITIONS).unwrap());
    let admin = Admin::new(client(bootstrap).await);
    let deadline = Instant::now() + SOON;
    loop {
        let committed = admin.committed_offsets("g").await.unwrap_or_default();
        let at_end = |(place, committed): (&millstream_base::TopicPartition, &_)| {
            let committed: &millstream_client::CommittedOffset = committed;
            ends.get(&place.partition.get()).is_some_and(|&end| committed.offset == Offset(end))
        };
        if committed.iter().filter(|&each| at_end(each)).count() == ends.len() {
            return;
        }
        assert!(Instant::now() < deadline, "committed {committed:?} of {ends:?}");
        millstream_env::task::sleep(Duration::from_millis(100)).await;
    }
}
