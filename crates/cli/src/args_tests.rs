//! The command line: what is understood, and what is refused.

use clap::CommandFactory as _;

use super::*;

/// `ok`, or the first line of what is said about the mistake.
fn check(line: &str, expected: &str) {
    let words = std::iter::once("millstream").chain(line.split_whitespace());
    let said = match Cli::from(words) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    assert_eq!(said, expected, "{line}");
}

#[test]
fn the_definitions_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn lines_that_are_understood() {
    for line in [
        "serve",
        "serve --data-dir some/dir --listener 0.0.0.0:9092 --set a=b --set c=d",
        "topic create a b -p 3 -r 1 -c retention.ms=5",
        "topic ls --json -b host:1,other:2",
        "topic alter a --set x=1 --unset y --partitions 4",
        "produce t -K : -H a=b -z zstd --acks 1 --linger 1s",
        "produce t --input json --ignore-partitions --compression-level -3",
        "consume t u -B -e -n 5 --show offset,key --json",
        "consume t --offset -5 --partition 0 -p 1",
        "consume t --group g --from-time 2h --no-commit",
        "group describe g --members --timeout 5s",
        "group describe --watch g",
        "group list --state stable,Empty --type CONSUMER --watch=500ms",
        "group reset g --topic t:0,2 --topic u --to-time 2h --execute",
        "group seek g --all-topics --shift-by -5",
        "group rm g --topic t",
        "log inspect data/t-0 --depth batches --json",
        "cluster status --watch --check",
        "cluster brokers --sizes --json",
        "cluster quorum --add-voter 4@host:9093",
        "cluster reassign --off 3,4 --execute --throttle 50MB/s",
        "cluster reassign --topic t:0,1 --to 1,2 --replicas 2 --execute --no-wait",
        "cluster reassign --cancel",
        "cluster elect --unclean --topic t:0",
        "cluster decommission 3 --execute",
        "dev cluster --brokers 3 --dir d --base-port 19092 --set a=b",
    ] {
        check(line, "ok");
    }
}

#[test]
fn mistakes_are_named() {
    check(
        "group reset g --to-latest",
        "error: the following required arguments were not provided:",
    );
    check("group reset g --topic t", "error: the following required arguments were not provided:");
    check(
        "group reset g --topic t --to-latest --to-earliest",
        "error: the argument '--to-latest' cannot be used with '--to-earliest'",
    );
    check(
        "group reset g --topic t --all-topics --to-latest",
        "error: the argument '--topic <NAME[:PARTITION,...]>' cannot be used with '--all-topics'",
    );
    check("group list --state quiet", "error: invalid value 'quiet' for '--state <STATE>'");
    check("topic create", "error: the following required arguments were not provided:");
    check(
        "topic create a -p 0",
        "error: invalid value '0' for '--partitions <PARTITIONS>': 0 is not in 1..=2147483647",
    );
    check(
        "produce t -z brotli",
        "error: invalid value 'brotli' for '--compression <COMPRESSION>': expected none, gzip, snappy, lz4 or zstd",
    );
    check(
        "produce t -H novalue",
        "error: invalid value 'novalue' for '--header <NAME=VALUE>': expected NAME=VALUE",
    );
    check(
        "produce t -k a -K :",
        "error: the argument '--key <KEY>' cannot be used with '--key-separator <TEXT>'",
    );
    check(
        "consume t -B --offset 3",
        "error: the argument '--from-beginning' cannot be used with '--offset <N>'",
    );
    check(
        "consume t --group g --offset 3",
        "error: the argument '--group <GROUP>' cannot be used with '--offset <N>'",
    );
    check("consume t --no-commit", "error: the following required arguments were not provided:");
    check(
        "topic list --timeout soon",
        "error: invalid value 'soon' for '--timeout <TIME>': expected a time such as 500ms, 30s or 2m",
    );
    check("cluster elect --unclean", "error: the following required arguments were not provided:");
    check(
        "cluster reassign --off 1 --to 2",
        "error: the argument '--off <ID,...>' cannot be used with '--to <ID,...>'",
    );
    check(
        "cluster reassign --execute --throttle fast",
        "error: invalid value 'fast' for '--throttle <BYTES>': expected bytes a second, such as 50MB, 500KiB or 1000000",
    );
    check(
        "dev cluster --brokers 0",
        "error: invalid value '0' for '--brokers <N>': 0 is not in 1..=50",
    );
    check("topik", "error: unrecognized subcommand 'topik'");
}

#[test]
fn every_verb_has_a_help_text_with_an_example() {
    fn each(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        if command.get_subcommands().next().is_none() {
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.contains("Example") && after.contains("millstream "), "{path}");
            assert!(command.get_about().is_some(), "{path}");
        }
        command.get_subcommands().for_each(|inner| each(inner, &path));
    }
    each(&Cli::command(), "");
}
