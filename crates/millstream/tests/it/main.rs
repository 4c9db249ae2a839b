//! The binary from outside: its commands as transcripts, and the client library against a real broker.
//!
//! These live here because a package's own integration tests are the ones for which Cargo builds its binary.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod cli;
mod cluster;
mod consumer;
mod group;
mod group_cli;
mod group_requests;
mod producer;
mod serve;

use std::future::Future;
use std::time::Duration;

use millstream_client::{ClientConfig, Cluster, NewTopic};
use millstream_testkit::BrokerProcess;

/// Runs `test` on a runtime of its own.
fn run<F: Future>(test: F) -> F::Output {
    millstream_env::task::runtime(Some(2)).unwrap().block_on(test)
}

/// A client of `broker`.
async fn cluster(broker: &BrokerProcess) -> Cluster {
    let config = ClientConfig {
        api_timeout: Duration::from_secs(30),
        retry_backoff: Duration::from_millis(20),
        retry_backoff_max: Duration::from_millis(200),
        ..ClientConfig::for_servers(broker.address())
    };
    Cluster::connect(config).await.unwrap()
}

/// Makes a topic.
async fn create(cluster: &Cluster, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        configs: configs.iter().map(|(n, v)| ((*n).to_owned(), Some((*v).to_owned()))).collect(),
        ..NewTopic::default()
    };
    let admin = millstream_client::Admin::new(cluster.clone());
    for (_, outcome) in admin.create_topics(&[topic], false).await.unwrap() {
        outcome.unwrap();
    }
}
