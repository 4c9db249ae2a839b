//! The way to the active controller, wherever it is.
//!
//! Key type: [`ControllerChannel`]. Where this node is the active controller, a request goes to its handler in the
//! process; else over the network. While there is no active controller it is tried again, up to a deadline. A request
//! whose answer got lost is asked again too: what is asked here may be asked twice.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use millstream_env::task::{self, Instant};
use millstream_wire::{Decoder, Encoder, Request, frame};

use super::answer::ControllerAnswer;
use super::error::ControllerError;
use crate::broker::Broker;
use crate::context::{ConnectionContext, ConnectionLimits, RequestContext};
use crate::dispatch::{self, Outcome};
use crate::server::Outgoing;

/// How long a call takes at most unless its caller says otherwise.
const DEADLINE: Duration = Duration::from_secs(30);
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls to the active controller. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ControllerChannel {
    broker: Weak<Broker>,
}

impl ControllerChannel {
    pub(crate) const fn new(broker: Weak<Broker>) -> Self {
        Self { broker }
    }

    /// Asks the active controller, and again until one answers, for half a minute at most.
    ///
    /// # Errors
    /// [`ControllerError`]. What the controller decided against is no error here: it stands in the answer.
    pub(crate) async fn call<R>(&self, request: R) -> Result<R::Response, ControllerError>
    where
        R: Request + Send + Sync,
        R::Response: ControllerAnswer + Send,
    {
        self.call_within(request, DEADLINE).await
    }

    /// The same with another deadline.
    ///
    /// # Errors
    /// [`ControllerError`].
    pub(crate) async fn call_within<R>(
        &self,
        request: R,
        within: Duration,
    ) -> Result<R::Response, ControllerError>
    where
        R: Request + Send + Sync,
        R::Response: ControllerAnswer + Send,
    {
        let until = Instant::now() + within;
        loop {
            let answer = self.ask_myself(&request).await?;
            if !answer.is_from_passive() {
                return Ok(answer);
            }
            if Instant::now() + PAUSE >= until {
                let api = R::KEY.name();
                return Err(ControllerError::NoController { api, after: within, last: None });
            }
            task::sleep(PAUSE).await;
        }
    }

    /// This node is the active controller: the request goes to its handler.
    async fn ask_myself<R: Request>(&self, request: &R) -> Result<R::Response, ControllerError> {
        let refused = |reason: String| ControllerError::Refused { api: R::KEY.name(), reason };
        let broker = self.broker.upgrade().ok_or(ControllerError::Stopping)?;
        let mut body = Encoder::new();
        request.encode(&mut body, R::MAX).map_err(|error| refused(error.to_string()))?;
        let mut body = body.into_bytes().to_vec();
        let context = RequestContext {
            connection: own_connection(&broker).info,
            broker,
            api: R::KEY,
            version: R::MAX,
            correlation_id: 0,
            client_id: None,
        };
        let answer = dispatched(context, &mut body).await;
        let answer = answer.map_err(|error| refused(error.to_string()))?;
        let mut decoder = Decoder::new(answer);
        let read = frame::read_response_header(&mut decoder, R::KEY, R::MAX)
            .and_then(|_| decoder.read::<R::Response>(R::MAX));
        read.map_err(|error| refused(error.to_string()))
    }
}

/// What a handler answers: the frame without its length.
async fn dispatched(context: RequestContext, body: &mut [u8]) -> Result<Bytes, dispatch::Refusal> {
    let mut out = Outgoing::default();
    let answer = match dispatch::route(context, body, &mut out)? {
        Outcome::Answered => out,
        Outcome::Overlapping(waiting) | Outcome::Exclusive(waiting) => waiting.await?,
    };
    let mut frame = answer.into_bytes();
    Ok(frame.split_off(frame.len().min(4)).into())
}

/// A connection of the broker to itself.
fn own_connection(broker: &Arc<Broker>) -> ConnectionContext {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let limits = ConnectionLimits { request_max_bytes: usize::MAX, max_idle: None, memory: None };
    ConnectionContext::new(Arc::clone(broker), "CONTROLLER".into(), here, here, limits)
}
