//! What every assignor must keep, and what each one promises beyond.

use std::collections::{BTreeMap, BTreeSet};

use millstream_base::TopicPartition;
use proptest::prelude::*;

use super::{Assignment, Assignor, Members, PartitionCounts, Subscription};

const ALL: [Assignor; 3] = [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky];

fn topics(counts: &[(&str, i32)]) -> PartitionCounts {
    counts.iter().map(|&(topic, count)| (topic.into(), count)).collect()
}

fn member(topics: &[&str]) -> Subscription {
    Subscription {
        topics: topics.iter().map(|&topic| topic.into()).collect(),
        generation: -1,
        ..Subscription::default()
    }
}

fn group(members: &[(&str, &[&str])]) -> Members {
    members.iter().map(|&(id, topics)| (id.to_owned(), member(topics))).collect()
}

/// `a: t-0 t-1; b: t-2`
fn show(assignment: &Assignment) -> String {
    let line = |(member, partitions): (&String, &BTreeSet<TopicPartition>)| {
        let list: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        format!("{member}: {}", list.join(" "))
    };
    assignment.iter().map(line).collect::<Vec<_>>().join("; ")
}

fn check(assignor: Assignor, members: &Members, counts: &[(&str, i32)], expected: &str) {
    assert_eq!(show(&assignor.assign(members, &topics(counts))), expected);
}

#[test]
fn range_gives_neighbours_and_the_first_members_one_more() {
    let two = group(&[("a", &["t", "u"]), ("b", &["t", "u"])]);
    check(Assignor::Range, &two, &[("t", 3), ("u", 3)], "a: t-0 t-1 u-0 u-1; b: t-2 u-2");
    check(Assignor::Range, &two, &[("t", 1)], "a: t-0; b: ");
    let mixed = group(&[("a", &["t"]), ("b", &["t", "u"])]);
    check(Assignor::Range, &mixed, &[("t", 2), ("u", 2)], "a: t-0; b: t-1 u-0 u-1");
}

#[test]
fn static_members_keep_their_place_by_instance_id() {
    let mut members = group(&[("m1", &["t"]), ("m2", &["t"])]);
    members.get_mut("m1").unwrap().instance_id = Some("z".into());
    members.get_mut("m2").unwrap().instance_id = Some("a".into());
    check(Assignor::Range, &members, &[("t", 3)], "m1: t-2; m2: t-0 t-1");
}

#[test]
fn round_robin_deals_out_over_all_topics() {
    let two = group(&[("a", &["t", "u"]), ("b", &["t", "u"])]);
    check(Assignor::RoundRobin, &two, &[("t", 3), ("u", 3)], "a: t-0 t-2 u-1; b: t-1 u-0 u-2");
    let mixed = group(&[("a", &["t"]), ("b", &["t", "u"]), ("c", &["u"])]);
    check(Assignor::RoundRobin, &mixed, &[("t", 2), ("u", 2)], "a: t-0; b: t-1 u-1; c: u-0");
}

/// Runs rounds as a group does: everyone owns what the last round gave, until nothing changes.
fn settle(members: &mut Members, counts: &PartitionCounts) -> (Assignment, usize) {
    for round in 1..10 {
        let assignment = Assignor::CooperativeSticky.assign(members, counts);
        let mut moved = false;
        for (id, partitions) in &assignment {
            let subscription = members.get_mut(id).unwrap();
            moved |= subscription.owned != *partitions;
            subscription.owned.clone_from(partitions);
            subscription.generation += 1;
        }
        if !moved {
            return (assignment, round);
        }
    }
    panic!("the group does not settle");
}

#[test]
fn a_newcomer_takes_only_what_balance_needs() {
    let counts = topics(&[("t", 6)]);
    let mut members = group(&[("a", &["t"]), ("b", &["t"])]);
    let (before, _) = settle(&mut members, &counts);
    members.insert("c".into(), member(&["t"]));
    // First round: what moves is only taken away.
    let first = Assignor::CooperativeSticky.assign(&members, &counts);
    assert!(first["c"].is_empty(), "{}", show(&first));
    let (after, _) = settle(&mut members, &counts);
    for id in ["a", "b"] {
        assert!(after[id].is_subset(&before[id]), "{} -> {}", show(&before), show(&after));
        assert_eq!(after[id].len(), 2);
    }
    assert_eq!(after["c"].len(), 2);
}

#[test]
fn of_two_that_claim_one_partition_the_later_generation_keeps_it() {
    let mut members = group(&[("a", &["t"]), ("b", &["t"])]);
    let claim: BTreeSet<_> = [TopicPartition::new("t", 0)].into();
    for (id, generation) in [("a", 3), ("b", 7)] {
        let subscription = members.get_mut(id).unwrap();
        subscription.owned.clone_from(&claim);
        subscription.generation = generation;
    }
    check(Assignor::CooperativeSticky, &members, &[("t", 1)], "a: ; b: t-0");
}

prop_compose! {
    /// Up to six members over up to four topics, each with some of the topics.
    fn any_group()(
        counts in proptest::collection::vec(0..9i32, 1..5),
        wants in proptest::collection::vec(any::<u8>(), 1..7),
    ) -> (Members, PartitionCounts) {
        let names: Vec<String> = (0..counts.len()).map(|n| format!("t{n}")).collect();
        let topics: PartitionCounts =
            names.iter().zip(&counts).map(|(name, &count)| (name.as_str().into(), count)).collect();
        let members = wants.iter().enumerate().map(|(place, bits)| {
            let chosen: Vec<&str> = names.iter().enumerate()
                .filter(|(n, _)| bits >> n & 1 == 1).map(|(_, name)| name.as_str()).collect();
            (format!("m{place}"), member(&chosen))
        }).collect();
        (members, topics)
    }
}

/// Each partition that somebody wants has exactly one owner, and that owner wants it.
fn each_partition_once(members: &Members, counts: &PartitionCounts, got: &Assignment) {
    let mut seen: BTreeMap<TopicPartition, usize> = BTreeMap::new();
    for (id, partitions) in got {
        for partition in partitions {
            assert!(members[id].topics.contains(&partition.topic), "{id} did not want {partition}");
            *seen.entry(partition.clone()).or_default() += 1;
        }
    }
    assert!(seen.values().all(|&owners| owners == 1), "{seen:?}");
    assert_eq!(seen.len(), super::wanted_partitions(members, counts).len());
    assert_eq!(got.len(), members.len());
}

proptest! {
    #[test]
    fn every_wanted_partition_goes_to_exactly_one_subscriber((members, counts) in any_group()) {
        for assignor in ALL {
            each_partition_once(&members, &counts, &assignor.assign(&members, &counts));
        }
    }

    #[test]
    fn no_member_could_take_one_from_another_that_has_two_more((mut members, counts) in any_group()) {
        let (settled, _) = settle(&mut members, &counts);
        each_partition_once(&members, &counts, &settled);
        for (low, few) in &settled {
            for many in settled.values().filter(|many| many.len() >= few.len() + 2) {
                prop_assert!(
                    many.iter().all(|p| !members[low].topics.contains(&p.topic)),
                    "{}", show(&settled)
                );
            }
        }
    }

    #[test]
    fn a_settled_group_stays_as_it_is((mut members, counts) in any_group()) {
        let (settled, _) = settle(&mut members, &counts);
        prop_assert_eq!(Assignor::CooperativeSticky.assign(&members, &counts), settled);
    }

    #[test]
    fn nothing_is_given_while_another_still_holds_it((mut members, counts) in any_group()) {
        settle(&mut members, &counts);
        let everything: Vec<&str> = counts.keys().map(|topic| &**topic).collect();
        members.insert("new".into(), member(&everything));
        let next = Assignor::CooperativeSticky.assign(&members, &counts);
        for (id, partitions) in &next {
            for (other, subscription) in members.iter().filter(|(other, _)| *other != id) {
                let stolen = partitions.intersection(&subscription.owned).next();
                prop_assert!(stolen.is_none(), "{id} took {stolen:?} from {other}");
            }
        }
    }

    #[test]
    fn a_member_that_leaves_moves_only_what_it_held((mut members, counts) in any_group()) {
        settle(&mut members, &counts);
        let gone = members.pop_first().map(|(id, _)| id);
        let before: BTreeMap<String, BTreeSet<TopicPartition>> =
            members.iter().map(|(id, s)| (id.clone(), s.owned.clone())).collect();
        let (after, _) = settle(&mut members, &counts);
        let uniform = members.values().collect::<Vec<_>>().windows(2).all(|w| w[0].topics == w[1].topics);
        if uniform {
            for (id, held) in before {
                prop_assert!(held.is_subset(&after[&id]), "{id} lost some after {gone:?} left");
            }
        }
    }
}
