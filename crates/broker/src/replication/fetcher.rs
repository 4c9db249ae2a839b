//! One fetcher: a task that copies partitions from one leader over one connection.
//!
//! Key type: [`Fetcher`]. What it fetched is appended straight from the received frame. A partition in trouble pauses by itself; the
//! others go on. While a fetch waits at the leader and there are partitions to add, a second request goes out: the
//! leader answers the first at once then.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use millstream_base::{ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex};
use millstream_client::{Connection, ConnectionError};
use millstream_config::ReplicationConfig;
use millstream_env::task;
use millstream_partition::{DivergingEpoch, FetchPosition};
use millstream_records::BatchHeader;
use millstream_wire::messages::fetch::{FetchRequest, FetchResponse, PartitionData};
use millstream_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use tracing::{debug, warn};

use super::fetchers::{FetcherId, Key, PostBox};
use super::request::{FollowerSession, Terms};
use super::slots::Slots;
use crate::broker::Broker;
use crate::cluster::Channel;
use crate::replica::{FollowFailure, FromLeader};

/// The pause before the leader is asked again when it gave no answer; opening a connection has pauses of its own.
const PAUSE: Duration = Duration::from_millis(20);
/// How many requests may be under way: one waits at the leader, one says what changed meanwhile.
const MOST_UNDER_WAY: usize = 2;
/// How long a leader may take to say where a log starts and ends.
const OFFSETS_WITHIN: Duration = Duration::from_secs(2);
/// [`ListOffsetsRequest`]'s names for a log's end and start.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

type Answer = BoxFuture<'static, Result<FetchResponse, ConnectionError>>;

/// A fetcher's state.
pub(super) struct Fetcher {
    id: FetcherId,
    post: Arc<PostBox>,
    broker: Weak<Broker>,
    slots: Slots,
    session: FollowerSession,
    connection: Option<Connection>,
    under_way: FuturesOrdered<Answer>,
}

/// What the fetcher wakes for.
enum Event {
    Changed,
    PauseOver,
    Answered(Result<FetchResponse, ConnectionError>),
}

/// The broker stops.
struct Stopping;

impl Fetcher {
    pub(super) fn new(id: FetcherId, post: Arc<PostBox>, broker: Weak<Broker>) -> Self {
        Self {
            id,
            post,
            broker,
            slots: Slots::default(),
            session: FollowerSession::default(),
            connection: None,
            under_way: FuturesOrdered::new(),
        }
    }

    /// Fetches until the broker is gone; dropped when it stops.
    pub(super) async fn run(mut self) {
        while let Ok(()) = self.step().await {}
    }

    async fn step(&mut self) -> Result<(), Stopping> {
        self.slots.apply(self.post.take());
        self.slots.wake(task::Instant::now());
        if self.may_send() && !self.send().await? {
            return Ok(());
        }
        match self.next_event().await {
            Event::Changed | Event::PauseOver => {}
            Event::Answered(Ok(response)) => self.answered(response).await?,
            Event::Answered(Err(error)) => self.lost(&error).await,
        }
        Ok(())
    }

    /// Whether a request is to go out now.
    fn may_send(&self) -> bool {
        match self.under_way.len() {
            0 => self.slots.is_active() || (self.slots.has_news() && !self.session.is_new()),
            under_way => {
                under_way < MOST_UNDER_WAY && !self.session.is_new() && self.slots.has_news()
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let wake = self.slots.next_wake();
        let pause = async move {
            match wake {
                Some(until) => task::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(answer) = self.under_way.next(), if !self.under_way.is_empty() => Event::Answered(answer),
            () = self.post.come() => Event::Changed,
            () = pause => Event::PauseOver,
        }
    }

    /// Sends the next request; false when the leader cannot be reached now.
    async fn send(&mut self) -> Result<bool, Stopping> {
        let broker = self.broker.upgrade().ok_or(Stopping)?;
        let config = broker.config().replication.clone();
        let Some(epoch) = epoch_of(&broker) else {
            // Not registered yet.
            task::sleep(PAUSE).await;
            return Ok(false);
        };
        if self.under_way.is_empty() && !self.connect(&broker).await {
            return Ok(false);
        }
        let Some(connection) = self.connection.clone() else { return Ok(false) };
        self.hold_back_throttled(&broker, &config);
        let terms = Terms::new(broker.node_id(), epoch, &config);
        let (named, gone) = self.slots.take_news();
        let request = self.session.request(&terms, &named, &gone);
        self.under_way.push_back(Box::pin(call(connection, request, terms.time_out(&config))));
        Ok(true)
    }

    /// Makes sure of an open connection; a new one begins a new session.
    async fn connect(&mut self, broker: &Broker) -> bool {
        if self.connection.as_ref().is_some_and(|open| !open.is_closed()) {
            return true;
        }
        self.connection = None;
        self.session.reset();
        self.slots.forget_session();
        let (post, leader) = (Arc::clone(&self.post), self.id.leader);
        let channel = Channel::Fetch(self.id.number);
        let connecting = broker.peers().connection(leader, channel);
        let connected = tokio::select! {
            connected = connecting => connected,
            // Perhaps somebody else leads by now.
            () = post.come() => {
                self.slots.apply(self.post.take());
                return false;
            }
        };
        match connected {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => {
                debug!(%leader, %error, "a leader cannot be reached");
                task::sleep(PAUSE).await;
            }
        }
        self.connection.is_some()
    }

    /// The connection broke, or the answer made no sense.
    async fn lost(&mut self, error: &ConnectionError) {
        debug!(leader = %self.id.leader, %error, "a fetch got no answer");
        self.start_over();
        task::sleep(PAUSE).await;
    }

    fn start_over(&mut self) {
        self.connection = None;
        self.under_way = FuturesOrdered::new();
        self.slots.nothing_under_way();
        self.session.reset();
        self.slots.forget_session();
    }

    async fn answered(&mut self, response: FetchResponse) -> Result<(), Stopping> {
        let broker = self.broker.upgrade().ok_or(Stopping)?;
        match ErrorCode::from_code(response.error_code) {
            Some(ErrorCode::None) => {}
            code => {
                debug!(leader = %self.id.leader, ?code, "the fetch session is begun anew");
                // What else is under way belongs to the session that is gone.
                self.start_over();
                let expected = [
                    Some(ErrorCode::FetchSessionIdNotFound),
                    Some(ErrorCode::InvalidFetchSessionEpoch),
                    Some(ErrorCode::FetchSessionTopicIdError),
                ];
                if !expected.contains(&code) {
                    task::sleep(PAUSE).await;
                }
                return Ok(());
            }
        }
        self.slots.answered();
        self.session.answered(response.session_id);
        let cut = self.take_all(&broker, response).await;
        if cut {
            task::block_here(|| broker.replicas().checkpoint_if_cut());
        }
        Ok(())
    }

    /// Uses each partition's part of an answer; tells whether a log was cut.
    async fn take_all(&mut self, broker: &Broker, response: FetchResponse) -> bool {
        let mut cut = false;
        if self.session.is_new() {
            self.slots.forget_session();
        }
        for topic in response.responses {
            for data in topic.partitions {
                let key = (topic.topic_id, PartitionIndex(data.partition_index));
                cut |= data.diverging_epoch.end_offset >= 0 || data.error_code != 0;
                self.partition_answered(broker, key, data).await;
            }
        }
        cut
    }

    async fn partition_answered(&mut self, broker: &Broker, key: Key, data: PartitionData) {
        let code = ErrorCode::from_code(data.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if !self.slots.is_meant(key) {
            return;
        }
        match code {
            ErrorCode::None
                if data.diverging_epoch.epoch >= 0 || data.diverging_epoch.end_offset >= 0 =>
            {
                self.cut(broker, key, &data);
            }
            ErrorCode::None => self.take(broker, key, &data),
            ErrorCode::OffsetOutOfRange => self.start_within(broker, key).await,
            code => self.refused(broker, key, code),
        }
    }

    /// Records, or at least a high watermark.
    fn take(&mut self, broker: &Broker, key: Key, data: &PartitionData) {
        let Some(slot) = self.slots.get(key) else { return };
        let received = data.records.as_ref().and_then(|records| records.as_bytes());
        let records = received.map(|bytes| &bytes[..]).unwrap_or_default();
        let from = FromLeader {
            epoch: slot.epoch,
            offset: slot.position.offset,
            records: without_known(records, slot.position.offset),
            high_watermark: Offset(data.high_watermark),
            log_start: Offset(data.log_start_offset),
        };
        let partition = Arc::clone(&slot.partition);
        let taken = partition.take_fetched(&from, broker.clock().now_ms());
        if taken.is_ok() && self.is_throttled(broker, key) {
            broker.replicas().fetchers().throttle().used(records.len() as u64);
        }
        self.settle(broker, key, taken);
    }

    /// The leader's log parts from ours.
    fn cut(&mut self, broker: &Broker, key: Key, data: &PartitionData) {
        let Some(slot) = self.slots.get(key) else { return };
        let diverging = DivergingEpoch {
            epoch: LeaderEpoch(data.diverging_epoch.epoch),
            end_offset: Offset(data.diverging_epoch.end_offset),
        };
        let (partition, epoch) = (Arc::clone(&slot.partition), slot.epoch);
        let cut = partition.cut_where_they_part(epoch, diverging, broker.clock().now_ms());
        self.settle(broker, key, cut);
    }

    /// Our log's end is not within what the leader has.
    async fn start_within(&mut self, broker: &Broker, key: Key) {
        let Some(slot) = self.slots.get(key) else { return };
        let (partition, epoch) = (Arc::clone(&slot.partition), slot.epoch);
        let Some(connection) = self.connection.clone() else { return };
        let topic = partition.name.topic.as_ref();
        let me = broker.node_id();
        let position = slot_position(&self.slots, key);
        // The other partitions of this leader stand still meanwhile.
        let asked = async {
            let start = offset_of(&connection, me, topic, key.1, epoch, EARLIEST).await;
            (start, offset_of(&connection, me, topic, key.1, epoch, LATEST).await)
        };
        let (start, end) = task::timeout(OFFSETS_WITHIN, asked).await.unwrap_or_default();
        let (Some(start), Some(end)) = (start, end) else {
            return self.refused(broker, key, ErrorCode::OffsetOutOfRange);
        };
        warn!(partition = %partition.name, leader = %self.id.leader, end = %position, leader_start = %start, leader_end = %end,
            "what would come next is not in the leader's log");
        let started = partition.start_within(epoch, start, end, broker.clock().now_ms());
        self.settle(broker, key, started);
        if slot_position(&self.slots, key) == position {
            // Nothing was to be mended here. The leader looks at the partition again when it is named anew.
            self.slots.pause(key, backoff(broker));
        }
    }

    /// Goes on with a partition after its answer was used, or pauses it.
    fn settle(&mut self, broker: &Broker, key: Key, outcome: Result<FetchPosition, FollowFailure>) {
        match outcome {
            Ok(position) => self.slots.go_on(key, position),
            Err(FollowFailure::Outdated) => self.slots.pause(key, backoff(broker)),
            Err(FollowFailure::Late) => {
                let slot = self.slots.get(key);
                let position = slot.and_then(|slot| slot.partition.next_fetch(slot.epoch));
                match position {
                    Some(position) => self.slots.go_on(key, position),
                    None => self.slots.pause(key, backoff(broker)),
                }
            }
            Err(failure) => {
                let Some(slot) = self.slots.get(key) else { return };
                let what = "what the leader sent cannot be stored; it is fetched again";
                match failure.storage() {
                    // A full disk may stay so for long.
                    Some(storage) => {
                        slot.partition.complain(storage, broker.clock().now_ms(), what);
                    }
                    None => {
                        warn!(partition = %slot.partition.name, leader = %self.id.leader, error = %failure, "{what}");
                    }
                }
                match failure.is_storage() {
                    true => self.slots.pause_for(key, backoff(broker)),
                    false => self.slots.pause(key, backoff(broker)),
                }
            }
        }
    }

    /// The leader gives nothing for a partition.
    fn refused(&mut self, broker: &Broker, key: Key, code: ErrorCode) {
        let Some(slot) = self.slots.get(key) else { return };
        let (name, leader) = (&slot.partition.name, self.id.leader);
        match code {
            // One of the two has older metadata; that passes.
            ErrorCode::NotLeaderOrFollower
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::UnknownTopicId
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::InconsistentTopicId => {
                debug!(partition = %name, %leader, %code, "the leader knows other metadata");
            }
            code => {
                warn!(partition = %name, %leader, %code, "a partition cannot be fetched; it is tried again");
            }
        }
        self.slots.pause(key, backoff(broker));
    }

    /// Replicas that are being moved wait where they were too fast (KIP-73).
    fn hold_back_throttled(&mut self, broker: &Broker, config: &ReplicationConfig) {
        let rate = config.follower_throttled_rate;
        if rate == i64::MAX {
            return;
        }
        let now = broker.clock().monotonic();
        let Err(wait) = broker.replicas().fetchers().throttle().check(rate, now) else { return };
        for key in self.slots.news() {
            if self.is_throttled(broker, key) {
                self.slots.pause_for(key, wait);
            }
        }
    }

    /// Whether the replica is one that is being moved at a limited rate: named so, and not in sync.
    fn is_throttled(&self, broker: &Broker, key: Key) -> bool {
        let Some(slot) = self.slots.get(key) else { return false };
        let me = broker.node_id();
        if !slot.partition.throttles().followers.contains(key.1.get(), me.get()) {
            return false;
        }
        let image = broker.image();
        let partition = image.topics.get_by_id(key.0).and_then(|topic| topic.partition(key.1));
        partition.is_some_and(|partition| !partition.isr.contains(&me))
    }
}

async fn call(
    connection: Connection,
    request: FetchRequest,
    within: Duration,
) -> Result<FetchResponse, ConnectionError> {
    let version = connection.version_of::<FetchRequest>(None)?;
    connection.call(&request, version, Some(within)).await
}

/// The epoch of this broker's registration.
fn epoch_of(broker: &Broker) -> Option<i64> {
    let registered = broker.replicas().logs().broker_epoch();
    registered.or_else(|| broker.image().broker(broker.node_id()).map(|it| it.epoch.get()))
}

fn backoff(broker: &Broker) -> Duration {
    let ms = broker.config().replication.replica_fetch_backoff_ms;
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

fn slot_position(slots: &Slots, key: Key) -> Offset {
    slots.get(key).map_or(Offset::NONE, |slot| slot.position.offset)
}

/// Whole batches that end below `end` are here already: the answer was on its way when the one before it was used.
fn without_known(mut records: &[u8], end: Offset) -> &[u8] {
    while let Ok(header) = BatchHeader::parse(records) {
        let size = header.size_bytes();
        if header.next_offset() > end || size > records.len() {
            break;
        }
        records = records.get(size..).unwrap_or_default();
    }
    records
}

/// The leader's log end or start, which a replica may see.
async fn offset_of(
    connection: &Connection,
    me: NodeId,
    topic: &str,
    index: PartitionIndex,
    epoch: LeaderEpoch,
    timestamp: i64,
) -> Option<Offset> {
    let partition = ListOffsetsPartition {
        partition_index: index.get(),
        current_leader_epoch: epoch.get(),
        timestamp,
    };
    let topic = ListOffsetsTopic { name: topic.into(), partitions: vec![partition] };
    let request = ListOffsetsRequest {
        replica_id: me.get(),
        topics: vec![topic],
        ..ListOffsetsRequest::default()
    };
    let version = connection.version_of::<ListOffsetsRequest>(None).ok()?;
    let response = connection.call(&request, version, None).await.ok()?;
    let found = response.topics.first()?.partitions.first()?;
    (found.error_code == 0 && found.offset >= 0).then_some(Offset(found.offset))
}
