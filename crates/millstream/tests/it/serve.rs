//! `millstream serve` as a process: start, stop, refusals.

use std::time::{Duration, Instant};

use millstream_testkit::{BrokerOptions, BrokerProcess, run_cli};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn it_says_where_it_is_and_what_to_try() {
    let mut broker = BrokerProcess::start().unwrap();
    // It answers a moment before it has said so.
    let said = Instant::now() + Duration::from_secs(10);
    while !broker.log().contains("Ctrl-C") && Instant::now() < said {
        std::thread::sleep(Duration::from_millis(5));
    }
    let log = broker.log();
    assert!(log.contains(&format!("address    {}", broker.address())), "{log}");
    assert!(log.contains(&format!("data       {} (new)", broker.data_dir().display())), "{log}");
    assert!(log.contains("millstream produce greetings"), "{log}");
    broker.stop(Duration::from_secs(20)).unwrap();
}

#[test]
fn data_survives_a_stop_and_a_crash() {
    let mut broker = BrokerProcess::start().unwrap();
    let cli = |broker: &BrokerProcess, line: &str, input: &str| {
        text(&broker.cli(line.split(' '), input.as_bytes()).unwrap().stdout)
    };
    cli(&broker, "topic create t -p 1", "");
    cli(&broker, "produce t", "one\n");
    broker.stop(Duration::from_secs(20)).unwrap();
    broker.restart().unwrap();
    cli(&broker, "produce t", "two\n");
    broker.kill().unwrap();
    broker.restart().unwrap();
    cli(&broker, "produce t", "three\n");
    assert_eq!(cli(&broker, "consume t -B -e", ""), "one\ntwo\nthree\n");
}

#[test]
fn a_second_broker_finds_the_port_or_the_directory_taken() {
    let broker = BrokerProcess::start().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let dir = elsewhere.path().join("data");
    let args = ["serve", "--listener", broker.address(), "--data-dir", dir.to_str().unwrap()];
    let output = run_cli(None, args, b"").unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("error: cannot listen on") && said.contains("--listener"), "{said}");

    let same = broker.data_dir().to_str().unwrap().to_owned();
    let output =
        run_cli(None, ["serve", "--listener", "127.0.0.1:0", "--data-dir", &same], b"").unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains(&same), "{}", text(&output.stderr));
}

#[test]
fn settings_that_cannot_be_are_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let args = ["serve", "--data-dir", data.to_str().unwrap(), "--set", "num.partition=3"];
    let output = run_cli(None, args, b"").unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("num.partitions"), "{said}");
    assert!(!data.exists());
}

#[test]
fn a_settings_file_of_kafka_works_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.properties");
    std::fs::write(&file, "# a comment\nnum.partitions=4\nlog.retention.hours = 24\n").unwrap();
    let options = BrokerOptions {
        args: vec!["--config".to_owned(), file.to_str().unwrap().to_owned()],
        ..BrokerOptions::default()
    };
    let broker = BrokerProcess::start_with(options).unwrap();
    let output = broker.cli(["topic", "create", "t"], b"").unwrap();
    assert_eq!(text(&output.stdout), "created topic t with 4 partitions\n");
}
