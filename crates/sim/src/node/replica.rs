//! One replica on a node: its log, and what it does with it now.

use millstream_base::{NodeId, Offset};
use millstream_partition::{FollowerState, IsrProposal, LeaderState, LogPosition};

use crate::disk::SimLog;
use crate::rng::Rng;

/// A producer that waits for acks=all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) client: usize,
    pub(crate) request: u64,
    pub(crate) write: u64,
    pub(crate) base: i64,
    pub(crate) end: i64,
    pub(crate) until_us: u64,
}

/// A proposal on its way to the controller.
#[derive(Clone, Debug)]
pub(crate) struct Proposed {
    pub(crate) proposal: IsrProposal,
    /// The number of the try that is out; `None` between two.
    pub(crate) request: Option<u64>,
    /// When the try is given up, or the next one is due.
    pub(crate) at_us: u64,
}

/// What a replica is.
#[derive(Debug)]
pub(crate) enum Role {
    /// Nothing: it knows of no leader.
    Idle,
    Leader {
        state: Box<LeaderState>,
        waiting: Vec<Waiting>,
        proposed: Option<Proposed>,
    },
    Follower {
        state: FollowerState,
        /// The fetch that is out, and until when it is waited for.
        fetch: Option<(u64, u64)>,
    },
}

/// A replica.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) log: SimLog,
    pub(crate) role: Role,
    /// The high watermark as far as it is known.
    pub(crate) high_watermark: i64,
    high_watermark_on_disk: i64,
    /// Below this the checks have seen what is below the high watermark.
    pub(crate) seen: i64,
    /// A power loss took committed records from here.
    pub(crate) lost: bool,
}

impl Replica {
    pub(crate) fn new() -> Self {
        Self {
            log: SimLog::default(),
            role: Role::Idle,
            high_watermark: 0,
            high_watermark_on_disk: 0,
            seen: 0,
            lost: false,
        }
    }

    pub(crate) fn position(&self) -> LogPosition {
        let (start, end) = (self.log.start(), self.log.end());
        LogPosition {
            start: Offset(start),
            end: Offset(end),
            high_watermark: Offset(self.high_watermark.max(start).min(end)),
        }
    }

    /// Whom it follows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower { state, .. } => Some(state.leader()),
            Role::Idle | Role::Leader { .. } => None,
        }
    }

    pub(crate) fn sync(&mut self) {
        self.log.sync();
        self.high_watermark_on_disk = self.high_watermark;
    }

    pub(crate) fn crash(&mut self, power_loss: bool, rng: &mut Rng) {
        self.log.crash(power_loss, rng);
        self.role = Role::Idle;
        let (start, end) = (self.log.start(), self.log.end());
        self.high_watermark = self.high_watermark_on_disk.max(start).min(end);
        self.seen = start;
    }

    pub(crate) fn stop(&mut self) {
        self.sync();
        self.role = Role::Idle;
    }
}
