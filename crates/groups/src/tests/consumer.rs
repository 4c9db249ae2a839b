//! Scripts of the consumer protocol, and its bad input.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::lab::{Lab, load};
use super::topics::TestTopics;
use crate::*;

/// Clients of the consumer protocol over a [`Lab`].
struct Consumers {
    lab: Lab,
    topics: TestTopics,
    epochs: BTreeMap<String, i32>,
    owned: BTreeMap<String, Assignment>,
    out: String,
}

#[track_caller]
fn check(script: &str) {
    // Most scripts show what follows from one change, so that none is gathered with others.
    check_with(
        GroupConfig { consumer_assignment_interval_ms: 0, ..GroupConfig::default() },
        script,
    );
}

#[track_caller]
fn check_with(config: GroupConfig, script: &str) {
    let mut run = Consumers::new(config);
    let expected: Vec<&str> = script.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    for line in expected.iter().filter(|line| !line.starts_with('<')) {
        run.run(line);
    }
    let actual: Vec<&str> = run.out.lines().collect();
    let (shown, wanted) = (actual.join("\n"), expected.join("\n"));
    assert_eq!(actual, expected, "\n--- actual ---\n{shown}\n--- expected ---\n{wanted}\n");
}

fn option<'a>(args: &[&'a str], name: &str) -> Option<&'a str> {
    args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='))
}

impl Consumers {
    fn new(config: GroupConfig) -> Self {
        let mut run = Self {
            lab: Lab::new(config),
            topics: TestTopics::default(),
            epochs: BTreeMap::new(),
            owned: BTreeMap::new(),
            out: String::new(),
        };
        run.set_topic("t", 4);
        run
    }

    fn set_topic(&mut self, name: &str, partitions: i32) {
        match partitions {
            0 => self.topics.remove(name),
            _ => self.topics.set(name, partitions),
        }
        self.lab.shard.set_topics(Arc::new(self.topics.clone()));
    }

    fn say(&mut self, what: &str) {
        writeln!(self.out, "< {what}").unwrap();
    }

    fn run(&mut self, line: &str) {
        writeln!(self.out, "{line}").unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let args = &words[2.min(words.len())..];
        match words[0] {
            "topic" => self.set_topic(words[1], args[0].parse().unwrap()),
            // A topic comes, and the version does not say so: as when a client may see more than before.
            "slip" => {
                let version = self.topics.version;
                self.topics.set(words[1], 1);
                self.topics.version = version;
                self.lab.shard.set_topics(Arc::new(self.topics.clone()));
            }
            "times" => {
                let number = |at: usize| words[at].parse().unwrap();
                self.topics.own_times = Some(GroupTimes {
                    session_timeout_ms: number(1),
                    heartbeat_interval_ms: number(2),
                    assignment_interval_ms: number(3),
                });
                self.lab.shard.set_topics(Arc::new(self.topics.clone()));
            }
            "join" => {
                self.owned.remove(words[1]);
                self.beat(words[1], 0, args);
            }
            "beat" => {
                let epoch = self.epochs.get(words[1]).copied().unwrap_or(0);
                self.beat(words[1], epoch, args);
            }
            "leave" => self.beat(words[1], -1, args),
            "away" => self.beat(words[1], -2, args),
            "tick" => self.lab.tick(words[1].parse().unwrap()),
            "show" => self.show(),
            "restart" => self.lab.restart(),
            "commit" => self.commit(words[1], args),
            other => panic!("no such command: {other}"),
        }
    }

    fn assignment(&self, assignment: &Assignment) -> String {
        let topic = |(id, partitions): (&millstream_base::Uuid, &BTreeSet<i32>)| {
            let name = self.topics.by_id(*id).map_or("gone".into(), |topic| topic.name);
            partitions.iter().map(|it| format!("{name}{it}")).collect::<Vec<_>>().join(" ")
        };
        let topics: Vec<String> = assignment.iter().map(topic).collect();
        format!("[{}]", topics.join(" "))
    }

    fn beat(&mut self, name: &str, epoch: i32, args: &[&str]) {
        let joins = epoch == 0;
        let number =
            |key: &str, default| option(args, key).map_or(default, |it| it.parse().unwrap());
        let owned = match args.contains(&"silent") {
            true => None,
            false => Some(self.owned.get(name).cloned().unwrap_or_default()),
        };
        let list =
            |text: &str| text.split(',').filter(|it| !it.is_empty()).map(Arc::from).collect();
        let topics =
            option(args, "topics").or((joins && option(args, "regex").is_none()).then_some("t"));
        let request = ConsumerHeartbeat {
            group_id: option(args, "group").unwrap_or("g").into(),
            member_id: option(args, "id").unwrap_or(name).into(),
            member_epoch: number("epoch", epoch),
            instance_id: option(args, "static").map(Arc::from),
            rack: option(args, "rack").map(Arc::from),
            rebalance_timeout_ms: number("rebalance", if joins { 30_000 } else { -1 }),
            topics: topics.map(list),
            regex: option(args, "regex").map(Arc::from),
            assignor: option(args, "by").map(Arc::from),
            owned,
            client: ClientInfo { id: name.into(), host: "/h".into() },
            needs_member_id: true,
            random: [0; 16],
        };
        let decided = self.lab.shard.consumer_heartbeat(self.lab.now, &request);
        match self.lab.settle(decided).unwrap() {
            Ok(reply) => {
                let mut line = format!("{name} epoch={}", reply.member_epoch);
                let in_ms = reply.heartbeat_interval_ms;
                if epoch >= 0 && in_ms != self.lab.config.consumer_heartbeat_interval_ms {
                    write!(line, " in={in_ms}").unwrap();
                }
                self.epochs.insert(name.to_owned(), reply.member_epoch);
                if let Some(assignment) = reply.assignment {
                    write!(line, " {}", self.assignment(&assignment)).unwrap();
                    self.owned.insert(name.to_owned(), assignment);
                }
                self.say(&line);
            }
            Err(error) => self.say(&format!("{name} {}", error.code)),
        }
    }

    fn commit(&mut self, name: &str, args: &[&str]) {
        let epoch = self.epochs.get(name).copied().unwrap_or(-1);
        let offset = |arg: &&str| {
            let (topic, partition) = arg.split_once('-')?;
            Some(CommitOffset {
                topic: topic.into(),
                topic_id: millstream_base::Uuid::ZERO,
                partition: partition.parse().unwrap(),
                offset: 5,
                leader_epoch: 0,
                metadata: "".into(),
            })
        };
        let request = OffsetCommit {
            group_id: "g".into(),
            member_id: option(args, "id").unwrap_or(name).into(),
            instance_id: None,
            generation: option(args, "epoch").map_or(epoch, |it| it.parse().unwrap()),
            knows_member_epochs: option(args, "v").is_none_or(|it| it != "8"),
            retention_ms: None,
            offsets: args.iter().filter_map(offset).collect(),
        };
        let decided = self.lab.shard.commit_offsets(self.lab.now, &request);
        let line = match self.lab.settle(decided).unwrap() {
            Ok(codes) => format!("commit {codes:?}"),
            Err(code) => format!("commit {code}"),
        };
        self.say(&line);
    }

    fn show(&mut self) {
        let loaded = load(&self.lab.config, &self.lab.log);
        let live = self.lab.shard.describe_consumer_group("g");
        let stored = loaded.describe_consumer_group("g");
        let Some(group) = live else {
            assert!(stored.is_none());
            return self.say("no group");
        };
        assert_eq!(stored.unwrap().members, group.members, "the records say the same");
        let mut line = format!(
            "{} epoch={}/{} by={}",
            group.state, group.epoch, group.assignment_epoch, group.assignor
        );
        for member in &group.members {
            let has = self.assignment(&member.assigned);
            write!(line, " {}@{}{has}", member.member_id, member.epoch).unwrap();
            if member.target != member.assigned {
                write!(line, "->{}", self.assignment(&member.target)).unwrap();
            }
        }
        self.say(&line);
    }
}

#[test]
fn members_come_and_go() {
    check(
        "
        join a
        < a epoch=1 [t0 t1 t2 t3]
        show
        < Stable epoch=1/1 by=uniform a@1[t0 t1 t2 t3]
        join b
        < b epoch=2 []
        show
        < Reconciling epoch=2/2 by=uniform a@1[t0 t1 t2 t3]->[t0 t1] b@2[]->[t2 t3]
        beat a
        < a epoch=1 [t0 t1]
        beat b
        < b epoch=2
        beat a
        < a epoch=2
        beat b
        < b epoch=2 [t2 t3]
        show
        < Stable epoch=2/2 by=uniform a@2[t0 t1] b@2[t2 t3]
        restart
        show
        < Stable epoch=2/2 by=uniform a@2[t0 t1] b@2[t2 t3]
        beat a
        < a epoch=2
        leave a
        < a epoch=-1
        show
        < Assigning epoch=3/2 by=uniform b@2[t2 t3]
        beat b
        < b epoch=3 [t0 t1 t2 t3]
        leave b
        < b epoch=-1
        show
        < Empty epoch=4/3 by=uniform
        ",
    );
}

#[test]
fn who_does_not_give_back_in_time_is_fenced() {
    check(
        "
        join a rebalance=10000
        < a epoch=1 [t0 t1 t2 t3]
        join b
        < b epoch=2 []
        beat a silent
        < a epoch=1 [t0 t1]
        beat a silent
        < a epoch=1
        beat b
        < b epoch=2
        tick 9000
        beat a silent
        < a epoch=1
        beat b
        < b epoch=2
        tick 1001
        beat a
        < a UNKNOWN_MEMBER_ID
        beat b
        < b epoch=3 [t0 t1 t2 t3]
        show
        < Stable epoch=3/3 by=uniform b@3[t0 t1 t2 t3]
        ",
    );
}

#[test]
fn a_member_that_falls_silent_is_fenced() {
    check(
        "
        join a
        < a epoch=1 [t0 t1 t2 t3]
        join b
        < b epoch=2 []
        tick 30000
        beat a
        < a epoch=1 [t0 t1]
        beat a
        < a epoch=2
        tick 16000
        beat b
        < b UNKNOWN_MEMBER_ID
        beat a
        < a epoch=3 [t0 t1 t2 t3]
        show
        < Stable epoch=3/3 by=uniform a@3[t0 t1 t2 t3]
        ",
    );
}

#[test]
fn static_members_come_back_under_another_id() {
    check(
        "
        join a static=one
        < a epoch=1 [t0 t1 t2 t3]
        join b static=two
        < b epoch=2 []
        beat a static=one
        < a epoch=1 [t0 t1]
        beat a static=one
        < a epoch=2
        beat b static=two
        < b epoch=2 [t2 t3]
        join c static=two
        < c UNRELEASED_INSTANCE_ID
        away b static=two
        < b epoch=-2
        show
        < Reconciling epoch=2/2 by=uniform a@2[t0 t1] b@-2[t2 t3]
        join c static=two
        < c epoch=2 [t2 t3]
        beat b static=two
        < b FENCED_INSTANCE_ID
        show
        < Stable epoch=2/2 by=uniform a@2[t0 t1] c@2[t2 t3]
        away c static=two
        < c epoch=-2
        tick 46000
        show
        < Empty epoch=4/2 by=uniform
        ",
    );
}

#[test]
fn topics_grow_go_and_come_again() {
    check(
        "
        join a
        < a epoch=1 [t0 t1 t2 t3]
        topic t 6
        beat a
        < a epoch=2 [t0 t1 t2 t3 t4 t5]
        topic t 0
        beat a
        < a epoch=2 []
        beat a
        < a epoch=3
        topic t 2
        beat a
        < a epoch=4 [t0 t1]
        show
        < Stable epoch=4/4 by=uniform a@4[t0 t1]
        ",
    );
}

#[test]
fn expressions_follow_topics() {
    check(
        "
        topic u1 1
        join a regex=u.*
        < a epoch=1 [u10]
        topic u2 2
        beat a
        < a epoch=2 [u10 u20 u21]
        beat a regex= topics=t
        < a epoch=2 []
        beat a
        < a epoch=3 [t0 t1 t2 t3]
        join b regex=(
        < b INVALID_REGULAR_EXPRESSION
        join b regex=[[:foo:]]
        < b epoch=4 []
        show
        < Reconciling epoch=4/4 by=uniform a@3[t0 t1 t2 t3] b@4[]
        ",
    );
}

#[test]
fn assignors_are_voted_for() {
    check(
        "
        join a by=range
        < a epoch=1 [t0 t1 t2 t3]
        join b by=range
        < b epoch=2 []
        beat a
        < a epoch=1 [t0 t1]
        beat a
        < a epoch=2
        beat b
        < b epoch=2 [t2 t3]
        show
        < Stable epoch=2/2 by=range a@2[t0 t1] b@2[t2 t3]
        join c by=nonsense
        < c UNSUPPORTED_ASSIGNOR
        ",
    );
}

#[test]
fn commits_are_checked_by_epoch_and_partition() {
    check(
        "
        join a
        < a epoch=1 [t0 t1 t2 t3]
        join b
        < b epoch=2 []
        commit a t-0
        < commit [None]
        beat a
        < a epoch=1 [t0 t1]
        beat a
        < a epoch=2
        beat b
        < b epoch=2 [t2 t3]
        show
        < Stable epoch=2/2 by=uniform a@2[t0 t1] b@2[t2 t3]
        commit a t-0 t-3
        < commit [None, None]
        commit a epoch=1 t-0 t-3
        < commit [None, StaleMemberEpoch]
        commit a epoch=9 t-0
        < commit STALE_MEMBER_EPOCH
        commit x t-0
        < commit UNKNOWN_MEMBER_ID
        commit a v=8 t-0
        < commit UNSUPPORTED_VERSION
        ",
    );
}

#[test]
fn changes_are_gathered_between_two_assignments() {
    check_with(
        GroupConfig::default(),
        "
        join a
        < a epoch=1 [t0 t1 t2 t3]
        tick 400
        join b
        < b epoch=1 []
        tick 400
        join c
        < c epoch=1 []
        beat a
        < a epoch=1
        show
        < Assigning epoch=3/1 by=uniform a@1[t0 t1 t2 t3] b@1[] c@1[]
        tick 200
        beat a
        < a epoch=1 [t0 t1]
        beat a
        < a epoch=3
        beat b
        < b epoch=3 [t3]
        beat c
        < c epoch=3 [t2]
        show
        < Stable epoch=3/3 by=uniform a@3[t0 t1] b@3[t3] c@3[t2]
        beat b topics=
        < b epoch=3 []
        leave c
        < c epoch=-1
        leave b
        < b epoch=-1
        beat a
        < a epoch=6 [t0 t1 t2 t3]
        restart
        join b
        < b epoch=6 []
        show
        < Assigning epoch=7/6 by=uniform a@6[t0 t1 t2 t3] b@6[]
        ",
    );
}

#[test]
fn a_group_has_times_of_its_own() {
    check(
        "
        times 10000 2000 3000
        join a
        < a epoch=1 in=2000 [t0 t1 t2 t3]
        tick 2000
        join b
        < b epoch=1 in=2000 []
        tick 8500
        beat b
        < b epoch=3 in=2000 [t0 t1 t2 t3]
        restart
        tick 9900
        show
        < Stable epoch=3/3 by=uniform b@3[t0 t1 t2 t3]
        tick 200
        show
        < Empty epoch=4/3 by=uniform
        ",
    );
}

#[test]
fn expressions_are_evaluated_now_and_then() {
    let config = GroupConfig {
        consumer_regex_refresh_interval_ms: 20_000,
        consumer_assignment_interval_ms: 0,
        ..GroupConfig::default()
    };
    check_with(
        config,
        "
        topic u1 1
        join a regex=u.*
        < a epoch=1 [u10]
        slip u2
        tick 19000
        beat a
        < a epoch=1
        tick 1000
        beat a
        < a epoch=2 [u10 u20]
        slip u3
        tick 19000
        beat a
        < a epoch=2
        tick 1000
        beat a
        < a epoch=3 [u10 u20 u30]
        ",
    );
}

#[test]
fn a_group_is_full() {
    let config = GroupConfig { consumer_max_size: 1, ..GroupConfig::default() };
    check_with(
        config,
        "
        join a
        < a epoch=1 [t0 t1 t2 t3]
        join b
        < b GROUP_MAX_SIZE_REACHED
        join a
        < a epoch=1 [t0 t1 t2 t3]
        ",
    );
}

#[test]
fn bad_input() {
    check(
        "
        beat a epoch=3
        < a GROUP_ID_NOT_FOUND
        leave a
        < a GROUP_ID_NOT_FOUND
        join a group=
        < a INVALID_REQUEST
        join a id=
        < a INVALID_REQUEST
        join a topics=
        < a INVALID_REQUEST
        join a rebalance=-1
        < a INVALID_REQUEST
        join a static=
        < a INVALID_REQUEST
        join a rack=
        < a INVALID_REQUEST
        beat a epoch=-3
        < a INVALID_REQUEST
        away a
        < a INVALID_REQUEST
        join a by=none
        < a UNSUPPORTED_ASSIGNOR
        show
        < no group
        join a
        < a epoch=1 [t0 t1 t2 t3]
        beat a epoch=7
        < a FENCED_MEMBER_EPOCH
        beat b epoch=1
        < b UNKNOWN_MEMBER_ID
        beat a epoch=1 static=one
        < a UNKNOWN_MEMBER_ID
        join a topics=nowhere
        < a epoch=2 []
        show
        < Stable epoch=2/2 by=uniform a@2[]
        ",
    );
}
