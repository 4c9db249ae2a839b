//! Which replicas partitions are to have: spread evenly over brokers and racks, moving as few as possible.
//!
//! Key function: [`spread`]. Pure: the partitions as they are and where replicas may lie in, the partitions to change out.
//! A partition never loses a replica without getting another, unless fewer are asked for.

use std::collections::{BTreeMap, BTreeSet};

use millstream_base::{NodeId, TopicPartition};

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Where replicas may lie, with the rack of each broker.
    pub(super) targets: &'a BTreeMap<NodeId, Option<String>>,
    /// Brokers that keep what they have and get nothing new: those that are not alive at the moment.
    pub(super) keep: &'a BTreeSet<NodeId>,
    /// The partitions that may change; the others only count as load.
    pub(super) scope: &'a BTreeSet<TopicPartition>,
    /// How many replicas each gets; as many as it has when `None`.
    pub(super) replicas: Option<usize>,
    /// Whether load is evened out among the targets, and not only moved off other brokers.
    pub(super) even: bool,
}

/// Replicas by partition, the preferred leader first.
pub(super) type Placement = BTreeMap<TopicPartition, Vec<NodeId>>;

/// The partitions that get other replicas, or another order of them.
///
/// # Errors
/// When there are fewer targets than replicas.
pub(super) fn spread(current: &Placement, wanted: &Wanted<'_>) -> Result<Placement, String> {
    let mut board = Board::new(current, wanted);
    for partition in wanted.scope {
        let Some(replicas) = current.get(partition) else { continue };
        let count = wanted.replicas.unwrap_or(replicas.len());
        let kept = replicas.iter().filter(|node| wanted.keep.contains(node)).count();
        if count > wanted.targets.len() + kept {
            return Err(format!(
                "{partition} is to have {count} replicas, and there are {} brokers to put them on",
                wanted.targets.len()
            ));
        }
        board.fill(partition, count);
    }
    if wanted.even {
        board.even_replicas();
        board.even_leaders();
    }
    let changed = |(partition, replicas): (&TopicPartition, &Vec<NodeId>)| {
        let is_new = current.get(partition) != Some(replicas);
        is_new.then(|| (partition.clone(), replicas.clone()))
    };
    Ok(board.placement.iter().filter_map(changed).collect())
}

/// How many replicas of `plan` have to be copied to a broker that has none of the partition yet.
pub(super) fn copies(current: &Placement, plan: &Placement) -> Vec<(TopicPartition, NodeId)> {
    let new = plan.iter().flat_map(|(partition, replicas)| {
        let has = current.get(partition);
        let lacks = move |node: &&NodeId| !has.is_some_and(|has| has.contains(node));
        replicas.iter().filter(lacks).map(move |node| (partition.clone(), *node))
    });
    new.collect()
}

/// The placement under way, and the load that it makes.
struct Board<'a> {
    wanted: &'a Wanted<'a>,
    placement: Placement,
    load: BTreeMap<NodeId, usize>,
}

impl<'a> Board<'a> {
    fn new(current: &Placement, wanted: &'a Wanted<'a>) -> Self {
        let mut load: BTreeMap<NodeId, usize> =
            wanted.targets.keys().map(|node| (*node, 0)).collect();
        for node in current.values().flatten() {
            if let Some(count) = load.get_mut(node) {
                *count += 1;
            }
        }
        Self { wanted, placement: current.clone(), load }
    }

    fn count(&self, node: NodeId) -> usize {
        self.load.get(&node).copied().unwrap_or_default()
    }

    fn change(&mut self, node: NodeId, up: bool) {
        if let Some(count) = self.load.get_mut(&node) {
            *count = if up { *count + 1 } else { count.saturating_sub(1) };
        }
    }

    fn rack(&self, node: NodeId) -> Option<&str> {
        self.wanted.targets.get(&node)?.as_deref()
    }

    /// How many of `replicas` share a rack with `node`.
    fn neighbours(&self, node: NodeId, replicas: &[NodeId]) -> usize {
        let Some(rack) = self.rack(node) else { return 0 };
        replicas.iter().filter(|other| **other != node && self.rack(**other) == Some(rack)).count()
    }

    /// Takes replicas off brokers that are no targets, and puts new ones in their places.
    fn fill(&mut self, partition: &TopicPartition, count: usize) {
        let old = self.placement.get(partition).cloned().unwrap_or_default();
        let wanted = self.wanted;
        let is_target =
            |node: &NodeId| wanted.targets.contains_key(node) || wanted.keep.contains(node);
        let mut replicas: Vec<Option<NodeId>> =
            old.iter().map(|node| Some(*node).filter(is_target)).collect();
        while replicas.len() > count {
            // Gaps go first, then the last ones.
            let at = replicas.iter().rposition(Option::is_none).unwrap_or(replicas.len() - 1);
            if let Some(node) = replicas.remove(at) {
                self.change(node, false);
            }
        }
        replicas.resize(count, None);
        for place in 0..count {
            if replicas.get(place).copied().flatten().is_some() {
                continue;
            }
            let kept: Vec<NodeId> = replicas.iter().flatten().copied().collect();
            let free = self.wanted.targets.keys().filter(|node| !kept.contains(node));
            let best = free
                .min_by_key(|node| (self.neighbours(**node, &kept), self.count(**node), **node));
            let best = best.copied();
            if let (Some(slot), Some(node)) = (replicas.get_mut(place), best) {
                *slot = Some(node);
                self.change(node, true);
            }
        }
        self.placement.insert(partition.clone(), replicas.into_iter().flatten().collect());
    }

    /// Moves replicas from the fullest to the emptiest brokers while that helps.
    fn even_replicas(&mut self) {
        while self.move_one() {}
    }

    fn move_one(&mut self) -> bool {
        let mut order: Vec<(usize, NodeId)> =
            self.load.iter().map(|(node, count)| (*count, *node)).collect();
        order.sort_unstable();
        for &(most, from) in order.iter().rev() {
            for &(least, to) in &order {
                if most <= least + 1 {
                    break;
                }
                let movable = self.wanted.scope.iter().find_map(|partition| {
                    let replicas = self.placement.get(partition)?;
                    let at = replicas.iter().position(|node| *node == from)?;
                    let others: Vec<NodeId> =
                        replicas.iter().copied().filter(|node| *node != from).collect();
                    let fits = !others.contains(&to)
                        && self.neighbours(to, &others) <= self.neighbours(from, &others);
                    fits.then(|| (partition.clone(), at))
                });
                let Some((partition, at)) = movable else { continue };
                if let Some(slot) =
                    self.placement.get_mut(&partition).and_then(|replicas| replicas.get_mut(at))
                {
                    *slot = to;
                }
                self.change(from, false);
                self.change(to, true);
                return true;
            }
        }
        false
    }

    /// Reorders replicas so that each broker is the preferred leader of about as many partitions.
    fn even_leaders(&mut self) {
        let mut leads: BTreeMap<NodeId, usize> =
            self.wanted.targets.keys().map(|node| (*node, 0)).collect();
        for first in self.placement.values().filter_map(|replicas| replicas.first()) {
            if let Some(count) = leads.get_mut(first) {
                *count += 1;
            }
        }
        // Each swap lowers the sum of squares, so this ends.
        while self.swap_one(&mut leads) {}
    }

    fn swap_one(&mut self, leads: &mut BTreeMap<NodeId, usize>) -> bool {
        let count = |leads: &BTreeMap<NodeId, usize>, node: &NodeId| leads.get(node).copied();
        for partition in self.wanted.scope {
            let Some(replicas) = self.placement.get_mut(partition) else { continue };
            let Some(first) = replicas.first().copied() else { continue };
            let Some(most) = count(leads, &first) else { continue };
            let better = replicas
                .iter()
                .position(|node| count(leads, node).is_some_and(|least| most > least + 1));
            let Some(at) = better else { continue };
            let Some(next) = replicas.get(at).copied() else { continue };
            replicas.swap(0, at);
            leads.entry(first).and_modify(|count| *count -= 1);
            leads.entry(next).and_modify(|count| *count += 1);
            return true;
        }
        false
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
