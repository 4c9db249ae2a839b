//! Appending: one check, one write, then the indexes in memory.

use std::sync::Arc;

use millstream_base::{LeaderEpoch, Offset, TimestampMs};
use millstream_partition::{AppendOrigin, Marker, ProducerBatch, Verdict};
use millstream_records::{BatchError, BatchHeader, BatchView, EndTxnMarker, Scratch, patch};

use super::Log;
use crate::error::{AppendError, StorageError};
use crate::segment::Segment;
use crate::txn_index::AbortedTxn;

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub first_offset: Offset,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// The log's start, for the produce response.
    pub log_start_offset: Offset,
    /// The batch was stored before (a producer's retry); nothing was appended now.
    pub duplicate: bool,
    /// A new segment was begun: the older ones should be synced ([`Log::prepare_flush`]) in the background.
    pub rolled: bool,
    /// `flush.messages` asks for a sync before this append is acknowledged.
    pub flush_due: bool,
}

/// What the first look at an append's batches found.
enum Checked {
    /// Append them. The largest timestamp and the last offset.
    New { max_timestamp: i64, last_offset: i64 },
    /// The only batch is stored already.
    Duplicate { first_offset: Offset, last_offset: Offset },
}

impl Log {
    /// Appends whole batches that [`millstream_records::Validator`] has accepted, as the leader.
    ///
    /// Base offsets and the leader epoch are set in `batches`, in place. Either all batches are stored, with one
    /// write, or none. `now` is the wall clock. With producer ids, sequences are checked first; a repeated batch
    /// is answered with the offsets of its first try.
    pub fn append(
        &mut self,
        batches: &mut [u8],
        epoch: LeaderEpoch,
        origin: AppendOrigin,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        self.check_online()?;
        self.headers.clear();
        self.staged.clear();
        match self.check_and_patch(batches, epoch, origin, now)? {
            Checked::Duplicate { first_offset, last_offset } => Ok(Appended {
                first_offset,
                last_offset,
                log_start_offset: Offset(self.start),
                duplicate: true,
                rolled: false,
                flush_due: false,
            }),
            Checked::New { max_timestamp, last_offset } => {
                let limit = self.config.segment_bytes;
                if batches.len() as u64 > u64::from(limit) {
                    return Err(AppendError::TooLarge { bytes: batches.len(), limit });
                }
                self.store(batches, max_timestamp, last_offset, now)
            }
        }
    }

    fn check_and_patch(
        &mut self,
        batches: &mut [u8],
        epoch: LeaderEpoch,
        origin: AppendOrigin,
        now: TimestampMs,
    ) -> Result<Checked, AppendError> {
        let mut next = self.end;
        let mut max_timestamp = -1;
        let mut at = 0;
        while at < batches.len() {
            let mut header = parse_whole(batches, at)?;
            let end = at + header.size_bytes();
            let batch = batches.get_mut(at..end).unwrap_or_default();
            header.base_offset = Offset(next);
            header.partition_leader_epoch = epoch;
            if header.has_producer_id() {
                let verdict = self.check_producer(&header, batch, origin, now)?;
                if let Verdict::Duplicate(first) = verdict {
                    let (first_offset, last_offset) = (first.first_offset, first.last_offset);
                    return Ok(Checked::Duplicate { first_offset, last_offset });
                }
            }
            patch::base_offset(batch, header.base_offset)?;
            patch::leader_epoch(batch, epoch)?;
            next = header.next_offset().get();
            max_timestamp = max_timestamp.max(header.max_timestamp.get());
            self.headers.push((at as u64, header));
            at = end;
        }
        Ok(Checked::New { max_timestamp, last_offset: next - 1 })
    }

    fn check_producer(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        origin: AppendOrigin,
        now: TimestampMs,
    ) -> Result<Verdict, AppendError> {
        if header.attributes.is_control() {
            if let Some(marker) = marker_of(header, batch, now) {
                self.producers.check_marker(&marker, origin)?;
            }
            return Ok(Verdict::New);
        }
        let entry = producer_batch(header, now);
        let verdict = self.producers.check(&self.staged, &entry, origin)?;
        self.staged.push(entry);
        Ok(verdict)
    }

    /// Writes batches whose headers are in `self.headers`, and takes them into account.
    pub(super) fn store(
        &mut self,
        batches: &[u8],
        max_timestamp: i64,
        last_offset: i64,
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        let first_offset = self.headers.first().map_or(self.end, |(_, h)| h.base_offset.get());
        let mut rolled = false;
        if !batches.is_empty() {
            if self.roll_due(batches.len() as u64, max_timestamp, last_offset, now)? {
                self.roll(first_offset, now)?;
                rolled = true;
            }
            self.write(batches, first_offset)?;
            self.account(batches, last_offset, now)?;
        }
        let unflushed = self.end - self.recovery_point;
        Ok(Appended {
            first_offset: Offset(first_offset),
            last_offset: Offset(last_offset),
            log_start_offset: Offset(self.start),
            duplicate: false,
            rolled,
            flush_due: unflushed >= self.config.flush_messages,
        })
    }

    /// The one write. When it fails the file is cut back to what it was; when that fails too, the log is
    /// offline.
    fn write(&mut self, batches: &[u8], first_offset: i64) -> Result<(), AppendError> {
        let segment = Arc::clone(self.active());
        let position = segment.size();
        assert!(segment.base <= first_offset, "a segment begins at or before its first batch");
        let file = segment.log_file_for_writing()?;
        if position == 0 {
            self.names.mark();
        }
        let Err(error) = file.write_all_at(batches, position) else { return Ok(()) };
        let path = segment.path(crate::names::LOG);
        let failed = StorageError::io("append to", &path, error);
        if let Err(undo) = file.truncate(position) {
            self.go_offline(&format!("{failed}; then the file could not be cut back: {undo}"));
        }
        Err(failed.into())
    }

    /// After the write: positions, producers, epochs, the new end.
    fn account(
        &mut self,
        batches: &[u8],
        last_offset: i64,
        now: TimestampMs,
    ) -> Result<(), StorageError> {
        let segment = Arc::clone(self.active());
        let position = segment.size();
        let placed = self.headers.iter().map(|(at, header)| (position + at, header));
        segment.appended(&self.config, placed, position + batches.len() as u64);
        for at in 0..self.headers.len() {
            let (start, header) = self.headers[at];
            let epoch = header.partition_leader_epoch;
            self.epochs_unsynced.mark_if(self.epochs.observe(epoch, header.base_offset));
            if header.has_producer_id() {
                let from = usize::try_from(start).unwrap_or(usize::MAX);
                let batch = batches.get(from..).unwrap_or_default();
                if let Err(e) = self.note_producer(&segment, &header, batch, now) {
                    self.go_offline(&format!("an aborted transaction could not be noted: {e}"));
                    return Err(e);
                }
            }
        }
        assert!(last_offset >= self.end, "offsets only grow");
        self.end = last_offset + 1;
        self.unflushed_since_ms.get_or_insert(now.get());
        Ok(())
    }

    pub(super) fn note_producer(
        &mut self,
        segment: &Segment,
        header: &BatchHeader,
        batch: &[u8],
        now: TimestampMs,
    ) -> Result<(), StorageError> {
        if !header.attributes.is_control() {
            self.producers.apply(&producer_batch(header, now));
            return Ok(());
        }
        let Some(marker) = marker_of(header, batch, now) else { return Ok(()) };
        match self.producers.apply_marker(&marker) {
            Some(done) if done.aborted => segment.add_aborted(AbortedTxn {
                producer_id: done.producer_id,
                first_offset: done.first_offset,
                last_offset: done.last_offset,
                last_stable_offset: done.last_stable_offset,
            }),
            _ => Ok(()),
        }
    }

    /// Whether the active segment must not take `bytes` more.
    fn roll_due(
        &self,
        bytes: u64,
        max_timestamp: i64,
        last_offset: i64,
        now: TimestampMs,
    ) -> Result<bool, AppendError> {
        let segment = self.active();
        let size = segment.size();
        if size == 0 {
            // An empty segment takes anything whose offsets it can express.
            return Ok(last_offset - segment.base > i64::from(i32::MAX));
        }
        if size + bytes > u64::from(self.config.segment_bytes)
            || last_offset - segment.base > i64::from(i32::MAX)
            || segment.index_full(&self.config)
        {
            return Ok(true);
        }
        let first = segment.first_timestamp().unwrap_or(-1);
        let waited = if first >= 0 && max_timestamp >= 0 {
            max_timestamp.saturating_sub(first)
        } else {
            now.get().saturating_sub(self.active_since_ms)
        };
        let seed = u64::from(self.partition.partition.get().unsigned_abs());
        let jitter = self.config.jitter_ms(seed, segment.base);
        Ok(waited > self.config.max_segment_ms().saturating_sub(jitter))
    }

    /// Ends the active segment and begins one at `base`, unless it is empty and begins there already.
    pub(super) fn roll(&mut self, base: i64, now: TimestampMs) -> Result<(), StorageError> {
        let active = Arc::clone(self.active());
        if active.base == base {
            assert_eq!(active.size(), 0, "two segments cannot begin at one offset");
            return Ok(());
        }
        active.seal()?;
        self.write_snapshot(base)?;
        let mut segments = Vec::clone(&self.segments);
        if active.size() == 0 {
            // Its base is too far from the offsets to come.
            segments.pop();
        }
        let next = Segment::new(&self.home, base, &self.config);
        next.create()?;
        segments.push(Arc::new(next));
        self.segments = Arc::new(segments);
        self.names.mark();
        self.active_since_ms = now.get();
        Ok(())
    }

    /// Begins a new segment at the log's end now, if the active one has bytes.
    pub fn force_roll(&mut self, now: TimestampMs) -> Result<bool, StorageError> {
        self.check_online()?;
        if self.active().size() == 0 {
            return Ok(false);
        }
        self.roll(self.end, now)?;
        Ok(true)
    }
}

/// The header of the batch at `at`, which must be all there.
pub(super) fn parse_whole(batches: &[u8], at: usize) -> Result<BatchHeader, BatchError> {
    let rest = batches.get(at..).unwrap_or_default();
    let header = BatchHeader::parse(rest)?;
    if header.size_bytes() > rest.len() {
        return Err(BatchError::Torn { needed: header.size_bytes(), have: rest.len() });
    }
    if header.last_offset_delta < 0 || header.last_offset().get() == i64::MAX {
        return Err(BatchError::Length(header.last_offset_delta));
    }
    Ok(header)
}

pub(super) fn producer_batch(header: &BatchHeader, now: TimestampMs) -> ProducerBatch {
    ProducerBatch {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        last_sequence: header.last_sequence(),
        first_offset: header.base_offset,
        last_offset: header.last_offset(),
        timestamp: now,
        transactional: header.attributes.is_transactional(),
    }
}

/// The transaction marker in a control batch; `None` for other control records.
pub(super) fn marker_of(header: &BatchHeader, batch: &[u8], now: TimestampMs) -> Option<Marker> {
    let mut scratch = Scratch::default();
    let view = BatchView::parse(batch).ok()?;
    let record = view.records(&mut scratch).ok()?.next()?.ok()?;
    let marker = EndTxnMarker::read(record.key, record.value)?;
    Some(Marker {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        coordinator_epoch: marker.coordinator_epoch,
        offset: header.base_offset,
        timestamp: now,
        commit: marker.committed,
    })
}
