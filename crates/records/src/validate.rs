//! What a leader does with the bytes of a produce request before they may be appended.
//!
//! Key function: [`Validator::validate_produce`]. The order and the error codes are Kafka's: shape (exactly one batch of format
//! 2), size, CRC, header, then every record. Compressed batches are decompressed for that, within a bound. Nothing
//! is allocated per record and nothing copied; a batch comes out as bytes of its own only when the topic's codec is
//! another, or when its offsets were not numbered from 0 upwards. Offsets are the log's to give.

use millstream_base::TimestampMs;

use crate::attributes::TimestampType;
use crate::batch::{BatchView, Batches};
use crate::builder::assemble;
use crate::codec::{Codec, Compression, Compressor, DecompressError, Scratch};
use crate::header::BatchHeader;
use crate::patch;
use crate::record::{DEFAULT_MAX_DECOMPRESSED_BYTES, RawRecord, RecordError};
use crate::rejection::{ProduceRejection, RecordErrors};
use crate::rewrite::renumber;

/// Who wrote the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A client, which may not write control records and numbers from offset 0.
    #[default]
    Client,
    /// A coordinator of this cluster.
    Coordinator,
}

/// The codec that a topic wants (`compression.type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetCompression {
    /// Whatever the producer chose.
    #[default]
    Producer,
    /// This one; a batch that has it already stays as it is, whatever its level.
    Codec(Codec),
}

/// What a topic asks of a batch.
#[derive(Clone, Copy, Debug)]
pub struct ProduceRules {
    /// `max.message.bytes`: the largest batch as it stands in the log.
    pub max_message_bytes: usize,
    /// Whether `cleanup.policy` has `compact`: every record needs a key.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far a record may lie in the past.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far a record may lie in the future.
    pub timestamp_after_max_ms: i64,
    /// `compression.type` and its level.
    pub compression: TargetCompression,
    /// Who wrote the batch.
    pub origin: Origin,
    /// Most bytes of a compressed batch when decompressed.
    pub max_decompressed_bytes: usize,
}

impl Default for ProduceRules {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            max_message_bytes: 1_048_588,
            compacted: false,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            compression: TargetCompression::Producer,
            origin: Origin::Client,
            max_decompressed_bytes: DEFAULT_MAX_DECOMPRESSED_BYTES,
        }
    }
}

/// A batch that may be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its header as it is to be stored, but for base offset and leader epoch.
    pub header: BatchHeader,
    /// The largest timestamp of its records.
    pub max_timestamp: TimestampMs,
    /// Where the first record of that timestamp is, from the base offset. 0 with LogAppendTime.
    pub max_timestamp_offset_delta: i32,
    /// The batch's bytes, when they are others than those that were handed in.
    pub rewritten: Option<Vec<u8>>,
}

impl Accepted {
    /// The bytes to append: the rewritten batch, or `original`, which are the bytes that were validated.
    pub fn bytes<'a>(&'a self, original: &'a [u8]) -> &'a [u8] {
        self.rewritten.as_deref().unwrap_or(original)
    }
}

/// Working memory of a validation: keep one per thread.
#[derive(Debug, Default)]
pub struct Validator {
    scratch: Scratch,
    compressor: Compressor,
}

impl Validator {
    /// A validator without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks the records of one partition in a produce request and makes them ready for the log.
    ///
    /// `bytes` must be one whole batch and nothing else. Its timestamps may be changed in place (`LogAppendTime`, or a
    /// max timestamp that is not that of the records), the CRC then with them.
    ///
    /// # Errors
    /// [`ProduceRejection`], which knows its error code. `bytes` is then as it was.
    pub fn validate_produce(
        &mut self,
        bytes: &mut [u8],
        rules: &ProduceRules,
        now: TimestampMs,
    ) -> Result<Accepted, ProduceRejection> {
        let result = self.validate(bytes, rules, now);
        self.scratch.give_back();
        result
    }

    fn validate(
        &mut self,
        bytes: &mut [u8],
        rules: &ProduceRules,
        now: TimestampMs,
    ) -> Result<Accepted, ProduceRejection> {
        let batch = only_batch(bytes)?;
        let header = *batch.header();
        check_size(header.size_bytes(), rules)?;
        check_start(&header, rules)?;
        batch.check_crc()?;
        let source = check_header(&header, rules)?;
        let payload = batch.decompressed(&mut self.scratch, rules.max_decompressed_bytes)?;
        let found = walk(&header, payload, rules, now)?;

        let target = match rules.compression {
            // Control records stay as they were written.
            TargetCompression::Codec(codec) if !header.attributes.is_control() => codec,
            _ => Codec::from(source),
        };
        let mut rewritten = None;
        if !found.numbered || target.compression != source {
            let renumbered = (!found.numbered).then(|| renumber(payload)).transpose();
            let renumbered = renumbered.map_err(|source| unreadable(0, source))?;
            let payload = renumbered.as_deref().unwrap_or(payload);
            let mut out = Vec::with_capacity(header.size_bytes());
            assemble(header, payload, target, &mut self.compressor, &mut out)?;
            check_size(out.len(), rules)?;
            rewritten = Some(out);
        }
        let stored = rewritten.as_deref_mut().unwrap_or(bytes);
        let (max_timestamp, max_timestamp_offset_delta) = match rules.timestamp_type {
            TimestampType::CreateTime => (found.max_timestamp, found.max_timestamp_delta),
            TimestampType::LogAppendTime => (now, 0),
        };
        patch::timestamps(stored, rules.timestamp_type, max_timestamp)?;
        let header = BatchHeader::parse(stored)?;
        Ok(Accepted { header, max_timestamp, max_timestamp_offset_delta, rewritten })
    }
}

/// [`Validator::validate_produce`] with working memory that is dropped afterwards.
///
/// # Errors
/// Those of [`Validator::validate_produce`].
pub fn validate_produce(
    bytes: &mut [u8],
    rules: &ProduceRules,
    now: TimestampMs,
) -> Result<Accepted, ProduceRejection> {
    Validator::new().validate_produce(bytes, rules, now)
}

fn only_batch(bytes: &[u8]) -> Result<BatchView<'_>, ProduceRejection> {
    let mut batches = Batches::new(bytes);
    let first = batches.next().ok_or(ProduceRejection::BatchCount)??;
    if batches.position() != bytes.len() {
        return Err(ProduceRejection::BatchCount);
    }
    Ok(first)
}

const fn check_size(size: usize, rules: &ProduceRules) -> Result<(), ProduceRejection> {
    let max = rules.max_message_bytes;
    if size > max { Err(ProduceRejection::TooLarge { size, max }) } else { Ok(()) }
}

/// What is not covered by the CRC and therefore asked before it.
fn check_start(header: &BatchHeader, rules: &ProduceRules) -> Result<(), ProduceRejection> {
    if rules.origin == Origin::Client && header.base_offset.0 != 0 {
        return Err(ProduceRejection::Header("the base offset of a producer's batch must be 0"));
    }
    Ok(())
}

/// What the header alone says; the codec when all is well.
fn check_header(
    header: &BatchHeader,
    rules: &ProduceRules,
) -> Result<Compression, ProduceRejection> {
    let refused = |why| Err(ProduceRejection::Header(why));
    if header.records_count <= 0 {
        return refused("a batch must have records");
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.records_count) {
        return refused("the last offset delta and the count of records do not agree");
    }
    if rules.origin == Origin::Client {
        if header.attributes.is_control() {
            return refused("clients may not write control records");
        }
        if header.has_producer_id() && header.base_sequence < 0 {
            return refused("a batch with a producer id must have a sequence number");
        }
    }
    header
        .attributes
        .compression()
        .map_err(|unknown| ProduceRejection::Decompress(DecompressError::Unknown(unknown)))
}

/// What the records of a batch are found to be.
struct Found {
    max_timestamp: TimestampMs,
    max_timestamp_delta: i32,
    /// Whether offset deltas run from 0 upwards without a gap.
    numbered: bool,
}

/// Reads every record: the hot loop of producing.
fn walk(
    header: &BatchHeader,
    payload: &[u8],
    rules: &ProduceRules,
    now: TimestampMs,
) -> Result<Found, ProduceRejection> {
    let base = header.base_timestamp.0;
    let set_by_client = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
    let check_time = rules.timestamp_type == TimestampType::CreateTime;
    let oldest = now.0.saturating_sub(rules.timestamp_before_max_ms);
    let newest = now.0.saturating_add(rules.timestamp_after_max_ms);
    let (mut max, mut max_at, mut numbered) = (TimestampMs::NONE.0, 0, true);
    let mut errors = RecordErrors::default();
    let mut rest = payload;
    for index in 0..header.records_count {
        if rest.is_empty() {
            let counted = header.records_count;
            return Err(unreadable(index, RecordError::Missing { counted, found: index }));
        }
        let record = RawRecord::read(&mut rest).map_err(|source| unreadable(index, source))?;
        let timestamp = base.wrapping_add(record.timestamp_delta);
        numbered &= record.offset_delta == index;
        if timestamp > max {
            (max, max_at) = (timestamp, index);
        }
        if rules.compacted && record.key.is_none() {
            errors.keyless(index);
        } else if set_by_client {
            errors.timestamp_type(index);
        } else if check_time
            && (timestamp < oldest || timestamp > newest)
            && timestamp != TimestampMs::NONE.0
        {
            errors.timestamp(index, timestamp, (oldest, newest));
        }
    }
    if !rest.is_empty() {
        let source = RecordError::Trailing(rest.len());
        return Err(unreadable(header.records_count, source));
    }
    errors.into_result()?;
    Ok(Found { max_timestamp: TimestampMs(max), max_timestamp_delta: max_at, numbered })
}

const fn unreadable(batch_index: i32, source: RecordError) -> ProduceRejection {
    ProduceRejection::Unreadable { batch_index, source }
}
