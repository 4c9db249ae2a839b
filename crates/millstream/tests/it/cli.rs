//! Commands and what they print, word for word.

use millstream_testkit::{BrokerOptions, BrokerProcess, run_cli};

/// A broker and a way to write transcripts.
pub(crate) struct Session {
    pub(crate) broker: BrokerProcess,
}

impl Session {
    pub(crate) fn start() -> Self {
        // Groups come together at once: nobody else joins here.
        let options = BrokerOptions::default().set("group.initial.rebalance.delay.ms", "0");
        Self { broker: BrokerProcess::start_with(options).unwrap() }
    }

    /// Runs `command` (words between blanks) and compares standard output, or with `!CODE ` in front of the
    /// expectation the exit code and standard error.
    pub(crate) fn check(&self, command: &str, stdin: &str, expected: &str) {
        let output = self.broker.cli(command.split(' '), stdin.as_bytes()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let shown = match output.status.code() {
            Some(0) => out.trim_end().to_owned(),
            code => format!("!{} {}", code.unwrap_or(-1), err.trim_end()),
        };
        assert_eq!(shown, expected, "millstream {command}\nstderr: {err}");
    }
}

#[test]
fn topics_from_first_to_last() {
    let session = Session::start();
    session.check("topic list", "", "");
    session.check(
        "topic create orders visits --partitions 3",
        "",
        "created topic orders with 3 partitions\ncreated topic visits with 3 partitions",
    );
    session.check(
        "topic create lone -p 1 -c retention.ms=1000",
        "",
        "created topic lone with 1 partition",
    );
    session.check("topic create orders", "", "!1 error: topic `orders` exists already (TOPIC_ALREADY_EXISTS)\n  hint: add `--if-not-exists` to accept a topic that exists already");
    session.check("topic create orders --if-not-exists", "", "topic orders exists already");
    session.check("topic list", "", "lone\t1\t1\norders\t3\t1\nvisits\t3\t1");
    session.check("topic describe lone", "", "lone\t0\t1\t0\t1\t1\t0\t0");
    session.check(
        "topic alter lone --partitions 2 --set retention.ms=2000",
        "",
        "topic lone: changed 1 setting, grew to 2 partitions",
    );
    session.check("topic alter lone", "", "!2 error: nothing to change\n  hint: --set NAME=VALUE, --unset NAME or --partitions N say what");
    session.check(
        "topic describe lone",
        "",
        "lone\t0\t1\t0\t1\t1\t0\t0\nlone\t1\t1\t0\t1\t1\t0\t0",
    );
    session.check("topic delete lone visits", "", "deleted topic lone\ndeleted topic visits");
    session.check("topic delete lone --if-exists", "", "");
    session.check("topic list", "", "orders\t3\t1");
    let missing = session.broker.cli(["topic", "describe", "nope"], b"").unwrap();
    assert_eq!(missing.status.code(), Some(4));
}

#[test]
fn settings_of_topics_are_shown_with_their_source() {
    let session = Session::start();
    session.check(
        "topic create t -p 1 -c retention.ms=1000",
        "",
        "created topic t with 1 partition",
    );
    let output = session.broker.cli(["topic", "describe", "t", "--json"], b"").unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\"name\": \"retention.ms\""), "{text}");
    assert!(text.contains("\"source\": \"topic\""), "{text}");
    let all = session.broker.cli(["topic", "describe", "t", "--json", "-a"], b"").unwrap();
    assert!(String::from_utf8(all.stdout).unwrap().contains("\"segment.bytes\""));
    session.check("topic alter t --unset retention.ms", "", "topic t: changed 1 setting");
    let output = session.broker.cli(["topic", "describe", "t", "--json"], b"").unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("\"configs\": []"));
}

#[test]
fn records_out_and_in() {
    let session = Session::start();
    session.check("topic create t -p 1", "", "created topic t with 1 partition");
    session.check("produce t", "hello\nworld", "");
    session.check("produce t -K : -H source=x --compression zstd", "k:v\n", "");
    session.check("produce t --inline-headers --null NIL -k fixed", "a=b,c=d\tNIL\n", "");
    session.check(
        "consume t -B -e --show partition,offset,headers,key",
        "",
        "\
0\t0\t\tnull\thello
0\t1\t\tnull\tworld
0\t2\tsource=x\tk\tv
0\t3\ta=b,c=d\tfixed\tnull",
    );
    session.check("consume t --offset 1 -n 1", "", "world");
    session.check("consume t --offset -1 -n 1 --null nothing", "", "nothing");
    session.check("consume t -B -n 2 --keys --separator =", "", "null=hello\nnull=world");
    session.check("consume t --from-end -e", "", "");
    session.check("consume t --offset 9 -e", "", "!4 error: t-0 has no offset 9, and `auto.offset.reset` is none\n  hint: `millstream topic describe NAME` shows the first and the next offset of each partition");
    session.check(
        "consume t --partition 3 -e",
        "",
        "!4 error: topic `t` has 1 partitions, so there is no partition 3",
    );
    session.check("consume t --from-time soon", "", "!2 error: `soon` is not a time: expected 2026-08-01T12:30:00Z, 2026-08-01, milliseconds since 1970, or how long ago, such as 15m, 6h or 7d");
}

#[test]
fn json_lines_carry_records_whole_from_topic_to_topic() {
    let session = Session::start();
    session.check(
        "topic create a b -p 2",
        "",
        "created topic a with 2 partitions\ncreated topic b with 2 partitions",
    );
    let lines = "\
{\"key\":\"k\",\"value\":\"v\",\"timestamp\":1700000000000,\"headers\":[{\"key\":\"h\",\"value\":null}],\"partition\":1}
{\"value\":null,\"value_base64\":\"/wD+\",\"timestamp\":1700000000001,\"partition\":1}\n";
    session.check(
        "produce a --input json --json",
        lines,
        "{\n  \"topic\": \"a\",\n  \"records\": 2\n}",
    );
    let first = session.broker.cli(["consume", "a", "-B", "-e", "--json"], b"").unwrap().stdout;
    session.check("produce b --input json -z gzip", str::from_utf8(&first).unwrap(), "");
    session.check("consume b -B -e --json", "", "\
{\"topic\":\"b\",\"partition\":1,\"offset\":0,\"timestamp\":1700000000000,\"key\":\"k\",\"value\":\"v\",\"headers\":[{\"key\":\"h\",\"value\":null}]}
{\"topic\":\"b\",\"partition\":1,\"offset\":1,\"timestamp\":1700000000001,\"key\":null,\"value\":null,\"value_base64\":\"/wD+\"}");
    session.check(
        "consume b --from-time 1700000000001 -e --show timestamp",
        "",
        "2023-11-14T22:13:20.001Z\t\u{fffd}\0\u{fffd}",
    );
}

#[test]
fn a_group_goes_on_where_it_stopped_and_shows_its_lag() {
    let session = Session::start();
    session.check("topic create t -p 1", "", "created topic t with 1 partition");
    session.check("produce t", "1\n2\n3\n4\n", "");
    session.check("consume t -g g -B -n 3", "", "1\n2\n3");
    session.check("group list", "", "g\tEmpty\tclassic\tconsumer");
    session.check("group describe g", "", "g\tt\t0\t3\t4\t1\t-\t-");
    session.check("consume t -g g -e --no-commit", "", "4");
    session.check("consume t -g g -e", "", "4");
    session.check("consume t -g g -e", "", "");
    session.check("group describe g", "", "g\tt\t0\t4\t4\t0\t-\t-");
    session.check("group delete g", "", "deleted group g");
    session.check("group list", "", "");
    let missing = session.broker.cli(["group", "describe", "g"], b"").unwrap();
    assert_eq!(missing.status.code(), Some(4));
}

#[test]
fn mistakes_in_the_input_name_the_line() {
    let session = Session::start();
    session.check("topic create t -p 1", "", "created topic t with 1 partition");
    session.check(
        "produce t -K :",
        "a:b\nab\n",
        "!1 error: line 2: no key: `:` is not in the line (1 other records were sent)",
    );
    let long = format!("ok\n{}\n", "x".repeat(300));
    session.check("produce t --max-record-size 200", &long, "!1 error: line 2: the record has 336 bytes, more than the 200 that one request may have (`max.request.size`) (1 other records were sent)\n  hint: --max-record-size BYTES allows larger records, if the topic does too");
    session.check("consume t -B -e", "", "b\nok");
}

#[test]
fn nobody_at_the_address_has_its_own_exit_code() {
    let output = run_cli(Some("127.0.0.1:1"), ["topic", "list"], b"").unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: connection refused: is a broker running at 127.0.0.1:1? Start one with `millstream serve`\n  \
         hint: `--bootstrap-server HOST:PORT` or MILLSTREAM_BOOTSTRAP names another broker\n"
    );
    let usage = run_cli(None, ["topic", "creat"], b"").unwrap();
    assert_eq!(usage.status.code(), Some(2));
    let version = run_cli(None, ["--version"], b"").unwrap();
    assert!(version.status.success());
    assert!(String::from_utf8(version.stdout).unwrap().starts_with("millstream "));
}

#[test]
fn a_reader_that_goes_away_ends_consume_quietly() {
    let session = Session::start();
    session.check("topic create t -p 1", "", "created topic t with 1 partition");
    let lines = "some line of text\n".repeat(20_000);
    session.check("produce t", &lines, "");
    let binary = millstream_testkit::millstream_binary().unwrap();
    let mut child = std::process::Command::new(binary)
        .args(["consume", "t", "-B", "-e", "-b", session.broker.address()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 18];
    let mut out = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut out, &mut first).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
