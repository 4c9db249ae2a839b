//! One node of the quorum: openraft, and all that is around it.
//!
//! Key type: [`Node`]. It is shared by the handle, the driver (`elections.rs`), the links to others and who works on a message.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use millstream_base::{TimestampMs, Uuid};
use millstream_env::task::{self, Instant};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tracing::error;

use super::machine::Machine;
use super::message::{Answer, Appended, Ask, Reply, Request, from_bytes, to_bytes};
use super::places::Place;
use super::types::{LogId, Member, Membership, Raft};
use crate::options::{QuorumOptions, Timing};
use crate::random::Random;
use crate::status::Leadership;
use crate::transport::{Peer, Transport, TransportError};

/// How many messages with entries or parts of snapshots wait at most; each has a MiB or so.
const INBOX: usize = 16;

/// See the module.
pub(crate) struct Node {
    pub options: QuorumOptions,
    pub machine: Arc<Machine>,
    pub leadership: watch::Sender<Leadership>,
    /// Where the others reach this node.
    pub address: Mutex<Option<Peer>>,
    pub heard: Mutex<Heard>,
    pub contacts: Mutex<BTreeMap<i32, Contact>>,
    /// Where members are reached.
    pub places: Mutex<BTreeMap<i32, Place>>,
    /// It leads and reaches no majority: nobody hears of it for a while.
    pub muted: AtomicBool,
    pub random: Mutex<Random>,
    /// Wakes the driver.
    pub wake: Notify,
    /// Wakes who proposes.
    pub jobs: Notify,
    /// One proposal or change of members at a time.
    pub proposing: tokio::sync::Mutex<()>,
    /// A campaign, or an attempt to join, is under way.
    pub trying: AtomicBool,
    /// Upkeep is under way.
    pub keeping: AtomicBool,
    pub stopped: AtomicBool,
    /// It stops, and leads no more.
    pub leaving: AtomicBool,
    /// How many messages may wait for openraft, so that a disk that hangs does not fill the memory.
    pub inbox: Arc<Semaphore>,
    /// How much of a snapshot came so far.
    pub received: Mutex<u64>,
    running: OnceLock<Running>,
    /// What was complained about lately, and when.
    complained: Mutex<Vec<(String, Instant)>>,
}

/// What there is once a node was started.
pub(crate) struct Running {
    pub raft: Raft,
    pub transport: Arc<dyn Transport>,
}

/// What this node heard of leaders.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Who led last, as far as known.
    pub leader: Option<i32>,
    /// When that was heard of last, or when a vote was given.
    pub at: Instant,
    /// A leader whose process is known to be gone.
    pub gone: Option<i32>,
}

/// When another node was last in touch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contact {
    pub at: Instant,
    pub fetched: TimestampMs,
    pub caught_up: Option<TimestampMs>,
    pub directory: Uuid,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum CallError {
    /// It makes no sense to ask again at once.
    Unreachable(String),
    /// It may have been lost.
    Failed(String),
}

impl Node {
    pub(crate) fn new(
        options: QuorumOptions,
        machine: Arc<Machine>,
        leadership: watch::Sender<Leadership>,
        address: Option<Peer>,
    ) -> Self {
        let random =
            Random::new(options.seed ^ (u64::from(options.node_id.get().unsigned_abs()) << 32));
        Self {
            options,
            machine,
            leadership,
            address: Mutex::new(address),
            heard: Mutex::new(Heard { leader: None, at: Instant::now(), gone: None }),
            contacts: Mutex::default(),
            places: Mutex::default(),
            muted: AtomicBool::new(false),
            random: Mutex::new(random),
            wake: Notify::new(),
            jobs: Notify::new(),
            proposing: tokio::sync::Mutex::new(()),
            trying: AtomicBool::new(false),
            keeping: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            inbox: Arc::new(Semaphore::new(INBOX)),
            received: Mutex::new(0),
            running: OnceLock::new(),
            complained: Mutex::new(Vec::new()),
        }
    }

    pub(crate) const fn id(&self) -> i32 {
        self.options.node_id.get()
    }

    pub(crate) const fn timing(&self) -> &Timing {
        &self.options.timing
    }

    pub(crate) fn run(&self, running: Running) -> bool {
        self.running.set(running).is_ok()
    }

    pub(crate) fn running(&self) -> Option<&Running> {
        self.running.get().filter(|_| !self.stopped.load(Ordering::SeqCst))
    }

    pub(crate) fn raft(&self) -> Option<&Raft> {
        self.running().map(|running| &running.raft)
    }

    /// Takes no further part. What is under way ends first, for a moment at most.
    pub(crate) async fn stop(&self) {
        let raft = self.raft().cloned();
        self.stopped.store(true, Ordering::SeqCst);
        self.wake.notify_one();
        self.jobs.notify_one();
        if let Some(raft) = raft {
            drop(task::timeout(Duration::from_secs(2), raft.shutdown()).await);
        }
        // What waits for room on the disk waits no longer.
        self.machine.log.cut_off();
    }

    /// Stops as if the process were killed.
    pub(crate) fn abandon(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.machine.log.cut_off();
        self.wake.notify_one();
        self.jobs.notify_one();
    }

    /// The members as they are in force: also those of an entry that is not committed yet.
    pub(crate) fn membership(&self) -> Membership {
        match self.raft() {
            Some(raft) => raft.metrics().borrow().membership_config.membership().clone(),
            None => {
                let applied = self.machine.state.lock().position.membership.clone();
                applied.map_or_else(|| self.machine.configured.clone(), |m| m.membership().clone())
            }
        }
    }

    /// This node as a member.
    pub(crate) fn me(&self) -> Member {
        let directory = self.options.directory_id;
        let address = self.address.lock().clone();
        address.map_or_else(
            || Member { directory: directory.0, ..Member::default() },
            |peer| Member::new(&peer, directory),
        )
    }

    /// The cluster that this node belongs to, as far as it knows.
    pub(crate) fn cluster_id(&self) -> Option<String> {
        let agreed = self.machine.cluster_id.borrow().as_deref().map(str::to_owned);
        agreed.or_else(|| self.options.cluster_id.clone())
    }

    /// A message, and where it goes.
    pub(crate) fn request(
        &self,
        id: i32,
        member: &Member,
        ask: Ask,
    ) -> Result<(Peer, Bytes), String> {
        let request = Request {
            cluster_id: self.cluster_id(),
            from: self.id(),
            directory: self.options.directory_id.0,
            to: id,
            expected: member.directory,
            body: ask,
        };
        let bytes = to_bytes(&request).map_err(|e| e.to_string())?;
        Ok((self.peer(id, member), bytes))
    }

    /// Asks another node.
    pub(crate) async fn call(
        &self,
        id: i32,
        member: &Member,
        ask: Ask,
        within: Duration,
    ) -> Result<Reply, CallError> {
        let Some(running) = self.running() else {
            return Err(CallError::Unreachable("this node is not running".to_owned()));
        };
        let (peer, bytes) = self.request(id, member, ask).map_err(CallError::Unreachable)?;
        let answer = running.transport.call(&peer, bytes, within).await;
        let was_there = self.is_reached(id, &peer, answer.is_ok());
        let answer = match answer {
            Ok(answer) => answer,
            Err(TransportError::Refused) => {
                if was_there {
                    self.is_gone(id);
                }
                return Err(CallError::Unreachable(TransportError::Refused.to_string()));
            }
            Err(TransportError::Timeout) => {
                return Err(CallError::Failed(TransportError::Timeout.to_string()));
            }
            Err(TransportError::Failed(reason)) => {
                self.complain(&format!("node {id} cannot be asked: {reason}"));
                return Err(CallError::Unreachable(reason));
            }
        };
        let answer: Answer = from_bytes(&answer).map_err(CallError::Unreachable)?;
        self.judge(id, member, answer)
    }

    /// Whether an answer counts.
    fn judge(&self, id: i32, member: &Member, answer: Answer) -> Result<Reply, CallError> {
        let id = if is_nameless(id) { answer.from } else { id };
        if answer.from != id {
            self.is_elsewhere(id);
            let reason = format!(
                "node {} answers where node {id} is expected: controller.quorum.voters names a wrong address",
                answer.from
            );
            self.complain(&reason);
            return Err(CallError::Unreachable(reason));
        }
        if let Some(reason) = self.foreign(id, answer.cluster_id.as_deref()) {
            self.complain(&reason);
            return Err(CallError::Unreachable(reason));
        }
        let directory = Uuid(answer.directory);
        if is_another(member.directory(), directory) {
            let reason = lost_disk(id, member.directory(), directory);
            self.complain(&reason);
            return Err(CallError::Unreachable(reason));
        }
        match answer.body {
            Reply::Refused(reason) => {
                self.complain(&format!("node {id} refuses this node: {reason}"));
                Err(CallError::Unreachable(reason))
            }
            Reply::Failed(reason) => Err(CallError::Unreachable(reason)),
            reply => {
                let mut contacts = self.contacts.lock();
                contacts.entry(id).or_insert_with(|| self.no_contact()).directory = directory;
                Ok(reply)
            }
        }
    }

    /// Why a node of that cluster is not listened to, if it is not.
    pub(crate) fn foreign(&self, id: i32, theirs: Option<&str>) -> Option<String> {
        let mine = self.cluster_id()?;
        let theirs = theirs.filter(|theirs| *theirs != mine)?;
        Some(format!(
            "node {id} belongs to cluster {theirs}, node {} to cluster {mine}: correct controller.quorum.voters, or \
             empty the data directories of the node that is in the wrong cluster",
            self.id()
        ))
    }

    fn no_contact(&self) -> Contact {
        let never = TimestampMs::NONE;
        Contact { at: Instant::now(), fetched: never, caught_up: None, directory: Uuid::ZERO }
    }

    /// A follower took what was sent.
    pub(crate) fn acknowledged(&self, id: i32, sent: Option<LogId>, response: &Appended) {
        if !matches!(response, Appended::Success | Appended::Partial(_) | Appended::Conflict) {
            return;
        }
        let now = self.machine.clock.now_ms();
        let all = matches!(response, Appended::Success)
            && sent == self.machine.log.entries(super::entries::Entries::last);
        let mut contacts = self.contacts.lock();
        let contact = contacts.entry(id).or_insert_with(|| self.no_contact());
        (contact.at, contact.fetched) = (Instant::now(), now);
        if all {
            contact.caught_up = Some(now);
        }
    }

    /// A follower is there, although it may be far behind.
    pub(crate) fn contacted(&self, id: i32) {
        let mut contacts = self.contacts.lock();
        let contact = contacts.entry(id).or_insert_with(|| self.no_contact());
        (contact.at, contact.fetched) = (Instant::now(), self.machine.clock.now_ms());
    }

    /// The process of that node is known to be gone.
    pub(crate) fn is_gone(&self, id: i32) {
        let mut heard = self.heard.lock();
        if heard.leader == Some(id) && heard.gone != Some(id) {
            heard.gone = Some(id);
            drop(heard);
            self.wake.notify_one();
        }
    }

    /// Says something that is wrong, but not again and again.
    pub(crate) fn complain(&self, reason: &str) {
        const PAUSE: Duration = Duration::from_secs(10);
        // A few things may be wrong at once, one for each node; whatever a stranger makes up is not remembered for ever.
        const MOST: usize = 16;
        let mut complained = self.complained.lock();
        complained.retain(|(_, at)| at.elapsed() < PAUSE);
        if complained.len() >= MOST || complained.iter().any(|(said, _)| said == reason) {
            return;
        }
        complained.push((reason.to_owned(), Instant::now()));
        drop(complained);
        error!(node = self.id(), "{reason}");
    }
}

/// Whether an id stands for whoever is found at an address: a bootstrap server, of which only that is known. Ids of nodes are
/// not negative, and -1 is nobody.
pub(crate) fn is_nameless(id: i32) -> bool {
    id < -1
}

/// Whether a directory is not the one that is remembered.
pub(crate) fn is_another(remembered: Uuid, found: Uuid) -> bool {
    remembered != Uuid::ZERO && found != Uuid::ZERO && remembered != found
}

/// What to say about a voter with an empty disk, or a second one of its id.
pub(crate) fn lost_disk(id: i32, remembered: Uuid, found: Uuid) -> String {
    format!(
        "voter {id} has metadata directory {found}, but the quorum knows it with {remembered}: it has lost what it \
         promised, or another node has the same node.id. Give that one an id of its own; a voter whose disk is gone is \
         removed and added again (millstream cluster quorum --remove-voter, --add-voter)"
    )
}
