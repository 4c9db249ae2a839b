//! The five codecs of the format: their numbers and names, compressing, and decompressing within a bound.
//!
//! Key types: [`Compression`] (which codec), [`Codec`] (codec and level), [`Compressor`] (writes, kept for reuse),
//! [`Scratch`] (reads, kept for reuse). Decompressing never grows its buffer beyond what the caller allows (plus
//! one LZ4 block), whatever the bytes claim, and a claim is not believed before the bytes could bear it out.

mod gzip;
mod lz4;
mod output;
mod snappy;
mod zstandard;

#[cfg(test)]
mod tests;

use std::io;

pub use output::Scratch;

/// How a batch's records are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// gzip (RFC 1952).
    Gzip = 1,
    /// Snappy in the xerial framing.
    Snappy = 2,
    /// The LZ4 frame format.
    Lz4 = 3,
    /// Zstandard.
    Zstd = 4,
}

/// The attributes name a codec that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("compression codec {0} is not known")]
pub struct UnknownCompression(pub u8);

impl Compression {
    /// Every codec.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of a number in the attributes.
    ///
    /// # Errors
    /// [`UnknownCompression`] for anything above 4.
    pub const fn from_id(id: u8) -> Result<Self, UnknownCompression> {
        match id {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(UnknownCompression(other)),
        }
    }

    /// The number in the attributes.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The name in clients' settings: `none`, `gzip`, `snappy`, `lz4`, `zstd`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec of a name in clients' settings; the topics' `uncompressed` counts as none.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "none" | "uncompressed" => Some(Self::None),
            "gzip" => Some(Self::Gzip),
            "snappy" => Some(Self::Snappy),
            "lz4" => Some(Self::Lz4),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl std::fmt::Display for Compression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A codec and how hard it tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Codec {
    /// Which codec.
    pub compression: Compression,
    /// The level in Kafka's terms (gzip -1 or 1-9, lz4 1-17, zstd -131072 to 22; brought into bounds where it lies
    /// outside); `None` is the codec's default (6, 9, 3). Snappy has no levels.
    pub level: Option<i32>,
}

impl Codec {
    /// `compression` at `level`.
    pub const fn with_level(compression: Compression, level: i32) -> Self {
        Self { compression, level: Some(level) }
    }
}

impl From<Compression> for Codec {
    fn from(compression: Compression) -> Self {
        Self { compression, level: None }
    }
}

/// Records could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The codec does not exist.
    #[error(transparent)]
    Unknown(#[from] UnknownCompression),
    /// The records are larger than the caller allows.
    #[error("the records are larger than {limit} bytes when decompressed")]
    TooLarge {
        /// What the caller allows.
        limit: usize,
    },
    /// The bytes are not what the codec writes.
    #[error("the {codec} data is damaged: {source}")]
    Corrupt {
        /// The codec that was asked.
        codec: Compression,
        /// What it said.
        source: io::Error,
    },
}

impl DecompressError {
    /// A damage that `what` describes.
    fn corrupt(
        codec: Compression,
        what: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Corrupt { codec, source: io::Error::new(io::ErrorKind::InvalidData, what) }
    }
}

/// Compresses; keeps the codecs' working memory from one batch to the next.
pub struct Compressor {
    zstd: zstandard::Encoder,
    snappy: snap::raw::Encoder,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self { zstd: zstandard::Encoder::default(), snappy: snap::raw::Encoder::new() }
    }
}

impl Compressor {
    /// A compressor without working memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `input`, compressed with `codec`, to `out`.
    ///
    /// # Errors
    /// What the codec's library says; it has no reason to but want of memory.
    pub fn compress(&mut self, codec: Codec, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match codec.compression {
            Compression::None => {
                out.extend_from_slice(input);
                Ok(())
            }
            Compression::Gzip => gzip::compress(codec.level, input, out),
            Compression::Snappy => snappy::compress(&mut self.snappy, input, out),
            Compression::Lz4 => lz4::compress(codec.level, input, out),
            Compression::Zstd => self.zstd.compress(codec.level, input, out),
        }
    }
}
