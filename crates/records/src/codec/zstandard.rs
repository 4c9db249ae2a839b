//! Zstandard, by libzstd.
//!
//! Reading is one shot into the output: a stream would need a window of its own, whose size the data dictates.
//! Where a frame does not say its size, the room is tried and doubled.

use std::io;

use zstd::zstd_safe::{self, CCtx, DCtx, get_error_name};

use super::output::Output;
use super::{Compression, DecompressError};

const LEVELS: std::ops::RangeInclusive<i32> = -131_072..=22;
const DEFAULT_LEVEL: i32 = 3;
/// How far a first try believes a frame that says its size, in multiples of its own.
const BELIEVED_RATIO: usize = 64;
/// The size of libzstd's error for a destination that is too small.
const TOO_SMALL: usize = 70usize.wrapping_neg();

/// Keeps libzstd's memory for writing.
#[derive(Default)]
pub(super) struct Encoder(Option<CCtx<'static>>);

impl Encoder {
    pub(super) fn compress(
        &mut self,
        level: Option<i32>,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let level = level.unwrap_or(DEFAULT_LEVEL).clamp(*LEVELS.start(), *LEVELS.end());
        let start = out.len();
        out.resize(start + zstd_safe::compress_bound(input.len()), 0);
        let room = out.get_mut(start..).unwrap_or_default();
        let written = self
            .0
            .get_or_insert_with(CCtx::create)
            .compress(room, input, level)
            .map_err(|code| io::Error::other(get_error_name(code)))?;
        out.truncate(start + written);
        Ok(())
    }
}

/// Keeps libzstd's memory for reading.
#[derive(Default)]
pub(super) struct Decoder(Option<DCtx<'static>>);

impl Decoder {
    pub(super) fn decompress(
        &mut self,
        input: &[u8],
        out: &mut Output<'_>,
    ) -> Result<(), DecompressError> {
        let context = self.0.get_or_insert_with(DCtx::create);
        let believable = input.len().saturating_mul(BELIEVED_RATIO);
        let mut least = match zstd_safe::get_frame_content_size(input) {
            Ok(Some(claimed)) => match usize::try_from(claimed) {
                Ok(claimed) if claimed <= out.allowed() => claimed.min(believable),
                _ => return Err(out.too_large()),
            },
            _ => input.len().saturating_mul(4),
        };
        loop {
            least = least.min(out.allowed());
            let allowed = out.allowed();
            let room = out.room(least);
            let len = room.len().min(allowed);
            let room = room.get_mut(..len).unwrap_or_default();
            match context.decompress(room, input) {
                Ok(written) => return out.advance(written),
                Err(TOO_SMALL) if len == allowed => return Err(out.too_large()),
                Err(TOO_SMALL) => least = len.saturating_mul(2),
                Err(code) => {
                    return Err(DecompressError::corrupt(Compression::Zstd, get_error_name(code)));
                }
            }
        }
    }
}
