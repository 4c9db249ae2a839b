//! The protocol by hand: whole requests, half frames, and bytes that are no protocol at all.
//!
//! Key type: [`RawClient`].

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use millstream_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_wire::{Decoder, Encoder, Request, frame as wire_frame};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// A connection that sends what it is told.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    next_correlation: i32,
}

impl RawClient {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// When nobody accepts.
    pub fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { stream, next_correlation: 1 })
    }

    /// The socket.
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes)?;
        Ok(())
    }

    /// Sends `bytes` one at a time.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn trickle(&mut self, bytes: &[u8]) -> Result<()> {
        bytes.iter().try_for_each(|byte| self.send_bytes(std::slice::from_ref(byte)))
    }

    /// Sends `body` with its length before it.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn send_frame(&mut self, body: &[u8]) -> Result<()> {
        self.send_bytes(&frame(body))
    }

    /// Sends no more; answers can still be read.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn finish_sending(&self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// The next frame without its length.
    ///
    /// # Errors
    /// When none comes in time, or the other side closed.
    pub fn read_frame(&mut self) -> Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("length of an answer")?;
        let length = usize::try_from(i32::from_be_bytes(length)).context("negative length")?;
        if length > MAX_ANSWER_BYTES {
            bail!("an answer of {length} bytes");
        }
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame).context("answer")?;
        Ok(frame.into())
    }

    /// Whether the other side closes the connection within `within`; what it sends before is dropped.
    ///
    /// # Errors
    /// When the socket cannot be set up.
    pub fn is_closed_within(&mut self, within: Duration) -> Result<bool> {
        self.stream.set_read_timeout(Some(within))?;
        let mut sink = [0; 4096];
        let closed = loop {
            match self.stream.read(&mut sink) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) if is_timeout(error.kind()) => break false,
                Err(_) => break true,
            }
        };
        self.stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(closed)
    }

    /// Sends a request and does not wait. Returns its correlation id.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<i32> {
        let correlation = self.next_correlation;
        self.next_correlation += 1;
        self.send_bytes(&request_frame(request, version, correlation)?)?;
        Ok(correlation)
    }

    /// Reads the answer to a request of type `R` sent before.
    ///
    /// # Errors
    /// When it does not come, is not one, or answers another request.
    pub fn receive<R: Request>(&mut self, version: i16, correlation: i32) -> Result<R::Response> {
        let mut decoder = Decoder::new(self.read_frame()?);
        let answered = wire_frame::read_response_header(&mut decoder, R::KEY, version)?;
        if answered != correlation {
            bail!("the answer is to request {answered}, not {correlation}");
        }
        let response = decoder.read(version)?;
        decoder.finish()?;
        Ok(response)
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// As [`RawClient::receive`].
    pub fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        let correlation = self.send(request, version)?;
        self.receive::<R>(version, correlation)
    }

    /// ApiVersions in version 0.
    ///
    /// # Errors
    /// As [`RawClient::receive`].
    pub fn api_versions(&mut self) -> Result<ApiVersionsResponse> {
        self.call(&ApiVersionsRequest::default(), 0)
    }
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// `body` with its length before it.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).unwrap_or(i32::MAX);
    [&length.to_be_bytes()[..], body].concat()
}

/// A whole request with its length and header.
///
/// # Errors
/// When the version cannot carry the request.
pub fn request_frame<R: Request>(request: &R, version: i16, correlation: i32) -> Result<Vec<u8>> {
    let mut encoder = Encoder::new();
    let client_id = Some("testkit".into());
    wire_frame::write_request(&mut encoder, version, correlation, client_id, request)?;
    Ok(encoder.into_buffer())
}
