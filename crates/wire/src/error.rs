//! What can go wrong while writing and reading messages. Key types: [`EncodeError`], [`DecodeError`].

use millstream_base::varint::VarintError;

/// A message could not be written. Nothing was sent; the caller asked for something impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message has no such version.
    #[error("{message} has no version {version}, only {min} to {max}")]
    UnsupportedVersion {
        /// The message's name.
        message: &'static str,
        /// The version asked for.
        version: i16,
        /// Its first version.
        min: i16,
        /// Its last version.
        max: i16,
    },
    /// A field has a value that this version cannot carry, and that must not be dropped.
    #[error("version {version} cannot carry {field}")]
    FieldNotInVersion {
        /// `Struct.field`.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is `None` in a version that has no null for it.
    #[error("{field} must not be null in version {version}")]
    NullNotAllowed {
        /// `Struct.field`.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string or array has more elements, or a frame more bytes, than its length field can say.
    #[error("{len} is more than the length field can say")]
    TooLong {
        /// The length.
        len: usize,
    },
}

impl EncodeError {
    /// `version` cannot carry `field`.
    #[cold]
    pub(crate) const fn field(field: &'static str, version: i16) -> Self {
        Self::FieldNotInVersion { field, version }
    }
}

/// Bytes are not the message that they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} (in {context}, at byte {offset})")]
pub struct DecodeError {
    /// What is wrong.
    pub kind: DecodeErrorKind,
    /// The innermost struct that was being read; empty when the fault lies outside of one.
    pub context: &'static str,
    /// Where in the frame.
    pub offset: u32,
}

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The frame, or a tagged field, ends within a value.
    #[error("{needed} bytes are needed and {remaining} are left")]
    Truncated {
        /// Bytes that the value needs.
        needed: u32,
        /// Bytes that are left.
        remaining: u32,
    },
    /// A length below -1.
    #[error("the length {0} is negative")]
    NegativeLength(i32),
    /// A null where the version has none.
    #[error("null is not allowed here")]
    NullNotAllowed,
    /// An array claims more elements than the bytes left can hold.
    #[error("{count} elements do not fit in {remaining} bytes")]
    TooManyElements {
        /// Elements claimed.
        count: u32,
        /// Bytes that are left.
        remaining: u32,
    },
    /// The elements would need more memory than a frame of this size justifies.
    #[error("the message needs more memory than its size justifies")]
    OverBudget,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// A variable-length integer is wrong.
    #[error("{0}")]
    Varint(VarintError),
    /// A tagged field has another size than it says.
    #[error("a tagged field is {0} bytes shorter than it says")]
    TagSize(u32),
    /// Bytes are left after the message.
    #[error("{0} bytes are left over")]
    TrailingBytes(u32),
    /// The message has no such version.
    #[error("there is no version {version}, only {min} to {max}")]
    UnsupportedVersion {
        /// The version asked for.
        version: i16,
        /// The message's first version.
        min: i16,
        /// Its last version.
        max: i16,
    },
    /// A record of a type that this table does not know.
    #[error("unknown record type {0}")]
    UnknownRecordType(i16),
    /// A frame version other than the one that is known.
    #[error("unknown frame version {0}")]
    UnknownFrameVersion(u32),
}

impl DecodeError {
    /// Names the struct, unless an inner one has done so already.
    #[cold]
    #[must_use]
    pub(crate) fn within(self, context: &'static str) -> Self {
        if self.context.is_empty() { Self { context, ..self } } else { self }
    }
}
