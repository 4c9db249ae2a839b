//! gzip, by flate2 over zlib-rs.

use std::io::{self, Write as _};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::output::Output;
use super::{Compression, DecompressError};

pub(super) fn compress(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let level = match level {
        // -1 is zlib's own word for its default.
        None | Some(..0) => flate2::Compression::default(),
        Some(level) => flate2::Compression::new(level.clamp(1, 9).unsigned_abs()),
    };
    let mut encoder = GzEncoder::new(out, level);
    encoder.write_all(input)?;
    encoder.finish().map(|_| ())
}

pub(super) fn decompress(input: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError> {
    out.read_all(Compression::Gzip, MultiGzDecoder::new(input))
}
