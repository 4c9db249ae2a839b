//! One look at everything that a fetch wants, and the wait for more.
//!
//! [`collect`] goes over a session's partitions in turn and gathers ranges of files within the size limits; it copies no
//! record. [`wait_for_more`] registers with exactly the partitions of the session and sleeps until they hold enough.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex};
use millstream_env::task;
use millstream_log::{AbortedTxn, FileRange};
use parking_lot::Mutex;

use super::session::{Session, SessionPartition, TopicKey, Wanted};
use crate::replica::{
    FetchRead, FetchRefused, FetchWaiter, Isolation, Lookup, Partition, Reader, Replicas,
};

/// The limits of one fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchLimits {
    /// Answer once this many bytes are there.
    pub min_bytes: i64,
    /// At most this many bytes, but for the first batch.
    pub max_bytes: u32,
    /// Which records the reader may see, and from whom.
    pub reader: Reader,
}

/// What was found in one partition.
#[derive(Debug)]
pub(crate) struct PartitionFound {
    /// Its topic, as the request named it.
    pub topic: TopicKey,
    /// Its number.
    pub partition: PartitionIndex,
    /// `None` (code 0) when all is well.
    pub error: ErrorCode,
    /// The high watermark; -1 on an error.
    pub high_watermark: Offset,
    /// The last stable offset; -1 on an error.
    pub last_stable: Offset,
    /// The log's start; -1 on an error.
    pub log_start: Offset,
    /// Where the reader's log and this one part.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// The records.
    pub range: Option<FileRange>,
    /// The aborted transactions among them; `None` for readers who do not care.
    pub aborted: Option<Vec<AbortedTxn>>,
    /// The broker to read from instead (KIP-392); then there are no records.
    pub preferred: Option<NodeId>,
}

impl PartitionFound {
    /// Nothing found yet.
    pub(super) fn empty(topic: TopicKey, partition: PartitionIndex) -> Self {
        Self {
            topic,
            partition,
            error: ErrorCode::None,
            high_watermark: Offset::NONE,
            last_stable: Offset::NONE,
            log_start: Offset::NONE,
            diverging: None,
            range: None,
            aborted: None,
            preferred: None,
        }
    }

    /// Takes over what reading found.
    pub(super) fn fill(&mut self, read: Result<FetchRead, FetchRefused>) {
        match read {
            Ok(read) => {
                self.high_watermark = read.high_watermark;
                self.last_stable = read.last_stable;
                self.log_start = read.log_start;
                self.diverging = read.diverging;
                self.range = read.range;
                self.aborted = read.aborted;
            }
            Err(refused) => self.error = refused.code(),
        }
    }
}

/// What was found in all partitions.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The partitions to answer with, in the order of the session's turn, and their places in it.
    pub partitions: Vec<(usize, PartitionFound)>,
    /// Bytes of records in all.
    pub bytes: i64,
    /// Whether something must be told at once: an error or a diverging log.
    pub urgent: bool,
}

impl Found {
    /// Whether the fetch can be answered without waiting.
    pub(crate) fn is_enough(&self, limits: &FetchLimits) -> bool {
        self.urgent || self.bytes >= limits.min_bytes
    }
}

/// Looks at every partition of `session`. In an incremental session only what changed is among what is found.
pub(crate) fn collect(
    session: &mut Session,
    replicas: &Replicas,
    limits: &FetchLimits,
    incremental: bool,
    may_read: &dyn Fn(&str) -> bool,
    nearer: Nearer<'_>,
) -> Found {
    let mut found = Found::default();
    let mut left = limits.max_bytes;
    let mut last_served = None;
    for (place, wanted) in session.in_turn() {
        let look = look_at(wanted, replicas, may_read, nearer, limits, left, found.bytes == 0);
        if let Some(range) = &look.range {
            left = left.saturating_sub(range.len);
            found.bytes += i64::from(range.len);
            last_served = Some(place);
        }
        wanted.seen = match limits.reader.isolation {
            Isolation::ReadUncommitted => look.high_watermark,
            Isolation::ReadCommitted => look.last_stable,
        };
        let news = look.error.is_error() || look.diverging.is_some() || look.preferred.is_some();
        found.urgent |= news;
        let changed = wanted.told != (look.high_watermark, look.log_start);
        if !incremental || news || changed || look.range.is_some() {
            found.partitions.push((place, look));
        }
    }
    if let Some(place) = last_served {
        session.move_on(place);
    }
    found
}

/// The broker that a consumer should rather read a partition from, if any.
pub(crate) type Nearer<'a> = &'a dyn Fn(&Partition, &Wanted) -> Option<NodeId>;

fn look_at(
    wanted: &mut SessionPartition,
    replicas: &Replicas,
    may_read: &dyn Fn(&str) -> bool,
    nearer: Nearer<'_>,
    limits: &FetchLimits,
    left: u32,
    nothing_yet: bool,
) -> PartitionFound {
    let mut look = PartitionFound::empty(wanted.topic.clone(), wanted.partition);
    let partition = match handle(wanted, replicas) {
        Ok(partition) => partition,
        Err(error) => {
            look.error = error;
            return look;
        }
    };
    if !may_read(&partition.name.topic) {
        look.error = ErrorCode::TopicAuthorizationFailed;
        return look;
    }
    let max_bytes = left.min(wanted.wanted.max_bytes);
    if let Some(other) = nearer(&partition, &wanted.wanted) {
        look.preferred = Some(other);
        let bounds = partition.read(&wanted.wanted, 0, limits.reader, false);
        look.fill(bounds);
        return look;
    }
    let read = partition.read(&wanted.wanted, max_bytes, limits.reader, nothing_yet);
    look.fill(read);
    look
}

/// The partition behind an entry of the session, found once and kept.
fn handle(wanted: &mut SessionPartition, replicas: &Replicas) -> Result<Arc<Partition>, ErrorCode> {
    if let Some(known) = wanted.handle.as_ref().filter(|known| !known.is_gone()) {
        return Ok(Arc::clone(known));
    }
    wanted.handle = None;
    let lookup = match &wanted.topic {
        TopicKey::Id(id) => replicas.by_id(*id, wanted.partition),
        TopicKey::Name(name) => replicas.by_name(name, wanted.partition),
    };
    match lookup {
        Lookup::Here(partition) => {
            wanted.handle = Some(Arc::clone(&partition));
            Ok(partition)
        }
        Lookup::Refused(code) => Err(code),
    }
}

/// A fetch's registration with its partitions; taken back when dropped.
struct Registered {
    waiter: Arc<FetchWaiter>,
    partitions: Vec<Arc<Partition>>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        for partition in &self.partitions {
            partition.stop_waiting(&self.waiter);
        }
    }
}

/// Waits until the session's partitions hold `missing` bytes more than when they were looked at last, or `at_most`
/// has passed. True when it is worth looking again before the time is up.
pub(crate) async fn wait_for_more(
    session: &Mutex<Session>,
    isolation: Isolation,
    missing: i64,
    at_most: Duration,
) -> bool {
    let waiter = FetchWaiter::new(missing);
    let mut registered = Registered { waiter: Arc::clone(&waiter), partitions: Vec::new() };
    let missed = {
        let session = session.lock();
        session.partitions().any(|wanted| {
            let Some(partition) = &wanted.handle else { return true };
            registered.partitions.push(Arc::clone(partition));
            !partition.wait(&waiter, wanted.seen, isolation)
        })
    };
    if missed {
        return true;
    }
    task::timeout(at_most, waiter.enough()).await.is_ok()
}
