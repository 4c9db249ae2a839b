//! Tests of the coordinator's host.

use super::host::assignors;
use super::partition_of;

#[test]
fn groups_lie_where_kafka_puts_them() {
    // Taken from a directory that Kafka 4.0.0 wrote, with four partitions.
    for (group, partition) in [("dashboard", 0), ("mailer", 0), ("billing", 1)] {
        assert_eq!(partition_of(group, 4), partition, "{group}");
    }
    // Java: "polygenelubricants".hashCode() is the least integer.
    assert_eq!(partition_of("polygenelubricants", 50), 0);
    assert_eq!(partition_of("", 50), 0);
    assert_eq!(partition_of("anything", 0), 0);
}

#[test]
fn assignors_are_named_as_members_ask_for_them() {
    let class = "org.apache.kafka.coordinator.group.assignor.RangeAssignor";
    let names = [class.to_owned(), "uniform".to_owned(), "range".to_owned()];
    assert_eq!(assignors(&names), ["range", "uniform"]);
}
