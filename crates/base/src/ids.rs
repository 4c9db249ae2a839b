//! Newtypes for every id, offset and epoch, so that none is taken for another.

use std::sync::Arc;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The bare number, as it stands on the wire and on disk.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }

        impl From<$name> for $inner {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

number! {
    /// The place of a record in its partition. Dense, from 0, only growing.
    Offset(i64)
}
number! {
    /// How often a partition's leader has changed. Grows with every election; -1 is "not known".
    LeaderEpoch(i32)
}
number! {
    /// The number of a partition within its topic, from 0.
    PartitionIndex(i32)
}
number! {
    /// `node.id`: the number of a broker or controller in its cluster.
    NodeId(i32)
}
number! {
    /// The epoch of one registration of a broker with the controller.
    BrokerEpoch(i64)
}
number! {
    /// The id of an idempotent or transactional producer; -1 is "none".
    ProducerId(i64)
}
number! {
    /// The epoch of a producer id; -1 is "none".
    ProducerEpoch(i16)
}
number! {
    /// Milliseconds since 1970-01-01 UTC; -1 is "none".
    TimestampMs(i64)
}

impl Offset {
    /// The first offset of every log.
    pub const ZERO: Self = Self(0);
    /// Stands for "no offset" in the protocol.
    pub const NONE: Self = Self(-1);

    /// The offset `count` records further on; stays at the largest one instead of wrapping.
    #[must_use]
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// How many offsets lie from `earlier` up to `self`.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl LeaderEpoch {
    /// Stands for "no epoch" in the protocol.
    pub const NONE: Self = Self(-1);
}

impl ProducerId {
    /// Stands for "no producer id".
    pub const NONE: Self = Self(-1);
}

impl ProducerEpoch {
    /// Stands for "no producer epoch".
    pub const NONE: Self = Self(-1);
}

impl TimestampMs {
    /// Stands for "no timestamp".
    pub const NONE: Self = Self(-1);
}

/// A topic's name and the number of one of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: impl Into<PartitionIndex>) -> Self {
        Self { topic: topic.into(), partition: partition.into() }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
