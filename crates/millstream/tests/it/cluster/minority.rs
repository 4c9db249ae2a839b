//! Two of three down: writes are refused, not lost, and service resumes.

use std::time::Duration;

use millstream_base::ErrorCode;
use millstream_client::{ProduceError, Producer, ProducerConfig, ProducerRecord};
use millstream_testkit::{ClusterOptions, TestCluster};

use super::numbers::Writer;
use super::{SOON, alone, client, create, quick, three};

/// A record to every partition; why they were refused.
fn refusals(cluster: &TestCluster, within: Duration) -> Vec<ProduceError> {
    let bootstrap = cluster.bootstrap();
    crate::run(async {
        let config = ProducerConfig {
            delivery_timeout: within,
            idempotent: false,
            ..ProducerConfig::default()
        };
        let producer = Producer::new(client(&bootstrap).await, config).await.unwrap();
        let mut under_way = Vec::new();
        for partition in 0..super::PARTITIONS {
            let record = ProducerRecord::to("other").partition(partition).value("0");
            under_way.push(producer.send(record).await);
        }
        let mut refused = Vec::new();
        for sent in under_way {
            let outcome = match sent {
                Ok(delivery) => delivery.await.map(|_| ()),
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                refused.push(error);
            }
        }
        refused
    })
}

fn two_down(options: &ClusterOptions, down: [i32; 2], has_controller: bool) {
    let _one = alone();
    let mut cluster = TestCluster::start_with(options).unwrap();
    create(&mut cluster, "numbers");
    create(&mut cluster, "other");
    let writer = Writer::start(&cluster, "numbers");
    writer.through("two of three down and back", || {
        for id in down {
            cluster.kill(id).unwrap();
        }
        if has_controller {
            // The one that is left must first have taken over, which takes a session at most.
            std::thread::sleep(Duration::from_secs(5));
        }
        let codes = refusals(&cluster, Duration::from_secs(3));
        assert_eq!(codes.len(), 6, "not everything was refused: {codes:?}");
        if has_controller {
            let expected =
                [Some(ErrorCode::NotEnoughReplicas), Some(ErrorCode::NotEnoughReplicasAfterAppend)];
            assert!(codes.iter().all(|error| expected.contains(&error.code())), "{codes:?}");
        }
        for id in down {
            cluster.launch(id).unwrap();
        }
        cluster.wait_ready(SOON).unwrap();
        cluster.wait_in_sync("numbers", SOON).unwrap();
    });
    let codes = refusals(&cluster, Duration::from_secs(20));
    assert!(codes.is_empty(), "{codes:?}");
    writer.stop_and_check(&cluster);
}

#[test]
fn one_of_three_combined_nodes_takes_no_writes() {
    two_down(&three(), [2, 3], false);
}

#[test]
fn one_of_three_brokers_refuses_for_lack_of_replicas() {
    // The controller is a node of its own and lives, so the last broker leads everything.
    let options = ClusterOptions { combined: 0, controllers: 1, brokers: 3, ..quick() };
    two_down(&options, [3, 4], true);
}
