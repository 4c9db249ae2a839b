//! The messages that members of a classic group exchange through the coordinator: subscriptions and assignments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use millstream_base::TopicPartition;
use millstream_wire::stored::{
    ConsumerProtocolAssignment, ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription, ConsumerProtocolSubscriptionTopicPartition, embedded_from_bytes,
    value_to_bytes,
};
use millstream_wire::{DecodeError, EncodeError};

use super::assignor::Subscription;

/// The version that members of today's groups write.
const VERSION: i16 = 3;

/// What a member tells when it joins.
pub(super) fn write_subscription(subscription: &Subscription) -> Result<Bytes, EncodeError> {
    let owned = by_topic(&subscription.owned);
    let message = ConsumerProtocolSubscription {
        topics: subscription.topics.iter().map(Into::into).collect(),
        user_data: None,
        owned_partitions: owned
            .iter()
            .map(|(topic, partitions)| ConsumerProtocolSubscriptionTopicPartition {
                topic: (*topic).into(),
                partitions: partitions.clone(),
            })
            .collect(),
        generation_id: subscription.generation,
        rack_id: None,
    };
    value_to_bytes(&message, VERSION)
}

/// What another member told.
pub(crate) fn read_subscription(
    bytes: Bytes,
    instance_id: Option<String>,
) -> Result<Subscription, DecodeError> {
    let message: ConsumerProtocolSubscription = embedded_from_bytes(bytes)?;
    let owned = message.owned_partitions.iter().flat_map(|owned| {
        let topic = Arc::<str>::from(&owned.topic);
        owned.partitions.iter().map(move |&partition| TopicPartition::new(topic.clone(), partition))
    });
    Ok(Subscription {
        topics: message.topics.iter().map(Arc::<str>::from).collect(),
        owned: owned.collect(),
        generation: message.generation_id,
        instance_id,
    })
}

/// What the leader gives a member.
pub(super) fn write_assignment(
    partitions: &BTreeSet<TopicPartition>,
) -> Result<Bytes, EncodeError> {
    let message = ConsumerProtocolAssignment {
        assigned_partitions: by_topic(partitions)
            .iter()
            .map(|(topic, partitions)| ConsumerProtocolAssignmentTopicPartition {
                topic: (*topic).into(),
                partitions: partitions.clone(),
            })
            .collect(),
        user_data: None,
    };
    value_to_bytes(&message, VERSION)
}

/// What a member was given; no bytes mean nothing.
pub(crate) fn read_assignment(bytes: Bytes) -> Result<BTreeSet<TopicPartition>, DecodeError> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let message: ConsumerProtocolAssignment = embedded_from_bytes(bytes)?;
    let partitions = message.assigned_partitions.iter().flat_map(|assigned| {
        let topic = Arc::<str>::from(&assigned.topic);
        assigned
            .partitions
            .iter()
            .map(move |&partition| TopicPartition::new(topic.clone(), partition))
    });
    Ok(partitions.collect())
}

fn by_topic(partitions: &BTreeSet<TopicPartition>) -> BTreeMap<&Arc<str>, Vec<i32>> {
    let mut topics: BTreeMap<&Arc<str>, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition.0);
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let owned: BTreeSet<_> = [("a", 0), ("a", 2), ("b", 1)]
            .map(|(topic, partition)| TopicPartition::new(topic, partition))
            .into();
        let subscription = Subscription {
            topics: [Arc::from("a"), Arc::from("b")].into(),
            owned: owned.clone(),
            generation: 4,
            instance_id: Some("i".to_owned()),
        };
        let bytes = write_subscription(&subscription).unwrap();
        assert_eq!(read_subscription(bytes, Some("i".to_owned())).unwrap(), subscription);
        assert_eq!(read_assignment(write_assignment(&owned).unwrap()).unwrap(), owned);
        assert_eq!(read_assignment(Bytes::new()).unwrap(), BTreeSet::new());
    }

    #[test]
    fn an_old_members_subscription_owns_nothing() {
        let old = ConsumerProtocolSubscription {
            topics: vec!["a".into()],
            ..ConsumerProtocolSubscription::default()
        };
        let read = read_subscription(value_to_bytes(&old, 0).unwrap(), None).unwrap();
        assert_eq!((read.owned.len(), read.generation), (0, -1));
    }
}
