//! Commands on the active controller: decided together, one entry at a time.
//!
//! Key function: [`Node::propose`]. A group of commands is decided against the newest applied state, its records go into the
//! log as one entry that names the offset of that state, and its callers are answered when it is applied. An entry that
//! comes to stand elsewhere (another leader was first) says nothing; its callers are told to ask again.

use std::sync::Arc;

use bytes::Bytes;
use millstream_base::{LeaderEpoch, Offset};
use millstream_metadata::Replayer;
use openraft::error::{ClientWriteError, RaftError};

use super::machine::Machine;
use super::node::Node;
use super::types::{Command, Outcome};
use crate::batches::{Encoder, encode_values};
use crate::error::CommitError;
use crate::job::{Job, Turn};

/// A group takes no further commands once its records have about this many bytes.
const GROUP_BYTES: usize = 4 << 20;

pub(crate) type Jobs = Vec<Box<dyn Job>>;

/// A group after it was decided.
struct Group {
    jobs: Vec<(Box<dyn Job>, Result<(), CommitError>)>,
    /// What did not fit in.
    rest: Jobs,
    at: Offset,
    batch: Result<Option<Bytes>, CommitError>,
}

impl Node {
    /// Works on a group of commands; gives back those that did not fit into one entry.
    pub(crate) async fn propose(&self, jobs: Jobs) -> Jobs {
        let turn = self.proposing.lock().await;
        let leadership = *self.leadership.borrow();
        if !leadership.is_me {
            refuse(jobs, &self.not_controller());
            return Vec::new();
        }
        let machine = Arc::clone(&self.machine);
        let Some(group) = self.machine.executor.run(move || decide(&machine, jobs)).await else {
            return Vec::new();
        };
        let Group { jobs, rest, at, batch } = group;
        let written = match batch {
            Ok(None) => Ok(()),
            Ok(Some(batch)) => self.write(Command::Records { at: at.get(), batch }).await,
            Err(error) => Err(error),
        };
        drop(turn);
        for (job, decided) in jobs {
            job.finish(decided.and(written.clone()));
        }
        rest
    }

    /// Has one command appended, committed and applied.
    pub(crate) async fn write(&self, command: Command) -> Result<(), CommitError> {
        let Some(raft) = self.raft() else { return Err(CommitError::Closed) };
        match self.while_leading(raft.client_write(command)).await {
            Some(Ok(written)) if written.data == Outcome::Applied => Ok(()),
            Some(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
                Err(CommitError::Control(error.to_string()))
            }
            Some(Err(RaftError::Fatal(error))) => {
                Err(CommitError::Failed(Arc::new(std::io::Error::other(error.to_string()))))
            }
            Some(Ok(_) | Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) | None => {
                Err(self.not_controller())
            }
        }
    }

    /// Waits for `work` as long as this node leads in its present term.
    pub(crate) async fn while_leading<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut leadership = self.leadership.subscribe();
        let epoch = leadership.borrow().epoch;
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = leadership.wait_for(|now| !now.is_me || now.epoch != epoch) => None,
        }
    }

    pub(crate) fn not_controller(&self) -> CommitError {
        let leadership = *self.leadership.borrow();
        let other = |id: &millstream_base::NodeId| *id != self.options.node_id;
        CommitError::NotController { leader: leadership.leader.filter(other) }
    }
}

pub(crate) fn refuse(jobs: Jobs, error: &CommitError) {
    jobs.into_iter().for_each(|job| job.finish(Err(error.clone())));
}

/// Decides commands one after the other, each against the state that those before it leave.
fn decide(machine: &Machine, jobs: Jobs) -> Group {
    let (mut replayer, at) = {
        let state = machine.state.lock();
        (state.replayer.clone(), Offset(state.position.end))
    };
    let now = machine.clock.now_ms();
    let mut group = Group { jobs: Vec::new(), rest: Vec::new(), at, batch: Ok(None) };
    let (mut values, mut bytes) = (Vec::new(), 0);
    for mut job in jobs {
        if bytes >= GROUP_BYTES {
            group.rest.push(job);
            continue;
        }
        let count = i64::try_from(values.len()).unwrap_or(i64::MAX);
        let turn = Turn { next_offset: at.plus(count), now };
        let before = replayer.clone();
        match decide_one(&mut replayer, job.as_mut(), &turn) {
            Ok(made) => {
                bytes += made.iter().map(Bytes::len).sum::<usize>();
                values.extend(made);
                group.jobs.push((job, Ok(())));
            }
            Err(error) => {
                replayer = before;
                group.jobs.push((job, Err(error)));
            }
        }
    }
    if !values.is_empty() {
        let mut out = Vec::new();
        let built = Encoder::default().append_values(&values, at, LeaderEpoch(0), now, &mut out);
        group.batch = built.map(|()| Some(out.into()));
    }
    group
}

fn decide_one(
    replayer: &mut Replayer,
    job: &mut dyn Job,
    turn: &Turn,
) -> Result<Vec<Bytes>, CommitError> {
    let records = job.decide(replayer.image(), turn);
    for record in &records {
        replayer.replay(record).map_err(CommitError::Replay)?;
    }
    encode_values(&records)
}
