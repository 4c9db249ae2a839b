//! The broker's assignors: who shall have which partitions.
//!
//! Key entries: [`assign`], [`Spec`]. Whatever the assignor: each partition of a topic that somebody reads goes to exactly
//! one of its readers, and the same input gives the same output.

mod range;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::Uuid;

use super::state::Assignment;

/// Spreads partitions evenly and moves as few as it can.
pub(crate) const UNIFORM: &str = "uniform";
/// Gives each member a range of each topic, the same one in topics of the same size.
pub(crate) const RANGE: &str = "range";

/// One member, as an assignor sees it.
#[derive(Clone, Debug)]
pub(crate) struct SpecMember {
    pub(crate) id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) rack: Option<Arc<str>>,
    pub(crate) topics: BTreeSet<Uuid>,
    /// What it was to have so far.
    pub(crate) current: Assignment,
}

/// What an assignor works on. Members are in order of their ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spec {
    pub(crate) members: Vec<SpecMember>,
    /// Partition counts.
    pub(crate) topics: BTreeMap<Uuid, i32>,
    /// The racks of partitions; empty unless a member names its rack.
    pub(crate) racks: BTreeMap<(Uuid, i32), BTreeSet<Arc<str>>>,
}

/// The whole group's assignment.
pub(crate) type GroupAssignment = BTreeMap<Arc<str>, Assignment>;

/// Assigns with the assignor of that name, or with `uniform`.
pub(crate) fn assign(name: &str, spec: &Spec) -> GroupAssignment {
    match name {
        RANGE => range::assign(spec),
        _ => {
            debug_assert!(name == UNIFORM || name.is_empty(), "no assignor `{name}`");
            uniform::assign(spec)
        }
    }
}

impl Spec {
    /// The members (by place) that read each topic.
    fn readers(&self) -> BTreeMap<Uuid, Vec<usize>> {
        let mut readers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        for (place, member) in self.members.iter().enumerate() {
            for topic in &member.topics {
                if self.topics.contains_key(topic) {
                    readers.entry(*topic).or_default().push(place);
                }
            }
        }
        readers
    }
}

#[cfg(test)]
mod tests;
