//! Messages of other nodes: judged, then handed to openraft.
//!
//! Key function: [`Node::receive`]. Bytes may be anything. What openraft takes for granted is checked before it sees it.

use std::sync::Arc;

use bytes::Bytes;
use millstream_base::Uuid;
use millstream_env::task::{self, Instant};
use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{AppendEntriesRequest, InstallSnapshotRequest, VoteRequest};

use tokio::sync::OwnedSemaphorePermit;

use super::control;
use super::message::{Answer, Appended, Ask, Reply, Request, from_bytes, to_bytes};
use super::node::{Node, is_another, is_nameless, lost_disk};
use super::types::{Command, LogId, Payload, Raft, SnapshotMeta, Types, Vote};

/// A greater term is none that elections lead to.
const MAX_TERM: u64 = i32::MAX as u64 / 2;
/// How far a term may be ahead of the known one: nodes that campaign for years stay below.
const MAX_STEP: u64 = 100_000_000;
/// What is told when there is no place for a message.
const BUSY: &str = "the disk of the metadata log takes nothing at the moment";
/// The largest snapshot that is taken.
const MAX_SNAPSHOT: u64 = 2 << 30;

impl Node {
    /// Answers a message.
    pub(crate) async fn receive(self: &Arc<Self>, bytes: &[u8]) -> Bytes {
        let body = match from_bytes::<Request>(bytes) {
            Ok(request) => self.answer(request).await,
            Err(reason) => Reply::Refused(format!("the message cannot be read: {reason}")),
        };
        let answer = Answer {
            cluster_id: self.cluster_id(),
            from: self.id(),
            directory: self.options.directory_id.0,
            body,
        };
        to_bytes(&answer).unwrap_or_default()
    }

    async fn answer(self: &Arc<Self>, request: Request) -> Reply {
        let Some(raft) = self.raft() else {
            return Reply::Failed("the node is starting or stopping".to_owned());
        };
        if let Some(reason) = self.refusal(&request) {
            self.complain(&reason);
            return Reply::Refused(reason);
        }
        let from = request.from;
        match request.body {
            Ask::Append(ask) => match self.check_append(from, &ask) {
                Ok(()) => self.append(raft, from, ask).await,
                Err(reason) => Reply::Refused(reason),
            },
            Ask::Vote(ask) => match self.check_candidate(from, &ask.vote) {
                Ok(()) => self.vote(raft, ask).await,
                Err(reason) => Reply::Refused(reason),
            },
            Ask::Snapshot { vote, meta, offset, done, data } => {
                match check_snapshot(from, &vote, &meta, offset, &data) {
                    Ok(()) => self.snapshot(raft, from, vote, meta, offset, done, data).await,
                    Err(reason) => Reply::Refused(reason),
                }
            }
            Ask::Probe { last, gone } => Reply::Probe { yes: self.would_vote(last, gone).await },
            Ask::Join(member) => self.admit(from, member).await,
            Ask::Ping => Reply::Done,
            Ask::Leaving { term, next } => self.is_left(raft, from, term, next).await,
        }
    }

    /// Why a message is not listened to, if it is not.
    fn refusal(&self, request: &Request) -> Option<String> {
        let from = request.from;
        let is_meant = request.to == self.id() || is_nameless(request.to);
        if !is_meant || from == self.id() {
            return Some(format!(
                "this is node {}, but the message is from node {from} for node {}: two nodes have one id, or \
                 controller.quorum.voters names a wrong address",
                self.id(),
                request.to
            ));
        }
        if let Some(reason) = self.foreign(from, request.cluster_id.as_deref()) {
            return Some(reason);
        }
        let (expected, mine) = (Uuid(request.expected), self.options.directory_id);
        if is_another(expected, mine) {
            return Some(lost_disk(self.id(), expected, mine));
        }
        let members = self.membership();
        let member = members.get_node(&from)?;
        let directory = Uuid(request.directory);
        let joins = matches!(request.body, Ask::Join(_));
        let votes = super::campaign::is_voter(&members, from);
        let lost = is_another(member.directory(), directory) && (votes || !joins);
        lost.then(|| lost_disk(from, member.directory(), directory))
    }

    /// Only who is known here may unseat a leader: by the members, or by the settings before there are any.
    fn check_candidate(&self, from: i32, vote: &Vote) -> Result<(), String> {
        check_vote(from, vote, false)?;
        let is_named = self.options.voters.iter().any(|voter| voter.peer.id.get() == from);
        if !is_named && self.membership().get_node(&from).is_none() {
            return Err(format!("node {from} is no member of this quorum: it cannot be elected"));
        }
        let known = self.raft().map_or(0, |raft| raft.metrics().borrow().vote.leader_id.term);
        if vote.leader_id.term > known.saturating_add(MAX_STEP) {
            return Err(format!("{vote} is too far ahead of epoch {known}"));
        }
        Ok(())
    }

    /// What openraft takes for granted of entries.
    fn check_append(&self, from: i32, ask: &AppendEntriesRequest<Types>) -> Result<(), String> {
        check_vote(from, &ask.vote, true)?;
        self.check_leader(from, &ask.vote)?;
        let applied = self.machine.applied.borrow().last;
        let mut last = ask.prev_log_id;
        for entry in &ask.entries {
            let expected = last.map_or(0, |id| id.index.saturating_add(1));
            let terms = last.map_or(0, |id| id.leader_id.term)..=ask.vote.leader_id.term;
            if entry.log_id.index != expected || !terms.contains(&entry.log_id.leader_id.term) {
                return Err("the entries do not follow each other".to_owned());
            }
            if let Payload::Normal(Command::Records { at, .. }) = &entry.payload {
                let base = millstream_base::Offset(*at);
                control::entry_to_batch(entry, base, millstream_base::TimestampMs::NONE)?;
            }
            last = Some(entry.log_id);
        }
        let overrules = |id: &LogId| {
            let known = self.machine.log.entries(|known| known.get(id.index).map(|entry| entry.id));
            applied.is_some_and(|applied| id.index <= applied.index)
                && known.is_some_and(|known| known != *id)
        };
        let ids = ask.entries.iter().map(|entry| entry.log_id).chain(ask.prev_log_id);
        for id in ids {
            if overrules(&id) {
                return Err(format!("entry {id} contradicts one that is committed"));
            }
        }
        Ok(())
    }

    /// There is one leader a term.
    fn check_leader(&self, from: i32, vote: &Vote) -> Result<(), String> {
        let Some(raft) = self.raft() else { return Ok(()) };
        let known = raft.metrics().borrow().vote;
        let other = known.committed
            && known.leader_id.term == vote.leader_id.term
            && known.leader_id.voted_for != Some(from);
        if other { Err("another node leads in that term".to_owned()) } else { Ok(()) }
    }

    fn heard_from(&self, leader: i32) {
        let mut heard = self.heard.lock();
        (heard.leader, heard.at, heard.gone) = (Some(leader), Instant::now(), None);
    }

    /// A place among the messages that wait for openraft; none while the disk takes nothing.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        let room = !self.machine.log.waits();
        room.then(|| Arc::clone(&self.inbox).try_acquire_owned().ok()).flatten()
    }

    async fn append(&self, raft: &Raft, from: i32, ask: AppendEntriesRequest<Types>) -> Reply {
        let Some(place) = self.place() else { return Reply::Failed(BUSY.to_owned()) };
        let raft = raft.clone();
        // Openraft works on it also when nobody waits for the answer any more: its place is taken as long.
        let work = task::spawn(async move {
            let done = raft.append_entries(ask).await;
            drop(place);
            done
        });
        let Ok(done) = work.await else { return Reply::Failed(BUSY.to_owned()) };
        match done {
            Ok(response) => {
                let response = Appended::from(response);
                if !matches!(response, Appended::HigherVote(_)) {
                    self.heard_from(from);
                }
                Reply::Append(response)
            }
            Err(error) => Reply::Failed(error.to_string()),
        }
    }

    async fn vote(&self, raft: &Raft, ask: VoteRequest<i32>) -> Reply {
        match raft.vote(ask).await {
            Ok(response) => {
                if response.vote_granted {
                    let mut heard = self.heard.lock();
                    (heard.leader, heard.at) = (None, Instant::now());
                }
                Reply::Vote(response)
            }
            Err(error) => Reply::Failed(error.to_string()),
        }
    }

    /// Where a part of a snapshot should begin, if it leaves something out: room for what is missing is not made.
    fn gap_before(&self, offset: u64, len: usize) -> Option<u64> {
        let mut received = self.received.lock();
        if offset == 0 {
            *received = 0;
        }
        if offset > *received {
            return Some(0);
        }
        *received = (*received).max(offset.saturating_add(len as u64));
        None
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one message")]
    async fn snapshot(
        &self,
        raft: &Raft,
        from: i32,
        vote: Vote,
        meta: SnapshotMeta,
        offset: u64,
        done: bool,
        data: Bytes,
    ) -> Reply {
        if let Err(reason) = self.check_leader(from, &vote) {
            return Reply::Refused(reason);
        }
        if let Some(expect) = self.gap_before(offset, data.len()) {
            return Reply::SnapshotAgain { expect, got: offset };
        }
        let ask = InstallSnapshotRequest { vote, meta, offset, data: data.to_vec(), done };
        let Some(place) = self.place() else { return Reply::Failed(BUSY.to_owned()) };
        let raft = raft.clone();
        let work = task::spawn(async move {
            let done = raft.install_snapshot(ask).await;
            drop(place);
            done
        });
        let Ok(done) = work.await else { return Reply::Failed(BUSY.to_owned()) };
        match done {
            Ok(response) => {
                if response.vote <= vote {
                    self.heard_from(from);
                }
                Reply::Snapshot(response.vote)
            }
            Err(RaftError::APIError(InstallSnapshotError::SnapshotMismatch(mismatch))) => {
                Reply::SnapshotAgain { expect: mismatch.expect.offset, got: mismatch.got.offset }
            }
            Err(RaftError::Fatal(error)) => Reply::Failed(error.to_string()),
        }
    }
}

/// Whether a vote is one that `from` may send.
fn check_vote(from: i32, vote: &Vote, committed: bool) -> Result<(), String> {
    let term = vote.leader_id.term;
    let sound = vote.leader_id.voted_for == Some(from)
        && vote.committed == committed
        && (1..=MAX_TERM).contains(&term);
    if sound { Ok(()) } else { Err(format!("{vote} is no vote that node {from} may send")) }
}

fn check_snapshot(
    from: i32,
    vote: &Vote,
    meta: &SnapshotMeta,
    offset: u64,
    data: &Bytes,
) -> Result<(), String> {
    check_vote(from, vote, true)?;
    let end = offset.saturating_add(data.len() as u64);
    let term = meta.last_log_id.map(|id| id.leader_id.term);
    if end > MAX_SNAPSHOT || term.is_none_or(|term| term > vote.leader_id.term) {
        return Err("that is no part of a snapshot".to_owned());
    }
    Ok(())
}
