//! A listening address: accepts connections, counts them, refuses those over the limits.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use millstream_env::net::{self, ListenOptions, TcpListener, TcpStream};
use millstream_env::task;
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::connection::{Connection, Ended};
use crate::apis::ListenerKind;
use crate::broker::Broker;
use crate::cluster;
use crate::context::{ConnectionContext, ConnectionLimits};
use crate::dispatch::Refusal;

/// The bounds of all connections of one listener.
#[derive(Debug, Clone)]
pub(crate) struct ListenerLimits {
    /// `max.connections`.
    pub max_connections: usize,
    /// `max.connections.per.ip`.
    pub max_per_ip: usize,
    /// `max.connections.per.ip.overrides`.
    pub per_ip_overrides: HashMap<IpAddr, usize>,
    /// The bounds of each.
    pub connection: ConnectionLimits,
    /// `socket.send.buffer.bytes`, when it was set.
    pub send_buffer: Option<usize>,
    /// `socket.receive.buffer.bytes`, when it was set.
    pub receive_buffer: Option<usize>,
}

/// A bound address that does not accept yet.
pub(crate) struct Listener {
    socket: TcpListener,
    name: Arc<str>,
    kind: ListenerKind,
    limits: ListenerLimits,
    counts: Arc<Mutex<Counts>>,
}

/// Open connections, in all and by address.
#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_ip: HashMap<IpAddr, usize>,
}

impl Counts {
    /// Takes a place for `ip`, or says which limit forbids it.
    fn enter(&mut self, ip: IpAddr, limits: &ListenerLimits) -> Result<(), &'static str> {
        if self.total >= limits.max_connections {
            return Err("max.connections");
        }
        let from_ip = self.by_ip.get(&ip).copied().unwrap_or_default();
        if from_ip >= limits.per_ip_overrides.get(&ip).copied().unwrap_or(limits.max_per_ip) {
            return Err("max.connections.per.ip");
        }
        self.by_ip.insert(ip, from_ip + 1);
        self.total += 1;
        Ok(())
    }

    fn leave(&mut self, ip: IpAddr) {
        self.total = self.total.saturating_sub(1);
        if let Some(count) = self.by_ip.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.by_ip.remove(&ip);
            }
        }
    }
}

/// A connection's place among [`Counts`], given back when dropped.
struct Place {
    counts: Arc<Mutex<Counts>>,
    ip: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counts.lock().leave(self.ip);
    }
}

/// Binds `address` for the listener `name`.
pub(crate) fn bind(
    (name, kind): (&str, ListenerKind),
    address: SocketAddr,
    backlog: u32,
    limits: ListenerLimits,
) -> io::Result<Listener> {
    let socket = net::listen(address, ListenOptions { backlog })?;
    Ok(Listener { socket, name: name.into(), kind, limits, counts: Arc::default() })
}

impl Listener {
    /// The address that it is bound to, with the port that the system chose where 0 was asked for.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop` turns true.
    pub(crate) async fn run(self, broker: Arc<Broker>, mut stop: watch::Receiver<bool>) {
        loop {
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &broker, &stop),
                Err(error) => {
                    // Out of descriptors, most likely: those who are connected go on, newcomers wait.
                    warn!(%error, "accepting a connection failed; trying again in 100 ms");
                    task::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        broker: &Arc<Broker>,
        stop: &watch::Receiver<bool>,
    ) {
        if let Err(setting) = self.counts.lock().enter(peer.ip(), &self.limits) {
            warn!(%peer, "a connection was refused: {setting} is reached");
            return;
        }
        let place = Place { counts: Arc::clone(&self.counts), ip: peer.ip() };
        let prepared = net::prepare(&stream, self.limits.send_buffer, self.limits.receive_buffer);
        let local = match prepared.and_then(|()| stream.local_addr()) {
            Ok(local) => local,
            Err(error) => {
                debug!(%peer, %error, "the connection ended before it began");
                return;
            }
        };
        let name = (Arc::clone(&self.name), self.kind);
        let limits = self.limits.connection.clone();
        let context = ConnectionContext::new(Arc::clone(broker), name, peer, local, limits);
        let mut stop = stop.clone();
        task::spawn(async move {
            let _place = place;
            let (broker, info) = (Arc::clone(&context.broker), Arc::clone(&context.info));
            let mut connection = Connection::new(stream, context);
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                ended = connection.serve() => log_end(peer, ended),
            }
            drop(connection);
            if let Some(node) = info.node.get() {
                cluster::hung_up(&broker, *node);
            }
        });
    }
}

/// Peers that misbehave are named once, plainly; those who just go are not worth a line.
fn log_end(peer: SocketAddr, ended: Result<(), Ended>) {
    match ended {
        Ok(()) => debug!(%peer, "disconnected"),
        Err(Ended::Io(error)) => debug!(%peer, %error, "disconnected"),
        Err(Ended::Refused(Refusal::Starting)) => debug!(%peer, "closed: {}", Refusal::Starting),
        Err(Ended::Idle) => info!(%peer, "closed: {}", Ended::Idle),
        Err(other) => warn!(%peer, "closed: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_connections: usize, max_per_ip: usize) -> ListenerLimits {
        let connection = ConnectionLimits { request_max_bytes: 100, max_idle: None, memory: None };
        ListenerLimits {
            max_connections,
            max_per_ip,
            per_ip_overrides: HashMap::new(),
            connection,
            send_buffer: None,
            receive_buffer: None,
        }
    }

    #[test]
    fn places_are_counted_in_all_and_by_address() {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let limits = limits(3, 2);
        let enter = |ip| counts.lock().enter(ip, &limits);
        assert_eq!(enter(a), Ok(()));
        assert_eq!(enter(a), Ok(()));
        assert_eq!(enter(a), Err("max.connections.per.ip"));
        assert_eq!(enter(b), Ok(()));
        assert_eq!(enter(b), Err("max.connections"));
        drop(Place { counts: Arc::clone(&counts), ip: a });
        assert_eq!(enter(b), Ok(()));
        assert_eq!(counts.lock().by_ip.len(), 2);
    }

    #[test]
    fn an_address_may_have_a_limit_of_its_own() {
        let (a, b): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let mut limits = limits(10, 1);
        limits.per_ip_overrides.insert(a, 2);
        let mut counts = Counts::default();
        assert_eq!(counts.enter(a, &limits), Ok(()));
        assert_eq!(counts.enter(a, &limits), Ok(()));
        assert!(counts.enter(a, &limits).is_err());
        assert_eq!(counts.enter(b, &limits), Ok(()));
        assert!(counts.enter(b, &limits).is_err());
    }
}
