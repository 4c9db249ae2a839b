//! The way to the active controller, wherever it is.
//!
//! Key type: [`ControllerChannel`]. Where this node is the active controller, a request goes to its handler in the
//! process; else over the network. While there is no active controller it is tried again, up to a deadline. A request
//! whose answer got lost is asked again too: what is asked here may be asked twice.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use millstream_base::NodeId;
use millstream_client::ConnectionError;
use millstream_env::task::{self, Instant};
use millstream_quorum::Leadership;
use millstream_wire::{ApiKey, Decoder, Encoder, Request, frame};
use tokio::sync::watch;

use super::answer::ControllerAnswer;
use super::error::ControllerError;
use super::links::Channel;
use crate::authorizer::Principal;
use crate::broker::Broker;
use crate::context::{ConnectionInfo, RequestContext};
use crate::dispatch;

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
        let mut last = None;
        let mut attempt = 0;
        loop {
            let broker = self.broker.upgrade().ok_or(ControllerError::Stopping)?;
            let mut leadership = broker.leadership().clone();
            leadership.mark_unchanged();
            let left = until.saturating_duration_since(Instant::now());
            let asked = ask_while_it_leads(broker, &request, attempt, left, &mut leadership).await;
            match asked {
                Ok(answer) if !answer.is_from_passive() => return Ok(answer),
                Ok(_) => last = last.or(Some("it is not the active controller".to_owned())),
                Err(Failure::NotSent(reason) | Failure::Unanswered(reason)) => last = Some(reason),
                Err(Failure::Final(reason)) => {
                    return Err(ControllerError::Refused { api: R::KEY.name(), reason });
                }
            }
            if Instant::now() + PAUSE >= until {
                return Err(ControllerError::NoController {
                    api: R::KEY.name(),
                    after: within,
                    last,
                });
            }
            attempt += 1;
            // A new leader is asked at once.
            drop(task::timeout(PAUSE, leadership.changed()).await);
        }
    }

    /// Asks once, for who must know whether an earlier try may have arrived. `None` inside: nothing was sent, or it came to a
    /// controller that is not the active one.
    ///
    /// # Errors
    /// [`ControllerError`]: it is unknown what came of it.
    pub(crate) async fn call_once<R>(
        &self,
        request: &R,
        attempt: usize,
        within: Duration,
    ) -> Result<Option<R::Response>, ControllerError>
    where
        R: Request + Send + Sync,
        R::Response: ControllerAnswer + Send,
    {
        let broker = self.broker.upgrade().ok_or(ControllerError::Stopping)?;
        let mut leadership = broker.leadership().clone();
        leadership.mark_unchanged();
        let api = R::KEY.name();
        match ask_while_it_leads(broker, request, attempt, within, &mut leadership).await {
            Ok(answer) => Ok(Some(answer).filter(|answer| !answer.is_from_passive())),
            Err(Failure::NotSent(_)) => Ok(None),
            Err(Failure::Unanswered(reason)) => {
                Err(ControllerError::NoController { api, after: within, last: Some(reason) })
            }
            Err(Failure::Final(reason)) => Err(ControllerError::Refused { api, reason }),
        }
    }
}

/// One try. A controller that is no longer the active one may never answer.
async fn ask_while_it_leads<R>(
    broker: Arc<Broker>,
    request: &R,
    attempt: usize,
    within: Duration,
    leadership: &mut watch::Receiver<Leadership>,
) -> Result<R::Response, Failure>
where
    R: Request + Send + Sync,
    R::Response: Send,
{
    tokio::select! {
        asked = ask(broker, request, attempt, within) => asked,
        () = deposed(leadership) => Err(Failure::Unanswered("the active controller changed".to_owned())),
    }
}

async fn ask<R>(
    broker: Arc<Broker>,
    request: &R,
    attempt: usize,
    within: Duration,
) -> Result<R::Response, Failure>
where
    R: Request + Send + Sync,
    R::Response: Send,
{
    match way(&broker, attempt) {
        Way::Here => ask_myself(broker, request).await,
        Way::There(node, address) => ask_there(&broker, node, &address, request, within).await,
        Way::Nowhere => Err(Failure::NotSent("there is none at the moment".to_owned())),
    }
}

/// Where to ask.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    Here,
    There(NodeId, String),
    Nowhere,
}

/// Why one try came to nothing.
enum Failure {
    /// Nobody got it. Another try may work.
    NotSent(String),
    /// It may have arrived, and have taken effect. Another try may work.
    Unanswered(String),
    /// It will not.
    Final(String),
}

/// The leader where one is known, else each controller that the settings name in turn.
fn way(broker: &Broker, attempt: usize) -> Way {
    let leadership = *broker.leadership().borrow();
    if leadership.is_me {
        return Way::Here;
    }
    let me = broker.node_id();
    if let Some(leader) = leadership.leader.filter(|leader| *leader != me)
        && let Some(address) = broker.controllers().address_of(&broker.image(), leader)
    {
        return Way::There(leader, address);
    }
    let servers = broker.controllers().servers(me);
    match attempt.checked_rem(servers.len()).and_then(|at| servers.get(at)) {
        Some((node, address)) => Way::There(*node, address.clone()),
        None => Way::Nowhere,
    }
}

/// Waits until another node, or none, leads.
async fn deposed(leadership: &mut watch::Receiver<Leadership>) {
    let asked = leadership.borrow().leader;
    if leadership.wait_for(|now| now.leader != asked).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn ask_there<R>(
    broker: &Broker,
    node: NodeId,
    address: &str,
    request: &R,
    within: Duration,
) -> Result<R::Response, Failure>
where
    R: Request + Send + Sync,
{
    let not_sent = |error: ConnectionError| Failure::NotSent(error.to_string());
    let channel = if R::KEY == ApiKey::Envelope { Channel::Forward } else { Channel::Control };
    let connection = broker.peers().links().connection(node, address, channel);
    let connection = task::timeout(within, connection).await;
    let connection =
        connection.map_err(|_| Failure::NotSent(format!("no connection to {address}")))?;
    let connection = connection.map_err(not_sent)?;
    let version = connection.version_of::<R>(None).map_err(not_sent)?;
    let answer = connection.call(request, version, Some(within)).await;
    answer.map_err(|error| Failure::Unanswered(error.to_string()))
}

/// This node is the active controller: the request goes to its handler.
async fn ask_myself<R: Request>(broker: Arc<Broker>, request: &R) -> Result<R::Response, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Final(error.to_string());
    let mut body = Encoder::new();
    request.encode(&mut body, R::MAX).map_err(|error| failed(&error))?;
    let mut body = body.into_bytes().to_vec();
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let context = RequestContext {
        broker,
        connection: ConnectionInfo::on_behalf_of(Principal::anonymous(), here),
        api: R::KEY,
        version: R::MAX,
        correlation_id: 0,
        client_id: None,
    };
    // Boxed: a handler may itself ask the controller.
    let answer = Box::pin(dispatch::whole(context, &mut body)).await;
    let mut decoder = Decoder::new(answer.map_err(|error| failed(&error))?.into_frame());
    let read = frame::read_response_header(&mut decoder, R::KEY, R::MAX)
        .and_then(|_| decoder.read::<R::Response>(R::MAX));
    read.map_err(|error| failed(&error))
}
