//! The `records` field of produce and fetch messages. Key type: [`Records`].

use bytes::Bytes;

/// Record batches as they stand in a log, not parsed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// The batches are at hand. A decoded message always has this form: a slice of its frame.
    Bytes(Bytes),
    /// The batches come from elsewhere, such as a file: only their length is written, and the encoder
    /// notes a [`Cut`](crate::Cut) where the bytes belong.
    External {
        /// How many bytes there will be.
        len: u32,
    },
}

impl Records {
    /// How many bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External { len } => *len as usize,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes where they are at hand.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::External { .. } => None,
        }
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}
