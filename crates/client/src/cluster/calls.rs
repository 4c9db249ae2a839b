//! Sending a call to some broker, to the controller or to one node.
//!
//! A broker may be gone, or hang with its connections open. So dialling moves on to the next address after a moment, and
//! a wait for an answer looks now and then whether the cluster has given up that broker.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use millstream_base::{ErrorCode, NodeId, TopicPartition};
use millstream_env::task::{Instant, sleep, timeout};
use millstream_wire::Request;

use super::{Broker, Cluster, Lane};
use crate::{ClientError, Connection, ConnectionError};

/// The wildcard of `within`: no other bound than the configuration's.
const USUAL: Option<Duration> = None;

/// How long one address has to itself before the next is dialled as well.
const DIAL_AHEAD: Duration = Duration::from_millis(300);

/// How long one broker has to itself before another is asked the same.
const ASK_AHEAD: Duration = Duration::from_millis(500);

/// How often a wait for an answer looks whether the broker still has its place.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Cluster {
    /// Sends a request to whichever broker answers.
    pub async fn call_any<R: Request>(
        &self,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let connection = self.any(None).await?;
        Self::call_over(&connection, None, USUAL, build).await
    }

    /// Sends a request to the controller, or the broker that stands for it; to any broker when that one is not there.
    pub async fn call_controller<R: Request>(
        &self,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let Some(node) = self.metadata().controller else { return self.call_any(build).await };
        match self.connection(node, Lane::General).await {
            Ok(connection) => Self::call_over(&connection, None, USUAL, build).await,
            Err(error) if !error.is_retriable() => Err(error),
            Err(_) => self.call_any(build).await,
        }
    }

    /// Sends a request to a node.
    pub async fn call_node<R: Request>(
        &self,
        node: NodeId,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connection(node, Lane::General).await?;
        Self::call_over(&connection, None, USUAL, build).await
    }

    /// Sends a question that may be asked twice to some broker, and to a second one if the first is slow or gone.
    pub(super) async fn call_quickest<R: Request>(
        &self,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let first = self.any(None).await?;
        let call = Self::call_over(&first, None, USUAL, &build);
        tokio::pin!(call);
        match timeout(ASK_AHEAD, &mut call).await {
            Ok(Err(ClientError::Connection(error))) if error.is_retriable() => {
                let other = self.any(Some(first.address())).await?;
                return Self::call_over(&other, None, USUAL, &build).await;
            }
            Ok(answer) => return answer,
            Err(_) => {}
        }
        let second = async {
            let other = self.any(Some(first.address())).await?;
            Self::call_over(&other, None, USUAL, &build).await
        };
        tokio::pin!(second);
        tokio::select! {
            answer = &mut call => match answer {
                Err(error) if error.is_retriable() => second.await,
                answer => answer,
            },
            answer = &mut second => match answer {
                Err(_) => call.await,
                answer => answer,
            },
        }
    }

    /// Sends a request over `connection` in the highest common version, at most `max`.
    pub(crate) async fn call_over<R: Request>(
        connection: &Connection,
        max: Option<i16>,
        within: Option<Duration>,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let version = connection.version_of::<R>(max)?;
        Ok(connection.call(&build(version), version, within).await?)
    }

    /// The connection to a node.
    pub(crate) async fn connection(
        &self,
        node: NodeId,
        lane: Lane,
    ) -> Result<Connection, ClientError> {
        if self.inner.suspicious.swap(false, Ordering::Relaxed) {
            // A node did not answer a moment ago: another may have taken its place.
            drop(self.refresh().await);
        }
        let metadata = self.metadata();
        let Some(broker) = metadata.broker(node) else {
            self.inner.suspicious.store(true, Ordering::Relaxed);
            return Err(ClientError::Broker {
                code: ErrorCode::ReplicaNotAvailable,
                what: format!("broker {node}"),
                message: Some("not in the cluster's metadata".to_owned()),
            });
        };
        let made = self.inner.pool.get(&broker.address(), lane, &self.inner.config).await;
        made.map_err(|error| {
            self.inner.suspicious.store(true, Ordering::Relaxed);
            error.into()
        })
    }

    /// A connection to some broker other than the one at `except`: an open one, else the first that answers.
    async fn any(&self, except: Option<&str>) -> Result<Connection, ClientError> {
        if let Some(open) = self.inner.pool.least_busy(except) {
            return Ok(open);
        }
        let candidates = self.candidates(except);
        let mut last: Option<ConnectionError> = None;
        let mut left = candidates.iter();
        let mut dialling = FuturesUnordered::new();
        let dial = |address| self.inner.pool.get(address, Lane::General, &self.inner.config);
        dialling.extend(left.next().map(|address| dial(address)));
        while !dialling.is_empty() {
            let dialled = match timeout(DIAL_AHEAD, dialling.next()).await {
                Ok(Some(Ok(connection))) => return Ok(connection),
                Ok(Some(Err(error))) => Some(error),
                Ok(None) | Err(_) => None,
            };
            last = dialled.or(last);
            dialling.extend(left.next().map(|address| dial(address)));
        }
        let servers = candidates.join(", ");
        Err(last.map_or(ClientError::NoServers, |source| {
            // With one address, that connection's own error says it all.
            if candidates.len() == 1 {
                return ClientError::Connection(source);
            }
            ClientError::NoBroker { servers, source }
        }))
    }

    /// The addresses of the known brokers, in turn, and then the bootstrap servers: the cluster may have moved on
    /// without this client (KIP-899).
    fn candidates(&self, except: Option<&str>) -> Vec<String> {
        let mut known: Vec<String> = self.metadata().brokers().map(Broker::address).collect();
        if !known.is_empty() {
            let count = u64::try_from(known.len()).unwrap_or(1);
            known.rotate_left(usize::try_from(self.random() % count).unwrap_or(0));
        }
        for server in &self.inner.config.bootstrap_servers {
            if !known.contains(server) {
                known.push(server.clone());
            }
        }
        known.retain(|address| except != Some(address.as_str()));
        known
    }

    /// Waits for an answer. Once that takes longer than `patience`, looks every second whether another node has the
    /// `place` by now; then the connection is given up, and the call has failed.
    pub(crate) async fn while_there<T>(
        &self,
        (connection, api): (&Connection, &'static str),
        place: AskedAs<'_>,
        patience: Duration,
        answer: impl Future<Output = Result<T, ConnectionError>>,
    ) -> Result<T, ClientError> {
        tokio::pin!(answer);
        let began = Instant::now();
        let mut pause = patience;
        loop {
            tokio::select! {
                answer = &mut answer => return Ok(answer?),
                () = sleep(pause) => {}
            }
            tokio::select! {
                answer = &mut answer => return Ok(answer?),
                moved = self.has_moved(place) => {
                    if moved {
                        return Err(connection.give_up(api, began.elapsed()).into());
                    }
                }
            }
            pause = LOOK_EVERY;
        }
    }

    async fn has_moved(&self, place: AskedAs<'_>) -> bool {
        match place {
            AskedAs::Leader(node, partitions) => {
                let Ok(metadata) = self.refresh().await else { return false };
                let leads = |partition: &TopicPartition| {
                    let info = metadata.partition(&partition.topic, partition.partition.0);
                    info.and_then(|info| info.leader).is_none_or(|leader| leader == node)
                };
                metadata.broker(node).is_none() || !partitions.iter().all(leads)
            }
            AskedAs::Coordinator(node, group) => {
                self.find_coordinator(group).await.is_ok_and(|found| found != node)
            }
        }
    }
}

/// What a node is asked as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AskedAs<'a> {
    /// As the leader of these partitions.
    Leader(NodeId, &'a [TopicPartition]),
    /// As the coordinator of this group.
    Coordinator(NodeId, &'a str),
}
