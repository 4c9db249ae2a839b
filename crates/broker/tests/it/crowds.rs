//! Many connections, and clients that do not read: each holds a bounded share of the broker, and the others are served.

use std::io::Write as _;
use std::time::{Duration, Instant};

use millstream_wire::messages::api_versions::ApiVersionsRequest;
use millstream_wire::messages::metadata::MetadataRequest;

use crate::support::batch::{self, batch};
use crate::support::broker::{Stopped, TestBroker};
use crate::support::child::{Child, Under};
use crate::support::client::{Client, FETCH, PRODUCE, fetch, produce, request_bytes};
use crate::support::{PATIENCE, eventually, logs};

fn named() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "raw".into(),
        client_software_version: "1".into(),
        ..Default::default()
    }
}

#[test]
fn a_thousand_idle_connections_cost_little_and_hinder_nobody() {
    const IDLE: usize = 1000;
    let dir = tempfile::tempdir().unwrap();
    let broker = Child::start(&dir.path().join("data"), &[], Under::Nothing);
    let topic = broker.topic("work", 1, &[]);
    let mut worker = broker.connect();
    worker.produce(&topic, 0, batch(&["warm"]));
    let before = broker.memory();
    // A third has said nothing, a third has been served, a third is in the middle of a request. Those that said something
    // said much, so that a buffer was filled for it.
    let mut whole = request_bytes(3, 1, &named());
    whole.resize(60_000, 0);
    whole[..4].copy_from_slice(&(60_000i32 - 4).to_be_bytes());
    let mut idle = Vec::with_capacity(IDLE);
    for number in 0..IDLE {
        let mut client = broker.connect();
        match number % 3 {
            0 => {}
            1 => {
                client.send_raw(&whole);
                client.receive_frame().unwrap();
            }
            _ => {
                client.send_raw(&[&whole[..], &whole[..6]].concat());
                client.receive_frame().unwrap();
            }
        }
        idle.push(client);
    }
    for number in 0..200 {
        let value = number.to_string();
        assert_eq!(worker.produce(&topic, 0, batch(&[&value])), number + 1);
    }
    assert_eq!(worker.read_values(&topic, 0).len(), 201);
    broker.assert_alive();
    // Their buffers are given back when they have been quiet for a while.
    let bound = 24 << 20;
    eventually("idle connections give memory back", || {
        (broker.memory().saturating_sub(before) < bound).then_some(())
    });
    // And they still work.
    for client in idle.iter_mut().skip(1).step_by(3).take(20) {
        client.api_versions();
    }
}

#[test]
fn max_connections_refuses_the_newcomer_and_says_so() {
    let broker = TestBroker::with(&[("max.connections", "3")]);
    let mut held: Vec<Client> = (0..3).map(|_| broker.connect()).collect();
    for client in &mut held {
        client.api_versions();
    }
    let mut refused = broker.connect();
    let peer = refused.stream().local_addr().unwrap().to_string();
    let _ = refused.stream().write_all(&request_bytes(0, 1, &ApiVersionsRequest::default()));
    assert_eq!(refused.read_to_close(), b"");
    logs::wait_for(&[&peer, "max.connections"]);
    for client in &mut held {
        client.api_versions();
    }
    // A place that is given up can be taken.
    drop(held.pop());
    eventually("a free place", || {
        let mut client = broker.connect();
        let request = request_bytes(0, 1, &ApiVersionsRequest::default());
        client.stream().write_all(&request).ok()?;
        client.receive_frame().ok()
    });
}

#[test]
fn max_connections_per_ip_is_by_address() {
    let broker = TestBroker::with(&[("max.connections.per.ip", "2")]);
    let mut first = broker.connect();
    let mut second = broker.connect();
    first.api_versions();
    second.api_versions();
    let mut refused = broker.connect();
    let peer = refused.stream().local_addr().unwrap().to_string();
    let _ = refused.stream().write_all(&request_bytes(0, 1, &ApiVersionsRequest::default()));
    assert_eq!(refused.read_to_close(), b"");
    logs::wait_for(&[&peer, "max.connections.per.ip"]);
    first.api_versions();
    second.api_versions();
}

#[test]
fn connections_max_idle_ms_closes_the_quiet_and_spares_the_busy() {
    let broker = TestBroker::with(&[("connections.max.idle.ms", "700")]);
    let mut quiet = broker.connect();
    quiet.api_versions();
    let peer = quiet.stream().local_addr().unwrap().to_string();
    let silent = broker.connect();
    let mut busy = broker.connect();
    let started = Instant::now();
    quiet.stream().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    loop {
        busy.api_versions();
        match quiet.receive_frame() {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
            Ok(_) => panic!("an answer without a request"),
        }
        assert!(started.elapsed() < PATIENCE, "the quiet connection was not closed");
    }
    assert!(started.elapsed() >= Duration::from_millis(500), "closed too soon");
    logs::wait_for(&[&peer, "connections.max.idle.ms"]);
    silent.expect_closed();
    busy.api_versions();
}

/// Sends `request` again and again without reading an answer, until the broker takes no more.
fn flood(client: &Client, request: &[u8], at_most: usize) -> usize {
    client.stream().set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    for sent in 0..at_most {
        if client.stream().write_all(request).is_err() {
            return sent;
        }
    }
    at_most
}

#[test]
fn a_client_that_never_reads_is_bounded_while_others_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Child::start(&dir.path().join("data"), &[], Under::Nothing);
    let topic = broker.topic("feed", 1, &[]);
    // Its description is a hundred times the size of the request for it.
    broker.topic("wide", 100, &[]);
    let mut worker = broker.connect();
    for _ in 0..4 {
        worker.produce(&topic, 0, batch::big(900_000));
    }
    let metadata = MetadataRequest { topics: None, ..Default::default() };
    let before = broker.memory();
    let deaf: Vec<Client> = (0..6).map(|_| broker.connect()).collect();
    let requests = [
        request_bytes(FETCH, 1, &fetch(&topic, &[(0, 0)])),
        request_bytes(PRODUCE, 1, &produce(&topic, 0, 1, batch(&["from the deaf"]))),
        request_bytes(12, 1, &metadata),
    ];
    for (client, request) in deaf.iter().zip(requests.iter().cycle()) {
        // Many in one write: they lie in the broker's buffer together.
        let _ = flood(client, &request.repeat(1000), 1000);
    }
    // They are stuck when nothing changes any more.
    let mut most = broker.memory();
    let mut still = 0;
    while still < 10 {
        std::thread::sleep(Duration::from_millis(50));
        let now = broker.memory();
        still = if now > most { 0 } else { still + 1 };
        most = most.max(now);
    }
    let grown = most.saturating_sub(before);
    assert!(grown < 8 << 20, "the broker grew by {} MiB", grown >> 20);
    let at = worker.produce(&topic, 0, batch(&["served"]));
    let read = worker.read_all(&topic, 0, at);
    assert_eq!(read[0].value.as_deref(), Some(&b"served"[..]));
    broker.assert_alive();
    // One that reads after all gets every answer, in order.
    let mut late = broker.connect();
    let many = 2_000;
    let request = requests[1].clone();
    let writer = late.stream().try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        for _ in 0..many {
            (&writer).write_all(&request).unwrap();
        }
    });
    for _ in 0..many {
        late.receive_frame().unwrap();
    }
    writing.join().unwrap();
    drop(deaf);
    broker.assert_alive();
}

#[test]
fn a_deaf_client_is_cut_off_after_the_idle_limit() {
    let broker = TestBroker::with(&[("connections.max.idle.ms", "500")]);
    let topic = broker.topic("feed", 1, &[]);
    broker.connect().produce(&topic, 0, batch::big(900_000));
    let deaf = broker.connect();
    let peer = deaf.stream().local_addr().unwrap().to_string();
    let _ = flood(&deaf, &request_bytes(FETCH, 1, &fetch(&topic, &[(0, 0)])), 1000);
    logs::wait_for(&[&peer, "closed", "idle"]);
    broker.assert_alive();
}

#[test]
fn stopping_does_not_wait_for_clients() {
    let broker = TestBroker::start();
    let topic = broker.topic("stop", 1, &[]);
    let mut waiting = broker.connect();
    let mut request = fetch(&topic, &[(0, 0)]);
    request.max_wait_ms = 60_000;
    let _sent = waiting.send(FETCH, &request);
    let deaf = broker.connect();
    let _ = flood(&deaf, &request_bytes(12, 1, &MetadataRequest::default()), 2000);
    let started = Instant::now();
    let stopped: Stopped = broker.stop();
    assert!(started.elapsed() < Duration::from_secs(10));
    waiting.read_to_close();
    // Clean: the next start has nothing to repair.
    let again = stopped.start();
    assert_eq!(again.connect().read_values(&topic, 0), [""; 0]);
}

#[test]
fn large_requests_share_a_bound_and_a_stalled_one_does_not_keep_it() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("socket.request.max.bytes", "8000000"),
        ("queued.max.request.bytes", "8000000"),
        ("connections.max.idle.ms", "1500"),
    ];
    let broker = Child::start(&dir.path().join("data"), &settings, Under::Nothing);
    let topic = broker.topic("shared", 1, &[("max.message.bytes", "8000000")]);
    let large = request_bytes(PRODUCE, 1, &produce(&topic, 0, -1, batch::big(6_000_000)));
    let mut stalled = broker.connect();
    stalled.send_raw(&large[..large.len() / 2]);
    let before = broker.memory();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                // It may have to wait for longer than a connection may be quiet: then it tries again, as clients do.
                eventually("a large request is served", || {
                    let mut client = broker.connect();
                    client.stream().write_all(&large).ok()?;
                    client.receive_frame().ok()
                });
            });
        }
        // Small ones do not wait for them.
        for _ in 0..20 {
            broker.assert_alive();
        }
    });
    stalled.read_to_close();
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 32 << 20, "the broker grew by {} MiB", grown >> 20);
    let mut request = fetch(&topic, &[(0, 0)]);
    request.max_bytes = 1;
    broker.connect().call(FETCH, &request);
}
