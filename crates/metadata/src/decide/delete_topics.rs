//! DeleteTopics (API key 20): by name or by id.

use std::sync::Arc;

use millstream_base::{ErrorCode, Uuid};
use millstream_wire::stored::RemoveTopicRecord;

use super::{Decision, Refusal, count};
use crate::image::{ClusterImage, Topic};
use crate::record::MetadataRecord;

/// A topic as a request names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(Uuid),
}

impl TopicRef {
    /// The topic, or why there is none.
    pub fn find<'a>(&self, image: &'a ClusterImage) -> Result<&'a Arc<Topic>, Refusal> {
        match self {
            Self::Name(name) => image.topics.get(name).ok_or_else(|| {
                let message = format!("topic `{name}` does not exist");
                Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
            }),
            Self::Id(id) => image.topics.get_by_id(*id).ok_or_else(|| {
                let message = format!("there is no topic with the id {id}");
                Refusal::new(ErrorCode::UnknownTopicId, message)
            }),
        }
    }
}

/// The command.
#[derive(Debug, Clone, PartialEq)]
pub struct DeleteTopics {
    /// The topics.
    pub topics: Vec<TopicRef>,
    /// `delete.topic.enable`.
    pub enabled: bool,
}

/// A topic that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: Uuid,
}

impl DeleteTopics {
    /// Decides each topic on its own. The reply has one entry for each entry of the request; a topic named
    /// twice, be it once by name and once by id, is refused everywhere it stands.
    pub fn decide(
        &self,
        image: &ClusterImage,
    ) -> Decision<Vec<(TopicRef, Result<DeletedTopic, Refusal>)>> {
        let found: Vec<_> = self.topics.iter().map(|topic| topic.find(image)).collect();
        let named = count(self.topics.iter());
        let by_id = count(found.iter().flatten().map(|topic| topic.id));
        let mut records = Vec::new();
        let mut reply = Vec::with_capacity(found.len());
        for (topic, found) in self.topics.iter().zip(found) {
            let twice = named.get(topic).is_some_and(|times| *times > 1)
                || found.as_ref().is_ok_and(|t| by_id.get(&t.id).is_some_and(|times| *times > 1));
            let result = match found {
                _ if !self.enabled => Err(Refusal::new(
                    ErrorCode::TopicDeletionDisabled,
                    "topics cannot be deleted while delete.topic.enable is false",
                )),
                _ if twice => Err(Refusal::new(
                    ErrorCode::InvalidRequest,
                    "the request names this topic more than once",
                )),
                Err(refusal) => Err(refusal),
                Ok(found) => {
                    let body = RemoveTopicRecord { topic_id: found.id };
                    records.push(MetadataRecord::RemoveTopic(body));
                    Ok(DeletedTopic { name: Arc::clone(&found.name), id: found.id })
                }
            };
            reply.push((topic.clone(), result));
        }
        Decision { records, reply }
    }
}
