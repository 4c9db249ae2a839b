//! Topics that come into being because a client asks for them (`auto.create.topics.enable`).

use millstream_base::{ErrorCode, Uuid};
use millstream_metadata::decide::{CreateTopics, NewTopic};
use tracing::{info, warn};

use crate::broker::Broker;
use crate::coordinator;
use crate::topic_rules::OFFSETS_TOPIC;

/// Makes topics with the broker's defaults, the coordinators' own topics with theirs. Returns when they can be
/// written to; what could not be made is logged.
pub(crate) async fn create(broker: &Broker, names: &[&str]) {
    let (offsets, plain): (Vec<&str>, Vec<&str>) =
        names.iter().copied().partition(|name| *name == OFFSETS_TOPIC);
    if !offsets.is_empty() {
        // The refusal is logged there.
        let _ = coordinator::ensure_offsets_topic(broker).await;
    }
    if plain.is_empty() {
        return;
    }
    let config = broker.config().clone();
    let topic = |name: &str| NewTopic {
        name: name.to_owned(),
        id: Uuid::from_random(broker.random().bytes16()),
        num_partitions: -1,
        replication_factor: -1,
        ..NewTopic::default()
    };
    let command = CreateTopics {
        topics: plain.into_iter().map(topic).collect(),
        validate_only: false,
        default_num_partitions: config.node.num_partitions,
        default_replication_factor: default_replication_factor(
            config.node.default_replication_factor,
        ),
        seed: broker.random().next_u64(),
    };
    let made = broker.quorum().execute(move |image, _| Ok(command.decide(image, &config))).await;
    let made = match made {
        Ok(made) => made,
        Err(cause) => {
            return warn!(%cause, "topics cannot be made for a client that asked for them");
        }
    };
    for (topic, result) in made {
        match result {
            Ok(created) => {
                info!(
                    topic,
                    partitions = created.num_partitions,
                    "made a topic for a client that asked for it"
                );
            }
            // Another request was faster.
            Err(refusal) if refusal.code == ErrorCode::TopicAlreadyExists => {}
            Err(refusal) => {
                warn!(topic, reason = %refusal.message, "a topic cannot be made for a client that asked for it");
            }
        }
    }
}

/// The setting has more bits than the protocol; no cluster has that many brokers.
pub(crate) fn default_replication_factor(setting: i32) -> i16 {
    i16::try_from(setting).unwrap_or(i16::MAX)
}
