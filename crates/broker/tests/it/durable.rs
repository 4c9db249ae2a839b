//! `flush.messages`: what is acknowledged is on the disk, for one producer and for many at once.

use millstream_base::ErrorCode;

use crate::support::batch::batch;
use crate::support::broker::TestBroker;
use crate::support::child::{Child, Under};
use crate::support::client::{Client, code, request_bytes};

#[test]
fn many_producers_wait_for_one_fsync_and_see_what_was_acknowledged() {
    const PRODUCERS: usize = 8;
    const EACH: usize = 15;
    let broker = TestBroker::start();
    let topic = broker.topic("durable", 1, &[("flush.messages", "1")]);
    let address = broker.address();
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let topic = &topic;
            scope.spawn(move || {
                let mut client = Client::connect(address);
                for number in 0..EACH {
                    let value = format!("{producer}/{number}");
                    let offset = client.produce(topic, 0, batch(&[&value]));
                    // An acknowledged record can be read at once.
                    let read = client.read_all(topic, 0, offset);
                    assert_eq!(read[0].value.as_deref(), Some(value.as_bytes()));
                }
            });
        }
    });
    let values = broker.connect().read_values(&topic, 0);
    assert_eq!(values.len(), PRODUCERS * EACH);
    for producer in 0..PRODUCERS {
        let prefix = format!("{producer}/");
        let own: Vec<_> = values.iter().filter(|value| value.starts_with(&prefix)).collect();
        let expected: Vec<_> = (0..EACH).map(|number| format!("{producer}/{number}")).collect();
        assert!(own.into_iter().eq(expected.iter()), "out of order");
    }
}

/// The number of calls of the fsync kind that the process has made, as the system counts them where it can be asked.
#[test]
fn an_acknowledged_record_was_synced_before() {
    if !Under::can_trace() {
        println!("no strace on this machine: left to the log's own tests");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let broker = Child::start(&dir.path().join("data"), &[], Under::Traced(&trace));
    let topic = broker.topic("synced", 1, &[("flush.messages", "1")]);
    let lazy = broker.topic("lazy", 1, &[]);
    let mut client = broker.connect();
    let syncs = || {
        let text = std::fs::read_to_string(&trace).unwrap();
        text.lines().filter(|line| line.contains(" = 0")).count()
    };
    for number in 0..5 {
        let before = syncs();
        assert_eq!(client.produce(&topic, 0, batch(&["x"])), number);
        assert!(syncs() > before, "acknowledged without an fsync");
    }
    client.produce(&lazy, 0, batch(&["first"]));
    let before = syncs();
    for _ in 0..20 {
        client.produce(&lazy, 0, batch(&["x"]));
    }
    assert!(syncs() < before + 20, "an fsync for every record of a topic that asks for none");
}

#[test]
fn acks_0_and_1_with_flush_messages_keep_the_order_too() {
    let broker = TestBroker::start();
    let topic = broker.topic("order", 1, &[("flush.messages", "1")]);
    let mut client = broker.connect();
    for number in 0..30 {
        let acks = [0, 1, -1][number % 3];
        let value = number.to_string();
        let request = crate::support::client::produce(&topic, 0, acks, batch(&[&value]));
        client.send_raw(&request_bytes(13, 1, &request));
    }
    // Twenty of them have answers.
    for _ in 0..20 {
        let answer = client.receive_frame().unwrap();
        assert_eq!(answer[..4], 1i32.to_be_bytes());
    }
    let expected: Vec<_> = (0..30).map(|number: i32| number.to_string()).collect();
    assert_eq!(client.read_values(&topic, 0), expected);
    assert_eq!(code(0), ErrorCode::None);
}
