//! A shard with a log, a clock and named clients, driven by a script.
//!
//! One line is one command; what comes out of it stands in the lines after it. Member ids show as `NAME#N`, where N counts
//! the ids that were made.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use millstream_base::ErrorCode;

use crate::*;

pub(super) struct Lab {
    pub(super) shard: Shard,
    pub(super) config: GroupConfig,
    pub(super) log: Vec<(Bytes, Option<Bytes>)>,
    pub(super) now: Now,
    pub(super) group: Arc<str>,
    /// Client name to member id.
    pub(super) ids: BTreeMap<String, Arc<str>>,
    generations: BTreeMap<String, i32>,
    waiting: BTreeMap<RequestToken, String>,
    next_token: u64,
    next_id: u8,
    fail_next: Option<ErrorCode>,
    failures: VecDeque<String>,
    pub(super) out: String,
}

/// Runs `script` and compares with what it says comes out. Lines starting with `<` are the expectation.
#[track_caller]
pub(super) fn check(script: &str) {
    check_with(GroupConfig::default(), script);
}

#[track_caller]
pub(super) fn check_with(config: GroupConfig, script: &str) {
    let mut lab = Lab::new(config);
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    let expected: Vec<&str> = lines.collect();
    for line in expected.iter().filter(|line| !line.starts_with('<')) {
        lab.run(line);
    }
    let actual: Vec<&str> = lab.out.lines().collect();
    assert_eq!(
        actual,
        expected,
        "\n--- actual ---\n{}\n--- expected ---\n{}\n",
        actual.join("\n"),
        expected.join("\n")
    );
}

impl Lab {
    pub(super) fn new(config: GroupConfig) -> Self {
        let now = Now { wall_ms: 1_000_000, mono_ms: 0 };
        let mut shard = Shard::new(config.clone());
        let _ = shard.finish_loading(now);
        Self {
            shard,
            config,
            log: Vec::new(),
            now,
            group: "g".into(),
            ids: BTreeMap::new(),
            generations: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_token: 0,
            next_id: 0,
            fail_next: None,
            failures: VecDeque::new(),
            out: String::new(),
        }
    }

    pub(super) fn run(&mut self, line: &str) {
        writeln!(self.out, "{line}").unwrap();
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap();
        let args: Vec<&str> = words.collect();
        match verb {
            "group" => self.group = args[0].into(),
            "join" => self.join(args[0], &args[1..]),
            "sync" => self.sync(args[0], &args[1..]),
            "beat" => self.beat(args[0], &args[1..]),
            "leave" => self.leave(&args),
            "commit" => self.commit(args[0], &args[1..]),
            "fetch" => self.fetch(),
            "tick" => self.tick(args[0].parse().unwrap()),
            "show" => self.show(),
            "restart" => self.restart(),
            "fail" => self.fail_next = ErrorCode::from_code(args[0].parse().unwrap()),
            "list" => self.list(&args),
            "delete" => {
                let decided = self.shard.delete_group(&self.group);
                if let Some(Some(code)) = self.settle(decided) {
                    self.say(&format!("delete {code}"));
                }
            }
            "delete-offset" => self.delete_offset(&args),
            "forget" => self.forget(args[0]),
            "forget-topic" => {
                let decided = self.shard.forget_topics(&[args[0].into()]);
                self.settle(decided);
            }
            other => panic!("no such command: {other}"),
        }
        for line in std::mem::take(&mut self.failures) {
            self.say(&line);
        }
    }

    fn say(&mut self, what: &str) {
        writeln!(self.out, "< {what}").unwrap();
    }

    fn token(&mut self, name: &str) -> RequestToken {
        self.next_token += 1;
        let token = RequestToken(self.next_token);
        self.waiting.insert(token, name.to_owned());
        token
    }

    /// Writes the records, applies them as they would come back from the log, and hands out the replies.
    pub(super) fn settle<R>(&mut self, decided: Decided<R>) -> Option<R> {
        if !decided.records.is_empty()
            && let Some(error) = self.fail_next.take()
        {
            let replies = self.shard.abort(self.now, decided, error);
            self.failures.push_back(format!("append failed: {}", Shard::append_error(error)));
            self.hand_out(replies);
            return None;
        }
        let origin = Origin { log_offset: self.log.len() as i64, producer_id: None };
        for record in &decided.records {
            self.log.push(record.encode().unwrap());
        }
        let (reply, replies) = self.shard.apply(self.now, decided, origin);
        self.hand_out(replies);
        Some(reply)
    }

    fn hand_out(&mut self, replies: Vec<(RequestToken, Response)>) {
        for (token, response) in replies {
            let name = self.waiting.remove(&token).expect("a reply comes once");
            match response {
                Response::Join(join) => self.joined(&name, &join),
                Response::Sync(sync) if sync.error.is_error() => {
                    self.say(&format!("{name} sync {}", sync.error));
                }
                Response::Sync(sync) => {
                    let text = String::from_utf8_lossy(&sync.assignment).into_owned();
                    self.say(&format!("{name} synced [{text}]"));
                }
            }
        }
    }

    fn joined(&mut self, name: &str, join: &JoinResponse) {
        if join.error.is_error() {
            if join.error == ErrorCode::MemberIdRequired {
                self.ids.insert(name.to_owned(), Arc::clone(&join.member_id));
            }
            let id = short(&join.member_id);
            return self.say(&format!("{name} join {} id={id}", join.error));
        }
        self.ids.insert(name.to_owned(), Arc::clone(&join.member_id));
        self.generations.insert(name.to_owned(), join.generation);
        let mut line = format!(
            "{name} joined gen={} id={} leader={} by={}",
            join.generation,
            short(&join.member_id),
            short(&join.leader),
            join.protocol_name.as_deref().unwrap_or("-"),
        );
        if !join.members.is_empty() {
            let ids: Vec<String> = join.members.iter().map(|m| short(&m.member_id)).collect();
            write!(line, " all={}", ids.join(",")).unwrap();
        }
        if join.skip_assignment {
            line.push_str(" skip");
        }
        self.say(&line);
    }

    fn option<'a>(args: &[&'a str], name: &str) -> Option<&'a str> {
        args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='))
    }

    fn number(args: &[&str], name: &str, default: i32) -> i32 {
        Self::option(args, name).map_or(default, |text| text.parse().unwrap())
    }

    fn id_of(&self, name: &str, args: &[&str]) -> Arc<str> {
        match Self::option(args, "id") {
            Some("none") => "".into(),
            Some(id) => id.into(),
            None => self.ids.get(name).cloned().unwrap_or_else(|| "".into()),
        }
    }

    fn join(&mut self, name: &str, args: &[&str]) {
        let version = Self::number(args, "v", 9);
        let topics = Self::option(args, "topics").unwrap_or("t");
        let protocols = Self::option(args, "by").unwrap_or("range");
        let session_timeout_ms = Self::number(args, "session", 10_000);
        let member_id = self.id_of(name, args);
        self.next_id += u8::from(member_id.is_empty());
        let request = JoinGroup {
            group_id: Arc::clone(&self.group),
            member_id,
            instance_id: Self::option(args, "static").map(Arc::from),
            client: ClientInfo { id: name.into(), host: "/127.0.0.1".into() },
            session_timeout_ms,
            rebalance_timeout_ms: Self::number(args, "rebalance", 60_000),
            protocol_type: Self::option(args, "type").unwrap_or("consumer").into(),
            protocols: protocols
                .split(',')
                .filter(|name| !name.is_empty())
                .map(|name| Protocol { name: name.into(), metadata: subscription(topics) })
                .collect(),
            reason: None,
            requires_known_member_id: version >= 4,
            supports_skip_assignment: version >= 9,
            random: [self.next_id; 16],
        };
        let token = self.token(name);
        let decided = self.shard.join_group(self.now, &request, token);
        self.settle(decided);
    }

    fn sync(&mut self, name: &str, args: &[&str]) {
        let assigned = |arg: &&str| {
            let (who, what) = arg.split_once(':')?;
            let id = self.ids.get(who).cloned().unwrap_or_else(|| who.into());
            Some((id, Bytes::copy_from_slice(what.as_bytes())))
        };
        let assignments = args.iter().filter_map(assigned).collect();
        let known = self.generations.get(name).copied().unwrap_or(-1);
        let request = SyncGroup {
            group_id: Arc::clone(&self.group),
            member_id: self.id_of(name, args),
            instance_id: Self::option(args, "static").map(Arc::from),
            generation: Self::number(args, "gen", known),
            protocol_type: Self::option(args, "type").map(Arc::from),
            protocol_name: Self::option(args, "by").map(Arc::from),
            assignments,
        };
        let token = self.token(name);
        let decided = self.shard.sync_group(self.now, &request, token);
        self.settle(decided);
    }

    fn beat(&mut self, name: &str, args: &[&str]) {
        let known = self.generations.get(name).copied().unwrap_or(-1);
        let member_id = self.id_of(name, args);
        let group_id = Arc::clone(&self.group);
        let request = Heartbeat {
            group_id: &group_id,
            member_id: &member_id,
            instance_id: Self::option(args, "static"),
            generation: Self::number(args, "gen", known),
        };
        match self.shard.heartbeat(self.now, &request) {
            Ok(()) => self.say(&format!("{name} alive")),
            Err(error) => self.say(&format!("{name} beat {error}")),
        }
    }

    fn leave(&mut self, names: &[&str]) {
        let member = |name: &&str| match name.strip_prefix("static=") {
            Some(instance) => LeavingMember {
                member_id: "".into(),
                instance_id: Some(instance.into()),
                reason: None,
            },
            None => LeavingMember {
                member_id: self.ids.get(*name).cloned().unwrap_or_else(|| (*name).into()),
                instance_id: None,
                reason: None,
            },
        };
        let members = names.iter().map(member).collect();
        let request = LeaveGroup { group_id: Arc::clone(&self.group), members };
        let decided = self.shard.leave_group(self.now, &request);
        if let Some(codes) = self.settle(decided) {
            self.say(&format!("leave {codes:?}"));
        }
    }

    fn commit(&mut self, name: &str, args: &[&str]) {
        let offsets = args.iter().filter_map(|arg| {
            let (place, offset) = arg.split_once('@')?;
            let (topic, partition) = place.split_once('-')?;
            let (offset, metadata) = offset.split_once('/').unwrap_or((offset, ""));
            Some(CommitOffset {
                topic: topic.into(),
                topic_id: millstream_base::Uuid::ZERO,
                partition: partition.parse().unwrap(),
                offset: offset.parse().unwrap(),
                leader_epoch: 3,
                metadata: metadata.into(),
            })
        });
        let known = self.generations.get(name).copied().unwrap_or(-1);
        let request = OffsetCommit {
            group_id: Arc::clone(&self.group),
            member_id: self.id_of(name, args),
            instance_id: None,
            generation: Self::number(args, "gen", known),
            knows_member_epochs: Self::number(args, "v", 8) >= 9,
            retention_ms: Self::option(args, "retain").map(|text| text.parse().unwrap()),
            offsets: offsets.collect(),
        };
        let decided = self.shard.commit_offsets(self.now, &request);
        match self.settle(decided) {
            Some(Ok(codes)) => self.say(&format!("commit {codes:?}")),
            Some(Err(code)) => self.say(&format!("commit {code}")),
            None => {}
        }
    }

    fn fetch(&mut self) {
        let request = OffsetFetch {
            group_id: Arc::clone(&self.group),
            member_id: None,
            member_epoch: -1,
            topics: None,
            require_stable: false,
        };
        let mut line = String::from("offsets");
        for (topic, partitions) in self.shard.fetch_offsets(&request).unwrap() {
            for fetched in partitions {
                let committed = fetched.committed.unwrap();
                write!(line, " {topic}-{}@{}", fetched.partition, committed.offset).unwrap();
                if !committed.metadata.is_empty() {
                    write!(line, "/{}", committed.metadata).unwrap();
                }
            }
        }
        self.say(&line);
    }

    /// Lets time pass, stopping at each deadline on the way.
    pub(super) fn tick(&mut self, ms: i64) {
        let end = self.now.mono_ms + ms;
        loop {
            let due = self.shard.next_deadline().filter(|due| *due <= end);
            let step = due.unwrap_or(end).max(self.now.mono_ms) - self.now.mono_ms;
            self.now.mono_ms += step;
            self.now.wall_ms += step;
            match due.and_then(|_| self.shard.on_timer(self.now)) {
                Some(decided) => {
                    self.settle(decided);
                }
                None => return,
            }
        }
    }

    fn show(&mut self) {
        let Some(group) = self.shard.describe_group(&self.group) else {
            return self.say("no group");
        };
        let mut line = format!("{} gen={}", group.state, group.generation);
        if let Some(protocol) = &group.protocol {
            write!(line, " by={protocol}").unwrap();
        }
        for member in &group.members {
            let text = String::from_utf8_lossy(&member.assignment).into_owned();
            write!(line, " {}[{text}]", short(&member.member_id)).unwrap();
        }
        self.say(&line);
    }

    fn list(&mut self, args: &[&str]) {
        let states: Vec<&str> = Self::option(args, "state").into_iter().collect();
        let kinds: Vec<&str> = Self::option(args, "type").into_iter().collect();
        for group in self.shard.list_groups(&states, &kinds) {
            let line = format!(
                "{} {} {} {}",
                group.group_id,
                if group.protocol_type.is_empty() { "-" } else { &group.protocol_type },
                group.state,
                group.kind.name()
            );
            self.say(&line);
        }
    }

    fn delete_offset(&mut self, args: &[&str]) {
        let place = |arg: &&str| {
            let (topic, partition) = arg.split_once('-').unwrap();
            (Arc::from(topic), partition.parse().unwrap())
        };
        let places: Vec<(Arc<str>, i32)> = args.iter().map(place).collect();
        let decided = self.shard.delete_offsets(&self.group, &places);
        if let Some(codes) = self.settle(decided) {
            self.say(&format!("delete-offset {codes:?}"));
        }
    }

    /// The client loses what it knows.
    fn forget(&mut self, name: &str) {
        self.ids.remove(name);
        self.generations.remove(name);
    }

    /// The coordinator starts anew from its log.
    pub(super) fn restart(&mut self) {
        let replies = self.shard.unload(ErrorCode::NotCoordinator);
        self.hand_out(replies);
        let topics = Arc::clone(&self.shard.topics);
        self.shard = load(&self.config, &self.log);
        self.shard.set_topics(topics);
        let decided = self.shard.finish_loading(self.now);
        self.settle(decided);
    }
}

pub(super) fn load(config: &GroupConfig, log: &[(Bytes, Option<Bytes>)]) -> Shard {
    let mut shard = Shard::new(config.clone());
    for (offset, (key, value)) in log.iter().enumerate() {
        let origin = Origin { log_offset: offset as i64, producer_id: None };
        shard.load(origin, key, value.as_deref()).expect("our own records can be read");
    }
    shard
}

/// `client-01010101-0101-...` shows as `client#1`.
pub(super) fn short(id: &str) -> String {
    let Some(at) = id.len().checked_sub(37) else { return id.to_owned() };
    match u8::from_str_radix(&id[at + 1..at + 3], 16) {
        Ok(number) => format!("{}#{number}", &id[..at]),
        Err(_) => id.to_owned(),
    }
}

/// A consumer's subscription, version 0.
pub(super) fn subscription(topics: &str) -> Bytes {
    let topics: Vec<&str> = topics.split(',').collect();
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes.into()
}
