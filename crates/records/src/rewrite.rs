//! Making a batch anew out of one that is there: another codec, or offsets numbered from 0.
//!
//! Everything that is not asked to change stays: timestamps, keys, values, headers, producer fields, attributes.

use millstream_base::varint;

use crate::batch::BatchView;
use crate::builder::{BuildError, assemble};
use crate::codec::{Codec, Compressor, DecompressError, Scratch};
use crate::record::RecordError;

/// A batch could not be given another codec.
#[derive(Debug, thiserror::Error)]
pub enum RecompressError {
    /// The records cannot be decompressed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The batch cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// Appends `batch` to `out`, compressed with `codec`; at most `limit` bytes of records. Offsets, timestamps and all
/// other fields stay.
///
/// # Errors
/// [`RecompressError`]; `out` is then as it was.
pub fn recompress(
    batch: &BatchView<'_>,
    codec: Codec,
    limit: usize,
    scratch: &mut Scratch,
    compressor: &mut Compressor,
    out: &mut Vec<u8>,
) -> Result<(), RecompressError> {
    let payload = batch.decompressed(scratch, limit)?;
    assemble(*batch.header(), payload, codec, compressor, out)?;
    Ok(())
}

/// The same records with offset deltas 0, 1, 2 and so on. `payload` is not compressed.
pub(crate) fn renumber(payload: &[u8]) -> Result<Vec<u8>, RecordError> {
    // A delta may become longer, but not by much over a batch that anyone has made.
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 16);
    let mut rest = payload;
    let mut index = 0;
    while !rest.is_empty() {
        let length = usize::try_from(varint::read_i32(&mut rest)?);
        let length = length.map_err(|_| RecordError::Length)?;
        let (record, after) = rest.split_at_checked(length).ok_or(RecordError::Truncated)?;
        rest = after;

        let (mut before, mut fields) = (record, record.get(1..).unwrap_or_default());
        varint::read_i64(&mut fields)?;
        before = before.get(..before.len() - fields.len()).unwrap_or_default();
        varint::read_i32(&mut fields)?;
        let length = before.len() + varint::len_i32(index) + fields.len();
        varint::write_i32(&mut out, i32::try_from(length).map_err(|_| RecordError::Length)?);
        out.extend_from_slice(before);
        varint::write_i32(&mut out, index);
        out.extend_from_slice(fields);
        index += 1;
    }
    Ok(out)
}
