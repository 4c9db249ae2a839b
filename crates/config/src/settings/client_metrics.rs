//! Client metrics subscriptions.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: ClientMetrics, "Client metrics subscriptions";

    Int "interval.ms" = "300000", Valid::Any, Medium, Resource, Status::NotYet(parts::TELEMETRY),
        "How often matching clients push their metrics.";
    List "match" = "", Valid::Any, Medium, Resource, Status::NotYet(parts::TELEMETRY),
        "Which clients the subscription is for.";
    List "metrics" = "", Valid::Any, Medium, Resource, Status::NotYet(parts::TELEMETRY),
        "Which metrics are asked for, by the beginning of their names.";
}
