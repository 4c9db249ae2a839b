//! Where a consumer stands in each of its partitions.
//!
//! Key types: [`Positions`], [`Partition`]. Two places per partition: the position (the next record that the
//! application gets) and the fetch offset (the next that is asked of the broker); between them lies what was
//! fetched ahead. A seek makes a new version, so that late answers for the old place are dropped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millstream_base::{Offset, TopicPartition};
use millstream_env::task::Instant;

use super::decode::{Chunk, ConsumerRecord};

/// Why a partition has no position yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Take the group's committed offset, else the reset policy.
    Committed,
    /// Take the reset policy: the offset that there was is gone.
    Reset {
        /// The offset that is gone, where there was one.
        gone: Option<Offset>,
    },
    /// The first record.
    Beginning,
    /// What comes from now on.
    End,
}

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Known(Offset),
    Missing(Missing),
}

/// One assigned partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) place: Place,
    /// Changes with every assignment and seek.
    pub(super) version: u64,
    pub(super) fetch_offset: Offset,
    pub(super) chunks: VecDeque<Chunk>,
    pub(super) buffered_bytes: usize,
    /// Decoded and not yet handed out.
    pub(super) ready: VecDeque<ConsumerRecord>,
    /// The offset after the batch that `ready` comes from.
    pub(super) ready_next: Option<Offset>,
    pub(super) fetching: bool,
    pub(super) paused: bool,
    /// The end as the last answer told it: the high watermark, or the last stable offset.
    pub(super) end: Option<Offset>,
    /// The end was reached once since the last seek.
    pub(super) ended: bool,
    pub(super) not_before: Option<Instant>,
    pub(super) committed: Option<Offset>,
}

impl Partition {
    const fn new(version: u64, place: Place) -> Self {
        let fetch_offset = match place {
            Place::Known(offset) => offset,
            Place::Missing(_) => Offset::NONE,
        };
        Self {
            place,
            version,
            fetch_offset,
            chunks: VecDeque::new(),
            buffered_bytes: 0,
            ready: VecDeque::new(),
            ready_next: None,
            fetching: false,
            paused: false,
            end: None,
            ended: false,
            not_before: None,
            committed: None,
        }
    }

    /// The position, once known.
    pub(super) const fn position(&self) -> Option<Offset> {
        match self.place {
            Place::Known(offset) => Some(offset),
            Place::Missing(_) => None,
        }
    }

    /// Whether a fetch may ask for it now.
    pub(super) fn wants_fetch(&self, now: Instant, buffer_limit: usize) -> bool {
        !self.fetching
            && !self.paused
            && self.position().is_some()
            && self.buffered_bytes < buffer_limit
            && self.not_before.is_none_or(|at| at <= now)
    }

    /// Notes when everything up to the known end was handed out.
    pub(super) fn note_end(&mut self) {
        let nothing_left = self.chunks.is_empty() && self.ready.is_empty();
        if let (Some(position), Some(end)) = (self.position(), self.end) {
            self.ended |= nothing_left && position >= end;
        }
    }
}

/// All assigned partitions.
#[derive(Debug, Default)]
pub(super) struct Positions {
    partitions: BTreeMap<TopicPartition, Partition>,
    next_version: u64,
    /// Where the next round of handing out begins, so that no partition starves.
    turn: usize,
}

impl Positions {
    pub(super) fn get(&self, partition: &TopicPartition) -> Option<&Partition> {
        self.partitions.get(partition)
    }

    pub(super) fn get_mut(&mut self, partition: &TopicPartition) -> Option<&mut Partition> {
        self.partitions.get_mut(partition)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Partition)> {
        self.partitions.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    pub(super) fn names(&self) -> BTreeSet<TopicPartition> {
        self.partitions.keys().cloned().collect()
    }

    /// Keeps what stays, drops what goes, adds what is new without a position.
    pub(super) fn assign(&mut self, partitions: &BTreeSet<TopicPartition>) {
        self.partitions.retain(|partition, _| partitions.contains(partition));
        for partition in partitions {
            if !self.partitions.contains_key(partition) {
                let fresh = Partition::new(self.version(), Place::Missing(Missing::Committed));
                self.partitions.insert(partition.clone(), fresh);
            }
        }
    }

    /// Takes `partitions` away.
    pub(super) fn remove(&mut self, partitions: &BTreeSet<TopicPartition>) {
        self.partitions.retain(|partition, _| !partitions.contains(partition));
    }

    /// Goes to another place; what was fetched is forgotten. `false` when the partition is not assigned.
    pub(super) fn seek(&mut self, partition: &TopicPartition, place: Place) -> bool {
        let version = self.version();
        let Some(held) = self.partitions.get_mut(partition) else { return false };
        let paused = held.paused;
        *held = Partition { paused, committed: held.committed, ..Partition::new(version, place) };
        true
    }

    /// The partitions in the order of this round; each call begins one further on.
    pub(super) fn round(&mut self) -> Vec<TopicPartition> {
        let mut names: Vec<TopicPartition> = self.partitions.keys().cloned().collect();
        if !names.is_empty() {
            self.turn = (self.turn + 1) % names.len();
            names.rotate_left(self.turn);
        }
        names
    }

    const fn version(&mut self) -> u64 {
        self.next_version += 1;
        self.next_version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assigning_keeps_what_stays_and_forgets_what_went() {
        let [a, b, c] = [0, 1, 2].map(|n| TopicPartition::new("t", n));
        let mut positions = Positions::default();
        positions.assign(&[a.clone(), b.clone()].into());
        assert!(positions.seek(&b, Place::Known(Offset(7))));
        let version = positions.get(&b).unwrap().version;
        positions.assign(&[b.clone(), c.clone()].into());
        assert!(positions.get(&a).is_none());
        assert_eq!(positions.get(&b).unwrap().position(), Some(Offset(7)));
        assert_eq!(positions.get(&b).unwrap().version, version);
        assert_eq!(positions.get(&c).unwrap().place, Place::Missing(Missing::Committed));
        assert!(!positions.seek(&a, Place::Known(Offset(1))));
    }

    #[test]
    fn every_partition_gets_its_turn_to_be_first() {
        let all: BTreeSet<_> = (0..3).map(|n| TopicPartition::new("t", n)).collect();
        let mut positions = Positions::default();
        positions.assign(&all);
        let firsts: BTreeSet<_> = (0..3).map(|_| positions.round()[0].clone()).collect();
        assert_eq!(firsts, all);
    }
}
