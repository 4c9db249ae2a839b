//! The two tasks of a connection: one writes frames, one reads answers and hands them to who waits.
//!
//! Key type: [`Shared`]. Both tasks end when the connection closes, whoever closed it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use millstream_env::net::TcpStream;
use millstream_env::task::spawn;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::ConnectionError;

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) correlation: i32,
    pub(super) answer: oneshot::Sender<Bytes>,
}

/// A frame to write, and who waits for the answer, if there will be one.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frame: Bytes,
    pub(super) waiting: Option<Waiting>,
}

/// What the tasks and the callers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) address: Arc<str>,
    max_response_bytes: usize,
    state: Mutex<State>,
    closing: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    closed: Option<ConnectionError>,
}

impl Shared {
    pub(super) fn new(address: Arc<str>, max_response_bytes: usize) -> Arc<Self> {
        let state = Mutex::new(State::default());
        Arc::new(Self { address, max_response_bytes, state, closing: Notify::new() })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed.is_some()
    }

    pub(super) fn unanswered(&self) -> usize {
        self.state.lock().waiting.len()
    }

    pub(super) fn why_closed(&self) -> ConnectionError {
        self.state.lock().closed.clone().unwrap_or_else(|| ConnectionError::Closed {
            address: self.address.clone(),
            source: None,
        })
    }

    pub(super) fn protocol_error(&self, message: String) -> ConnectionError {
        ConnectionError::Protocol { address: self.address.clone(), message }
    }

    /// Closes the connection. Everyone who waits is let go; the first reason stays.
    pub(super) fn close(&self, reason: ConnectionError) {
        let waiting = {
            let mut state = self.state.lock();
            state.closed.get_or_insert(reason);
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
        self.closing.notify_waiters();
        // For a task that is about to wait.
        self.closing.notify_one();
    }

    fn closed_by(&self, source: std::io::Error) -> ConnectionError {
        let plain = source.kind() == std::io::ErrorKind::UnexpectedEof;
        let source = (!plain).then(|| Arc::new(source));
        ConnectionError::Closed { address: self.address.clone(), source }
    }

    /// Notes who waits, before the frame goes out. `false` when the connection is closed.
    fn expect(&self, waiting: Waiting) -> bool {
        let mut state = self.state.lock();
        if state.closed.is_some() {
            return false;
        }
        state.waiting.push_back(waiting);
        true
    }

    /// Hands an answer to the call that has waited longest.
    fn deliver(&self, frame: Bytes) -> Result<(), ConnectionError> {
        let correlation = frame
            .first_chunk::<4>()
            .map(|bytes| i32::from_be_bytes(*bytes))
            .ok_or_else(|| self.protocol_error("an answer of fewer than four bytes".to_owned()))?;
        // Who waits stays in the queue on an error: it must not wake before the reason is noted.
        let mut state = self.state.lock();
        let fits = state.waiting.front().is_some_and(|first| first.correlation == correlation);
        let Some(waiting) = fits.then(|| state.waiting.pop_front()).flatten() else {
            return Err(self.protocol_error(format!("an answer to no question ({correlation})")));
        };
        drop(state);
        // Who stopped waiting does not want the answer any more.
        drop(waiting.answer.send(frame));
        Ok(())
    }
}

/// Starts both tasks over `stream`.
pub(super) fn start(stream: TcpStream, shared: Arc<Shared>, queue: mpsc::Receiver<Outgoing>) {
    let (read, write) = stream.into_split();
    let writer = shared.clone();
    spawn(async move {
        tokio::select! {
            reason = write_all(write, &writer, queue) => writer.close(reason),
            () = wait_for_close(&writer) => {}
        }
    });
    spawn(async move {
        tokio::select! {
            reason = read_all(read, &shared) => shared.close(reason),
            () = wait_for_close(&shared) => {}
        }
    });
}

async fn wait_for_close(shared: &Shared) {
    loop {
        let closing = shared.closing.notified();
        if shared.is_closed() {
            return;
        }
        closing.await;
    }
}

async fn write_all(
    mut stream: impl AsyncWrite + Unpin,
    shared: &Shared,
    mut queue: mpsc::Receiver<Outgoing>,
) -> ConnectionError {
    while let Some(outgoing) = queue.recv().await {
        if let Some(waiting) = outgoing.waiting
            && !shared.expect(waiting)
        {
            return shared.why_closed();
        }
        if let Err(error) = stream.write_all(&outgoing.frame).await {
            return shared.closed_by(error);
        }
    }
    shared.why_closed()
}

async fn read_all(mut stream: impl AsyncRead + Unpin, shared: &Shared) -> ConnectionError {
    let mut buffer = BytesMut::new();
    loop {
        match read_frame(&mut stream, &mut buffer, shared).await {
            Ok(frame) => {
                if let Err(error) = shared.deliver(frame) {
                    return error;
                }
            }
            Err(error) => return error,
        }
    }
}

/// How much is asked of the socket at once beyond what an answer needs.
const READ_AHEAD_BYTES: usize = 16 << 10;

/// One answer without its length. `buffer` keeps what was read beyond it.
async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    shared: &Shared,
) -> Result<Bytes, ConnectionError> {
    fill(stream, buffer, 4, shared).await?;
    let length = buffer.first_chunk::<4>().map_or(-1, |bytes| i32::from_be_bytes(*bytes));
    let length = match usize::try_from(length) {
        Ok(length) if length <= shared.max_response_bytes => length,
        _ => {
            let limit = shared.max_response_bytes;
            return Err(shared.protocol_error(format!(
                "an answer of {length} bytes, where 0 to {limit} are accepted"
            )));
        }
    };
    // Reserving is not touching: memory is used as bytes arrive.
    buffer.reserve((4 + length).saturating_sub(buffer.len()));
    fill(stream, buffer, 4 + length, shared).await?;
    let mut frame = buffer.split_to(4 + length);
    Ok(frame.split_off(4).freeze())
}

async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    until: usize,
    shared: &Shared,
) -> Result<(), ConnectionError> {
    while buffer.len() < until {
        if buffer.capacity() == buffer.len() {
            buffer.reserve(READ_AHEAD_BYTES.max(until - buffer.len()));
        }
        let read = stream.read_buf(buffer).await.map_err(|error| shared.closed_by(error))?;
        if read == 0 {
            return Err(ConnectionError::Closed { address: shared.address.clone(), source: None });
        }
    }
    Ok(())
}
