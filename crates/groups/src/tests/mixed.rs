//! Random members of both protocols in one group, which migrates up and down, against a model.
//!
//! Clients join, follow, are slow to give back, pause, crash and leave; topics come, grow, go and come again; appends
//! fail; the coordinator starts anew. After every step: no partition is with two clients that are of the group, epochs
//! only grow, and the records alone give the live state. Once quiet, every partition has its one owner.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use millstream_base::{ErrorCode, Uuid};
use millstream_wire::Str;
use millstream_wire::stored::{
    ConsumerProtocolAssignment, ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription, ConsumerProtocolSubscriptionTopicPartition, embedded_from_bytes,
    value_to_bytes,
};

use super::lab::load;
use super::model::Dice;
use super::topics::TestTopics;
use crate::*;

/// Enough to meet everything; more were run when this was written.
const SEEDS: u64 = 12;
const CLIENTS: usize = 6;
const TOPICS: [&str; 2] = ["ta", "tb"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Out,
    In,
    /// Classic: waits for the answer to a join or a sync.
    Waiting,
    /// Classic: has to sync, with everybody if it leads.
    Joined {
        generation: i32,
        roster: Vec<(Arc<str>, Bytes)>,
    },
}

#[derive(Clone, Debug)]
struct Client {
    classic: bool,
    id: Arc<str>,
    instance_id: Option<Arc<str>>,
    epoch: i32,
    phase: Phase,
    token: Option<RequestToken>,
    /// What it has, by topic id.
    owned: BTreeSet<(Uuid, i32)>,
    /// What it was told to have.
    told: BTreeSet<(Uuid, i32)>,
    topics: usize,
    away: bool,
}

struct World {
    shard: Shard,
    config: GroupConfig,
    topics: TestTopics,
    log: Vec<(Bytes, Option<Bytes>)>,
    now: Now,
    clients: Vec<Client>,
    dice: Dice,
    next: u64,
    group_epoch: i32,
    kinds: BTreeSet<&'static str>,
    steps: usize,
    trace: Vec<String>,
}

fn pairs(assignment: &Assignment) -> BTreeSet<(Uuid, i32)> {
    let flat =
        |(id, list): (&Uuid, &BTreeSet<i32>)| list.iter().map(|it| (*id, *it)).collect::<Vec<_>>();
    assignment.iter().flat_map(flat).collect()
}

impl World {
    fn new(seed: u64) -> Self {
        let config = GroupConfig {
            initial_rebalance_delay_ms: 0,
            consumer_session_timeout_ms: 10_000,
            consumer_assignment_interval_ms: if seed.is_multiple_of(2) { 0 } else { 3_000 },
            ..GroupConfig::default()
        };
        let mut topics = TestTopics::default();
        topics.set("ta", 4);
        topics.set("tb", 2);
        let now = Now { wall_ms: 1_000_000, mono_ms: 0 };
        let mut shard = Shard::new(config.clone());
        shard.set_topics(Arc::new(topics.clone()));
        let _ = shard.finish_loading(now);
        let mut dice = Dice::new(seed);
        // Some groups have members of one protocol alone.
        let mix = dice.below(4);
        let client = |index: usize| Client {
            classic: match mix {
                0 => false,
                1 => true,
                _ => index % 2 == 1,
            },
            id: "".into(),
            instance_id: (index % 3 == 2).then(|| format!("static-{index}").into()),
            epoch: 0,
            phase: Phase::Out,
            token: None,
            owned: BTreeSet::new(),
            told: BTreeSet::new(),
            topics: 0,
            away: false,
        };
        Self {
            shard,
            config,
            topics,
            log: Vec::new(),
            now,
            clients: (0..CLIENTS).map(client).collect(),
            dice,
            next: 0,
            group_epoch: 0,
            kinds: BTreeSet::new(),
            steps: 0,
            trace: Vec::new(),
        }
    }

    fn random(&mut self) -> [u8; 16] {
        let mut random = [0; 16];
        random[..8].copy_from_slice(&self.dice.next().to_be_bytes());
        random
    }

    fn settle<R>(&mut self, decided: Decided<R>, may_fail: bool) -> Option<R> {
        if may_fail && !decided.records.is_empty() && self.dice.below(25) == 0 {
            self.trace.push("append fails".to_owned());
            let replies = self.shard.abort(self.now, decided, ErrorCode::NotEnoughReplicas);
            self.hand_out(replies);
            return None;
        }
        let origin = Origin { log_offset: self.log.len() as i64, producer_id: None };
        self.log.extend(decided.records.iter().map(|record| record.encode().unwrap()));
        let (reply, replies) = self.shard.apply(self.now, decided, origin);
        self.hand_out(replies);
        Some(reply)
    }

    fn hand_out(&mut self, replies: Vec<(RequestToken, Response)>) {
        for (token, response) in replies {
            self.trace.push(format!("{token:?} {response:?}"));
            let found = self.clients.iter().position(|client| client.token == Some(token));
            let Some(index) = found else { continue };
            self.clients[index].token = None;
            match response {
                Response::Join(join) => self.on_join(index, join),
                Response::Sync(sync) => self.on_sync(index, &sync),
            }
        }
    }

    fn reset(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.id = "".into();
        client.epoch = 0;
        client.phase = Phase::Out;
        client.token = None;
        client.owned.clear();
        client.told.clear();
    }

    fn client_info(index: usize) -> ClientInfo {
        ClientInfo { id: format!("c{index}").into(), host: "/h".into() }
    }

    fn names(&self, index: usize) -> Vec<&'static str> {
        match self.clients[index].topics {
            0 => TOPICS.to_vec(),
            1 => vec!["ta"],
            _ => vec!["tb"],
        }
    }

    // --- The consumer protocol -----------------------------------------------------------------------------------

    fn beat(&mut self, index: usize, epoch: i32) {
        let full = epoch == 0 || self.dice.below(5) == 0;
        let says_owned = full || self.dice.below(3) > 0;
        let client = self.clients[index].clone();
        let mut owned = Assignment::new();
        for (id, partition) in &client.owned {
            owned.entry(*id).or_default().insert(*partition);
        }
        let by_regex = client.topics == 0 && index == 0;
        let names = self.names(index).into_iter().map(Arc::from).collect();
        let random = self.random();
        let request = ConsumerHeartbeat {
            group_id: "g".into(),
            member_id: client.id.clone(),
            member_epoch: epoch,
            instance_id: client.instance_id.clone(),
            rack: None,
            rebalance_timeout_ms: if full { 15_000 } else { -1 },
            topics: full.then_some(if by_regex { Vec::new() } else { names }),
            regex: full.then(|| if by_regex { "t.".into() } else { "".into() }),
            assignor: None,
            owned: says_owned.then_some(owned),
            client: Self::client_info(index),
            needs_member_id: true,
            random,
        };
        self.trace.push(format!("beat {index} {request:?}"));
        let decided = self.shard.consumer_heartbeat(self.now, &request);
        let Some(reply) = self.settle(decided, true) else { return };
        self.trace.push(format!("-> {reply:?}"));
        match reply {
            Ok(reply) => self.heard(index, &reply),
            Err(error) => match error.code {
                ErrorCode::UnknownMemberId
                | ErrorCode::FencedMemberEpoch
                | ErrorCode::GroupIdNotFound
                | ErrorCode::FencedInstanceId => self.reset(index),
                ErrorCode::UnreleasedInstanceId => {}
                other => panic!("{other}: {}", error.message),
            },
        }
    }

    fn heard(&mut self, index: usize, reply: &ConsumerHeartbeatReply) {
        let client = &mut self.clients[index];
        if client.phase == Phase::In {
            assert!(reply.member_epoch >= client.epoch, "member epochs only grow");
        }
        client.epoch = reply.member_epoch;
        client.phase = Phase::In;
        client.away = false;
        if let Some(assignment) = &reply.assignment {
            client.told = pairs(assignment);
            // New partitions are taken at once; old ones are given back when it comes to it.
            client.owned.extend(client.told.iter().copied());
        }
    }

    fn join_consumer(&mut self, index: usize) {
        if self.clients[index].id.is_empty() {
            let id = format!("m{}", self.dice.next());
            self.clients[index].id = id.into();
        }
        self.clients[index].owned.clear();
        self.beat(index, 0);
    }

    fn leave_consumer(&mut self, index: usize, epoch: i32) {
        let client = self.clients[index].clone();
        let request = ConsumerHeartbeat {
            group_id: "g".into(),
            member_id: client.id.clone(),
            member_epoch: epoch,
            instance_id: client.instance_id.clone(),
            rack: None,
            rebalance_timeout_ms: -1,
            topics: None,
            regex: None,
            assignor: None,
            owned: None,
            client: Self::client_info(index),
            needs_member_id: true,
            random: [0; 16],
        };
        self.trace.push(format!("leave {index} {epoch}"));
        let decided = self.shard.consumer_heartbeat(self.now, &request);
        let done = self.settle(decided, false);
        let away = epoch == -2 && matches!(done, Some(Ok(_)));
        self.reset(index);
        self.clients[index].away = away;
    }

    // --- The classic protocol ------------------------------------------------------------------------------------

    fn join_classic(&mut self, index: usize) {
        // Eager: everything is given back before a join.
        self.clients[index].owned.clear();
        self.clients[index].told.clear();
        let subscription = ConsumerProtocolSubscription {
            topics: self.names(index).into_iter().map(Str::from).collect(),
            owned_partitions: Vec::<ConsumerProtocolSubscriptionTopicPartition>::new(),
            ..Default::default()
        };
        let metadata = value_to_bytes(&subscription, 1).unwrap();
        let random = self.random();
        self.next += 1;
        let token = RequestToken(self.next);
        let client = &mut self.clients[index];
        client.token = Some(token);
        client.phase = Phase::Waiting;
        let request = JoinGroup {
            group_id: "g".into(),
            member_id: client.id.clone(),
            instance_id: client.instance_id.clone(),
            client: Self::client_info(index),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 15_000,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata }],
            reason: None,
            requires_known_member_id: true,
            supports_skip_assignment: false,
            random,
        };
        self.trace.push(format!("join {index} {request:?}"));
        let decided = self.shard.join_group(self.now, &request, token);
        self.settle(decided, true);
    }

    fn on_join(&mut self, index: usize, join: JoinResponse) {
        let client = &mut self.clients[index];
        match join.error {
            ErrorCode::None => {
                client.id = join.member_id;
                client.epoch = join.generation;
                let roster =
                    join.members.into_iter().map(|it| (it.member_id, it.metadata)).collect();
                client.phase = Phase::Joined { generation: join.generation, roster };
            }
            ErrorCode::MemberIdRequired => {
                client.id = join.member_id;
                client.phase = Phase::Out;
            }
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.reset(index),
            _ => client.phase = Phase::Out,
        }
    }

    fn sync(&mut self, index: usize) {
        let Phase::Joined { generation, roster } = self.clients[index].phase.clone() else {
            return;
        };
        self.next += 1;
        let token = RequestToken(self.next);
        let client = &mut self.clients[index];
        client.token = Some(token);
        client.phase = Phase::Waiting;
        let request = SyncGroup {
            group_id: "g".into(),
            member_id: client.id.clone(),
            instance_id: client.instance_id.clone(),
            generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: self.lead(&roster),
        };
        self.trace.push(format!("sync {index} {request:?}"));
        let decided = self.shard.sync_group(self.now, &request, token);
        self.settle(decided, true);
    }

    /// What a classic leader gives to everybody.
    fn lead(&self, roster: &[(Arc<str>, Bytes)]) -> Vec<(Arc<str>, Bytes)> {
        let mut parts: BTreeMap<&Arc<str>, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
        for topic in TOPICS {
            let reads = |metadata: &Bytes| {
                let said: ConsumerProtocolSubscription =
                    embedded_from_bytes(metadata.clone()).unwrap();
                said.topics.iter().any(|name| &**name == topic)
            };
            let readers: Vec<_> = roster.iter().filter(|(_, metadata)| reads(metadata)).collect();
            for partition in 0..self.topics.count(topic) {
                let Some((id, _)) = readers.get(partition as usize % readers.len().max(1)) else {
                    continue;
                };
                parts.entry(id).or_default().entry(topic).or_default().push(partition);
            }
        }
        let bytes = |id: &Arc<str>| {
            let topics = parts.get(id).into_iter().flatten();
            let assigned = topics.map(|(topic, list)| ConsumerProtocolAssignmentTopicPartition {
                topic: (*topic).into(),
                partitions: list.clone(),
            });
            let value = ConsumerProtocolAssignment {
                assigned_partitions: assigned.collect(),
                user_data: None,
            };
            value_to_bytes(&value, 1).unwrap()
        };
        roster.iter().map(|(id, _)| (Arc::clone(id), bytes(id))).collect()
    }

    fn on_sync(&mut self, index: usize, sync: &SyncResponse) {
        match sync.error {
            ErrorCode::None => {
                let mut owned = BTreeSet::new();
                if !sync.assignment.is_empty() {
                    let read: ConsumerProtocolAssignment =
                        embedded_from_bytes(sync.assignment.clone()).unwrap();
                    for topic in read.assigned_partitions {
                        // A topic may have gone since.
                        let Some(known) = self.topics.by_name(&topic.topic) else { continue };
                        owned.extend(topic.partitions.iter().map(|it| (known.id, *it)));
                    }
                }
                let client = &mut self.clients[index];
                client.phase = Phase::In;
                client.told = owned.clone();
                client.owned = owned;
            }
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.reset(index),
            _ => self.clients[index].phase = Phase::Out,
        }
    }

    fn beat_classic(&mut self, index: usize) {
        let client = self.clients[index].clone();
        let request = Heartbeat {
            group_id: "g",
            member_id: &client.id,
            instance_id: client.instance_id.as_deref(),
            generation: client.epoch,
        };
        match self.shard.heartbeat(self.now, &request) {
            Ok(()) => {}
            Err(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => {
                let client = &mut self.clients[index];
                client.phase = Phase::Out;
                client.owned.clear();
            }
            Err(_) => self.reset(index),
        }
    }

    fn leave_classic(&mut self, index: usize) {
        let client = self.clients[index].clone();
        if client.id.is_empty() {
            return;
        }
        let member =
            LeavingMember { member_id: client.id, instance_id: client.instance_id, reason: None };
        let request = LeaveGroup { group_id: "g".into(), members: vec![member] };
        self.trace.push(format!("leave {index}"));
        let decided = self.shard.leave_group(self.now, &request);
        self.settle(decided, false);
        self.reset(index);
    }

    // --- Everybody -----------------------------------------------------------------------------------------------

    fn go_on(&mut self, index: usize) {
        let client = self.clients[index].clone();
        match (client.classic, client.phase) {
            (false, Phase::In) => {
                if self.dice.below(3) > 0 {
                    self.clients[index].owned = client.told;
                }
                self.beat(index, client.epoch);
            }
            (false, _) => self.join_consumer(index),
            (true, Phase::Out) => self.join_classic(index),
            (true, Phase::Joined { .. }) => self.sync(index),
            (true, Phase::In) => self.beat_classic(index),
            (true, Phase::Waiting) => {}
        }
    }

    fn leave(&mut self, index: usize) {
        let client = &self.clients[index];
        match (client.classic, &client.phase) {
            (true, _) => self.leave_classic(index),
            (false, Phase::In) if client.instance_id.is_some() => self.leave_consumer(index, -2),
            (false, Phase::In) => self.leave_consumer(index, -1),
            (false, _) => {}
        }
    }

    fn tick(&mut self, ms: i64) {
        self.trace.push(format!("tick {ms}"));
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        while let Some(decided) = self.shard.on_timer(self.now) {
            self.settle(decided, true);
        }
        assert!(self.shard.next_deadline().is_none_or(|due| due > self.now.mono_ms));
    }

    fn change_topics(&mut self) {
        let name = TOPICS[self.dice.below(2) as usize];
        let count = self.topics.count(name);
        match self.dice.below(3) {
            0 if count > 0 => self.topics.remove(name),
            _ if count < 7 => self.topics.set(name, count + 1),
            _ => {}
        }
        self.shard.set_topics(Arc::new(self.topics.clone()));
    }

    fn restart(&mut self) {
        self.trace.push("restart".to_owned());
        let replies = self.shard.unload(ErrorCode::NotCoordinator);
        self.hand_out(replies);
        self.shard = load(&self.config, &self.log);
        self.shard.set_topics(Arc::new(self.topics.clone()));
        let decided = self.shard.finish_loading(self.now);
        self.settle(decided, false);
        for client in &mut self.clients {
            // A classic generation that was not stored never was.
            if matches!(client.phase, Phase::Joined { .. }) {
                client.phase = Phase::Out;
            }
        }
    }

    fn step(&mut self) {
        let index = self.dice.below(CLIENTS as u64) as usize;
        match self.dice.below(50) {
            0 | 1 => self.leave(index),
            2 => self.reset(index),
            3 => self.restart(),
            4 => self.tick(11_000),
            5..=10 => self.tick(1_000),
            11 => self.change_topics(),
            12 => {
                self.clients[index].topics = self.dice.below(3) as usize;
                if self.clients[index].classic && self.clients[index].phase == Phase::In {
                    self.join_classic(index);
                }
            }
            _ => self.go_on(index),
        }
        self.check();
    }

    fn check(&mut self) {
        self.check_owners();
        let live = self.shard.describe_consumer_group("g");
        self.steps += 1;
        if self.steps.is_multiple_of(4) {
            let loaded = load(&self.config, &self.log);
            let stored = loaded.describe_consumer_group("g");
            let hard = |group: Option<DescribedConsumerGroup>| {
                group.map(|group| DescribedConsumerGroup { rebalance_reason: None, ..group })
            };
            assert_eq!(hard(live.clone()), hard(stored));
        }
        match live {
            Some(group) => {
                self.kinds.insert("consumer");
                assert!(group.epoch >= self.group_epoch, "group epochs only grow");
                self.group_epoch = group.epoch;
                if group.members.iter().any(|it| it.is_classic)
                    && group.members.iter().any(|it| !it.is_classic)
                {
                    self.kinds.insert("mixed");
                }
            }
            None => {
                // A classic group counts generations of its own from where it began.
                self.group_epoch = 0;
                if self.shard.describe_group("g").is_some() {
                    self.kinds.insert("classic");
                }
            }
        }
    }

    /// No partition is with two clients that are of the group.
    fn check_owners(&self) {
        let consumer = self.shard.describe_consumer_group("g");
        let is_member = |client: &Client| {
            let id = &client.id;
            match &consumer {
                Some(group) => group.members.iter().any(|it| {
                    it.member_id == *id && it.is_classic == client.classic && it.epoch > 0
                }),
                None => self.shard.describe_group("g").is_some_and(|group| {
                    client.classic
                        && group.generation == client.epoch
                        && group.members.iter().any(|it| it.member_id == *id)
                }),
            }
        };
        let mut owners: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
        for (index, client) in self.clients.iter().enumerate() {
            if !is_member(client) {
                continue;
            }
            for partition in &client.owned {
                let other = owners.insert(*partition, index);
                assert!(other.is_none(), "{partition:?} is with {other:?} and {index}");
            }
        }
    }

    /// Everybody behaves: in the end each partition has its one owner.
    fn calm(&mut self) {
        for _ in 0..80 {
            for index in 0..CLIENTS {
                for _ in 0..3 {
                    let told = self.clients[index].told.clone();
                    if !self.clients[index].classic && self.clients[index].phase == Phase::In {
                        self.clients[index].owned = told;
                    }
                    self.go_on(index);
                }
                self.check_owners();
            }
            self.tick(1_000);
        }
        let mut expected = BTreeSet::new();
        for topic in TOPICS {
            let reads = |index: usize| self.names(index).contains(&topic);
            let Some(view) = self.topics.by_name(topic) else { continue };
            if (0..CLIENTS).any(reads) {
                expected.extend((0..view.partitions).map(|it| (view.id, it)));
            }
        }
        let owned: BTreeSet<(Uuid, i32)> =
            self.clients.iter().flat_map(|client| client.owned.iter().copied()).collect();
        assert_eq!(owned, expected, "{:#?}", self.clients);
        let state = self.shard.list_groups(&[], &[])[0].state;
        assert_eq!(state, "Stable");
    }
}

fn run(seed: u64, steps: usize) -> World {
    let mut world = World::new(seed);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..steps {
            world.step();
        }
    }));
    if let Err(cause) = result {
        let tail = world.trace.len().saturating_sub(40);
        eprintln!("seed {seed}\n{}", world.trace[tail..].join("\n"));
        std::panic::resume_unwind(cause);
    }
    world
}

#[test]
fn random_members_of_both_protocols_never_share_a_partition() {
    let mut kinds = BTreeSet::new();
    for seed in 0..SEEDS {
        kinds.extend(run(seed, 300).kinds);
    }
    assert_eq!(kinds, ["classic", "consumer", "mixed"].into(), "all kinds of groups came up");
}

#[test]
fn a_quiet_group_of_both_protocols_owns_everything_once() {
    for seed in 1_000..1_000 + SEEDS {
        let mut world = run(seed, 120);
        // A topic that is gone comes back, so that there is something to own.
        for topic in TOPICS {
            if world.topics.count(topic) == 0 {
                world.topics.set(topic, 3);
            }
        }
        world.shard.set_topics(Arc::new(world.topics.clone()));
        for index in 0..CLIENTS {
            // Classic clients see changes of topics themselves and join again.
            if world.clients[index].classic && world.clients[index].phase == Phase::In {
                world.join_classic(index);
            }
        }
        world.tick(60_000);
        world.calm();
    }
}

#[test]
fn a_seed_gives_one_trace_of_both_protocols() {
    assert_eq!(run(11, 200).trace, run(11, 200).trace);
}
