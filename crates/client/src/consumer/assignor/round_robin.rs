//! `roundrobin`: all partitions of all topics dealt out one by one, skipping who did not subscribe.

use super::wanted_partitions;
use super::{Assignment, Members, PartitionCounts, empty_assignment, ordered_members};

/// Deals out the partitions of `topics`.
pub(super) fn assign(members: &Members, topics: &PartitionCounts) -> Assignment {
    let mut assignment = empty_assignment(members);
    let order = ordered_members(members);
    let mut turn = 0usize;
    for partition in wanted_partitions(members, topics) {
        let next = (0..order.len()).map(|step| (turn + step) % order.len()).find(|&place| {
            order
                .get(place)
                .and_then(|member| members.get(*member))
                .is_some_and(|s| s.topics.contains(&partition.topic))
        });
        let Some(place) = next else { continue };
        if let Some(partitions) = order.get(place).and_then(|m| assignment.get_mut(*m)) {
            partitions.insert(partition);
        }
        turn = place + 1;
    }
    assignment
}
