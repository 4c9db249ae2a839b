//! Snappy in the framing of the xerial library, which Kafka's Java clients write: a 16-byte header, then blocks of
//! a big-endian length and raw snappy. Raw snappy without framing, as some clients write it, is read as well.

use std::io;

use super::output::Output;
use super::{Compression, DecompressError};
use crate::bytes_at::array;

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// Magic, version 1, oldest compatible version 1.
const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// What the magic's first bytes are when read as a block length: another header within the stream.
const MAGIC_AS_LENGTH: u32 = u32::from_be_bytes(*b"\x82SNA");
const BLOCK_BYTES: usize = 32 << 10;
/// Three bytes of snappy make at most 64; a block that claims more than this times its size lies.
const LARGEST_RATIO: usize = 32;

pub(super) fn compress(
    encoder: &mut snap::raw::Encoder,
    input: &[u8],
    out: &mut Vec<u8>,
) -> io::Result<()> {
    out.extend_from_slice(&HEADER);
    for block in input.chunks(BLOCK_BYTES) {
        let length_at = out.len();
        let data_at = length_at + 4;
        out.resize(data_at + snap::raw::max_compress_len(block.len()), 0);
        let Some(room) = out.get_mut(data_at..) else { continue };
        let written = encoder.compress(block, room).map_err(io::Error::other)?;
        out.truncate(data_at + written);
        let length = u32::try_from(written).map_err(io::Error::other)?;
        crate::bytes_at::put(out, length_at, length.to_be_bytes());
    }
    Ok(())
}

pub(super) fn decompress(
    decoder: &mut snap::raw::Decoder,
    input: &[u8],
    out: &mut Output<'_>,
) -> Result<(), DecompressError> {
    if !input.starts_with(&MAGIC) {
        return block(decoder, input, out);
    }
    let mut rest = after_header(input)?;
    while !rest.is_empty() {
        if rest.len() < 4 {
            return Err(corrupt("it ends within a block length"));
        }
        let length = u32::from_be_bytes(array(rest, 0));
        if length == MAGIC_AS_LENGTH {
            rest = after_header(rest)?;
            continue;
        }
        let data = rest.get(4..).unwrap_or_default();
        let Some((data, after)) = data.split_at_checked(length as usize) else {
            return Err(corrupt("it ends within a block"));
        };
        block(decoder, data, out)?;
        rest = after;
    }
    Ok(())
}

fn after_header(input: &[u8]) -> Result<&[u8], DecompressError> {
    input.get(HEADER.len()..).ok_or_else(|| corrupt("it ends within the stream header"))
}

fn block(
    decoder: &mut snap::raw::Decoder,
    data: &[u8],
    out: &mut Output<'_>,
) -> Result<(), DecompressError> {
    let claimed = snap::raw::decompress_len(data).map_err(corrupt)?;
    if claimed > out.allowed() {
        return Err(out.too_large());
    }
    if claimed > data.len().saturating_mul(LARGEST_RATIO) {
        return Err(corrupt("a block claims more than it can hold"));
    }
    let room = out.room(claimed);
    let written = decoder.decompress(data, room).map_err(corrupt)?;
    out.advance(written)
}

fn corrupt(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DecompressError {
    DecompressError::corrupt(Compression::Snappy, what)
}
