//! Topics for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_base::Uuid;

use crate::{GroupTimes, TopicView, Topics};

#[derive(Clone, Debug, Default)]
pub(super) struct TestTopics {
    pub(super) version: i64,
    next_id: u8,
    topics: BTreeMap<Arc<str>, (Uuid, i32)>,
    /// The times that every group sets for itself.
    pub(super) own_times: Option<GroupTimes>,
}

impl TestTopics {
    /// Makes a topic, or gives it partitions.
    pub(super) fn set(&mut self, name: &str, partitions: i32) {
        self.version += 1;
        match self.topics.get_mut(name) {
            Some((_, known)) => *known = partitions,
            None => {
                self.next_id += 1;
                self.topics.insert(name.into(), (Uuid([self.next_id; 16]), partitions));
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.version += 1;
        self.topics.remove(name);
    }

    pub(super) fn count(&self, name: &str) -> i32 {
        self.topics.get(name).map_or(0, |(_, partitions)| *partitions)
    }
}

impl Topics for TestTopics {
    fn version(&self) -> i64 {
        self.version
    }

    fn by_name(&self, name: &str) -> Option<TopicView> {
        let (name, (id, partitions)) = self.topics.get_key_value(name)?;
        Some(TopicView { name: Arc::clone(name), id: *id, partitions: *partitions })
    }

    fn by_id(&self, id: Uuid) -> Option<TopicView> {
        let name = self.topics.iter().find(|(_, (known, _))| *known == id)?.0;
        self.by_name(name)
    }

    fn each_name(&self, visit: &mut dyn FnMut(&Arc<str>)) {
        self.topics.keys().for_each(visit);
    }

    fn own_times(&self, _: &str) -> Option<GroupTimes> {
        self.own_times
    }

    fn racks(&self, _: Uuid, _: i32) -> Vec<Arc<str>> {
        Vec::new()
    }
}
