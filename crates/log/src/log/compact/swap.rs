//! Putting the output of a compaction in the place of its sources.
//!
//! First the output's names say that it is complete (`.swap`), and that is synced; then the sources lose their names,
//! oldest first; then the output takes its own. A start after a crash in between ends what was begun.

use std::sync::Arc;

use millstream_base::TimestampMs;

use super::{CompactionError, CompactionPlan};
use crate::error::StorageError;
use crate::log::compact::run::WithLog;
use crate::log::{DeletedSegments, Log};
use crate::segment::{Segment, Stage};

impl CompactionPlan {
    /// Replaces `group` by `output`. The replaced files are returned for their removal.
    pub(super) fn swap(
        &self,
        group: &[Arc<Segment>],
        output: &Arc<Segment>,
        now: TimestampMs,
        with_log: WithLog<'_>,
    ) -> Result<DeletedSegments, CompactionError> {
        self.announce(group, output, with_log).inspect_err(|_| self.remove_output(group))?;
        match locked(with_log, &mut |log| log.replace(group, output, now)) {
            Err(CompactionError::Changed) => {
                self.remove_output(group);
                Err(CompactionError::Changed)
            }
            // After any other failure sources may have lost their names: the output is all there is of them, and
            // the next start puts it in place.
            other => other,
        }
    }

    /// Gives the output the names of complete output, for good.
    fn announce(
        &self,
        group: &[Arc<Segment>],
        output: &Arc<Segment>,
        with_log: WithLog<'_>,
    ) -> Result<(), CompactionError> {
        locked(with_log, &mut |log| {
            log.place_of(group)?;
            Ok(output.move_to(Stage::Swap, true).map(drop)?)
        })?;
        let path = self.home.path();
        self.home.fs.sync_dir(&path).map_err(|e| StorageError::io("sync", &path, e))?;
        Ok(())
    }
}

fn locked<T>(
    with_log: WithLog<'_>,
    act: &mut dyn FnMut(&mut Log) -> Result<T, CompactionError>,
) -> Result<T, CompactionError> {
    let mut outcome = None;
    with_log(&mut |log| outcome = Some(act(log)));
    outcome.unwrap_or(Err(CompactionError::Changed))
}

impl Log {
    /// Where `group` lies in the list of segments, all of it, in order, and sealed.
    fn place_of(&self, group: &[Arc<Segment>]) -> Result<usize, CompactionError> {
        self.check_online()?;
        let first = group.first().ok_or(CompactionError::Changed)?;
        let at = self.segments.iter().position(|s| Arc::ptr_eq(s, first));
        let at = at.ok_or(CompactionError::Changed)?;
        let there = self.segments.get(at..at + group.len()).unwrap_or_default();
        let same = there.len() == group.len()
            && there.iter().zip(group).all(|(a, b)| Arc::ptr_eq(a, b))
            && at + group.len() < self.segments.len();
        if same { Ok(at) } else { Err(CompactionError::Changed) }
    }

    fn replace(
        &mut self,
        group: &[Arc<Segment>],
        output: &Arc<Segment>,
        now: TimestampMs,
    ) -> Result<DeletedSegments, CompactionError> {
        let at = self.place_of(group)?;
        let mut segments = Vec::clone(&self.segments);
        segments.splice(at..at + group.len(), [Arc::clone(output)]);
        let mut replaced = self.replaced(group, now);
        let renamed = (|| {
            for segment in group {
                replaced.files.extend(segment.move_to(Stage::Deleted, false)?);
            }
            output.move_to(Stage::Plain, true)
        })();
        if let Err(e) = renamed {
            // Half of the names are the new ones; only a start puts that right.
            self.go_offline(&format!("the output of a compaction could not take its place: {e}"));
            return Err(e.into());
        }
        self.segments = Arc::new(segments);
        self.names.mark();
        // Snapshots of the replaced segments' bases serve no more, but for the output's own.
        for segment in group.iter().skip(1) {
            let snapshot = self.home.offset_file(segment.base, crate::names::SNAPSHOT);
            if let Err(e) = self.home.remove(&snapshot) {
                tracing::warn!(path = %snapshot.display(), error = %e, "producer snapshot is left behind");
            }
        }
        Ok(replaced)
    }
}
