//! A member of a classic consumer group: joining, sharing out, heartbeats, leaving.
//!
//! Key types: [`Membership`] (the consumer's end), [`GroupEvent`] (what the group asks of the consumer). A task of
//! its own keeps the membership alive while the application works on its records. Partitions are taken away only
//! after the consumer has said that it stopped reading them ([`GroupEvent::Revoke`]), unless the group has given
//! them away already ([`GroupEvent::Lost`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_base::TopicPartition;
use millstream_env::task::{Instant, JoinHandle, spawn};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use super::member_task::MemberTask;
use super::{ConsumeError, ConsumerConfig};
use crate::Cluster;

/// What the group asks of the consumer.
#[derive(Debug)]
pub(super) enum GroupEvent {
    /// Stop reading these and commit; then say so.
    Revoke {
        /// What goes.
        partitions: BTreeSet<TopicPartition>,
        /// Where to say so.
        done: oneshot::Sender<()>,
    },
    /// Everything that the consumer has from now on.
    Assign(BTreeSet<TopicPartition>),
    /// Everything is gone and may be read by others already: commit nothing.
    Lost,
    /// The membership ended for good.
    Failed(ConsumeError),
}

/// Who the member is at the moment; what a commit has to prove.
#[derive(Clone, Debug)]
pub(crate) struct MemberIdentity {
    pub(crate) generation: i32,
    pub(crate) member_id: String,
}

/// What the consumer and the task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) identity: Mutex<MemberIdentity>,
    pub(super) topics: Mutex<BTreeSet<Arc<str>>>,
    pub(super) last_poll: Mutex<Instant>,
    /// Rings when the consumer polls, subscribes anew or leaves.
    pub(super) rung: Notify,
    pub(super) subscription_changed: std::sync::atomic::AtomicBool,
    pub(super) leaving: std::sync::atomic::AtomicBool,
}

impl Shared {
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(std::sync::atomic::Ordering::Acquire)
    }
}

/// The consumer's end of a membership. Dropping it leaves the group.
#[derive(Debug)]
pub(super) struct Membership {
    shared: Arc<Shared>,
    events: mpsc::UnboundedReceiver<GroupEvent>,
    task: Option<JoinHandle<()>>,
}

impl Membership {
    /// Joins `group` for `topics` in the background.
    pub(super) fn start(
        cluster: Cluster,
        config: &ConsumerConfig,
        group: String,
        topics: BTreeSet<Arc<str>>,
    ) -> Self {
        let shared = Arc::new(Shared {
            identity: Mutex::new(MemberIdentity { generation: -1, member_id: String::new() }),
            topics: Mutex::new(topics),
            last_poll: Mutex::new(Instant::now()),
            rung: Notify::new(),
            subscription_changed: std::sync::atomic::AtomicBool::new(false),
            leaving: std::sync::atomic::AtomicBool::new(false),
        });
        // Few are ever queued: the task waits for the answer to most of them.
        let (sender, events) = mpsc::unbounded_channel();
        let task = MemberTask::new(cluster, config.clone(), group, shared.clone(), sender);
        let task = Some(spawn(task.run()));
        Self { shared, events, task }
    }

    /// The next thing that the group asks.
    pub(super) async fn next(&mut self) -> GroupEvent {
        match self.events.recv().await {
            Some(event) => event,
            // The task has ended and said why before.
            None => std::future::pending().await,
        }
    }

    /// The next thing, if there is one now.
    pub(super) fn try_next(&mut self) -> Option<GroupEvent> {
        self.events.try_recv().ok()
    }

    /// The application is alive.
    pub(super) fn polled(&self) {
        *self.shared.last_poll.lock() = Instant::now();
        self.shared.rung.notify_one();
    }

    pub(super) fn identity(&self) -> MemberIdentity {
        self.shared.identity.lock().clone()
    }

    /// Joins anew for other topics.
    pub(super) fn subscribe(&self, topics: BTreeSet<Arc<str>>) {
        *self.shared.topics.lock() = topics;
        self.shared.subscription_changed.store(true, std::sync::atomic::Ordering::Release);
        self.shared.rung.notify_one();
    }

    /// Leaves the group and waits until the coordinator knows.
    pub(super) async fn leave(mut self) {
        self.announce_leaving();
        if let Some(task) = self.task.take() {
            drop(task.await);
        }
    }

    fn announce_leaving(&self) {
        self.shared.leaving.store(true, std::sync::atomic::Ordering::Release);
        self.shared.rung.notify_one();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.announce_leaving();
    }
}
