//! Random members of the consumer protocol commit, also such as were thrown out and do not know it.
//!
//! After every step: committed offsets are those of the commits that were accepted and of nothing else, so they never
//! go back by themselves; nobody's commit is taken for a partition that another member has; what the records say is
//! what the live shard has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::{ErrorCode, Uuid};

use super::Dice;
use super::lab::{Lab, load};
use super::topics::TestTopics;
use crate::*;

const CLIENTS: usize = 4;
const PARTITIONS: i32 = 6;
const STEPS: usize = 250;

/// What a client believes of itself.
#[derive(Clone, Debug, Default)]
struct Client {
    epoch: i32,
    owned: BTreeSet<i32>,
    told: BTreeSet<i32>,
}

struct World {
    lab: Lab,
    topics: TestTopics,
    topic: Uuid,
    dice: Dice,
    clients: Vec<Client>,
    committed: BTreeMap<i32, i64>,
    accepted: usize,
    refused: usize,
    /// Refused, and the partition was with another member by then.
    late: usize,
    steps: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut topics = TestTopics::default();
        topics.set("t", PARTITIONS);
        let mut lab = Lab::new(GroupConfig::default());
        lab.shard.set_topics(Arc::new(topics.clone()));
        Self {
            lab,
            topic: topics.by_name("t").unwrap().id,
            topics,
            dice: Dice::new(seed),
            clients: vec![Client::default(); CLIENTS],
            committed: BTreeMap::new(),
            accepted: 0,
            refused: 0,
            late: 0,
            steps: 0,
        }
    }

    fn beat(&mut self, index: usize, epoch: i32) {
        let client = self.clients[index].clone();
        let owned = match epoch {
            0 => Assignment::new(),
            _ => [(self.topic, client.owned.clone())].into(),
        };
        let request = ConsumerHeartbeat {
            group_id: "g".into(),
            member_id: format!("m{index}").into(),
            member_epoch: epoch,
            instance_id: None,
            rack: None,
            rebalance_timeout_ms: if epoch == 0 { 45_000 } else { -1 },
            topics: (epoch == 0).then(|| ["t".into()].into()),
            regex: None,
            assignor: None,
            owned: Some(owned),
            client: ClientInfo { id: "c".into(), host: "/h".into() },
            needs_member_id: true,
            random: [0; 16],
        };
        let decided = self.lab.shard.consumer_heartbeat(self.lab.now, &request);
        match self.lab.settle(decided).unwrap() {
            Ok(_) if epoch < 0 => self.clients[index] = Client::default(),
            Ok(reply) => {
                let client = &mut self.clients[index];
                client.epoch = reply.member_epoch;
                if let Some(assignment) = reply.assignment {
                    client.told = assignment.into_values().flatten().collect();
                }
                if epoch == 0 {
                    client.owned.clear();
                }
            }
            Err(_) => self.clients[index] = Client::default(),
        }
    }

    /// Commits for one partition with what `client` believes to be its epoch.
    fn commit(&mut self, index: usize, client: &Client, partition: i32) {
        let offset = match self.dice.below(4) {
            // Who was away for long is far behind.
            0 => 0,
            _ => self.committed.get(&partition).copied().unwrap_or(0) + 1,
        };
        let request = OffsetCommit {
            group_id: "g".into(),
            member_id: format!("m{index}").into(),
            instance_id: None,
            generation: client.epoch,
            knows_member_epochs: true,
            retention_ms: None,
            offsets: vec![CommitOffset {
                topic: "t".into(),
                topic_id: self.topic,
                partition,
                offset,
                leader_epoch: 0,
                metadata: "".into(),
            }],
        };
        let others = self.owners(partition, index);
        let decided = self.lab.shard.commit_offsets(self.lab.now, &request);
        match self.lab.settle(decided).unwrap() {
            Ok(codes) => {
                assert_eq!(codes, [ErrorCode::None]);
                assert_eq!(others, 0, "t-{partition} is with another member than m{index}");
                self.committed.insert(partition, offset);
                self.accepted += 1;
            }
            Err(_) => {
                self.refused += 1;
                self.late += others;
            }
        }
    }

    /// How many members but this one have a partition.
    fn owners(&self, partition: i32, but: usize) -> usize {
        let group = self.lab.shard.describe_consumer_group("g");
        let members = group.into_iter().flat_map(|group| group.members);
        let has = |member: &DescribedConsumer| {
            *member.member_id != *format!("m{but}")
                && member.assigned.get(&self.topic).is_some_and(|it| it.contains(&partition))
        };
        members.filter(has).count()
    }

    fn step(&mut self) {
        let index = self.dice.below(CLIENTS as u64) as usize;
        let client = self.clients[index].clone();
        match self.dice.below(20) {
            0 => self.beat(index, -1),
            1 => self.lab.tick(46_000),
            2 => {
                self.lab.restart();
                self.lab.shard.set_topics(Arc::new(self.topics.clone()));
            }
            3..=5 => self.lab.tick(1_100),
            6..=11 if client.epoch > 0 => {
                // It may have been thrown out by now, without knowing.
                let owned: Vec<i32> = client.owned.iter().copied().collect();
                if !owned.is_empty() {
                    let place = self.dice.below(owned.len() as u64) as usize;
                    self.commit(index, &client, owned[place]);
                }
            }
            _ => {
                if client.epoch > 0 {
                    self.clients[index].owned = client.told;
                }
                self.beat(index, client.epoch);
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let offsets = |shard: &Shard| -> BTreeMap<i32, i64> {
            shard.committed_offsets("g").map(|(_, at, it)| (at, it.offset)).collect()
        };
        assert_eq!(offsets(&self.lab.shard), self.committed);
        self.steps += 1;
        if self.steps.is_multiple_of(8) {
            assert_eq!(offsets(&load(&self.lab.config, &self.lab.log)), self.committed);
        }
    }
}

#[test]
fn committed_offsets_are_those_of_accepted_commits() {
    let (mut accepted, mut refused, mut late) = (0, 0, 0);
    for seed in 0..20 {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        accepted += world.accepted;
        refused += world.refused;
        late += world.late;
    }
    let seen = format!("{accepted} accepted, {refused} refused, {late} of them too late");
    assert!(accepted > 200 && refused > 50 && late > 5, "{seen}");
}
