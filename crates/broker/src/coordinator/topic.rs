//! Makes `__consumer_offsets` when the first group needs it.

use millstream_base::{ErrorCode, Uuid};
use millstream_config::InternalTopic;
use millstream_metadata::decide::{CreateTopics, NewTopic};
use tracing::{info, warn};

use crate::broker::Broker;
use crate::topic_rules::OFFSETS_TOPIC;

/// Sees that the topic exists. Made with `offsets.topic.*`, compacted, as Kafka makes it.
pub(crate) async fn ensure_offsets_topic(broker: &Broker) -> Result<(), ErrorCode> {
    let image = broker.image();
    if image.topics.get(OFFSETS_TOPIC).is_some() {
        return Ok(());
    }
    let config = broker.config().clone();
    let brokers = image.alive_brokers().count();
    let groups = &config.groups;
    let text = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    let topic = NewTopic {
        name: OFFSETS_TOPIC.to_owned(),
        id: Uuid::from_random(broker.random().bytes16()),
        num_partitions: groups.offsets_topic_num_partitions,
        replication_factor: config.internal_replication_factor(InternalTopic::Offsets, brokers),
        assignments: Vec::new(),
        configs: vec![
            text("cleanup.policy", "compact"),
            text("compression.type", "producer"),
            text("segment.bytes", &groups.offsets_topic_segment_bytes.to_string()),
        ],
    };
    let command = CreateTopics {
        topics: vec![topic],
        validate_only: false,
        default_num_partitions: groups.offsets_topic_num_partitions,
        default_replication_factor: 1,
        seed: broker.random().next_u64(),
    };
    let made = broker.quorum().execute(move |image, _| Ok(command.decide(image, &config))).await;
    match made.map(|mut topics| topics.pop()) {
        Ok(Some((_, Ok(created)))) => {
            info!(partitions = created.num_partitions, "made {OFFSETS_TOPIC} for the first group");
            Ok(())
        }
        // Another request was faster.
        Ok(Some((_, Err(refusal)))) if refusal.code == ErrorCode::TopicAlreadyExists => Ok(()),
        Ok(Some((_, Err(refusal)))) => {
            warn!(reason = %refusal.message, "{OFFSETS_TOPIC} cannot be made, so there are no groups");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
        Ok(None) => Err(ErrorCode::CoordinatorNotAvailable),
        Err(cause) => {
            warn!(%cause, "{OFFSETS_TOPIC} cannot be made, so there are no groups");
            Err(ErrorCode::CoordinatorNotAvailable)
        }
    }
}
