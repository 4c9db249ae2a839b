//! The range assignor: consecutive partitions of each topic to each of its readers.
//!
//! Topics with as many partitions and the same readers are cut alike, so that a member has the same numbers of each and
//! can join them. Readers stand in the order of their instance ids or else ids: a static member keeps its place.

use std::sync::Arc;

use super::{GroupAssignment, Spec};

pub(super) fn assign(spec: &Spec) -> GroupAssignment {
    let mut result: GroupAssignment =
        spec.members.iter().map(|member| (Arc::clone(&member.id), Default::default())).collect();
    for (topic, mut places) in spec.readers() {
        let Some(count) = spec.topics.get(&topic) else { continue };
        places.sort_by_key(|place| {
            spec.members.get(*place).map(|it| it.instance_id.as_ref().unwrap_or(&it.id))
        });
        let readers = i32::try_from(places.len()).unwrap_or(i32::MAX).max(1);
        let (share, extra) = (count / readers, count % readers);
        let mut next = 0;
        for (turn, place) in (0..).zip(places) {
            let size = share + i32::from(turn < extra);
            let Some(member) = spec.members.get(place) else { continue };
            if size > 0
                && let Some(assignment) = result.get_mut(&member.id)
            {
                assignment.insert(topic, (next..next + size).collect());
            }
            next += size;
        }
    }
    result
}
