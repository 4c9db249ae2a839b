//! One connection to one broker: requests go out in order, answers come back in order.
//!
//! Key type: [`Connection`]. Many calls may wait at once; one task writes, one reads. Invariants:
//! 1. An answer reaches the call whose correlation id it carries, or the connection closes.
//! 2. A call that got no answer in time closes the connection: everything behind it is late as well.
//! 3. Nothing is allocated for an answer beyond `max_response_bytes`.

mod io;
#[cfg(test)]
mod tests;
mod versions;

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use millstream_env::net::{self, TcpStream};
use millstream_env::task::timeout;
use millstream_wire::{Decoder, Encoder, Request, Str, frame};
use tokio::sync::{mpsc, oneshot};

pub use versions::VersionRange;
use versions::{Handshake, Versions};

use crate::{ClientConfig, ConnectionError};
use io::{Outgoing, Shared, Waiting};

/// An open connection. Clones share it; the last one to go closes it.
#[derive(Clone, Debug)]
pub struct Connection {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Outgoing>,
    next_correlation: AtomicI32,
    client_id: Str,
    request_timeout: Duration,
    versions: Versions,
}

impl Connection {
    /// Connects to `address` (`HOST:PORT`) and agrees on versions.
    pub async fn connect(address: &str, config: &ClientConfig) -> Result<Self, ConnectionError> {
        let (host, port) = split_address(address)?;
        let address: Arc<str> = address.into();
        let setup = config.connect_timeout;
        let stream = match timeout(setup, open(host, port, &address)).await {
            Ok(stream) => stream?,
            Err(_) => return Err(ConnectionError::ConnectTimeout { address, after: setup }),
        };
        net::prepare(&stream, config.send_buffer_bytes, config.receive_buffer_bytes)
            .map_err(|error| connect_error(&address, error))?;
        let shared = Shared::new(address.clone(), config.max_response_bytes);
        let (outgoing, queue) = mpsc::channel(config.max_in_flight_per_connection.max(1));
        io::start(stream, shared.clone(), queue);
        let mut inner = Inner {
            shared,
            outgoing,
            next_correlation: AtomicI32::new(0),
            client_id: Str::from(config.client_id.as_str()),
            request_timeout: config.request_timeout,
            versions: Versions::default(),
        };
        inner.versions = inner.handshake().await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The broker's address, as it was dialled.
    pub fn address(&self) -> &str {
        &self.inner.shared.address
    }

    /// Whether the connection is gone; calls on it then fail at once.
    pub fn is_closed(&self) -> bool {
        self.inner.shared.is_closed()
    }

    /// How many requests wait for their answers.
    pub(crate) fn unanswered(&self) -> usize {
        self.inner.shared.unanswered()
    }

    /// Closes the connection though the other side may still answer; what waits fails as after a time-out.
    pub(crate) fn give_up(&self, api: &'static str, after: Duration) -> ConnectionError {
        let address = self.inner.shared.address.clone();
        let error = ConnectionError::TimedOut { address, api, after };
        self.inner.shared.close(error.clone());
        error
    }

    /// The highest version of `R` that both sides speak, at most `max` if given.
    pub fn version_of<R: Request>(&self, max: Option<i16>) -> Result<i16, ConnectionError> {
        let inner = &self.inner;
        let ceiling = max.unwrap_or(R::MAX).min(R::MAX);
        inner.versions.common(R::KEY, R::MIN, ceiling).ok_or_else(|| ConnectionError::Unsupported {
            address: inner.shared.address.clone(),
            api: R::KEY.name(),
            ours: format!("{}-{ceiling}", R::MIN),
            theirs: inner
                .versions
                .range(R::KEY)
                .map_or_else(|| "none".to_owned(), |r| format!("{}-{}", r.min, r.max)),
        })
    }

    /// Sends `request` in `version` and waits for the answer, at most `within` (or the configured time).
    pub async fn call<R: Request>(
        &self,
        request: &R,
        version: i16,
        within: Option<Duration>,
    ) -> Result<R::Response, ConnectionError> {
        let within = within.unwrap_or(self.inner.request_timeout);
        self.inner.call(request, version, within).await
    }

    /// Sends `request` and returns the future of its answer. Requests go out in the order of these calls.
    pub async fn begin<R: Request>(
        &self,
        request: &R,
        version: i16,
        within: Duration,
    ) -> Result<
        impl Future<Output = Result<R::Response, ConnectionError>> + Send + use<R>,
        ConnectionError,
    > {
        let (correlation, frame) = self.inner.frame(request, version)?;
        let (answer, received) = oneshot::channel();
        let waiting = Some(Waiting { correlation, answer });
        self.inner.enqueue(Outgoing { frame, waiting }).await?;
        let inner = self.inner.clone();
        Ok(async move {
            let answer = inner.received::<R>(received, within).await?;
            inner.decode::<R>(answer, version)
        })
    }

    /// Sends `request` and does not wait: for requests that brokers do not answer (Produce with acks 0).
    pub async fn send_only<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<(), ConnectionError> {
        let (_, frame) = self.inner.frame(request, version)?;
        self.inner.enqueue(Outgoing { frame, waiting: None }).await
    }
}

impl Inner {
    /// Asks which versions the broker speaks. A broker that does not know our version of the question answers
    /// in version 0 with the versions that it does know.
    async fn handshake(&self) -> Result<Versions, ConnectionError> {
        let mut handshake = Handshake::start();
        loop {
            let (request, version) = handshake.request();
            let frame = self.exchange(&request, version, self.request_timeout).await?;
            let answer = handshake.answer(frame);
            match answer.map_err(|message| self.shared.protocol_error(message))? {
                Some(versions) => return Ok(versions),
                None => continue,
            }
        }
    }

    async fn call<R: Request>(
        &self,
        request: &R,
        version: i16,
        within: Duration,
    ) -> Result<R::Response, ConnectionError> {
        let answer = self.exchange(request, version, within).await?;
        self.decode::<R>(answer, version)
    }

    fn decode<R: Request>(
        &self,
        answer: Bytes,
        version: i16,
    ) -> Result<R::Response, ConnectionError> {
        let mut decoder = Decoder::new(answer);
        let decoded = frame::read_response_header(&mut decoder, R::KEY, version)
            .and_then(|_| decoder.read::<R::Response>(version));
        decoded.map_err(|error| {
            let error =
                self.shared.protocol_error(format!("{} version {version}: {error}", R::KEY.name()));
            self.shared.close(error.clone());
            error
        })
    }

    /// Sends a request and returns the answer's frame, header included.
    async fn exchange<R: Request>(
        &self,
        request: &R,
        version: i16,
        within: Duration,
    ) -> Result<Bytes, ConnectionError> {
        let (correlation, frame) = self.frame(request, version)?;
        let (answer, received) = oneshot::channel();
        let waiting = Some(Waiting { correlation, answer });
        self.enqueue(Outgoing { frame, waiting }).await?;
        self.received::<R>(received, within).await
    }

    async fn received<R: Request>(
        &self,
        received: oneshot::Receiver<Bytes>,
        within: Duration,
    ) -> Result<Bytes, ConnectionError> {
        if let Ok(outcome) = timeout(within, received).await {
            return outcome.map_err(|_| self.shared.why_closed());
        }
        let address = self.shared.address.clone();
        let error = ConnectionError::TimedOut { address, api: R::KEY.name(), after: within };
        self.shared.close(error.clone());
        Err(error)
    }

    fn frame<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<(i32, Bytes), ConnectionError> {
        let correlation = self.next_correlation.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let client_id = Some(self.client_id.clone());
        let mut encoder = Encoder::with_capacity(256);
        frame::write_request(&mut encoder, version, correlation, client_id, request).map_err(
            |error| ConnectionError::Encode {
                address: self.shared.address.clone(),
                api: R::KEY.name(),
                version,
                message: error.to_string(),
            },
        )?;
        Ok((correlation, encoder.into_bytes()))
    }

    async fn enqueue(&self, outgoing: Outgoing) -> Result<(), ConnectionError> {
        if self.shared.is_closed() {
            return Err(self.shared.why_closed());
        }
        self.outgoing.send(outgoing).await.map_err(|_| self.shared.why_closed())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let address = self.shared.address.clone();
        self.shared.close(ConnectionError::Closed { address, source: None });
    }
}

/// Host and port of `HOST:PORT`; an IPv6 host may stand in brackets.
pub(crate) fn split_address(address: &str) -> Result<(&str, u16), ConnectionError> {
    let wrong = || ConnectionError::Address { address: address.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    // Several colons without brackets: an IPv6 address that lacks its port.
    if bare.is_none() && host.contains(':') || host.is_empty() {
        return Err(wrong());
    }
    let port = port.parse().ok().filter(|&port| port != 0).ok_or_else(wrong)?;
    Ok((bare.unwrap_or(host), port))
}

/// Tries the addresses of a host one after the other.
async fn open(host: &str, port: u16, address: &Arc<str>) -> Result<TcpStream, ConnectionError> {
    let resolved = net::resolve(host, port).await.map_err(|error| ConnectionError::Resolve {
        address: address.clone(),
        source: Arc::new(error),
    })?;
    let mut last = std::io::Error::other("the name has no address");
    for candidate in resolved {
        match TcpStream::connect(candidate).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(connect_error(address, last))
}

fn connect_error(address: &Arc<str>, error: std::io::Error) -> ConnectionError {
    if error.kind() == std::io::ErrorKind::ConnectionRefused {
        return ConnectionError::Refused { address: address.clone() };
    }
    ConnectionError::Connect { address: address.clone(), source: Arc::new(error) }
}
