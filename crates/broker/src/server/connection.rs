//! One connection: frames in, answers out, in the order of the requests.
//!
//! Key type: [`Connection`]. One request is handled at a time, as Kafka does; the exception is a produce that
//! waits for its acknowledgement, which lets the requests behind it start (their answers still keep the order).
//! What a connection holds is bounded: one request's bytes, [`MAX_WAITING`] waiting answers, and while an answer
//! cannot be sent nothing more is read.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use millstream_env::net::TcpStream;
use millstream_env::task::{self, Instant, Sleep};

use super::foreign;
use super::input::{FrameError, Input};
use super::memory::Share;
use super::outgoing::Outgoing;
use crate::context::ConnectionContext;
use crate::dispatch::{self, Outcome, Refusal, Waiting};

/// How many produce answers may wait for their acknowledgement on one connection.
const MAX_WAITING: usize = 64;
/// Answers are sent when this many bytes have gathered, even if more requests wait in the buffer.
const SEND_AT: usize = 128 * 1024;
/// A connection that is quiet for this long gives its buffers back.
const RELEASE_AFTER: Duration = Duration::from_secs(3);

/// Why a connection ends, when not by the peer closing it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error("{0}")]
    Foreign(&'static str),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("idle for longer than connections.max.idle.ms")]
    Idle,
    #[error("sending or receiving failed: {0}")]
    Io(#[from] io::Error),
}

/// An answer that must be sent before those behind it.
enum Queued {
    Ready(Outgoing),
    Waiting(Waiting),
}

/// The state of one connection.
pub(crate) struct Connection {
    stream: TcpStream,
    context: ConnectionContext,
    input: Input,
    out: Outgoing,
    queue: VecDeque<Queued>,
    tick: Pin<Box<Sleep>>,
    last_active: Instant,
    seen_first: bool,
    /// The share of the common memory that the request on its way in has.
    share: Option<Share>,
    /// Whether the tick is set to look at the buffers soon.
    watched: bool,
}

impl Connection {
    /// Takes over an accepted socket.
    pub(crate) fn new(stream: TcpStream, context: ConnectionContext) -> Self {
        Self {
            stream,
            context,
            input: Input::default(),
            out: Outgoing::default(),
            queue: VecDeque::new(),
            tick: Box::pin(task::sleep(RELEASE_AFTER)),
            last_active: Instant::now(),
            seen_first: false,
            share: None,
            watched: true,
        }
    }

    /// Serves the connection until it ends. `Ok` is the peer's orderly close.
    pub(crate) async fn serve(&mut self) -> Result<(), Ended> {
        let max = self.context.limits().request_max_bytes;
        loop {
            while let Some(frame) = self.next_frame(max).await? {
                self.handle(frame).await?;
                self.share = None;
                if self.out.buffered() >= SEND_AT || self.out.has_files() {
                    self.send().await?;
                }
            }
            if self.queue.is_empty() {
                self.send().await?;
            }
            self.take_share(max).await?;
            if !self.receive_or_finish_waiting(max).await? {
                return Ok(());
            }
        }
    }

    async fn next_frame(&mut self, max: usize) -> Result<Option<Range<usize>>, Ended> {
        match self.take_frame(max) {
            Ok(frame) => Ok(frame),
            Err(why) => Err(self.end(why).await),
        }
    }

    /// The connection is to end because of what came last: what was asked before that is still answered.
    async fn end(&mut self, why: Ended) -> Ended {
        while !self.queue.is_empty() {
            if let Err(other) = self.finish_front().await {
                return other;
            }
        }
        self.send().await.err().unwrap_or(why)
    }

    fn take_frame(&mut self, max: usize) -> Result<Option<Range<usize>>, Ended> {
        if !self.seen_first && self.input.unread().len() >= 4 {
            self.seen_first = true;
            if let Some(what) = foreign::recognise(self.input.unread()) {
                return Err(Ended::Foreign(what));
            }
        }
        Ok(self.input.next_frame(max)?)
    }

    /// Starts one request; its answer, if it is there already, goes to the end of what is to be sent.
    async fn handle(&mut self, frame: Range<usize>) -> Result<(), Ended> {
        self.last_active = Instant::now();
        if !self.watched {
            self.watched = true;
            self.tick.as_mut().reset(self.last_active + RELEASE_AFTER);
        }
        while self.queue.len() >= MAX_WAITING {
            self.finish_front().await?;
        }
        let bytes = self.input.frame_mut(frame);
        if self.queue.is_empty() {
            let outcome = match dispatch::dispatch(&self.context, bytes, &mut self.out) {
                Ok(outcome) => outcome,
                Err(refusal) => return Err(self.end(refusal.into()).await),
            };
            match outcome {
                Outcome::Answered => {}
                Outcome::Overlapping(waiting) => self.queue.push_back(Queued::Waiting(waiting)),
                Outcome::Exclusive(waiting) => self.wait_alone(waiting).await?,
            }
            return Ok(());
        }
        let mut answer = Outgoing::default();
        let outcome = match dispatch::dispatch(&self.context, bytes, &mut answer) {
            Ok(outcome) => outcome,
            Err(refusal) => return Err(self.end(refusal.into()).await),
        };
        match outcome {
            Outcome::Answered if answer.is_empty() => {}
            Outcome::Answered => self.queue.push_back(Queued::Ready(answer)),
            Outcome::Overlapping(waiting) => self.queue.push_back(Queued::Waiting(waiting)),
            Outcome::Exclusive(waiting) => {
                while !self.queue.is_empty() {
                    self.finish_front().await?;
                }
                self.wait_alone(waiting).await?;
            }
        }
        Ok(())
    }

    /// Waits for an answer while nothing behind it may start, and notices if the peer goes away meanwhile.
    async fn wait_alone(&mut self, mut waiting: Waiting) -> Result<(), Ended> {
        let first = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
        if let Poll::Ready(answer) = first {
            self.out.append(answer?);
            return Ok(());
        }
        self.send().await?;
        if self.input.has_frame(self.context.limits().request_max_bytes) {
            self.context.info.note_more();
        }
        let answer = loop {
            let room = self.input.unread().len() < dispatch::READ_AHEAD;
            tokio::select! {
                biased;
                answer = &mut waiting => break answer?,
                ready = self.stream.readable(), if room => {
                    ready?;
                    let before = self.input.unread().len();
                    if !self.read_some()? {
                        return Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
                    }
                    // A socket may be called readable though nothing came since it was last read.
                    if self.input.unread().len() > before {
                        self.context.info.note_more();
                    }
                }
            }
        };
        self.out.append(answer);
        self.last_active = Instant::now();
        Ok(())
    }

    /// Waits for the oldest answer in the queue and sends it.
    async fn finish_front(&mut self) -> Result<(), Ended> {
        match self.queue.pop_front() {
            Some(Queued::Ready(answer)) => self.out.append(answer),
            Some(Queued::Waiting(waiting)) => {
                self.send().await?;
                let answer = waiting.await?;
                self.out.append(answer);
            }
            None => return Ok(()),
        }
        if self.out.buffered() >= SEND_AT || self.out.has_files() || self.queue.is_empty() {
            self.send().await?;
        }
        Ok(())
    }

    /// Waits until there is more to read or the oldest waiting answer is there. False at the peer's close.
    async fn receive_or_finish_waiting(&mut self, max: usize) -> Result<bool, Ended> {
        loop {
            let finished = if let Some(Queued::Waiting(waiting)) = self.queue.front_mut() {
                tokio::select! {
                    biased;
                    answer = waiting => Some(answer?),
                    ready = self.stream.readable() => { ready?; None }
                }
            } else if let Some(Queued::Ready(_)) = self.queue.front() {
                self.finish_front().await?;
                continue;
            } else {
                self.wait_readable().await?;
                None
            };
            if let Some(answer) = finished {
                self.queue.pop_front();
                self.out.append(answer);
                self.send().await?;
                continue;
            }
            if !self.read_some()? {
                return Ok(false);
            }
            let shares = self.context.limits().memory.is_some() && self.share.is_none();
            let begins_large = shares && self.input.large_frame(max).is_some();
            if self.input.has_frame(max) || !self.seen_first || begins_large {
                return Ok(true);
            }
        }
    }

    /// Waits for room in the memory that all requests share, before a large one is read on.
    async fn take_share(&mut self, max: usize) -> Result<(), Ended> {
        if self.share.is_some() || self.context.limits().memory.is_none() {
            return Ok(());
        }
        let Some(size) = self.input.large_frame(max) else { return Ok(()) };
        // Answers that are due must not wait for somebody else's memory.
        while !self.queue.is_empty() {
            self.finish_front().await?;
        }
        if let Some(memory) = &self.context.limits().memory {
            self.share = memory.share(size).await;
        }
        Ok(())
    }

    /// Waits for input; gives buffers back when quiet, ends the connection when quiet for too long.
    async fn wait_readable(&mut self) -> Result<(), Ended> {
        loop {
            tokio::select! {
                biased;
                ready = self.stream.readable() => return Ok(ready?),
                () = self.tick.as_mut() => self.on_tick()?,
            }
        }
    }

    fn on_tick(&mut self) -> Result<(), Ended> {
        let max_idle = self.context.limits().max_idle;
        let quiet = self.last_active.elapsed();
        if max_idle.is_some_and(|limit| quiet >= limit) {
            return Err(Ended::Idle);
        }
        let next = if quiet >= RELEASE_AFTER {
            self.input.release();
            self.out.release();
            self.watched = false;
            // The next look is when the idle limit would be reached.
            max_idle.map_or(Duration::from_secs(3600), |limit| limit.saturating_sub(quiet))
        } else {
            RELEASE_AFTER.saturating_sub(quiet)
        };
        self.tick.as_mut().reset(Instant::now() + next.max(Duration::from_millis(10)));
        Ok(())
    }

    /// Reads what is there. False at the peer's close.
    fn read_some(&mut self) -> Result<bool, Ended> {
        match self.input.read(&self.stream, self.context.limits().request_max_bytes) {
            Ok(0) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    async fn send(&mut self) -> Result<(), Ended> {
        if !self.out.is_empty() {
            let limit = self.context.limits().max_idle.unwrap_or(Duration::MAX);
            // A peer that never reads its answers is ended like one that never sends.
            task::timeout(limit, self.out.send(&self.stream)).await.map_err(|_| Ended::Idle)??;
        }
        Ok(())
    }
}
