//! Administering a cluster: topics, settings, records, groups, transactions.
//!
//! Key type: [`Admin`]. Calls on several things answer for each one apart. Calls that change nothing when repeated
//! are retried; the others are sent once, unless the broker said that it did nothing.

mod brokers;
mod configs;
mod groups;
mod partitions;
mod quorum;
mod topics;
mod transactions;

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_base::{NodeId, Offset, TopicPartition};
use millstream_wire::Request;

pub use brokers::{ClusterDescription, DescribedBroker, FeatureChange, FeatureLevel, LogDir};
pub use configs::{
    ConfigEntry, ConfigOp, ConfigResource, ConfigSource, ConfigSynonym, ConfigValueType,
    DescribeConfigsOptions,
};
pub use groups::{GroupDescription, GroupListing, GroupMember};
pub use partitions::{Election, Reassignment};
pub use quorum::{QuorumDescription, QuorumReplica, RaftListener};
pub use topics::{CreatedTopic, NewTopic, TopicDescription};
pub use transactions::{
    PartitionProducer, TransactionDescription, TransactionFilter, TransactionListing,
};

use crate::{ClientError, Cluster, Isolation, ListedOffsets, OffsetSpec};

/// What each of several things came to.
pub type Outcomes<K, T> = BTreeMap<K, Result<T, ClientError>>;

/// Administers a cluster.
#[derive(Clone, Debug)]
pub struct Admin {
    cluster: Cluster,
    within: Duration,
}

impl Admin {
    /// An admin client for `cluster`; each call may take `default.api.timeout.ms`.
    pub fn new(cluster: Cluster) -> Self {
        let within = cluster.config().api_timeout;
        Self { cluster, within }
    }

    /// The cluster.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The offsets that `wanted` asks for; `None` where no record fits.
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
    ) -> Result<ListedOffsets, ClientError> {
        self.cluster.list_offsets(wanted, Isolation::ReadUncommitted, self.within).await
    }

    /// Deletes the records before an offset in each partition (-1: all there are), and tells where each now begins.
    pub async fn delete_records(
        &self,
        before: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<BTreeMap<TopicPartition, Offset>, ClientError> {
        topics::delete_records(self, before).await
    }

    /// Sends a request that changes nothing, to any broker, until `check` is content with the answer.
    async fn read<R: Request>(
        &self,
        what: &str,
        build: impl Fn(i16) -> R,
        check: impl Fn(&R::Response) -> Result<(), ClientError>,
    ) -> Result<R::Response, ClientError> {
        let mut retry = self.cluster.retry(what, self.within);
        loop {
            let answer = self.cluster.call_any(&build).await;
            match answer.and_then(|answer| check(&answer).map(|()| answer)) {
                Ok(answer) => return Ok(answer),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// Sends a request that may be repeated without harm, to the controller, until `check` is content with the answer.
    async fn repeat<R: Request>(
        &self,
        what: &str,
        build: impl Fn(i16) -> R,
        check: impl Fn(&R::Response) -> Result<(), ClientError>,
    ) -> Result<R::Response, ClientError> {
        let mut retry = self.cluster.retry(what, self.within);
        loop {
            let answer = self.cluster.call_controller(&build).await;
            match answer.and_then(|answer| check(&answer).map(|()| answer)) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    retry.again(error).await?;
                    // Another node may be the controller by now.
                    drop(self.cluster.refresh().await);
                }
            }
        }
    }

    /// Asks one broker until `check` is content, the time is up, or the broker is gone from the cluster.
    async fn ask_node<R: Request>(
        &self,
        node: NodeId,
        what: &str,
        build: impl Fn(i16) -> R,
        check: impl Fn(&R::Response) -> Result<(), ClientError>,
    ) -> Result<R::Response, ClientError> {
        let mut retry = self.cluster.retry(what, self.within);
        loop {
            let answer = self.cluster.call_node(node, &build).await;
            let error = match answer.and_then(|answer| check(&answer).map(|()| answer)) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let known = self.cluster.refresh().await.ok();
            if known.is_some_and(|metadata| metadata.broker(node).is_none()) {
                return Err(error);
            }
            retry.again(error).await?;
        }
    }

    /// `timeout.ms` of a request.
    fn timeout_ms(&self) -> i32 {
        let within = self.within.min(self.cluster.config().request_timeout);
        i32::try_from(within.as_millis()).unwrap_or(i32::MAX)
    }
}
