//! The uniform assignor: even shares, few moves, near replicas.
//!
//! Every member keeps what it has; what nobody has goes to the reader with the least, one in a rack of the partition
//! before others; then single partitions move from who has most to who has least until shares differ by one at most
//! (as far as subscriptions allow). Each move makes the sum of squares of the shares smaller, so it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::Uuid;

use super::super::state::Assignment;
use super::{GroupAssignment, Spec, SpecMember};

type PartitionId = (Uuid, i32);

struct Work<'a> {
    spec: &'a Spec,
    readers: BTreeMap<Uuid, Vec<usize>>,
    /// Who has each partition.
    owner: BTreeMap<PartitionId, usize>,
    /// What each member has.
    owned: Vec<BTreeSet<PartitionId>>,
}

pub(super) fn assign(spec: &Spec) -> GroupAssignment {
    let mut work = Work {
        spec,
        readers: spec.readers(),
        owner: BTreeMap::new(),
        owned: vec![BTreeSet::new(); spec.members.len()],
    };
    work.keep();
    work.fill_near();
    work.fill();
    if work.is_homogeneous() {
        work.balance_alike();
    } else {
        work.balance_each();
    }
    work.finish()
}

impl Work<'_> {
    fn member(&self, place: usize) -> Option<&SpecMember> {
        self.spec.members.get(place)
    }

    fn load(&self, place: usize) -> usize {
        self.owned.get(place).map_or(0, BTreeSet::len)
    }

    fn give(&mut self, partition: PartitionId, place: usize) {
        if let Some(old) = self.owner.insert(partition, place)
            && let Some(owned) = self.owned.get_mut(old)
        {
            owned.remove(&partition);
        }
        if let Some(owned) = self.owned.get_mut(place) {
            owned.insert(partition);
        }
    }

    /// Everyone keeps what it had, as far as it still reads it and nobody else had it too.
    fn keep(&mut self) {
        for (place, member) in self.spec.members.iter().enumerate() {
            for (topic, partitions) in &member.current {
                let Some(count) = self.spec.topics.get(topic) else { continue };
                if !member.topics.contains(topic) {
                    continue;
                }
                for partition in partitions.range(0..*count) {
                    if !self.owner.contains_key(&(*topic, *partition)) {
                        self.give((*topic, *partition), place);
                    }
                }
            }
        }
    }

    /// Where racks are known, partitions go first to readers near them, up to an even share.
    fn fill_near(&mut self) {
        if self.spec.racks.is_empty() || self.owned.is_empty() {
            return;
        }
        let counted = self.readers.keys().filter_map(|topic| self.spec.topics.get(topic));
        let total: usize = counted.map(|count| usize::try_from(*count).unwrap_or(0)).sum();
        let share = total / self.owned.len();
        for (topic, readers) in self.readers.clone() {
            let count = self.spec.topics.get(&topic).copied().unwrap_or(0);
            for partition in (0..count).map(|partition| (topic, partition)) {
                if self.owner.contains_key(&partition) {
                    continue;
                }
                let near = readers.iter().copied().filter(|place| self.is_near(*place, partition));
                let least = near.map(|place| (self.load(place), place)).min();
                if let Some((load, place)) = least
                    && load < share
                {
                    self.give(partition, place);
                }
            }
        }
    }

    /// What nobody has goes to the readers with the least; topics with few readers come first, as they have the
    /// least choice.
    fn fill(&mut self) {
        let mut topics: Vec<(usize, Uuid)> =
            self.readers.iter().map(|(topic, readers)| (readers.len(), *topic)).collect();
        topics.sort_unstable();
        for (_, topic) in topics {
            let Some(count) = self.spec.topics.get(&topic) else { continue };
            let readers = self.readers.get(&topic).cloned().unwrap_or_default();
            let mut queue: BTreeSet<(usize, usize)> =
                readers.iter().map(|place| (self.load(*place), *place)).collect();
            for partition in 0..*count {
                if self.owner.contains_key(&(topic, partition)) {
                    continue;
                }
                let Some(choice) = self.least(&queue, (topic, partition)) else { break };
                queue.remove(&choice);
                self.give((topic, partition), choice.1);
                queue.insert((choice.0 + 1, choice.1));
            }
        }
    }

    /// Among those with the least: one near the partition, or the first.
    fn least(
        &self,
        queue: &BTreeSet<(usize, usize)>,
        partition: PartitionId,
    ) -> Option<(usize, usize)> {
        let first = *queue.first()?;
        if self.spec.racks.is_empty() {
            return Some(first);
        }
        let alike = queue.iter().take_while(|(load, _)| *load == first.0);
        Some(alike.copied().find(|(_, place)| self.is_near(*place, partition)).unwrap_or(first))
    }

    fn is_near(&self, place: usize, partition: PartitionId) -> bool {
        let rack = self.member(place).and_then(|member| member.rack.as_ref());
        let racks = self.spec.racks.get(&partition);
        rack.is_some_and(|rack| racks.is_some_and(|racks| racks.contains(rack)))
    }

    fn is_homogeneous(&self) -> bool {
        let mut members = self.spec.members.iter();
        let Some(first) = members.next() else { return true };
        members.all(|member| member.topics == first.topics)
    }

    /// All read the same: whoever has most can give to whoever has least.
    fn balance_alike(&mut self) {
        let mut queue: BTreeSet<(usize, usize)> =
            (0..self.owned.len()).map(|place| (self.load(place), place)).collect();
        while let (Some(least), Some(most)) = (queue.first().copied(), queue.last().copied()) {
            if most.0 <= least.0 + 1 {
                return;
            }
            let Some(partition) = self.pick(most.1, least.1) else { return };
            self.give(partition, least.1);
            queue.remove(&least);
            queue.remove(&most);
            queue.insert((least.0 + 1, least.1));
            queue.insert((most.0 - 1, most.1));
        }
    }

    /// Which partition `from` gives to `to`: one that comes nearer by it, or the last.
    fn pick(&self, from: usize, to: usize) -> Option<PartitionId> {
        let owned = self.owned.get(from)?;
        if self.spec.racks.is_empty() {
            return owned.last().copied();
        }
        let better = |it: &&PartitionId| self.is_near(to, **it) && !self.is_near(from, **it);
        owned.iter().rev().find(better).or_else(|| owned.last()).copied()
    }

    /// Members read different topics: each looks for who has most of what it could have.
    fn balance_each(&mut self) {
        loop {
            let mut places: Vec<usize> = (0..self.owned.len()).collect();
            places.sort_by_key(|place| (self.load(*place), *place));
            let mut moved = false;
            for place in places {
                while let Some(partition) = self.takeable(place) {
                    self.give(partition, place);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// A partition that `place` could read and whose owner has at least two more.
    fn takeable(&self, place: usize) -> Option<PartitionId> {
        let mine = self.load(place);
        let member = self.member(place)?;
        let of_topic = |topic: &Uuid| {
            let (from, to) = ((*topic, 0), (*topic, i32::MAX));
            self.owner.range(from..=to).map(|(partition, owner)| (self.load(*owner), *partition))
        };
        let candidates = member.topics.iter().flat_map(of_topic);
        let (load, partition) = candidates.max()?;
        (load >= mine + 2).then_some(partition)
    }

    fn finish(self) -> GroupAssignment {
        let assignment = |owned: &BTreeSet<PartitionId>| {
            let mut topics = Assignment::new();
            for (topic, partition) in owned {
                topics.entry(*topic).or_default().insert(*partition);
            }
            topics
        };
        let pairs = self.spec.members.iter().zip(&self.owned);
        pairs.map(|(member, owned)| (Arc::clone(&member.id), assignment(owned))).collect()
    }
}
