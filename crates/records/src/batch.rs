//! Batches in a slice of bytes.
//!
//! Key types: [`BatchView`] (one whole batch) and [`Batches`] (one after the other). Nothing is copied and nothing
//! changed. A view says that its length and magic fit the bytes; its CRC is checked only when asked.

use crate::header::{BatchHeader, HEADER_LEN, at};

/// What is wrong with the bytes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The batch goes on beyond the bytes at hand: a torn tail, or a read that was cut.
    #[error("the batch needs {needed} bytes, and {have} are there")]
    Torn {
        /// How many bytes are needed to go on (the header's, then the batch's).
        needed: usize,
        /// How many there are.
        have: usize,
    },
    /// The length field is smaller than a header.
    #[error("a batch length of {0} is smaller than a batch header")]
    Length(i32),
    /// The format is another (0 and 1 were Kafka's before 0.11).
    #[error("record format {0} is not supported, only {magic} is", magic = crate::MAGIC)]
    Magic(i8),
    /// The bytes changed on their way.
    #[error("the CRC of the batch is {stored:#010x}, its bytes give {computed:#010x}")]
    Crc {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
}

/// One whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchView<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch at the front of `bytes`; what follows it is left out.
    ///
    /// # Errors
    /// Those of [`BatchHeader::parse`], and [`BatchError::Torn`] when the batch is not all there.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.size_bytes();
        let torn = BatchError::Torn { needed, have: bytes.len() };
        let bytes = bytes.get(..needed).ok_or(torn)?;
        Ok(Self { header, bytes })
    }

    /// The decoded header.
    #[inline]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    #[inline]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: the records, compressed if the attributes say so.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }

    /// The CRC32C of the bytes that the header's CRC covers.
    pub fn computed_crc(&self) -> u32 {
        crc32c::crc32c(self.bytes.get(at::ATTRIBUTES..).unwrap_or_default())
    }

    /// Holds the bytes against the header's CRC.
    ///
    /// # Errors
    /// [`BatchError::Crc`] when they do not agree.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let (stored, computed) = (self.header.crc, self.computed_crc());
        if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
    }
}

/// The batches of a slice, one after the other; ends after the first that is torn or is none.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// The batches from the front of `bytes` on.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, position: 0, failed: false }
    }

    /// The bytes of the whole batches so far: where the next batch, or the torn tail, starts.
    #[inline]
    pub const fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.failed {
            return None;
        }
        let batch = BatchView::parse(self.rest);
        match &batch {
            Ok(view) => {
                self.position += view.bytes.len();
                self.rest = self.rest.get(view.bytes.len()..).unwrap_or_default();
            }
            Err(_) => self.failed = true,
        }
        Some(batch)
    }
}

impl std::iter::FusedIterator for Batches<'_> {}
