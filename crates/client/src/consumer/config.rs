//! The consumer's settings, under Kafka's names.

use std::str::FromStr;
use std::time::Duration;

use super::assignor::Assignor;
use crate::Isolation;

/// Where to start in a partition without a committed offset, or whose offset is gone (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetReset {
    /// With the first record that is there.
    Earliest,
    /// With what comes from now on.
    Latest,
    /// With what is not older than this.
    ByDuration(Duration),
    /// Nowhere: that is an error.
    None,
}

/// The text is no `auto.offset.reset`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an offset reset policy: expected earliest, latest, none or by_duration:PT1H (ISO 8601)"
)]
pub struct ParseOffsetResetError(String);

impl FromStr for OffsetReset {
    type Err = ParseOffsetResetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            "none" => Ok(Self::None),
            _ => text
                .strip_prefix("by_duration:")
                .and_then(iso_duration)
                .map(Self::ByDuration)
                .ok_or_else(|| ParseOffsetResetError(text.to_owned())),
        }
    }
}

/// `PnDTnHnMn.nS`: at least one part, units in this order.
fn iso_duration(text: &str) -> Option<Duration> {
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (text.strip_prefix('P')?, ""),
    };
    let mut seconds = 0.0;
    let mut parts = 0;
    for (mut rest, units) in [(days, &[('D', 86_400.0)][..]), (time, TIME_UNITS)] {
        for &(unit, unit_seconds) in units {
            if let Some((number, after)) = rest.split_once(unit) {
                let digits = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                seconds += number.parse::<f64>().ok().filter(|_| digits)? * unit_seconds;
                rest = after;
                parts += 1;
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    (parts > 0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

const TIME_UNITS: &[(char, f64)] = &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)];

/// How a consumer reads.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// `group.id`; needed to subscribe and to commit.
    pub group_id: Option<String>,
    /// `group.instance.id`: makes the member static, so that a restart moves no partitions.
    pub group_instance_id: Option<String>,
    /// `partition.assignment.strategy`, the preferred first.
    pub assignors: Vec<Assignor>,
    /// `enable.auto.commit`.
    pub auto_commit: bool,
    /// `auto.commit.interval.ms`.
    pub auto_commit_interval: Duration,
    /// `auto.offset.reset`.
    pub offset_reset: OffsetReset,
    /// `isolation.level`.
    pub isolation: Isolation,
    /// `fetch.min.bytes`.
    pub fetch_min_bytes: i32,
    /// `fetch.max.wait.ms`.
    pub fetch_max_wait: Duration,
    /// `fetch.max.bytes`: of one answer.
    pub fetch_max_bytes: i32,
    /// `max.partition.fetch.bytes`.
    pub max_partition_fetch_bytes: i32,
    /// `max.poll.records`. Kafka's client has 500.
    pub max_poll_records: usize,
    /// `check.crcs`.
    pub check_crcs: bool,
    /// `session.timeout.ms`.
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms`.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms`: a member that does not poll for longer leaves the group.
    pub max_poll_interval: Duration,
    /// `allow.auto.create.topics`.
    pub allow_auto_create_topics: bool,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            group_id: None,
            group_instance_id: None,
            assignors: vec![Assignor::Range, Assignor::CooperativeSticky],
            auto_commit: true,
            auto_commit_interval: Duration::from_secs(5),
            offset_reset: OffsetReset::Latest,
            isolation: Isolation::ReadUncommitted,
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            fetch_max_bytes: 50 << 20,
            max_partition_fetch_bytes: 1 << 20,
            max_poll_records: 5_000,
            check_crcs: true,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            allow_auto_create_topics: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reset_policies() {
        let by = |seconds| Ok(OffsetReset::ByDuration(Duration::from_secs(seconds)));
        assert_eq!("earliest".parse(), Ok(OffsetReset::Earliest));
        assert_eq!("by_duration:PT1H".parse::<OffsetReset>(), by(3_600));
        assert_eq!("by_duration:P1DT2H3M4S".parse::<OffsetReset>(), by(93_784));
        assert_eq!("by_duration:P2D".parse::<OffsetReset>(), by(172_800));
        for wrong in [
            "",
            "Earliest",
            "by_duration:",
            "by_duration:PT",
            "by_duration:P",
            "by_duration:PT-1H",
            "by_duration:1H",
            "by_duration:PT1D",
            "by_duration:PT1M1H",
        ] {
            assert!(wrong.parse::<OffsetReset>().is_err(), "{wrong}");
        }
    }
}
