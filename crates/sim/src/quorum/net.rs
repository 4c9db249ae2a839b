//! The network between the nodes of a quorum.
//!
//! Key types: [`Net`], [`Side`] (one node's end of it). Messages are lost, doubled and late, links cut in either direction;
//! time is the runtime's, which jumps to the next thing that happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_env::task;
use millstream_quorum::{Call, Peer, Quorum, Transport, TransportError};
use parking_lot::Mutex;

use super::history::History;
use crate::rng::Rng;

/// What goes wrong on the way.
#[derive(Debug, Default)]
pub(crate) struct Weather {
    /// Messages from the first to the second are lost.
    pub(crate) cut: BTreeSet<(i32, i32)>,
    /// Lost and doubled messages, in a thousand.
    pub(crate) lost_permille: u64,
    pub(crate) doubled_permille: u64,
    /// How late a message is at most.
    pub(crate) late_us: u64,
}

/// Everybody who is reached, by what ways.
pub(crate) struct Net {
    pub(crate) nodes: Mutex<BTreeMap<i32, Quorum>>,
    pub(crate) weather: Mutex<Weather>,
    pub(crate) rng: Mutex<Rng>,
    pub(crate) history: Arc<Mutex<History>>,
}

impl Net {
    /// Whether a message gets from one to the other, after the time that it takes.
    async fn pass(&self, from: i32, to: i32) -> bool {
        let delay = {
            let late_us = self.weather.lock().late_us;
            self.rng.lock().between(50, late_us.max(60))
        };
        task::sleep(Duration::from_micros(delay)).await;
        let weather = self.weather.lock();
        let lost = self.rng.lock().below(1000) < weather.lost_permille;
        !lost && !weather.cut.contains(&(from, to))
    }
}

/// One node's end of the network.
pub(crate) struct Side {
    pub(crate) net: Arc<Net>,
    pub(crate) me: i32,
}

impl Transport for Side {
    fn call<'a>(&'a self, to: &'a Peer, request: Bytes, within: Duration) -> Call<'a> {
        let (net, me, to) = (Arc::clone(&self.net), self.me, to.id.get());
        Box::pin(async move {
            match task::timeout(within, exchange(&net, me, to, request)).await {
                Ok(answer) => answer,
                Err(_) => Err(TransportError::Timeout),
            }
        })
    }
}

async fn exchange(
    net: &Arc<Net>,
    me: i32,
    to: i32,
    request: Bytes,
) -> Result<Bytes, TransportError> {
    if !net.pass(me, to).await {
        std::future::pending::<()>().await;
    }
    let Some(node) = net.nodes.lock().get(&to).cloned() else {
        return Err(TransportError::Refused);
    };
    let size = request.len() as u64;
    let numbers = [u64::from(me.unsigned_abs()), u64::from(to.unsigned_abs()), size];
    net.history.lock().note(&numbers, || format!("{me} -> {to}: {size} bytes"));
    if net.rng.lock().below(1000) < net.weather.lock().doubled_permille {
        let (again, node) = (request.clone(), node.clone());
        task::spawn(async move { node.receive(again).await });
    }
    // The work of the one that is asked goes on when the one that asked gives up.
    let answer = task::spawn(async move { node.receive(request).await }).await;
    let answer = answer.map_err(|e| TransportError::Failed(e.to_string()))?;
    if !net.pass(to, me).await {
        std::future::pending::<()>().await;
    }
    Ok(answer)
}
