//! Tests of the coordinator's host.

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
