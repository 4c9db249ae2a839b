//! Random classic members against a model: they join, sync, commit, pause, crash and leave, appends fail, and the
//! coordinator starts anew from its records.
//!
//! After every step: a partition has one owner in a generation, generations only grow, committed offsets are those of the
//! model, and the state loaded from the records is the live one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millstream_base::ErrorCode;

use super::lab::{load, subscription};
use crate::*;

const PARTITIONS: u8 = 5;
const CLIENTS: usize = 6;

/// A small generator, so that a seed gives one run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Out,
    Joining,
    Joined { generation: i32, roster: Vec<Arc<str>> },
    Syncing { generation: i32 },
    Member { generation: i32, owned: Bytes },
}

#[derive(Clone, Debug)]
struct Client {
    id: Arc<str>,
    instance_id: Option<Arc<str>>,
    phase: Phase,
    token: Option<RequestToken>,
}

struct World {
    shard: Shard,
    config: GroupConfig,
    log: Vec<(Bytes, Option<Bytes>)>,
    now: Now,
    clients: Vec<Client>,
    next_token: u64,
    dice: Dice,
    committed: BTreeMap<i32, i64>,
    last_generation: i32,
    /// Owners by generation and partition.
    owners: BTreeMap<(i32, u8), usize>,
    trace: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let config = GroupConfig::default();
        let now = Now { wall_ms: 1_000_000, mono_ms: 0 };
        let mut shard = Shard::new(config.clone());
        let _ = shard.finish_loading(now);
        let client = |index: usize| Client {
            id: "".into(),
            instance_id: index.is_multiple_of(3).then(|| format!("static-{index}").into()),
            phase: Phase::Out,
            token: None,
        };
        Self {
            shard,
            config,
            log: Vec::new(),
            now,
            clients: (0..CLIENTS).map(client).collect(),
            next_token: 0,
            dice: Dice::new(seed),
            committed: BTreeMap::new(),
            last_generation: 0,
            owners: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    fn settle<R>(&mut self, decided: Decided<R>, may_fail: bool) -> Option<R> {
        if may_fail && !decided.records.is_empty() && self.dice.below(20) == 0 {
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
            // A crashed client is not there any more to hear it.
            let Some(index) = found else { continue };
            self.clients[index].token = None;
            match response {
                Response::Join(join) => self.on_join(index, &join),
                Response::Sync(sync) => self.on_sync(index, &sync),
            }
        }
    }

    fn on_join(&mut self, index: usize, join: &JoinResponse) {
        let client = &mut self.clients[index];
        match join.error {
            ErrorCode::None => {
                client.id = Arc::clone(&join.member_id);
                assert!(join.generation >= self.last_generation, "generations only grow");
                self.last_generation = join.generation;
                let roster = if join.skip_assignment {
                    Vec::new()
                } else {
                    join.members.iter().map(|member| Arc::clone(&member.member_id)).collect()
                };
                client.phase = Phase::Joined { generation: join.generation, roster };
            }
            ErrorCode::MemberIdRequired => {
                client.id = Arc::clone(&join.member_id);
                client.phase = Phase::Out;
            }
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.reset(index),
            _ => client.phase = Phase::Out,
        }
    }

    fn on_sync(&mut self, index: usize, sync: &SyncResponse) {
        let Phase::Syncing { generation } = self.clients[index].phase else {
            panic!("a sync answer without a sync");
        };
        match sync.error {
            ErrorCode::None => {
                for partition in &sync.assignment {
                    let owner = self.owners.entry((generation, *partition)).or_insert(index);
                    assert_eq!(*owner, index, "one owner of a partition in a generation");
                }
                let owned = sync.assignment.clone();
                self.clients[index].phase = Phase::Member { generation, owned };
            }
            ErrorCode::UnknownMemberId | ErrorCode::FencedInstanceId => self.reset(index),
            _ => self.clients[index].phase = Phase::Out,
        }
    }

    fn reset(&mut self, index: usize) {
        let client = &mut self.clients[index];
        client.id = "".into();
        client.phase = Phase::Out;
        client.token = None;
    }

    fn token(&mut self, index: usize) -> RequestToken {
        self.next_token += 1;
        let token = RequestToken(self.next_token);
        self.clients[index].token = Some(token);
        token
    }

    fn join(&mut self, index: usize) {
        let topics = if self.dice.below(8) == 0 { "t,u" } else { "t" };
        let client = self.clients[index].clone();
        let mut random = [0; 16];
        random[..8].copy_from_slice(&self.dice.next().to_be_bytes());
        let request = JoinGroup {
            group_id: "g".into(),
            member_id: client.id,
            instance_id: client.instance_id,
            client: ClientInfo { id: format!("c{index}").into(), host: "/h".into() },
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 15_000,
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: subscription(topics) }],
            reason: None,
            requires_known_member_id: index.is_multiple_of(2),
            supports_skip_assignment: true,
            random,
        };
        let token = self.token(index);
        self.clients[index].phase = Phase::Joining;
        let decided = self.shard.join_group(self.now, &request, token);
        self.settle(decided, true);
    }

    fn sync(&mut self, index: usize) {
        let client = self.clients[index].clone();
        let Phase::Joined { generation, roster } = client.phase else { return };
        let mut assignments: Vec<(Arc<str>, Vec<u8>)> =
            roster.into_iter().map(|id| (id, Vec::new())).collect();
        let members = assignments.len();
        for partition in 0..PARTITIONS {
            if members > 0 {
                assignments[usize::from(partition) % members].1.push(partition);
            }
        }
        let request = SyncGroup {
            group_id: "g".into(),
            member_id: client.id,
            instance_id: client.instance_id,
            generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: assignments.into_iter().map(|(id, list)| (id, list.into())).collect(),
        };
        let token = self.token(index);
        self.clients[index].phase = Phase::Syncing { generation };
        let decided = self.shard.sync_group(self.now, &request, token);
        self.settle(decided, true);
    }

    fn beat(&mut self, index: usize) {
        let client = self.clients[index].clone();
        let Phase::Member { generation, .. } = client.phase else { return };
        let request = Heartbeat {
            group_id: "g",
            member_id: &client.id,
            instance_id: client.instance_id.as_deref(),
            generation,
        };
        match self.shard.heartbeat(self.now, &request) {
            Ok(()) => {}
            Err(ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration) => {
                self.clients[index].phase = Phase::Out;
            }
            Err(_) => self.reset(index),
        }
    }

    fn commit(&mut self, index: usize) {
        let client = self.clients[index].clone();
        let Phase::Member { generation, owned } = client.phase else { return };
        let Some(partition) = owned.first().copied().map(i32::from) else { return };
        let offset = self.committed.get(&partition).copied().unwrap_or(0) + 1;
        let request = OffsetCommit {
            group_id: "g".into(),
            member_id: client.id,
            instance_id: client.instance_id,
            generation,
            knows_member_epochs: false,
            retention_ms: None,
            offsets: vec![CommitOffset {
                topic: "t".into(),
                topic_id: millstream_base::Uuid::ZERO,
                partition,
                offset,
                leader_epoch: 0,
                metadata: "".into(),
            }],
        };
        let decided = self.shard.commit_offsets(self.now, &request);
        match self.settle(decided, true) {
            Some(Ok(_)) => {
                assert!(generation == self.last_generation, "only the last generation commits");
                self.committed.insert(partition, offset);
            }
            Some(Err(_)) => self.clients[index].phase = Phase::Out,
            None => {}
        }
    }

    fn leave(&mut self, index: usize) {
        let client = self.clients[index].clone();
        if client.id.is_empty() {
            return;
        }
        let member =
            LeavingMember { member_id: client.id, instance_id: client.instance_id, reason: None };
        let request = LeaveGroup { group_id: "g".into(), members: vec![member] };
        let decided = self.shard.leave_group(self.now, &request);
        self.settle(decided, false);
        self.reset(index);
    }

    fn tick(&mut self, ms: i64) {
        self.now.mono_ms += ms;
        self.now.wall_ms += ms;
        while let Some(decided) = self.shard.on_timer(self.now) {
            self.settle(decided, true);
        }
        assert!(self.shard.next_deadline().is_none_or(|due| due > self.now.mono_ms));
    }

    fn restart(&mut self) {
        let _ = self.shard.unload(ErrorCode::NotCoordinator);
        self.shard = load(&self.config, &self.log);
        let decided = self.shard.finish_loading(self.now);
        self.settle(decided, false);
        for index in 0..CLIENTS {
            if matches!(self.clients[index].phase, Phase::Joining | Phase::Syncing { .. }) {
                self.clients[index].phase = Phase::Out;
                self.clients[index].token = None;
            }
        }
        // A generation that was never stored may come again, with other owners.
        self.last_generation = self.shard.describe_group("g").map_or(0, |group| group.generation);
        let stored = self.last_generation;
        self.owners.retain(|(generation, _), _| *generation <= stored);
        for client in &mut self.clients {
            if matches!(client.phase, Phase::Joined { .. }) {
                client.phase = Phase::Out;
            }
        }
    }

    fn step(&mut self) {
        let index = self.dice.below(CLIENTS as u64) as usize;
        match self.dice.below(40) {
            0 => self.leave(index),
            1 => self.reset(index),
            2 => self.restart(),
            3 => self.tick(11_000),
            4..=8 => self.tick(1_000),
            9..=15 => self.commit(index),
            16..=20 => self.beat(index),
            _ => match self.clients[index].phase {
                Phase::Out => self.join(index),
                Phase::Joined { .. } => self.sync(index),
                Phase::Member { .. } => self.beat(index),
                Phase::Joining | Phase::Syncing { .. } => {}
            },
        }
        self.compare();
    }

    /// What the records say is what the live shard has.
    fn compare(&self) {
        let loaded = load(&self.config, &self.log);
        let offsets = |shard: &Shard| -> BTreeMap<i32, i64> {
            shard.committed_offsets("g").map(|(_, at, value)| (at, value.offset)).collect()
        };
        assert_eq!(offsets(&self.shard), self.committed);
        assert_eq!(offsets(&loaded), self.committed);
        let Some(live) = self.shard.describe_group("g") else {
            assert!(loaded.describe_group("g").is_none());
            return;
        };
        if live.state == "Stable" || (live.state == "Empty" && live.generation > 0) {
            let stored = loaded.describe_group("g").unwrap();
            let hard = |group: &DescribedGroup| {
                (group.state, group.generation, group.protocol.clone(), group.members.clone())
            };
            if live.state == "Stable" {
                assert_eq!(hard(&stored), hard(&live));
            } else {
                // The record of an empty generation may have been refused, which harms nobody.
                assert!(stored.generation <= live.generation);
            }
        }
    }

    /// Everybody behaves: in the end each partition has its one owner.
    fn calm(&mut self) {
        for _ in 0..60 {
            for index in 0..CLIENTS {
                match self.clients[index].phase {
                    Phase::Out => self.join(index),
                    Phase::Joined { .. } => self.sync(index),
                    Phase::Member { .. } => self.beat(index),
                    Phase::Joining | Phase::Syncing { .. } => {}
                }
            }
            self.tick(1_000);
        }
        let group = self.shard.describe_group("g").unwrap();
        assert_eq!(group.state, "Stable", "{:?}", self.clients);
        let mut owned: Vec<u8> = Vec::new();
        for member in &group.members {
            owned.extend(member.assignment.iter());
        }
        owned.sort_unstable();
        assert_eq!(owned, (0..PARTITIONS).collect::<Vec<u8>>());
    }
}

fn run(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    for _ in 0..400 {
        world.step();
    }
    world.trace
}

#[test]
fn random_members_never_share_a_partition() {
    for seed in 0..60 {
        run(seed);
    }
}

#[test]
fn a_seed_gives_one_trace() {
    assert_eq!(run(7), run(7));
}

#[test]
fn a_quiet_group_owns_everything_once() {
    for seed in 100..130 {
        let mut world = World::new(seed);
        for _ in 0..150 {
            world.step();
        }
        world.dice = Dice::new(3);
        world.calm();
    }
}
