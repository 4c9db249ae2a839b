//! The bytes that a connection has received and not yet handled.
//!
//! Key type: [`Input`]. One buffer holds what arrives; a request is handled where it lies, so that a record's
//! bytes are not copied on their way to the log. The buffer grows with what has *arrived*, never with what a
//! length prefix promises, and is given back when the connection falls idle.

use std::io;
use std::ops::Range;

use bytes::BufMut as _;
use millstream_env::net::TcpStream;

/// The length prefix of a frame.
const PREFIX: usize = 4;
/// A read asks for this much at least, so that small pipelined requests arrive together.
const SMALL_READ: usize = 64 * 1024;
/// Beyond the end of a large frame only this much is read: what is read too early must be moved later.
const LOOK_AHEAD: usize = 4 * 1024;

/// Why what came is not a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a request of {size} bytes is larger than socket.request.max.bytes ({max})")]
    TooLarge { size: usize, max: usize },
    #[error("a request with the length {0}: lengths are positive")]
    Negative(i32),
}

/// Received bytes and where the next request begins.
#[derive(Debug, Default)]
pub(crate) struct Input {
    buffer: Vec<u8>,
    start: usize,
}

impl Input {
    /// The bytes not yet handled.
    pub(crate) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// The length that the next frame's prefix promises, once the prefix is here and is believable.
    fn promised(&self, max: usize) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.unread().first_chunk::<PREFIX>() else { return Ok(None) };
        let length = i32::from_be_bytes(*prefix);
        let size = usize::try_from(length).map_err(|_| FrameError::Negative(length))?;
        if size > max {
            return Err(FrameError::TooLarge { size, max });
        }
        Ok(Some(size))
    }

    /// Where the next whole frame lies, without its prefix; `None` when more must be read. The frame counts as
    /// handled from here on.
    pub(crate) fn next_frame(&mut self, max: usize) -> Result<Option<Range<usize>>, FrameError> {
        let Some(size) = self.promised(max)? else { return Ok(None) };
        let begin = self.start + PREFIX;
        let end = begin + size;
        if end > self.buffer.len() {
            return Ok(None);
        }
        self.start = end;
        Ok(Some(begin..end))
    }

    /// The size of a request that has begun to arrive and takes more than one read.
    pub(crate) fn large_frame(&self, max: usize) -> Option<usize> {
        let size = self.promised(max).ok().flatten()?;
        (size > SMALL_READ && self.unread().len() < PREFIX + size).then_some(size)
    }

    /// Whether a whole frame waits.
    pub(crate) fn has_frame(&self, max: usize) -> bool {
        match self.promised(max) {
            Ok(Some(size)) => self.unread().len() >= PREFIX + size,
            Ok(None) => false,
            // The error is for whoever takes the frame.
            Err(_) => true,
        }
    }

    /// The bytes of a frame that [`Self::next_frame`] named.
    pub(crate) fn frame_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.buffer.get_mut(range).unwrap_or_default()
    }

    /// Takes what the socket has. `Ok(0)` is the peer's end.
    pub(crate) fn read(&mut self, stream: &TcpStream, max: usize) -> io::Result<usize> {
        self.compact();
        let have = self.buffer.len();
        let wanted = match self.promised(max) {
            Ok(Some(size)) if size > SMALL_READ => PREFIX + size - have + LOOK_AHEAD,
            _ => SMALL_READ,
        };
        // Doubling keeps the cost of growing small; a lying prefix gets no more than twice what it sends.
        self.buffer.reserve(wanted.min(have.max(SMALL_READ)));
        let room = wanted.min(self.buffer.capacity() - have);
        stream.try_read_buf(&mut (&mut self.buffer).limit(room))
    }

    /// Gives the memory back but for what is in it.
    pub(crate) fn release(&mut self) {
        self.compact();
        self.buffer.shrink_to_fit();
    }

    /// Moves the unread rest to the front, so that there is room behind it.
    fn compact(&mut self) {
        if self.start > 0 {
            let rest = self.start..self.buffer.len();
            let len = rest.len();
            self.buffer.copy_within(rest, 0);
            self.buffer.truncate(len);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(bytes: &[u8]) -> Input {
        Input { buffer: bytes.to_vec(), start: 0 }
    }

    #[test]
    fn frames_come_out_one_by_one_and_only_when_whole() {
        let mut input = input(&[0, 0, 0, 2, 7, 8, 0, 0, 0, 1, 9, 0, 0, 0, 3, 1]);
        let first = input.next_frame(10).unwrap().unwrap();
        assert_eq!(input.frame_mut(first), [7, 8]);
        assert!(input.has_frame(10));
        let second = input.next_frame(10).unwrap().unwrap();
        assert_eq!(input.frame_mut(second), [9]);
        assert!(!input.has_frame(10));
        assert!(input.next_frame(10).unwrap().is_none());
        input.compact();
        assert_eq!(input.unread(), [0, 0, 0, 3, 1]);
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        assert!(matches!(input(&[0xff, 0, 0, 0]).next_frame(10), Err(FrameError::Negative(_))));
        assert!(matches!(
            input(&[0, 0, 0, 11]).next_frame(10),
            Err(FrameError::TooLarge { size: 11, max: 10 })
        ));
        assert!(input(&[0, 0, 0]).next_frame(10).unwrap().is_none());
    }
}
