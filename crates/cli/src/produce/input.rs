//! Reading lines of standard input on a thread of its own, in chunks.
//!
//! Key type: [`Lines`]. A line that a person typed is handed on at once; of a file, many at a time. No line longer
//! than the limit is kept in memory.

use std::io::{BufRead as _, BufReader, Read};

use millstream_env::task::spawn_blocking;
use tokio::sync::mpsc;

/// Lines without their ends.
type Chunk = std::io::Result<Vec<Vec<u8>>>;

/// How many lines a chunk has at most.
const CHUNK_LINES: usize = 2_000;
/// How many chunks may wait.
const CHUNKS_AHEAD: usize = 4;
/// What a line may have beside the record: separators, headers, JSON.
const SLACK_BYTES: usize = 64 << 10;

/// The lines of an input as they come.
pub(super) struct Lines {
    chunks: mpsc::Receiver<Chunk>,
}

impl Lines {
    pub(super) async fn next(&mut self) -> Option<Chunk> {
        self.chunks.recv().await
    }
}

/// The lines of standard input; a line may be a little longer than a record of `max_record_size`.
pub(super) fn lines(max_record_size: usize) -> Lines {
    // Base64 and escapes make JSON lines longer than their records.
    let limit = max_record_size.saturating_mul(2).saturating_add(SLACK_BYTES);
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    spawn_blocking(move || {
        let mut reader = Reader::new(std::io::stdin(), limit);
        while let Some(chunk) = reader.next() {
            let ends = chunk.is_err();
            if sender.blocking_send(chunk).is_err() || ends {
                return;
            }
        }
    });
    Lines { chunks }
}

struct Reader<R> {
    input: BufReader<R>,
    limit: usize,
    lines_read: u64,
}

impl<R: Read> Reader<R> {
    fn new(input: R, limit: usize) -> Self {
        Self { input: BufReader::with_capacity(256 << 10, input), limit, lines_read: 0 }
    }

    /// The next lines: as many as are there, one at least. `None` at the end.
    fn next(&mut self) -> Option<Chunk> {
        let mut chunk = Vec::new();
        loop {
            match self.line() {
                Ok(Some(line)) => chunk.push(line),
                Ok(None) if chunk.is_empty() => return None,
                Ok(None) => return Some(Ok(chunk)),
                Err(error) => return Some(Err(error)),
            }
            let more = self.input.buffer().contains(&b'\n');
            if !more || chunk.len() >= CHUNK_LINES {
                return Some(Ok(chunk));
            }
        }
    }

    fn line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let limit = u64::try_from(self.limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = self.input.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.lines_read += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if read > self.limit {
            return Err(std::io::Error::other(format!(
                "line {} is longer than {} bytes; --max-record-size raises the limit",
                self.lines_read, self.limit
            )));
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], limit: usize) -> Vec<String> {
        let mut reader = Reader::new(input, limit);
        let mut lines = Vec::new();
        while let Some(chunk) = reader.next() {
            match chunk {
                Ok(chunk) => {
                    lines.extend(
                        chunk.iter().map(|line| String::from_utf8_lossy(line).into_owned()),
                    );
                }
                Err(error) => {
                    lines.push(format!("! {error}"));
                    break;
                }
            }
        }
        lines
    }

    #[test]
    fn lines_come_without_their_ends_and_the_last_may_lack_one() {
        assert_eq!(all(b"a\n\nb\r\nc", 10), ["a", "", "b\r", "c"]);
        assert_eq!(all(b"", 10), [""; 0]);
    }

    #[test]
    fn a_line_beyond_the_limit_ends_the_reading() {
        let expected = "! line 2 is longer than 4 bytes; --max-record-size raises the limit";
        assert_eq!(all(b"abcd\nabcde", 4).last().unwrap(), expected);
        assert_eq!(all(b"abcd\n", 4), ["abcd"]);
    }
}
