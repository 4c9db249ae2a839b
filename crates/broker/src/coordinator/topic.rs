//! Makes the coordinators' topics when the first group or transactional id needs them.
//!
//! Key entry: [`ensure_internal_topic`]. How many replicas they have is decided once, so it is not decided by how many brokers happen to
//! have started when the first client comes; see decision 0085.

use std::time::Duration;

use millstream_base::ErrorCode;
use millstream_config::{BrokerConfig, Formation, InternalTopic};
use millstream_env::task::Instant;
use millstream_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use tokio::sync::Mutex;
use tracing::{info, warn};

use crate::broker::Broker;
use crate::topic_rules::OFFSETS_TOPIC;

/// How many replicas these topics have where there are as many brokers (`*.replication.factor`).
const REPLICAS: usize = 3;
/// How many of them must have a record where there are as many (`transaction.state.log.min.isr`).
const MIN_INSYNC: i16 = 2;
/// How long the brokers of a cluster have to come, from when the first client needs the topic.
const GATHERING: Duration = Duration::from_secs(10);

/// A topic that only the broker itself writes to.
pub(crate) struct NewInternalTopic<'a> {
    /// Its name.
    pub name: &'static str,
    /// Which settings say how many replicas it has.
    pub kind: InternalTopic,
    /// How many partitions it gets.
    pub partitions: i32,
    /// Its settings, without `min.insync.replicas`.
    pub configs: &'a [(&'static str, &'a str)],
}

/// What this broker does about such topics: one at a time.
#[derive(Debug, Default)]
pub(crate) struct TopicMaker {
    /// Since when brokers are waited for.
    waits_since: Mutex<Option<Instant>>,
}

/// Sees that `__consumer_offsets` exists. Made with `offsets.topic.*`, compacted, as Kafka makes it.
pub(crate) async fn ensure_offsets_topic(broker: &Broker) -> Result<(), ErrorCode> {
    let config = broker.config().clone();
    let topic = NewInternalTopic {
        name: OFFSETS_TOPIC,
        kind: InternalTopic::Offsets,
        partitions: config.groups.offsets_topic_num_partitions,
        configs: &[
            ("cleanup.policy", "compact"),
            ("compression.type", "producer"),
            ("segment.bytes", &config.groups.offsets_topic_segment_bytes.to_string()),
        ],
    };
    ensure_internal_topic(broker, topic).await
}

/// Sees that a topic exists.
pub(crate) async fn ensure_internal_topic(
    broker: &Broker,
    wanted: NewInternalTopic<'_>,
) -> Result<(), ErrorCode> {
    if broker.image().topics.get(wanted.name).is_some() {
        return Ok(());
    }
    let mut waits_since = broker.groups().topic_maker().waits_since.lock().await;
    // Another request may have been faster.
    if broker.image().topics.get(wanted.name).is_some() {
        return Ok(());
    }
    let brokers = broker.image().brokers.len();
    let waited = waits_since.get_or_insert_with(Instant::now).elapsed();
    let config = broker.config().clone();
    if !are_enough(&config, wanted.kind, brokers, waited) {
        info!(brokers, "{} is made when {REPLICAS} brokers have registered", wanted.name);
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    make(broker, &wanted, creatable(&config, &wanted, brokers)).await
}

/// Whether it is time to make the topic on the brokers that are there.
fn are_enough(
    config: &BrokerConfig,
    kind: InternalTopic,
    brokers: usize,
    waited: Duration,
) -> bool {
    let is_said = config.is_set(match kind {
        InternalTopic::Offsets => "offsets.topic.replication.factor",
        InternalTopic::Transactions => "transaction.state.log.replication.factor",
        InternalTopic::ShareState => "share.coordinator.state.topic.replication.factor",
    });
    is_said || config.formation == Formation::Alone || brokers >= REPLICAS || waited >= GATHERING
}

fn creatable(
    config: &BrokerConfig,
    wanted: &NewInternalTopic<'_>,
    brokers: usize,
) -> CreatableTopic {
    let replicas = config.internal_replication_factor(wanted.kind, brokers);
    let min_insync = match wanted.kind {
        InternalTopic::Transactions | InternalTopic::ShareState => {
            Some(config.internal_min_insync_replicas(wanted.kind, brokers))
        }
        // Kafka has no setting of its own for it; one replica alone needs none, and what was said for all topics counts.
        InternalTopic::Offsets => (replicas > 1 && !config.is_set("min.insync.replicas"))
            .then_some(MIN_INSYNC.min(replicas)),
    };
    let min_insync = min_insync.map(|count| count.to_string());
    let all = wanted.configs.iter().copied();
    let all = all.chain(min_insync.as_deref().map(|count| ("min.insync.replicas", count)));
    let config = |(name, value): (&str, &str)| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
    };
    CreatableTopic {
        name: wanted.name.into(),
        num_partitions: wanted.partitions,
        replication_factor: replicas,
        configs: all.map(config).collect(),
        ..Default::default()
    }
}

async fn make(
    broker: &Broker,
    wanted: &NewInternalTopic<'_>,
    topic: CreatableTopic,
) -> Result<(), ErrorCode> {
    let name = wanted.name;
    let (partitions, replicas) = (topic.num_partitions, topic.replication_factor);
    let answer = broker.make_topics(vec![topic]).await.map_err(|cause| {
        warn!(%cause, "{name} cannot be made, so there is no coordinator");
        ErrorCode::CoordinatorNotAvailable
    })?;
    let made = answer.into_iter().next().unwrap_or_default();
    match ErrorCode::from_code(made.error_code) {
        Some(ErrorCode::None) => {
            info!(partitions, replicas, "made {name}");
            Ok(())
        }
        // Another broker was faster.
        Some(ErrorCode::TopicAlreadyExists) => Ok(()),
        _ => {
            let reason = made.error_message.as_deref().unwrap_or("no reason was given");
            warn!(reason, "{name} cannot be made, so there is no coordinator");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_config::ServerProperties;

    use super::*;

    fn config(settings: &[(&str, &str)]) -> BrokerConfig {
        let mut properties = ServerProperties::default();
        properties.set("node.id", "1");
        for (name, value) in settings {
            properties.set(*name, *value);
        }
        BrokerConfig::load(&properties).unwrap()
    }

    const VOTERS: (&str, &str) =
        ("controller.quorum.voters", "1@localhost:9093,2@localhost:9094,3@localhost:9095");
    const LISTENERS: (&str, &str) =
        ("listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093");

    fn made(config: &BrokerConfig, kind: InternalTopic, brokers: usize) -> (i16, Option<String>) {
        let wanted = NewInternalTopic { name: OFFSETS_TOPIC, kind, partitions: 1, configs: &[] };
        let topic = creatable(config, &wanted, brokers);
        let min = topic.configs.iter().find(|it| &*it.name == "min.insync.replicas");
        let min = min.and_then(|it| it.value.as_ref()).map(ToString::to_string);
        (topic.replication_factor, min)
    }

    #[test]
    fn one_node_needs_no_others() {
        let alone = config(&[]);
        assert!(are_enough(&alone, InternalTopic::Offsets, 1, Duration::ZERO));
        assert_eq!(made(&alone, InternalTopic::Offsets, 1), (1, None));
        assert_eq!(made(&alone, InternalTopic::Transactions, 1), (1, Some("1".to_owned())));
    }

    #[test]
    fn a_cluster_waits_for_three_brokers_but_not_for_ever() {
        let cluster = config(&[VOTERS, LISTENERS]);
        let enough =
            |brokers, waited| are_enough(&cluster, InternalTopic::Offsets, brokers, waited);
        assert!(!enough(1, Duration::ZERO));
        assert!(!enough(2, Duration::from_secs(9)));
        assert!(enough(2, GATHERING));
        assert!(enough(3, Duration::ZERO));
        for kind in [InternalTopic::Offsets, InternalTopic::Transactions] {
            assert_eq!(made(&cluster, kind, 5), (3, Some("2".to_owned())));
        }
    }

    #[test]
    fn what_was_said_is_not_bent() {
        let said = [("offsets.topic.replication.factor", "1"), ("min.insync.replicas", "1")];
        let cluster = config(&[VOTERS, LISTENERS, said[0], said[1]]);
        assert!(are_enough(&cluster, InternalTopic::Offsets, 1, Duration::ZERO));
        assert_eq!(made(&cluster, InternalTopic::Offsets, 3), (1, None));
    }
}
