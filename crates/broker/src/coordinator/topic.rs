//! Makes the coordinators' topics when the first group or transactional id needs them.

use millstream_base::{ErrorCode, Uuid};
use millstream_config::InternalTopic;
use millstream_metadata::decide::{CreateTopics, NewTopic};
use tracing::{info, warn};

use crate::broker::Broker;
use crate::topic_rules::OFFSETS_TOPIC;

/// A topic that only the broker itself writes to.
pub(crate) struct NewInternalTopic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Which settings say how many replicas it has.
    pub kind: InternalTopic,
    /// How many partitions it gets.
    pub partitions: i32,
    /// Its settings.
    pub configs: &'a [(&'a str, &'a str)],
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
    let NewInternalTopic { name, kind, partitions, configs } = wanted;
    let image = broker.image();
    if image.topics.get(name).is_some() {
        return Ok(());
    }
    let config = broker.config().clone();
    let brokers = image.alive_brokers().count();
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), Some((*value).to_owned()));
    let topic = NewTopic {
        name: name.to_owned(),
        id: Uuid::from_random(broker.random().bytes16()),
        num_partitions: partitions,
        replication_factor: config.internal_replication_factor(kind, brokers),
        assignments: Vec::new(),
        configs: configs.iter().map(owned).collect(),
    };
    let command = CreateTopics {
        topics: vec![topic],
        validate_only: false,
        default_num_partitions: partitions,
        default_replication_factor: 1,
        seed: broker.random().next_u64(),
    };
    let made = broker.quorum().execute(move |image, _| Ok(command.decide(image, &config))).await;
    match made.map(|mut topics| topics.pop()) {
        Ok(Some((_, Ok(created)))) => {
            info!(partitions = created.num_partitions, "made {name}");
            Ok(())
        }
        // Another request was faster.
        Ok(Some((_, Err(refusal)))) if refusal.code == ErrorCode::TopicAlreadyExists => Ok(()),
        Ok(Some((_, Err(refusal)))) => {
            warn!(reason = %refusal.message, "{name} cannot be made, so there is no coordinator");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
        Ok(None) => Err(ErrorCode::CoordinatorNotAvailable),
        Err(cause) => {
            warn!(%cause, "{name} cannot be made, so there is no coordinator");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}
