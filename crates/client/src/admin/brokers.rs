//! Brokers: which there are, what their disks hold, feature levels, and brokers that will not come back.

use std::collections::BTreeMap;

use millstream_base::{NodeId, TopicPartition};
use millstream_wire::Str;
use millstream_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_wire::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use millstream_wire::messages::describe_log_dirs::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
};
use millstream_wire::messages::unregister_broker::UnregisterBrokerRequest;
use millstream_wire::messages::update_features::{FeatureUpdateKey, UpdateFeaturesRequest};

use super::{Admin, Outcomes};
use crate::{Broker, ClientError};

/// The cluster and its brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDescription {
    /// `cluster.id`.
    pub cluster_id: String,
    /// The controller, or the broker that stands for it.
    pub controller: Option<NodeId>,
    /// The brokers, by id; fenced ones too where the cluster tells of them.
    pub brokers: Vec<DescribedBroker>,
}

/// A broker of a [`ClusterDescription`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedBroker {
    /// Its id and address.
    pub broker: Broker,
    /// It is registered, but not alive, or not ready to serve.
    pub is_fenced: bool,
}

/// A feature of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureLevel {
    /// The level that is in force; 0 for none.
    pub finalized: i16,
    /// The lowest and highest level that the broker asked can do.
    pub supported: Option<(i16, i16)>,
}

/// How a feature's level may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureChange {
    /// Upwards only.
    Upgrade,
    /// Also downwards, as long as nothing is lost by it.
    SafeDowngrade,
    /// Also downwards, at the price of metadata.
    UnsafeDowngrade,
}

/// A directory with logs of a broker.
#[derive(Clone, Debug)]
pub struct LogDir {
    /// Its path on the broker's machine.
    pub path: String,
    /// Size of the disk; `None` when the broker does not say.
    pub total_bytes: Option<i64>,
    /// What is left of it.
    pub usable_bytes: Option<i64>,
    /// Bytes of each replica in it.
    pub replicas: BTreeMap<TopicPartition, i64>,
    /// Why it is out of service.
    pub error: Option<ClientError>,
}

impl Admin {
    /// The cluster's id and brokers, alive or not.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ClientError> {
        let build = |version| DescribeClusterRequest {
            include_fenced_brokers: version >= 2,
            ..DescribeClusterRequest::default()
        };
        let check = |response: &DescribeClusterResponse| {
            let message = response.error_message.as_ref().map(Str::as_str);
            ClientError::check_with(response.error_code, message, || "cluster".to_owned())
        };
        let response = self.read("cluster", build, check).await?;
        let mut brokers: Vec<_> = response.brokers.iter().filter_map(described).collect();
        brokers.sort_by_key(|described| described.broker.id);
        Ok(ClusterDescription {
            cluster_id: response.cluster_id.to_string(),
            controller: (response.controller_id >= 0).then_some(NodeId(response.controller_id)),
            brokers,
        })
    }

    /// Forgets a broker that is gone for good. It must be stopped, and hold no replica any more that is to be kept.
    pub async fn unregister_broker(&self, id: NodeId) -> Result<(), ClientError> {
        let request = UnregisterBrokerRequest { broker_id: id.0 };
        let what = || format!("broker {id}");
        let answer = self.cluster.call_controller(|_| request.clone()).await?;
        let message = answer.error_message.as_ref().map(Str::as_str);
        ClientError::check_with(answer.error_code, message, what)
    }

    /// The features of the cluster, by name.
    pub async fn describe_features(&self) -> Result<BTreeMap<String, FeatureLevel>, ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: "millstream".into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
            ..ApiVersionsRequest::default()
        };
        let check = |answer: &ApiVersionsResponse| {
            ClientError::check(answer.error_code, || "features".to_owned())
        };
        let answer = self.read("features", |_| request.clone(), check).await?;
        let mut features: BTreeMap<String, FeatureLevel> = BTreeMap::new();
        for feature in &answer.supported_features {
            let level = features.entry(feature.name.to_string()).or_default();
            level.supported = Some((feature.min_version, feature.max_version));
        }
        for feature in &answer.finalized_features {
            features.entry(feature.name.to_string()).or_default().finalized =
                feature.max_version_level;
        }
        Ok(features)
    }

    /// Sets levels of features; 0 switches one off. With `validate_only` only says whether that would work.
    pub async fn update_features(
        &self,
        levels: &BTreeMap<String, i16>,
        change: FeatureChange,
        validate_only: bool,
    ) -> Result<Outcomes<String, ()>, ClientError> {
        let update = |(feature, level): (&String, &i16)| FeatureUpdateKey {
            feature: feature.into(),
            max_version_level: *level,
            upgrade_type: match change {
                FeatureChange::Upgrade => 1,
                FeatureChange::SafeDowngrade => 2,
                FeatureChange::UnsafeDowngrade => 3,
            },
            ..FeatureUpdateKey::default()
        };
        let build = |version| {
            let mut request = UpdateFeaturesRequest {
                timeout_ms: self.timeout_ms(),
                feature_updates: levels.iter().map(update).collect(),
                validate_only: validate_only && version >= 1,
            };
            if version == 0 {
                for update in &mut request.feature_updates {
                    update.allow_downgrade = change != FeatureChange::Upgrade;
                    update.upgrade_type = FeatureUpdateKey::default().upgrade_type;
                }
            }
            request
        };
        let answer = self.cluster.call_controller(build).await?;
        let message = answer.error_message.as_ref().map(Str::as_str);
        ClientError::check_with(answer.error_code, message, || "features".to_owned())?;
        // From version 2 on the answer as a whole speaks for each feature.
        let mut outcomes: Outcomes<String, ()> =
            levels.keys().map(|name| (name.clone(), Ok(()))).collect();
        for result in &answer.results {
            let message = result.error_message.as_ref().map(Str::as_str);
            let what = || format!("feature `{}`", result.feature);
            let outcome = ClientError::check_with(result.error_code, message, what);
            outcomes.insert(result.feature.to_string(), outcome);
        }
        Ok(outcomes)
    }

    /// The log directories of a broker and what lies in them.
    pub async fn describe_log_dirs(&self, node: NodeId) -> Result<Vec<LogDir>, ClientError> {
        let request = DescribeLogDirsRequest { topics: None };
        let check = |answer: &DescribeLogDirsResponse| {
            ClientError::check(answer.error_code, || format!("log directories of broker {node}"))
        };
        let what = format!("log directories of broker {node}");
        let answer = self.ask_node(node, &what, |_| request.clone(), check).await?;
        Ok(answer.results.iter().map(log_dir).collect())
    }
}

fn described(broker: &DescribeClusterBroker) -> Option<DescribedBroker> {
    let known = Broker {
        id: NodeId(broker.broker_id),
        host: broker.host.to_string(),
        port: u16::try_from(broker.port).ok()?,
        rack: broker.rack.as_ref().map(ToString::to_string),
    };
    Some(DescribedBroker { broker: known, is_fenced: broker.is_fenced })
}

fn log_dir(result: &DescribeLogDirsResult) -> LogDir {
    let known = |bytes: i64| (bytes >= 0).then_some(bytes);
    let replicas = result.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| {
            let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
            (at, partition.partition_size)
        })
    });
    LogDir {
        path: result.log_dir.to_string(),
        total_bytes: known(result.total_bytes),
        usable_bytes: known(result.usable_bytes),
        replicas: replicas.collect(),
        error: ClientError::check(result.error_code, || result.log_dir.to_string()).err(),
    }
}
