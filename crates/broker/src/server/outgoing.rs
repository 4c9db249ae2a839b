//! The bytes that a connection will send: response frames with ranges of log files between their bytes.
//!
//! Key type: [`Outgoing`]. Records are not in it; they go from the page cache to the socket by `sendfile`.

use std::io;

use bytes::Bytes;
use millstream_env::fs::Residency;
use millstream_env::net::{self, More, TcpStream};
use millstream_env::task;
use millstream_log::FileRange;
use millstream_wire::{ApiKey, Encode, EncodeError, Encoder, frame};

/// A range that is read from a cold file in one go, on a thread that may wait.
const COLD_READ: usize = 256 * 1024;

/// A range of a log file that belongs before the byte `at` of the buffer.
#[derive(Debug)]
struct FilePart {
    at: usize,
    range: FileRange,
}

/// Response frames, ready to be sent in order.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    files: Vec<FilePart>,
}

impl Outgoing {
    /// Appends a response frame. `ranges` are the records that the response names as external, in their order.
    pub(crate) fn push<R: Encode>(
        &mut self,
        api: ApiKey,
        version: i16,
        correlation_id: i32,
        response: &R,
        ranges: Vec<FileRange>,
    ) -> Result<(), EncodeError> {
        let mut encoder = Encoder::with_buffer(std::mem::take(&mut self.bytes));
        let written = frame::write_response(&mut encoder, api, version, correlation_id, response);
        let (bytes, cuts) = encoder.into_parts();
        self.bytes = bytes;
        written?;
        debug_assert_eq!(cuts.len(), ranges.len());
        let parts = cuts.iter().zip(ranges);
        self.files.extend(parts.map(|(cut, range)| FilePart { at: cut.at, range }));
        Ok(())
    }

    /// Appends a response frame that another node made: header and body, without the length.
    pub(crate) fn push_frame(&mut self, frame: &[u8]) {
        let length = i32::try_from(frame.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(frame);
    }

    /// Appends what another one holds.
    pub(crate) fn append(&mut self, mut other: Self) {
        if self.is_empty() && self.bytes.capacity() == 0 {
            *self = other;
            return;
        }
        let base = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        let parts = other.files.into_iter();
        self.files.extend(parts.map(|part| FilePart { at: base + part.at, range: part.range }));
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.files.is_empty()
    }

    /// Bytes in the buffer, files not counted.
    pub(crate) fn buffered(&self) -> usize {
        self.bytes.len()
    }

    /// Whether file ranges wait to be sent.
    pub(crate) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// The only frame, without its length, for who is in the same process. Ranges of files are not among it.
    pub(crate) fn into_frame(self) -> Bytes {
        debug_assert!(self.files.is_empty());
        let mut frame = Bytes::from(self.bytes);
        frame.split_off(frame.len().min(4))
    }

    /// Gives memory back if nothing waits in it.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }

    /// Sends everything and leaves the buffer empty.
    pub(crate) async fn send(&mut self, stream: &TcpStream) -> io::Result<()> {
        let mut sent = 0;
        for part in self.files.drain(..) {
            let before = self.bytes.get(sent..part.at).unwrap_or_default();
            net::send_all(stream, before, More::Follows).await?;
            sent = part.at;
            send_range(stream, part.range).await?;
        }
        let rest = self.bytes.get(sent..).unwrap_or_default();
        net::send_all(stream, rest, More::Nothing).await?;
        self.bytes.clear();
        Ok(())
    }
}

/// Sends one range; what must come from the disk is brought to memory on a thread that may wait for it.
async fn send_range(stream: &TcpStream, range: FileRange) -> io::Result<()> {
    let mut position = range.position;
    let end = position + u64::from(range.len);
    if range.cached() == Residency::Cached
        && let Some(descriptor) = range.file.descriptor()
    {
        return net::send_file(stream, descriptor, position, end - position).await;
    }
    while position < end {
        let size = usize::try_from(end - position).unwrap_or(usize::MAX).min(COLD_READ);
        let file = range.file.clone();
        let read = move || {
            let mut bytes = vec![0; size];
            file.read_exact_at(&mut bytes, position)?;
            Ok::<_, io::Error>(bytes)
        };
        let bytes = task::spawn_blocking(read).await.map_err(io::Error::other)??;
        net::send_all(stream, &bytes, More::Follows).await?;
        position += size as u64;
    }
    Ok(())
}
