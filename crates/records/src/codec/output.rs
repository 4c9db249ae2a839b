//! Where decompressed bytes go: one buffer, grown in steps, never beyond the bound.
//!
//! Key types: [`Scratch`] (kept by the caller between batches) and [`Output`] (one decompression into it).

use super::{Compression, DecompressError, gzip, lz4, snappy, zstandard};

/// What a scratch keeps of its buffer for the next batch; a larger one is given back.
const KEEP_BYTES: usize = 4 << 20;
/// The first size of a buffer: one LZ4 block, and more than most batches.
const FIRST_BYTES: usize = 64 << 10;

/// Working memory for reading compressed batches: keep one per thread or connection and hand it in each time.
#[derive(Default)]
pub struct Scratch {
    buffer: Vec<u8>,
    zstd: zstandard::Decoder,
    snappy: snap::raw::Decoder,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("buffer_bytes", &self.buffer.len()).finish_non_exhaustive()
    }
}

impl Scratch {
    /// A scratch without memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `input` decompressed, at most `limit` bytes of it.
    ///
    /// # Errors
    /// [`DecompressError::TooLarge`] above the limit, [`DecompressError::Corrupt`] for damaged bytes.
    pub fn decompress<'s>(
        &'s mut self,
        compression: Compression,
        input: &'s [u8],
        limit: usize,
    ) -> Result<&'s [u8], DecompressError> {
        self.give_back();
        let mut out = Output { buffer: &mut self.buffer, filled: 0, limit };
        match compression {
            Compression::None => return Ok(input),
            Compression::Gzip => gzip::decompress(input, &mut out)?,
            Compression::Snappy => snappy::decompress(&mut self.snappy, input, &mut out)?,
            Compression::Lz4 => lz4::decompress(input, &mut out)?,
            Compression::Zstd => self.zstd.decompress(input, &mut out)?,
        }
        let filled = out.filled;
        Ok(self.buffer.get(..filled).unwrap_or_default())
    }

    /// Gives back what one large batch left behind.
    pub fn give_back(&mut self) {
        if self.buffer.len() > KEEP_BYTES {
            self.buffer.truncate(KEEP_BYTES);
            self.buffer.shrink_to_fit();
        }
    }

    /// How much memory the buffer holds at the moment.
    pub fn buffer_bytes(&self) -> usize {
        self.buffer.capacity()
    }
}

/// One decompression into a scratch's buffer. The buffer's length is what was ever needed (already zeroed, so
/// that no batch pays for it twice); `filled` is what holds data.
pub(super) struct Output<'a> {
    buffer: &'a mut Vec<u8>,
    filled: usize,
    limit: usize,
}

impl Output<'_> {
    /// How many bytes there are.
    pub(super) const fn filled(&self) -> usize {
        self.filled
    }

    /// How many bytes may still come.
    pub(super) const fn allowed(&self) -> usize {
        self.limit.saturating_sub(self.filled)
    }

    /// The error for more than allowed.
    pub(super) const fn too_large(&self) -> DecompressError {
        DecompressError::TooLarge { limit: self.limit }
    }

    /// All the room after what is filled, at least `least` bytes: the caller bounds that.
    pub(super) fn room(&mut self, least: usize) -> &mut [u8] {
        let needed = self.filled.saturating_add(least);
        if self.buffer.len() < needed {
            let doubled = self.buffer.len().saturating_mul(2).min(self.limit);
            let len = needed.max(doubled).max(FIRST_BYTES);
            // Exactly: a vector's own growth would go past the limit.
            self.buffer.reserve_exact(len - self.buffer.len());
            self.buffer.resize(len, 0);
        }
        self.buffer.get_mut(self.filled..).unwrap_or_default()
    }

    /// Room for a stream of unknown size: whatever is there, else more; one byte beyond the limit shows that the
    /// stream goes on.
    pub(super) fn stream_room(&mut self) -> &mut [u8] {
        let allowed = self.allowed().saturating_add(1);
        let room = self.room(1);
        let len = room.len().min(allowed);
        room.get_mut(..len).unwrap_or_default()
    }

    /// `count` bytes were written to the room.
    pub(super) fn advance(&mut self, count: usize) -> Result<(), DecompressError> {
        if count > self.allowed() {
            return Err(self.too_large());
        }
        self.filled += count;
        debug_assert!(self.filled <= self.buffer.len());
        Ok(())
    }

    /// Reads a whole stream.
    pub(super) fn read_all(
        &mut self,
        codec: Compression,
        mut stream: impl std::io::Read,
    ) -> Result<(), DecompressError> {
        loop {
            match stream.read(self.stream_room()) {
                Ok(0) => return Ok(()),
                Ok(count) => self.advance(count)?,
                Err(source) => return Err(DecompressError::Corrupt { codec, source }),
            }
        }
    }
}
