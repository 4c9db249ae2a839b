//! `range`: topic by topic, each member gets neighbouring partitions.
//!
//! The first members get one more where the count does not divide; so partition 0 of equally split topics goes
//! to the same member, which is what joins by key rely on.

use millstream_base::TopicPartition;

use super::{Assignment, Members, PartitionCounts, empty_assignment, ordered_members};

/// Shares each topic of `topics` by ranges.
pub(super) fn assign(members: &Members, topics: &PartitionCounts) -> Assignment {
    let mut assignment = empty_assignment(members);
    let order = ordered_members(members);
    for (topic, &count) in topics {
        let readers: Vec<&str> = order
            .iter()
            .copied()
            .filter(|member| members.get(*member).is_some_and(|s| s.topics.contains(topic)))
            .collect();
        let Ok(reader_count) = i32::try_from(readers.len()) else { continue };
        if reader_count == 0 {
            continue;
        }
        let (each, more) = (count / reader_count, count % reader_count);
        let mut next = 0;
        for (place, member) in (0..).zip(readers) {
            let end = next + each + i32::from(place < more);
            if let Some(partitions) = assignment.get_mut(member) {
                partitions.extend((next..end).map(|p| TopicPartition::new(topic.clone(), p)));
            }
            next = end;
        }
    }
    assignment
}
