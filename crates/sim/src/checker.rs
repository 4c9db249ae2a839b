//! What must always hold, held against every step.
//!
//! Key type: [`Checker`]. Per partition it keeps the one true history: every batch that was ever below a high
//! watermark, in order. Whatever a replica shows, acknowledges or takes over must agree with it:
//!
//! - an acknowledged batch is in the history, at the offset that was told; no batch is there twice;
//! - what any replica has below its high watermark is the history's, byte for byte;
//! - every member of the controller's ISR has the whole history on its disk, unless a power loss took it;
//! - whoever leads has the whole history; a leader epoch has one leader; offsets have no gaps.
//!
//! Records may be lost only when no replica in sync survived: then the partition counts as damaged from there on.

use std::collections::BTreeMap;

use millstream_base::NodeId;

use crate::disk::{Batch, SimLog};

/// The history of one partition.
#[derive(Debug, Default)]
pub(crate) struct History {
    committed: Vec<Batch>,
    end: i64,
    writes: BTreeMap<u64, i64>,
    leaders: BTreeMap<i32, NodeId>,
    /// Records below were deleted on purpose, and with them what was known of their producers.
    pub(crate) deleted: i64,
    /// No replica in sync survived: nothing more can be said.
    pub(crate) damaged: bool,
    /// It has grown since the ISR was last held against it.
    pub(crate) grown_from: Option<i64>,
}

/// All histories, and the first thing that was wrong.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    histories: BTreeMap<i32, History>,
    violation: Option<String>,
    /// A log was cut or lost since the ISRs were last held against the histories.
    pub(crate) cut: bool,
    pub(crate) acknowledged: u64,
    pub(crate) damaged: u64,
}

impl Checker {
    pub(crate) fn history(&mut self, partition: i32) -> &mut History {
        self.histories.entry(partition).or_default()
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    pub(crate) fn fail(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(what());
        }
    }

    /// A replica says that everything below `high_watermark` is committed; below `seen` it was looked at before.
    pub(crate) fn on_high_watermark(
        &mut self,
        (node, partition): (NodeId, i32),
        log: &SimLog,
        seen: i64,
        high_watermark: i64,
    ) {
        let history = self.histories.entry(partition).or_default();
        if history.damaged {
            return;
        }
        let below = |batch: &&Batch| batch.end() <= high_watermark;
        for batch in log.from(seen.max(log.start())).iter().take_while(below) {
            if let Err(problem) = history.take(batch) {
                let who = format!("partition {partition}: broker {node} shows {batch:?}");
                self.fail(|| format!("{who}, but {problem}"));
                return;
            }
        }
        if log.end() < high_watermark || log.start() > high_watermark {
            let (start, end) = (log.start(), log.end());
            let who = format!("partition {partition}: broker {node}");
            self.fail(|| format!("{who} has a log {start}..{end} and says {high_watermark}"));
        }
    }

    /// A leader tells a producer that its write is safe at `base`.
    pub(crate) fn on_acknowledged(&mut self, partition: i32, write: u64, base: i64) {
        let history = self.histories.entry(partition).or_default();
        let known = history.writes.get(&write).copied();
        if known != Some(base) && !history.damaged {
            self.fail(|| {
                format!("partition {partition}: write {write} acknowledged at {base}, committed at {known:?}")
            });
        }
        self.acknowledged += 1;
    }

    /// A broker begins to lead.
    pub(crate) fn on_leader(&mut self, (node, partition): (NodeId, i32), epoch: i32, log: &SimLog) {
        let history = self.histories.entry(partition).or_default();
        let leader = *history.leaders.entry(epoch).or_insert(node);
        if leader != node {
            let both = format!("brokers {leader} and {node}");
            self.fail(|| format!("partition {partition}: epoch {epoch} has {both} as leaders"));
            return;
        }
        if let Some(problem) = log.problem() {
            self.fail(|| format!("partition {partition}: broker {node} leads: {problem}"));
            return;
        }
        if let Some(lacking) = history.lacking(log) {
            let who = format!("partition {partition}: broker {node} leads in epoch {epoch}");
            self.fail(|| format!("{who} without {lacking:?}"));
        }
    }

    /// No replica in sync survived.
    pub(crate) fn damage(&mut self, partition: i32) {
        let history = self.histories.entry(partition).or_default();
        if !history.damaged {
            history.damaged = true;
            self.damaged += 1;
        }
    }
}

impl History {
    fn take(&mut self, batch: &Batch) -> Result<(), String> {
        if batch.end() <= self.end {
            return match self.at(batch.base) {
                Some(known) if known == batch => Ok(()),
                known => Err(format!("committed is {known:?}")),
            };
        }
        if batch.base != self.end {
            return Err(format!("what is committed ends at {}", self.end));
        }
        let earlier = self.writes.insert(batch.write, batch.base);
        if let Some(earlier) = earlier.filter(|earlier| *earlier >= self.deleted) {
            return Err(format!("the same write is committed at {earlier}"));
        }
        self.grown_from.get_or_insert(self.end);
        self.committed.push(*batch);
        self.end = batch.end();
        Ok(())
    }

    fn at(&self, base: i64) -> Option<&Batch> {
        let at = self.committed.binary_search_by_key(&base, |batch| batch.base).ok()?;
        self.committed.get(at)
    }

    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// The first committed batch that a log lacks.
    pub(crate) fn lacking(&self, log: &SimLog) -> Option<Batch> {
        self.lacking_from(log, 0)
    }

    /// The first committed batch from `from` on that a log lacks. What lies below its start was deleted.
    pub(crate) fn lacking_from(&self, log: &SimLog, from: i64) -> Option<Batch> {
        if self.damaged {
            return None;
        }
        let from = from.max(log.start());
        let mut theirs = log.from(from).iter();
        let first = self.committed.partition_point(|batch| batch.end() <= from);
        let ours = self.committed.get(first..).unwrap_or_default();
        ours.iter().find(|batch| theirs.next() != Some(batch)).copied()
    }
}
