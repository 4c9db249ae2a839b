//! Administering a cluster: topics, settings, records, groups, transactions.
//!
//! Key type: [`Admin`]. Calls on several things answer for each one apart. Calls that change nothing when repeated
//! are retried; the others are sent once, unless the broker said that it did nothing.

mod configs;
mod groups;
mod topics;
mod transactions;

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_base::{NodeId, Offset, TopicPartition};
use millstream_wire::messages::describe_cluster::DescribeClusterRequest;
use millstream_wire::{Request, Str};

pub use configs::{
    ConfigEntry, ConfigOp, ConfigResource, ConfigSource, ConfigSynonym, ConfigValueType,
    DescribeConfigsOptions,
};
pub use groups::{GroupDescription, GroupListing, GroupMember};
pub use topics::{CreatedTopic, NewTopic, TopicDescription};
pub use transactions::{
    PartitionProducer, TransactionDescription, TransactionFilter, TransactionListing,
};

use crate::{Broker, ClientError, Cluster, Isolation, ListedOffsets, OffsetSpec};

/// What each of several things came to.
pub type Outcomes<K, T> = BTreeMap<K, Result<T, ClientError>>;

/// The cluster and its brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// `cluster.id`.
    pub cluster_id: String,
    /// The controller, or the broker that stands for it.
    pub controller: Option<NodeId>,
    /// The brokers, by id.
    pub brokers: Vec<Broker>,
}

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

    /// The cluster's id and brokers.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let request = DescribeClusterRequest::default();
        let response = self.read(
            "cluster",
            || request.clone(),
            |response| {
                let message = response.error_message.as_ref().map(Str::as_str);
                ClientError::check_with(response.error_code, message, || "cluster".to_owned())
            },
        );
        let response = response.await?;
        let broker =
            |broker: &millstream_wire::messages::describe_cluster::DescribeClusterBroker| {
                Some(Broker {
                    id: NodeId(broker.broker_id),
                    host: broker.host.to_string(),
                    port: u16::try_from(broker.port).ok()?,
                    rack: broker.rack.as_ref().map(ToString::to_string),
                })
            };
        Ok(ClusterDescription {
            cluster_id: response.cluster_id.to_string(),
            controller: (response.controller_id >= 0).then_some(NodeId(response.controller_id)),
            brokers: response.brokers.iter().filter_map(broker).collect(),
        })
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
        build: impl Fn() -> R,
        check: impl Fn(&R::Response) -> Result<(), ClientError>,
    ) -> Result<R::Response, ClientError> {
        let mut retry = self.cluster.retry(what, self.within);
        loop {
            let answer = self.cluster.call_any(|_| build()).await;
            let error = match answer.and_then(|answer| check(&answer).map(|()| answer)) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            retry.again(error).await?;
        }
    }

    /// `timeout.ms` of a request.
    fn timeout_ms(&self) -> i32 {
        let within = self.within.min(self.cluster.config().request_timeout);
        i32::try_from(within.as_millis()).unwrap_or(i32::MAX)
    }
}
