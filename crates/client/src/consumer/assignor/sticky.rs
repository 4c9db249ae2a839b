//! `cooperative-sticky`: balanced, with as few partitions moved as balance allows.
//!
//! Two steps. [`assign`] finds the target: what each member may keep, then what is free to those with the
//! least, then single moves while some member has at least two fewer than another that could give it one.
//! [`hold_back_moving`] then leaves out what still has another owner: that owner gives it up first, and the
//! group's next round hands it on (KIP-429).

use std::collections::{BTreeMap, BTreeSet};

use millstream_base::TopicPartition;

use super::{Assignment, Members, PartitionCounts, empty_assignment, wanted_partitions};

/// The balanced target, each wanted partition with exactly one subscriber.
pub(super) fn assign(members: &Members, topics: &PartitionCounts) -> Assignment {
    let wanted = wanted_partitions(members, topics);
    let owners = valid_owners(members, &wanted.iter().collect());
    let mut target = empty_assignment(members);
    for (partition, member) in &owners {
        give(&mut target, member, partition);
    }
    let mut free: Vec<TopicPartition> =
        wanted.into_iter().filter(|partition| !owners.contains_key(partition)).collect();
    // Topics that few read first: their partitions have the least choice.
    free.sort_by_cached_key(|partition| (readers(members, partition).count(), partition.clone()));
    for partition in free {
        let least = readers(members, &partition)
            .min_by_key(|member| (load(&target, member), (*member).clone()))
            .cloned();
        if let Some(member) = least {
            give(&mut target, &member, &partition);
        }
    }
    level(members, &mut target);
    target
}

/// Leaves out of `target` whatever another member still holds.
pub(super) fn hold_back_moving(members: &Members, mut target: Assignment) -> Assignment {
    let wanted: BTreeSet<&TopicPartition> =
        members.values().flat_map(|subscription| &subscription.owned).collect();
    let owners = valid_owners(members, &wanted);
    for (member, partitions) in &mut target {
        partitions.retain(|p| owners.get(p).is_none_or(|owner| owner == member));
    }
    target
}

/// Who holds each of `wanted`. Where two members claim one partition, the later generation wins; two of the
/// same generation cannot both be right, so neither keeps it.
fn valid_owners(
    members: &Members,
    wanted: &BTreeSet<&TopicPartition>,
) -> BTreeMap<TopicPartition, String> {
    let mut claims: BTreeMap<TopicPartition, (i32, Option<&String>)> = BTreeMap::new();
    for (member, subscription) in members {
        for partition in &subscription.owned {
            if !wanted.contains(partition) || !subscription.topics.contains(&partition.topic) {
                continue;
            }
            let claim = (subscription.generation, Some(member));
            claims
                .entry(partition.clone())
                .and_modify(|held| match held.0.cmp(&claim.0) {
                    std::cmp::Ordering::Less => *held = claim,
                    std::cmp::Ordering::Equal => held.1 = None,
                    std::cmp::Ordering::Greater => {}
                })
                .or_insert(claim);
        }
    }
    claims
        .into_iter()
        .filter_map(|(partition, (_, owner))| Some((partition, owner?.clone())))
        .collect()
}

/// Moves partitions one at a time from the fullest to the emptiest member that may read them, until no move
/// makes the group more even. Each move lowers the sum of squared loads, so this ends.
fn level(members: &Members, target: &mut Assignment) {
    while let Some((from, to, partition)) = best_move(members, target) {
        if let Some(partitions) = target.get_mut(&from) {
            partitions.remove(&partition);
        }
        give(target, &to, &partition);
    }
}

/// A move from a member with at least two more than the receiver: the emptiest receiver, fullest giver.
fn best_move(members: &Members, target: &Assignment) -> Option<(String, String, TopicPartition)> {
    let mut by_load: Vec<(usize, &String)> = target.iter().map(|(m, p)| (p.len(), m)).collect();
    by_load.sort();
    for &(low, to) in &by_load {
        let Some(subscription) = members.get(to) else { continue };
        for &(high, from) in by_load.iter().rev() {
            if high < low + 2 {
                break;
            }
            let gives = target.get(from)?.iter();
            // What the giver did not hold before goes first: moving it costs nobody anything.
            let held = members.get(from).map(|s| &s.owned);
            let choice = gives.filter(|p| subscription.topics.contains(&p.topic)).min_by_key(|p| {
                (held.is_some_and(|held| held.contains(*p)), std::cmp::Reverse(*p))
            });
            if let Some(partition) = choice {
                return Some((from.clone(), to.clone(), partition.clone()));
            }
        }
    }
    None
}

/// The members that subscribed to the partition's topic.
fn readers<'a>(
    members: &'a Members,
    partition: &'a TopicPartition,
) -> impl Iterator<Item = &'a String> {
    members
        .iter()
        .filter(|(_, subscription)| subscription.topics.contains(&partition.topic))
        .map(|(member, _)| member)
}

fn load(target: &Assignment, member: &str) -> usize {
    target.get(member).map_or(0, BTreeSet::len)
}

fn give(target: &mut Assignment, member: &str, partition: &TopicPartition) {
    if let Some(partitions) = target.get_mut(member) {
        partitions.insert(partition.clone());
    }
}
