//! Leader epochs and the offsets at which they began (KIP-101, KIP-279).
//!
//! Key type: [`EpochCache`]. Epochs and start offsets grow strictly from entry to entry. The text form is
//! Kafka's `leader-epoch-checkpoint`.

use std::fmt::Write as _;

use millstream_base::{LeaderEpoch, Offset};

/// One leader epoch and the offset of the first record that was appended in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Where it began.
    pub start_offset: Offset,
}

/// The leader epochs of one partition's log, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochCache {
    entries: Vec<EpochEntry>,
}

/// The text is not a checkpoint of leader epochs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The first line is not a known version.
    #[error("version line `{0}`, expected `0`")]
    Version(String),
    /// A line is not what it should be.
    #[error("line {line} is `{text}`, expected {expected}")]
    Line {
        /// The line's number, from 1.
        line: usize,
        /// What stands there.
        text: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// The number of entries is not the announced one.
    #[error("{found} entries where {announced} are announced")]
    Count {
        /// From the second line.
        announced: usize,
        /// Lines that follow.
        found: usize,
    },
}

impl EpochCache {
    /// No epoch yet.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|e| e.epoch)
    }

    /// Whether appending at `start_offset` in `epoch` would change the cache. The cheap question of the append
    /// path.
    pub fn is_new(&self, epoch: LeaderEpoch) -> bool {
        epoch.get() >= 0 && self.entries.last().is_none_or(|last| epoch > last.epoch)
    }

    /// Notes that `epoch` began at `start_offset`; tells whether anything changed. Entries that the new one
    /// contradicts (same or later epoch, same or later start) give way, as in Kafka.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        if epoch.get() < 0 || start_offset.get() < 0 {
            return false;
        }
        if let Some(last) = self.entries.last()
            && (last.epoch == epoch || (last.epoch > epoch && last.start_offset <= start_offset))
        {
            // Known already, or a batch of an older epoch behind a newer one: never trust that backwards.
            return false;
        }
        while self
            .entries
            .last()
            .is_some_and(|last| last.epoch >= epoch || last.start_offset >= start_offset)
        {
            self.entries.pop();
        }
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// Notes that a batch of `epoch` stands at `base`; tells whether anything changed. What the cache says otherwise
    /// gives way: an epoch that this broker began to lead in and wrote nothing, or a checkpoint file older than the
    /// log.
    pub fn observe(&mut self, epoch: LeaderEpoch, base: Offset) -> bool {
        if epoch.get() < 0 || base.get() < 0 {
            return false;
        }
        let newest =
            self.entries.last().is_some_and(|e| e.epoch == epoch && e.start_offset <= base);
        if newest || self.epoch_of(base) == Some(epoch) {
            return false;
        }
        let dropped = self.truncate_from_end(base);
        let before = self.entries.len();
        while self.entries.last().is_some_and(|last| last.epoch > epoch) {
            self.entries.pop();
        }
        let popped = before != self.entries.len();
        let assigned = self.assign(epoch, base);
        dropped || popped || assigned
    }

    /// The answer to OffsetForLeaderEpoch: the largest known epoch <= `epoch` and the offset where it ended.
    /// `log_end` ends the newest epoch. `None` when no such epoch is known.
    pub fn end_offset(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let latest = self.entries.last()?;
        if epoch == latest.epoch {
            return Some((epoch, log_end));
        }
        if epoch > latest.epoch {
            return None;
        }
        let after = self.entries.partition_point(|e| e.epoch <= epoch);
        let end = self.entries.get(after)?.start_offset;
        match after.checked_sub(1).and_then(|at| self.entries.get(at)) {
            Some(entry) => Some((entry.epoch, end)),
            // Older than all that is kept: the first known epoch's start ends the asked one, as in Kafka.
            None => Some((epoch, end)),
        }
    }

    /// The epoch in which `offset` was appended.
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|e| e.start_offset <= offset);
        after.checked_sub(1).and_then(|at| self.entries.get(at)).map(|e| e.epoch)
    }

    /// Forgets epochs that began at `end` or later; tells whether anything changed.
    pub fn truncate_from_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|e| e.start_offset < end);
        before != self.entries.len()
    }

    /// Forgets epochs that ended at or before `start`; the one that covers it then begins there. Tells whether
    /// anything changed.
    pub fn truncate_from_start(&mut self, start: Offset) -> bool {
        let after = self.entries.partition_point(|e| e.start_offset <= start);
        let Some(covering) = after.checked_sub(1) else { return false };
        let Some(entry) = self.entries.get_mut(covering) else { return false };
        let changed = covering > 0 || entry.start_offset != start;
        entry.start_offset = start;
        self.entries.drain(..covering);
        changed
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Kafka's `leader-epoch-checkpoint`.
    pub fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for entry in &self.entries {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} {}", entry.epoch, entry.start_offset);
        }
        text
    }

    /// Reads [`EpochCache::to_text`]. Entries that do not grow are put right by the rule of [`Self::assign`].
    pub fn from_text(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
        let mut next = |expected| {
            let none = CheckpointError::Line { line: 1, text: String::new(), expected };
            lines.next().ok_or(none)
        };
        let (_, version) = next("a version")?;
        if version.trim() != "0" {
            return Err(CheckpointError::Version(version.to_owned()));
        }
        let (at, count) = next("the number of entries")?;
        let wrong = |at: usize, text: &str, expected| CheckpointError::Line {
            line: at + 1,
            text: text.to_owned(),
            expected,
        };
        let announced: usize =
            count.trim().parse().map_err(|_| wrong(at, count, "the number of entries"))?;
        let mut cache = Self::new();
        let mut found = 0;
        for (at, line) in lines {
            let entry = line.trim().split_once(' ').and_then(|(epoch, start)| {
                Some((epoch.parse::<i32>().ok()?, start.parse::<i64>().ok()?))
            });
            let (epoch, start) = entry.ok_or_else(|| wrong(at, line, "`EPOCH OFFSET`"))?;
            cache.assign(LeaderEpoch(epoch), Offset(start));
            found += 1;
        }
        if found != announced {
            return Err(CheckpointError::Count { announced, found });
        }
        Ok(cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> EpochCache {
        let mut cache = EpochCache::new();
        for &(epoch, start) in entries {
            cache.assign(LeaderEpoch(epoch), Offset(start));
        }
        cache
    }

    fn check_end(cache: &EpochCache, asked: i32, expected: Option<(i32, i64)>) {
        let found = cache.end_offset(LeaderEpoch(asked), Offset(100));
        assert_eq!(found.map(|(e, o)| (e.get(), o.get())), expected, "epoch {asked}");
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let cache = cache(&[(2, 10), (4, 20), (7, 50)]);
        check_end(&cache, 7, Some((7, 100)));
        check_end(&cache, 8, None);
        check_end(&cache, 4, Some((4, 50)));
        check_end(&cache, 5, Some((4, 50)));
        check_end(&cache, 2, Some((2, 20)));
        check_end(&cache, 1, Some((1, 10)));
        check_end(&EpochCache::new(), 0, None);
    }

    #[test]
    fn entries_grow_whatever_is_assigned() {
        let mut cache = cache(&[(0, 0), (1, 10), (2, 20)]);
        assert!(!cache.assign(LeaderEpoch(2), Offset(30)));
        assert!(!cache.assign(LeaderEpoch(1), Offset(30)));
        assert!(!cache.assign(LeaderEpoch(-1), Offset(30)));
        assert!(cache.assign(LeaderEpoch(3), Offset(10)));
        assert_eq!(cache.to_text(), "0\n2\n0 0\n3 10\n");
    }

    #[test]
    fn a_batch_that_is_there_is_right() {
        let observed = |entries: &[(i32, i64)], epoch: i32, base: i64| {
            let mut cache = cache(entries);
            let changed = cache.observe(LeaderEpoch(epoch), Offset(base));
            let text: Vec<_> =
                cache.entries().iter().map(|e| (e.epoch.get(), e.start_offset.get())).collect();
            assert_eq!(changed, text != entries);
            text
        };
        assert_eq!(observed(&[(4, 0)], 4, 10), [(4, 0)]);
        assert_eq!(observed(&[(4, 0)], 5, 10), [(4, 0), (5, 10)]);
        // An epoch that was begun and left without a record.
        assert_eq!(observed(&[(4, 0), (5, 10)], 4, 10), [(4, 0)]);
        // A checkpoint that did not hear of a truncation.
        assert_eq!(observed(&[(4, 0), (5, 8)], 4, 10), [(4, 0)]);
        assert_eq!(observed(&[(4, 0), (5, 8), (7, 20)], 6, 10), [(4, 0), (5, 8), (6, 10)]);
        // A walk through a log whose cache is right changes nothing.
        assert_eq!(observed(&[(4, 0), (5, 8), (7, 20)], 5, 12), [(4, 0), (5, 8), (7, 20)]);
    }

    #[test]
    fn truncation_keeps_the_covering_epoch() {
        let mut both = cache(&[(0, 0), (1, 10), (2, 20)]);
        assert!(both.truncate_from_start(Offset(15)));
        assert!(both.truncate_from_end(Offset(20)));
        assert_eq!(both.to_text(), "0\n1\n1 15\n");
        assert_eq!(both.epoch_of(Offset(17)), Some(LeaderEpoch(1)));
        assert_eq!(both.epoch_of(Offset(3)), None);
        assert!(!both.truncate_from_start(Offset(15)));
    }

    #[test]
    fn text_comes_back_and_wrong_text_is_named() {
        let cache = cache(&[(0, 0), (2, 2400)]);
        assert_eq!(EpochCache::from_text(&cache.to_text()), Ok(cache));
        for wrong in ["", "1\n0\n", "0\nx\n", "0\n2\n0 0\n", "0\n1\n0 a\n", "0\n1\nrubbish\n"] {
            assert!(EpochCache::from_text(wrong).is_err(), "{wrong:?}");
        }
    }
}
