//! Tests of the assignors: small cases by hand, and properties on random groups.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::tests::Dice;

fn topic(number: u8) -> Uuid {
    Uuid([number; 16])
}

fn member(id: &str, topics: &[u8]) -> SpecMember {
    SpecMember {
        id: id.into(),
        instance_id: None,
        rack: None,
        topics: topics.iter().map(|number| topic(*number)).collect(),
        current: Assignment::new(),
    }
}

fn spec(members: Vec<SpecMember>, topics: &[(u8, i32)]) -> Spec {
    let topics = topics.iter().map(|(number, count)| (topic(*number), *count)).collect();
    Spec { members, topics, racks: BTreeMap::new() }
}

/// `a: 1[0,1] 2[0]`
fn show(assignment: &GroupAssignment) -> String {
    let one = |(topic, partitions): (&Uuid, &BTreeSet<i32>)| {
        let list: Vec<String> = partitions.iter().map(ToString::to_string).collect();
        format!(" {}[{}]", topic.0[0], list.join(","))
    };
    let of = |(id, topics): (&Arc<str>, &Assignment)| {
        format!("{id}:{}", topics.iter().map(one).collect::<String>())
    };
    assignment.iter().map(of).collect::<Vec<_>>().join("; ")
}

fn again(spec: &Spec, result: &GroupAssignment) -> Spec {
    let mut next = spec.clone();
    for member in &mut next.members {
        member.current = result.get(&member.id).cloned().unwrap_or_default();
    }
    next
}

#[test]
fn range_cuts_topics_of_one_size_alike() {
    let spec = spec(
        vec![member("a", &[1, 2]), member("b", &[1, 2]), member("c", &[2])],
        &[(1, 5), (2, 5), (3, 9)],
    );
    assert_eq!(show(&assign(RANGE, &spec)), "a: 1[0,1,2] 2[0,1]; b: 1[3,4] 2[2,3]; c: 2[4]");
}

#[test]
fn range_keeps_the_place_of_a_static_member() {
    let mut members = vec![member("x", &[1]), member("y", &[1])];
    members[0].instance_id = Some("two".into());
    members[1].instance_id = Some("one".into());
    assert_eq!(show(&assign(RANGE, &spec(members, &[(1, 2)]))), "x: 1[1]; y: 1[0]");
}

#[test]
fn uniform_is_even_and_moves_little() {
    let two = spec(vec![member("a", &[1]), member("b", &[1])], &[(1, 6)]);
    let first = assign(UNIFORM, &two);
    assert_eq!(show(&first), "a: 1[0,2,4]; b: 1[1,3,5]");
    let mut three = again(&two, &first);
    three.members.push(member("c", &[1]));
    let second = assign(UNIFORM, &three);
    assert_eq!(show(&second), "a: 1[0,2]; b: 1[1,3]; c: 1[4,5]");
    let mut left = again(&three, &second);
    left.members.remove(0);
    assert_eq!(show(&assign(UNIFORM, &left)), "b: 1[0,1,3]; c: 1[2,4,5]");
}

#[test]
fn uniform_prefers_the_partitions_rack() {
    let mut members = vec![member("a", &[1]), member("b", &[1])];
    members[0].rack = Some("r2".into());
    members[1].rack = Some("r1".into());
    let mut spec = spec(members, &[(1, 4)]);
    for partition in 0..4 {
        let rack = if partition < 2 { "r1" } else { "r2" };
        spec.racks.insert((topic(1), partition), [rack.into()].into());
    }
    assert_eq!(show(&assign(UNIFORM, &spec)), "a: 1[2,3]; b: 1[0,1]");
}

#[test]
fn idle_members_and_unread_topics_are_no_harm() {
    let group =
        spec(vec![member("a", &[1]), member("b", &[1]), member("c", &[9])], &[(1, 1), (2, 3)]);
    for name in [UNIFORM, RANGE] {
        assert_eq!(show(&assign(name, &group)), "a: 1[0]; b:; c:");
    }
    assert_eq!(show(&assign(UNIFORM, &Spec::default())), "");
}

#[test]
fn random_groups_get_every_partition_once_and_keep_it() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let topics: Vec<(u8, i32)> = (1..=4).map(|t| (t, dice.below(9) as i32)).collect();
        let alike = seed % 2 == 0;
        let mut members = Vec::new();
        for index in 0..=dice.below(6) {
            let reads: Vec<u8> = (1..=4).filter(|_| alike || dice.below(2) == 0).collect();
            members.push(member(&format!("m{index}"), &reads));
        }
        let spec = spec(members, &topics);
        for name in [UNIFORM, RANGE] {
            let result = assign(name, &spec);
            check_once(&spec, &result);
            if name == UNIFORM {
                assert_eq!(
                    assign(name, &again(&spec, &result)),
                    result,
                    "a calm group is left alone"
                );
            }
            if name == UNIFORM && alike {
                let loads = result.values().map(|it| it.values().map(BTreeSet::len).sum::<usize>());
                let (least, most) = (loads.clone().min().unwrap(), loads.max().unwrap());
                assert!(most <= least + 1, "seed {seed}: {}", show(&result));
            }
        }
    }
}

fn check_once(spec: &Spec, result: &GroupAssignment) {
    for (topic, count) in &spec.topics {
        let readers: Vec<_> = spec.members.iter().filter(|it| it.topics.contains(topic)).collect();
        for partition in 0..*count {
            let has = |it: &&Assignment| it.get(topic).is_some_and(|set| set.contains(&partition));
            let owners = result.values().filter(has).count();
            assert_eq!(owners, usize::from(!readers.is_empty()));
        }
    }
    for member in &spec.members {
        assert!(result[&member.id].keys().all(|topic| member.topics.contains(topic)));
    }
}
