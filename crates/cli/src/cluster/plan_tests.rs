//! Placements by their outcome: counts, racks, and how few replicas move.

use super::*;

fn node(id: i32) -> NodeId {
    NodeId(id)
}

/// `count` partitions, each with these replicas.
fn all_on(count: i32, replicas: &[i32]) -> Placement {
    let replicas: Vec<NodeId> = replicas.iter().copied().map(NodeId).collect();
    (0..count).map(|n| (TopicPartition::new("t", n), replicas.clone())).collect()
}

fn brokers(racks: &[(i32, &str)]) -> BTreeMap<NodeId, Option<String>> {
    let rack = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    racks.iter().map(|(id, name)| (node(*id), rack(name))).collect()
}

fn plan(
    current: &Placement,
    targets: &BTreeMap<NodeId, Option<String>>,
    replicas: Option<usize>,
    even: bool,
) -> Result<Placement, String> {
    let scope = current.keys().cloned().collect();
    let keep = BTreeSet::new();
    spread(current, &Wanted { targets, keep: &keep, scope: &scope, replicas, even })
}

/// How many replicas and how many preferred leaders each broker has after the plan.
fn counts(current: &Placement, plan: &Placement) -> BTreeMap<i32, (usize, usize)> {
    let mut after = current.clone();
    after.extend(plan.clone());
    let mut counts: BTreeMap<i32, (usize, usize)> = BTreeMap::new();
    for replicas in after.values() {
        let distinct: BTreeSet<_> = replicas.iter().collect();
        assert_eq!(distinct.len(), replicas.len(), "{replicas:?}");
        for (place, replica) in replicas.iter().enumerate() {
            let count = counts.entry(replica.0).or_default();
            count.0 += 1;
            count.1 += usize::from(place == 0);
        }
    }
    counts
}

#[test]
fn a_new_broker_gets_its_share_and_no_more() {
    let current = all_on(12, &[1, 2, 3]);
    let targets = brokers(&[(1, ""), (2, ""), (3, ""), (4, "")]);
    let plan = plan(&current, &targets, None, true).unwrap();
    assert_eq!(copies(&current, &plan).len(), 9);
    let counts = counts(&current, &plan);
    assert!(counts.values().all(|(replicas, leads)| (*replicas, *leads) == (9, 3)), "{counts:?}");
}

#[test]
fn what_is_even_stays() {
    let mut current = Placement::new();
    for n in 0..6 {
        let replicas = (0..3).map(|k| node(1 + (n + k) % 3)).collect();
        current.insert(TopicPartition::new("t", n), replicas);
    }
    let targets = brokers(&[(1, ""), (2, ""), (3, "")]);
    assert_eq!(plan(&current, &targets, None, true).unwrap(), Placement::new());
}

#[test]
fn a_broker_is_emptied_and_the_order_of_the_others_stays() {
    let current = all_on(4, &[3, 1, 2]);
    let targets = brokers(&[(1, ""), (2, ""), (4, "")]);
    let plan = plan(&current, &targets, None, false).unwrap();
    for replicas in plan.values() {
        assert_eq!(replicas, &[node(4), node(1), node(2)]);
    }
    assert_eq!(plan.len(), 4);
}

#[test]
fn racks_are_kept_apart() {
    let current = all_on(6, &[1, 2]);
    let targets = brokers(&[(1, "a"), (2, "a"), (3, "b"), (4, "b")]);
    let moved = plan(&current, &brokers(&[(1, "a"), (3, "b"), (4, "b")]), None, false).unwrap();
    for replicas in moved.values() {
        assert_ne!(replicas[0].0 <= 2, replicas[1].0 <= 2, "{replicas:?}");
    }
    let plan = plan(&current, &targets, Some(3), true).unwrap();
    let counts = counts(&current, &plan);
    assert_eq!(counts.values().map(|(replicas, _)| replicas).sum::<usize>(), 18);
    assert!(counts.values().all(|(replicas, _)| (4..=5).contains(replicas)), "{counts:?}");
}

#[test]
fn factors_grow_and_shrink() {
    let targets = brokers(&[(1, ""), (2, ""), (3, "")]);
    let current = all_on(3, &[1]);
    let grown = plan(&current, &targets, Some(3), false).unwrap();
    assert!(grown.values().all(|replicas| replicas.len() == 3 && replicas[0] == node(1)));
    let current = all_on(3, &[1, 2, 3]);
    let shrunk = plan(&current, &targets, Some(2), false).unwrap();
    assert!(shrunk.values().all(|replicas| replicas == &[node(1), node(2)]));
    assert_eq!(
        plan(&current, &targets, Some(4), false).unwrap_err(),
        "t-0 is to have 4 replicas, and there are 3 brokers to put them on"
    );
}

#[test]
fn partitions_out_of_scope_count_and_stay() {
    let mut current = all_on(4, &[1]);
    let scope: BTreeSet<_> = current.keys().cloned().collect();
    for n in 0..4 {
        current.insert(TopicPartition::new("other", n), vec![node(2)]);
    }
    let targets = brokers(&[(1, ""), (2, ""), (3, "")]);
    let keep = BTreeSet::new();
    let wanted =
        Wanted { targets: &targets, keep: &keep, scope: &scope, replicas: None, even: true };
    let plan = spread(&current, &wanted).unwrap();
    assert!(plan.keys().all(|partition| &*partition.topic == "t"));
    assert_eq!(copies(&current, &plan).iter().filter(|(_, to)| *to == node(3)).count(), 2);
}

#[test]
fn what_lies_on_a_dead_broker_stays_and_nothing_is_added() {
    let current = all_on(6, &[1, 2]);
    let targets = brokers(&[(1, ""), (3, "")]);
    let (keep, scope) = ([node(2)].into(), current.keys().cloned().collect());
    let wanted =
        Wanted { targets: &targets, keep: &keep, scope: &scope, replicas: None, even: true };
    let plan = spread(&current, &wanted).unwrap();
    let counts = counts(&current, &plan);
    assert_eq!(
        counts.iter().map(|(id, (held, _))| (*id, *held)).collect::<Vec<_>>(),
        [(1, 3), (2, 6), (3, 3)]
    );
}
