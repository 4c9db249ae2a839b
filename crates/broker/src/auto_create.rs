//! Topics that come into being because a client asks for them (`auto.create.topics.enable`).

use millstream_base::ErrorCode;
use millstream_wire::messages::create_topics::{CreatableTopic, CreatableTopicResult};
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
    let node = &broker.config().node;
    let topic = |name: &str| CreatableTopic {
        name: name.into(),
        num_partitions: node.num_partitions,
        replication_factor: default_replication_factor(node.default_replication_factor),
        ..CreatableTopic::default()
    };
    match broker.make_topics(plain.into_iter().map(topic).collect()).await {
        Ok(made) => made.iter().for_each(say),
        Err(cause) => warn!(%cause, "topics cannot be made for a client that asked for them"),
    }
}

fn say(topic: &CreatableTopicResult) {
    let CreatableTopicResult { name, num_partitions, error_code, error_message, .. } = topic;
    match ErrorCode::from_code(*error_code) {
        Some(ErrorCode::None) => {
            info!(topic = %name, partitions = num_partitions, "made a topic for a client that asked for it");
        }
        // Another request was faster.
        Some(ErrorCode::TopicAlreadyExists) => {}
        _ => {
            let reason = error_message.as_deref().unwrap_or("the controller gives no reason");
            warn!(topic = %name, reason, "a topic cannot be made for a client that asked for it");
        }
    }
}

/// The setting has more bits than the protocol; no cluster has that many brokers.
pub(crate) fn default_replication_factor(setting: i32) -> i16 {
    i16::try_from(setting).unwrap_or(i16::MAX)
}
