//! The LZ4 frame format, by liblz4.
//!
//! Frames as Kafka's clients write them (independent blocks, no checksums over the content) are taken apart here
//! and each block goes straight into the output; any other frame takes liblz4's own, slower way through a stream.

use std::io::{self, Write as _};

use lz4::{BlockMode, BlockSize, ContentChecksum, Decoder, EncoderBuilder};

use super::output::Output;
use super::{Compression, DecompressError};
use crate::bytes_at::array;

const MAGIC: u32 = 0x184d_2204;
/// The level that stands for the fast compressor, as with Kafka's own library; all others are high compression.
const DEFAULT_LEVEL: i32 = 9;
/// liblz4's highest; Kafka's library takes up to 17 and treats the rest alike.
const HIGHEST_LEVEL: i32 = 12;
/// From here on liblz4 uses its high compression.
const LOWEST_HIGH_LEVEL: i32 = 3;
/// In a block's length: the block is stored as it is.
const STORED: u32 = 1 << 31;

pub(super) fn compress(level: Option<i32>, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let level = match level {
        None | Some(DEFAULT_LEVEL) => 0,
        Some(level) => level.clamp(LOWEST_HIGH_LEVEL, HIGHEST_LEVEL).unsigned_abs(),
    };
    let mut encoder = EncoderBuilder::new()
        .level(level)
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB)
        .checksum(ContentChecksum::NoChecksum)
        .build(out)?;
    encoder.write_all(input)?;
    encoder.finish().1
}

pub(super) fn decompress(input: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError> {
    match Frame::parse(input) {
        Some(frame) => frame.decompress(out),
        None => by_stream(input, out),
    }
}

fn by_stream(input: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError> {
    let damaged = |source| DecompressError::Corrupt { codec: Compression::Lz4, source };
    let mut decoder = Decoder::new(input).map_err(damaged)?;
    out.read_all(Compression::Lz4, &mut decoder)?;
    // The stream ends quietly where its bytes end; only this tells whether the frame was whole.
    decoder.finish().1.map_err(damaged)
}

/// A frame of the common kind.
struct Frame<'a> {
    block_bytes: usize,
    content_bytes: Option<u64>,
    blocks: &'a [u8],
}

impl<'a> Frame<'a> {
    /// `None` for a frame that needs more than this knows, and for what is none: liblz4 says what is wrong.
    fn parse(input: &'a [u8]) -> Option<Self> {
        let flags = *input.get(4)?;
        let block_size = *input.get(5)?;
        if u32::from_le_bytes(array(input, 0)) != MAGIC {
            return None;
        }
        let (has_size, flags_but_size) = (flags & 0x08 != 0, flags & !0x08);
        // Version 1, independent blocks, nothing else.
        if flags_but_size != 0x60 || block_size & 0x8f != 0 {
            return None;
        }
        let block_bytes = match block_size >> 4 {
            id @ 4..=7 => 1 << (2 * id + 8),
            _ => return None,
        };
        let descriptor = input.get(4..if has_size { 14 } else { 6 })?;
        let checksum_at = 4 + descriptor.len();
        if *input.get(checksum_at)? != (xxh32_short(descriptor) >> 8) as u8 {
            return None;
        }
        let content_bytes = has_size.then(|| u64::from_le_bytes(array(input, 6)));
        Some(Self { block_bytes, content_bytes, blocks: input.get(checksum_at + 1..)? })
    }

    fn decompress(self, out: &mut Output<'_>) -> Result<(), DecompressError> {
        let mut rest = self.blocks;
        loop {
            let Some((length, after)) = rest.split_first_chunk() else {
                return Err(corrupt("it ends before the end mark"));
            };
            let length = u32::from_le_bytes(*length);
            if length == 0 {
                break;
            }
            let Some((data, after)) = after.split_at_checked((length & !STORED) as usize) else {
                return Err(corrupt("it ends within a block"));
            };
            if data.len() > self.block_bytes {
                return Err(corrupt("a block is larger than the frame allows"));
            }
            self.block(data, length & STORED != 0, out)?;
            rest = after;
        }
        match self.content_bytes {
            Some(claimed) if claimed != out.filled() as u64 => {
                Err(corrupt("its content has another size than it says"))
            }
            _ => Ok(()),
        }
    }

    fn block(
        &self,
        data: &[u8],
        stored: bool,
        out: &mut Output<'_>,
    ) -> Result<(), DecompressError> {
        if out.allowed() == 0 {
            return Err(out.too_large());
        }
        if stored {
            let room = out.room(data.len());
            room.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
            return out.advance(data.len());
        }
        // A block says nothing of its size, so there is always room for a full one; `advance` holds the bound.
        let room = out.room(self.block_bytes);
        let room = room.get_mut(..self.block_bytes).unwrap_or_default();
        let full = i32::try_from(self.block_bytes).unwrap_or(i32::MAX);
        let written = lz4::block::decompress_to_buffer(data, Some(full), room)
            .map_err(|source| DecompressError::Corrupt { codec: Compression::Lz4, source })?;
        out.advance(written)
    }
}

fn corrupt(what: &str) -> DecompressError {
    DecompressError::corrupt(Compression::Lz4, what)
}

/// xxHash32 with seed 0 of fewer than 16 bytes: what guards a frame's descriptor.
fn xxh32_short(bytes: &[u8]) -> u32 {
    const PRIMES: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];
    let [prime1, prime2, prime3, prime4, prime5] = PRIMES;
    debug_assert!(bytes.len() < 16);
    let mut hash = prime5.wrapping_add(bytes.len() as u32);
    let (words, tail) = bytes.as_chunks::<4>();
    for &word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(word).wrapping_mul(prime3));
        hash = hash.rotate_left(17).wrapping_mul(prime4);
    }
    for &byte in tail {
        hash = hash.wrapping_add(u32::from(byte).wrapping_mul(prime5));
        hash = hash.rotate_left(11).wrapping_mul(prime1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(prime2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(prime3);
    hash ^ (hash >> 16)
}
