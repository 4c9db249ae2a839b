//! `millstream group` as transcripts: resetting, deleting, describing groups of both protocols, watching.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use millstream_client::{Consumer, ConsumerConfig, OffsetReset};
use millstream_testkit::RawClient;
use millstream_wire::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;

use crate::cli::Session;
use crate::{cluster, run};

/// A topic `t` of two partitions, ten records in each, of which group `g` has read all.
fn read_by_a_group() -> Session {
    let session = Session::start();
    session.check("topic create t -p 2", "", "created topic t with 2 partitions");
    for partition in ["0", "1"] {
        let lines: String = (0..10).map(|number| format!("{number}\n")).collect();
        session.check(&format!("produce t -p {partition}"), &lines, "");
    }
    let read = session.broker.cli(["consume", "t", "-g", "g", "-B", "-n", "20"], b"").unwrap();
    assert!(read.status.success());
    session
}

fn json(session: &Session, command: &str) -> String {
    let output = session.broker.cli(command.split(' '), b"").unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_reset_is_shown_first_and_done_when_told() {
    let session = read_by_a_group();
    session.check("group reset g --topic t --to-earliest", "", "g\tt\t0\t10\t0\ng\tt\t1\t10\t0");
    session.check("group describe g", "", "g\tt\t0\t10\t10\t0\t-\t-\ng\tt\t1\t10\t10\t0\t-\t-");
    session.check("group reset g --topic t:1 --shift-by -3 --execute", "", "g\tt\t1\t10\t7");
    session.check("group describe g", "", "g\tt\t0\t10\t10\t0\t-\t-\ng\tt\t1\t7\t10\t3\t-\t-");
    session.check("consume t -g g -e --no-commit", "", "7\n8\n9");
    session.check("group reset g --topic t:0 --to-offset 99 --execute", "", "g\tt\t0\t10\t10");
    session.check(
        "group reset g --all-topics --to-time 7d --execute",
        "",
        "g\tt\t0\t10\t0\ng\tt\t1\t7\t0",
    );
    session.check("group seek g --all-topics --to-latest", "", "g\tt\t0\t0\t10\ng\tt\t1\t0\t10");
    session.check(
        "group reset g --all-topics --to-time now --execute",
        "",
        "g\tt\t0\t0\t10\ng\tt\t1\t0\t10",
    );
}

#[test]
fn what_is_not_there_is_said() {
    let session = read_by_a_group();
    let code = |command: &str| session.broker.cli(command.split(' '), b"").unwrap().status.code();
    assert_eq!(code("group reset g --topic nope --to-latest"), Some(4));
    session.check(
        "group reset g --topic t:2 --to-latest",
        "",
        "!4 error: topic `t` has 2 partitions, so there is no partition 2",
    );
    session.check(
        "group reset new --all-topics --to-latest",
        "",
        "!1 error: group `new` has committed nothing\n  hint: --topic NAME says what it is to read",
    );
    // A group that is not there comes into being.
    session.check("group reset new --topic t:0 --to-offset 4 --execute", "", "new\tt\t0\t-\t4");
    session.check("group list", "", "g\tEmpty\tclassic\tconsumer\nnew\tEmpty\tclassic\t-");
    session.check("group delete new", "", "deleted group new");
    session.check("group delete g --topic t:1", "", "deleted offsets of group g: t-1");
    session.check("group describe g", "", "g\tt\t0\t10\t10\t0\t-\t-");
    assert_eq!(code("group delete g --topic t:1"), Some(4));
    session.check("group list --state stable", "", "");
    session.check("group list --state Empty --type classic", "", "g\tEmpty\tclassic\tconsumer");
    session.check("group list --type consumer", "", "");
}

#[test]
fn a_group_with_members_is_shown_and_not_reset() {
    run(async {
        let session = read_by_a_group();
        let config = ConsumerConfig {
            group_id: Some("g".to_owned()),
            offset_reset: OffsetReset::Earliest,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::new(cluster(&session.broker).await, config);
        consumer.subscribe(["t"]).unwrap();
        while consumer.assignment().len() < 2 {
            drop(consumer.poll(Duration::from_millis(20)).await.unwrap());
        }
        let reset = session.broker.cli(["group", "reset", "g", "--all-topics", "--to-latest"], b"");
        let reset = reset.unwrap();
        let said = String::from_utf8(reset.stderr).unwrap();
        assert_eq!(reset.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: group `g` is Stable and has 1 member(s) ("), "{said}");
        let delete = session.broker.cli(["group", "delete", "g"], b"").unwrap();
        assert_eq!(delete.status.code(), Some(1));
        let shown = json(&session, "group describe g --json");
        for part in [
            "\"state\": \"Stable\"",
            "\"type\": \"classic\"",
            "\"coordinator\": 1",
            "\"rebalance_reason\": \"",
            "\"unowned\": []",
            "\"topics\": [\n          \"t\"\n        ]",
            "\"t-0\",\n          \"t-1\"",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        // New partitions belong to nobody until the group has seen them.
        session.check("topic alter t --partitions 3", "", "topic t: grew to 3 partitions");
        let shown = json(&session, "group describe g --json");
        assert!(shown.contains("\"unowned\": [\n      \"t-2\"\n    ]"), "{shown}");
        consumer.close().await;
    });
}

#[test]
fn a_group_that_the_broker_assigns_is_shown_too() {
    let session = read_by_a_group();
    let mut member = RawClient::connect(session.broker.address()).unwrap();
    let mut heartbeat = ConsumerGroupHeartbeatRequest {
        group_id: "c".into(),
        member_id: "m1".into(),
        member_epoch: 0,
        rack_id: Some("r1".into()),
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let answer = member.call(&heartbeat, 1).unwrap();
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    session.check("group list --type consumer", "", "c\tStable\tconsumer\tconsumer");
    let shown = json(&session, "group describe c --json");
    for part in ["\"type\": \"consumer\"", "\"rack\": \"r1\"", "\"epoch\": ", "\"unowned\": []"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let members = json(&session, "group describe c --members");
    assert!(members.starts_with("c\tm1\t-\t"), "{members}");
    assert!(members.ends_with("\tt\tt-0 t-1\n"), "{members}");
    let reset = session.broker.cli(["group", "reset", "c", "--topic", "t", "--to-latest"], b"");
    assert_eq!(reset.unwrap().status.code(), Some(1));
    heartbeat.member_epoch = -1;
    assert_eq!(member.call(&heartbeat, 1).unwrap().error_code, 0);
    session.check("group reset c --topic t:0 --to-offset 5 --execute", "", "c\tt\t0\t-\t5");
    session.check("group describe c", "", "c\tt\t0\t5\t10\t5\t-\t-");
    session.check("group delete c", "", "deleted group c");
}

#[test]
fn watching_goes_on_through_a_restart_of_the_broker() {
    let mut session = read_by_a_group();
    let binary = millstream_testkit::millstream_binary().unwrap();
    let mut child = Command::new(binary)
        .args(["group", "list", "--watch=50ms", "--timeout=1s", "-b", session.broker.address()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = |count: usize| {
        for _ in 0..count {
            assert_eq!(lines.next().unwrap().unwrap(), "g\tEmpty\tclassic\tconsumer");
        }
    };
    seen(3);
    session.broker.kill().unwrap();
    session.broker.restart().unwrap();
    seen(20);
    child.kill().unwrap();
    child.wait().unwrap();
}
