//! Metrics of brokers and clients.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "Metrics";

    Int "kafka.metrics.polling.interval.secs" = "10", Valid::AtLeast(1), Low, ReadOnly, Status::NoMeaning,
        "How often Java metrics reporters are polled.";
    List "kafka.metrics.reporters" = "", Valid::Any, Low, ReadOnly, Status::NoMeaning,
        "Java classes that report metrics.";
    List "metric.reporters" = "org.apache.kafka.common.metrics.JmxReporter", Valid::Any, Low, ClusterWide, Status::NoMeaning,
        "Java classes that report metrics.";
    Int "metrics.num.samples" = "2", Valid::AtLeast(1), Low, ReadOnly, Status::NoMeaning,
        "Samples kept for each Java metric.";
    String "metrics.recording.level" = "INFO", Valid::Any, Low, ReadOnly, Status::NoMeaning,
        "Which Java metrics are recorded.";
    Long "metrics.sample.window.ms" = "30000", Valid::AtLeast(1), Low, ReadOnly, Status::NoMeaning,
        "Length of one sample of a Java metric.";
    Int "telemetry.max.bytes" = "1048576", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::TELEMETRY),
        "Largest batch of metrics that a client may push.";
}
