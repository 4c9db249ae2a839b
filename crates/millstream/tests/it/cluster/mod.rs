//! Clusters of real processes under faults: what was acknowledged is there afterwards, once and in order.
//!
//! [`numbers::Writer`] writes numbered records all the while; the tests here do the harm, and print the longest time
//! without an acknowledgement for each kind of it. Clusters run one at a time, so that these times mean something.
//!
//! `MILLSTREAM_CLUSTER_SECONDS=600` lets [`random`] run that long, `MILLSTREAM_SEED` repeats what it did:
//! `MILLSTREAM_CLUSTER_SECONDS=600 cargo test -p millstream --test it cluster::random -- --nocapture`.

mod bad_input;
mod cuts;
mod disks;
mod groups;
mod minority;
mod numbers;
mod processes;
mod random;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_client::{Admin, ClientConfig, Cluster, NewTopic};
use millstream_testkit::{ClusterOptions, TestCluster};

const PARTITIONS: i32 = 6;
/// Long enough for a cluster on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(60);

/// Lets one cluster run at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Three nodes, internal topics with three replicas, and groups that do not wait for members.
fn three() -> ClusterOptions {
    ClusterOptions::default()
        .set("default.replication.factor", "3")
        .set("min.insync.replicas", "2")
        .set("offsets.topic.num.partitions", "6")
        .set("transaction.state.log.num.partitions", "6")
        .set("group.initial.rebalance.delay.ms", "0")
}

/// The same with silent brokers found after three seconds instead of nine.
fn quick() -> ClusterOptions {
    three().set("broker.session.timeout.ms", "3000").set("broker.heartbeat.interval.ms", "500")
}

/// A client that does not wait long for a broker that hangs.
async fn client(bootstrap: &str) -> Cluster {
    let config = ClientConfig {
        request_timeout: Duration::from_secs(2),
        connect_timeout: Duration::from_secs(1),
        retry_backoff: Duration::from_millis(20),
        retry_backoff_max: Duration::from_millis(200),
        ..ClientConfig::for_servers(bootstrap)
    };
    Cluster::connect(config).await.unwrap()
}

/// Makes a topic of three replicas, two of which must have a record, and waits until all are in sync.
fn create(cluster: &mut TestCluster, topic: &str) {
    let bootstrap = cluster.bootstrap();
    crate::run(async {
        let new = NewTopic {
            name: topic.to_owned(),
            partitions: Some(PARTITIONS),
            replication_factor: Some(3),
            configs: vec![("min.insync.replicas".to_owned(), Some("2".to_owned()))],
            ..NewTopic::default()
        };
        let admin = Admin::new(client(&bootstrap).await);
        for (_, outcome) in admin.create_topics(&[new], false).await.unwrap() {
            outcome.unwrap();
        }
    });
    cluster.wait_in_sync(topic, SOON).unwrap();
}

/// What is random, and can be repeated.
struct Dice(u64);

impl Dice {
    /// From `MILLSTREAM_SEED`, else from the clock; the seed is printed.
    fn cast() -> Self {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let given = std::env::var("MILLSTREAM_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or(u64::from(since.subsec_nanos()) << 16 ^ since.as_secs());
        println!("MILLSTREAM_SEED={seed}");
        Self(seed | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Sleeps between these milliseconds.
    fn pause(&mut self, least: usize, most: usize) {
        let millis = least + self.below(most - least);
        std::thread::sleep(Duration::from_millis(millis.try_into().unwrap()));
    }
}
