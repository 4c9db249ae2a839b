//! CreateTopics (API key 19): names, manual assignments, defaults (KIP-464) and the settings of new topics.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use millstream_base::{ErrorCode, NodeId, PartitionIndex, Uuid};
use millstream_config::{BrokerConfig, Change, ChangeTarget, Op, Overrides};
use millstream_wire::stored::{ConfigRecord, TopicRecord};

use super::alter_configs::refusal;
use super::{
    Decision, MAX_PARTITIONS_PER_REQUEST, Refusal, candidates, check_assignment, count,
    new_partition,
};
use crate::image::{ClusterImage, ConfigResourceType, Partition};
use crate::names::{CLUSTER_METADATA, check_topic_name, collision_key};
use crate::placement::place;
use crate::record::MetadataRecord;
use crate::snapshot::{partition_record, text};

/// One topic to be created.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// The id that it gets; drawn at random by the caller.
    pub id: Uuid,
    /// How many partitions; -1 for the default, and where `assignments` are given.
    pub num_partitions: i32,
    /// How many replicas each; -1 for the default, and where `assignments` are given.
    pub replication_factor: i16,
    /// Replicas by partition, the preferred leader first; empty to let the controller place them.
    pub assignments: Vec<(PartitionIndex, Vec<NodeId>)>,
    /// Settings; one without a value is an error.
    pub configs: Vec<(String, Option<String>)>,
}

/// The command.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CreateTopics {
    /// The topics.
    pub topics: Vec<NewTopic>,
    /// Only say what would happen.
    pub validate_only: bool,
    /// `num.partitions`.
    pub default_num_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// Where placement starts.
    pub seed: u64,
}

/// A topic that was (or would be) created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: Uuid,
    /// How many partitions it got.
    pub num_partitions: i32,
    /// How many replicas each.
    pub replication_factor: i16,
    /// The settings that were given.
    pub configs: Overrides,
}

/// Topics accepted so far in this request: later ones must fit beside them.
#[derive(Default)]
struct Accepted {
    records: Vec<MetadataRecord>,
    collision_keys: BTreeMap<String, String>,
    ids: BTreeSet<Uuid>,
    partitions: usize,
}

impl CreateTopics {
    /// Decides each topic on its own; the good ones become one atomic batch. The reply has one entry for each
    /// distinct name, in the order of the request.
    pub fn decide(
        &self,
        image: &ClusterImage,
        config: &BrokerConfig,
    ) -> Decision<Vec<(String, Result<CreatedTopic, Refusal>)>> {
        let named = count(self.topics.iter().map(|topic| topic.name.as_str()));
        let mut accepted = Accepted::default();
        let mut reply: Vec<(String, Result<CreatedTopic, Refusal>)> = Vec::new();
        let mut answered = BTreeSet::new();
        for topic in &self.topics {
            if !answered.insert(topic.name.as_str()) {
                continue;
            }
            let result = if named.get(topic.name.as_str()).is_some_and(|times| *times > 1) {
                let message = format!("topic `{}` is named more than once", topic.name);
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            } else {
                self.one(image, config, topic, &mut accepted)
            };
            reply.push((topic.name.clone(), result));
        }
        let records = if self.validate_only { Vec::new() } else { accepted.records };
        Decision { records, reply }
    }

    fn one(
        &self,
        image: &ClusterImage,
        config: &BrokerConfig,
        topic: &NewTopic,
        accepted: &mut Accepted,
    ) -> Result<CreatedTopic, Refusal> {
        check_name(image, &topic.name, accepted)?;
        let configs = check_configs(config, &topic.configs)?;
        let partitions = if topic.assignments.is_empty() {
            self.placed(image, topic)?
        } else {
            assigned(image, topic)?
        };
        if accepted.partitions + partitions.len() > MAX_PARTITIONS_PER_REQUEST {
            return Err(too_many_partitions());
        }
        if image.topics.name_of(topic.id).is_some() || !accepted.ids.insert(topic.id) {
            let message = format!("the id {} drawn for the topic is taken; try again", topic.id);
            return Err(Refusal::new(ErrorCode::UnknownServerError, message));
        }
        accepted.partitions += partitions.len();
        if let Some(key) = collision_key(&topic.name) {
            accepted.collision_keys.insert(key.into_owned(), topic.name.clone());
        }
        let replication_factor = partitions.first().map_or(0, |p| p.replicas.len());
        let created = CreatedTopic {
            id: topic.id,
            num_partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(replication_factor).unwrap_or(i16::MAX),
            configs,
        };
        push_records(&mut accepted.records, topic, &created, &partitions);
        Ok(created)
    }

    /// The partitions of a topic whose replicas the controller places.
    fn placed(&self, image: &ClusterImage, topic: &NewTopic) -> Result<Vec<Partition>, Refusal> {
        let factor_error = |message| Refusal::new(ErrorCode::InvalidReplicationFactor, message);
        let factor = match topic.replication_factor {
            -1 => self.default_replication_factor,
            factor => factor,
        };
        let factor = usize::try_from(factor).ok().filter(|factor| *factor > 0).ok_or_else(|| {
            factor_error(format!("replication factor {factor} is not possible: it must be at least 1, or -1 for the default"))
        })?;
        let wanted = match topic.num_partitions {
            -1 => self.default_num_partitions,
            wanted => wanted,
        };
        let wanted = usize::try_from(wanted).ok().filter(|wanted| *wanted > 0).ok_or_else(|| {
            let message = format!("a topic cannot have {wanted} partitions: it needs at least 1, or -1 for the default");
            Refusal::new(ErrorCode::InvalidPartitions, message)
        })?;
        if wanted > MAX_PARTITIONS_PER_REQUEST {
            return Err(too_many_partitions());
        }
        let rows = place(&candidates(image), self.seed, 0, wanted, factor)
            .map_err(|error| factor_error(error.to_string()))?;
        let none_active =
            || factor_error("all brokers are fenced or stopping at present".to_owned());
        rows.into_iter().map(|row| new_partition(image, row).ok_or_else(none_active)).collect()
    }
}

fn too_many_partitions() -> Refusal {
    let message = format!(
        "one request may add at most {MAX_PARTITIONS_PER_REQUEST} partitions; spread them over several requests"
    );
    Refusal::new(ErrorCode::PolicyViolation, message)
}

fn check_name(image: &ClusterImage, name: &str, accepted: &Accepted) -> Result<(), Refusal> {
    if name == CLUSTER_METADATA {
        let message = format!("`{name}` is the metadata log and cannot be created as a topic");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    check_topic_name(name)
        .map_err(|error| Refusal::new(ErrorCode::InvalidTopicException, error.to_string()))?;
    if image.topics.get(name).is_some() {
        let message = format!("topic `{name}` exists already");
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
    }
    let earlier = collision_key(name).and_then(|key| accepted.collision_keys.get(key.as_ref()));
    let existing = image.topics.colliding(name).map(|n| Cow::Borrowed(n.as_ref()));
    if let Some(other) = existing.or(earlier.map(|n| Cow::Borrowed(n.as_str()))) {
        let message = format!(
            "`{name}` and topic `{other}` differ only in `.` against `_`, which collide in metric names"
        );
        return Err(Refusal::new(ErrorCode::InvalidTopicException, message));
    }
    Ok(())
}

/// The settings of a new topic, each with its value, and valid together.
fn check_configs(
    config: &BrokerConfig,
    configs: &[(String, Option<String>)],
) -> Result<Overrides, Refusal> {
    if let Some((name, _)) = configs.iter().find(|(_, value)| value.is_none()) {
        let message = format!("setting `{name}` has no value");
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    }
    let changes: Vec<Change<'_>> = configs
        .iter()
        .map(|(name, value)| Change { name, op: Op::Set, value: value.as_deref() })
        .collect();
    let edits = config.plan(ChangeTarget::Topic, &Overrides::new(), &changes);
    let edits = edits.map_err(|error| refusal(&error))?;
    Ok(edits.into_iter().filter_map(|edit| Some((edit.name, edit.value?))).collect())
}

/// The partitions of a topic whose replicas the request names.
fn assigned(image: &ClusterImage, topic: &NewTopic) -> Result<Vec<Partition>, Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    if topic.replication_factor != -1 {
        return invalid("with a manual assignment the replication factor must be -1");
    }
    if topic.num_partitions != -1 {
        return invalid("with a manual assignment the number of partitions must be -1");
    }
    let refuse = |message| Refusal::new(ErrorCode::InvalidReplicaAssignment, message);
    let mut partitions = BTreeMap::new();
    let mut factor = None;
    for (index, replicas) in &topic.assignments {
        if partitions.contains_key(index) {
            return Err(refuse(format!("the manual assignment names partition {index} twice")));
        }
        check_assignment(image, replicas, factor)?;
        factor = Some(replicas.len());
        let partition = new_partition(image, replicas.clone()).ok_or_else(|| {
            refuse(format!("all brokers assigned to partition {index} are fenced or stopping"))
        })?;
        partitions.insert(*index, partition);
    }
    if !partitions.keys().zip(0..).all(|(index, expected)| index.get() == expected) {
        return Err(refuse(
            "a manual assignment must number its partitions 0, 1, 2, ...".to_owned(),
        ));
    }
    Ok(partitions.into_values().collect())
}

/// Settings stand between the topic and its partitions, so that a follower of the log knows them before it makes
/// the first replica.
fn push_records(
    records: &mut Vec<MetadataRecord>,
    topic: &NewTopic,
    created: &CreatedTopic,
    partitions: &[Partition],
) {
    let body = TopicRecord { name: text(&topic.name), topic_id: topic.id };
    records.push(MetadataRecord::Topic(body));
    for (name, value) in &created.configs {
        let body = ConfigRecord {
            resource_type: ConfigResourceType::Topic.code(),
            resource_name: text(&topic.name),
            name: text(name),
            value: Some(text(value)),
        };
        records.push(MetadataRecord::Config(body));
    }
    let indexed = partitions.iter().zip(0..);
    records.extend(indexed.map(|(p, i)| partition_record(topic.id, PartitionIndex(i), p)));
}
