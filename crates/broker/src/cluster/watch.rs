//! Noticing at once that a node's process is gone, long before its session or an election time-out ends.
//!
//! A process that dies loses its connections and its listeners. So when a connection of a node ends, its listener is dialled:
//! where that is refused, nobody is there. A node that hangs, or that is cut off, keeps its connections or does not refuse: for
//! that there are the time-outs. To be wrong costs little: a broker that lives is unfenced by its next heartbeat, a leader that
//! lives by its next message.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::NodeId;
use millstream_client::ConnectionError;
use millstream_env::task;
use tokio::sync::watch;
use tracing::info;

use crate::broker::Broker;

/// How often a node is dialled that neither answers nor refuses.
const TRIES: u32 = 10;
/// The pause between them: a dying process closes its sockets one after the other.
const PAUSE: Duration = Duration::from_millis(10);
/// How long one dial may take.
const DIAL: Duration = Duration::from_millis(500);

/// A connection over which node `id` spoke has ended.
pub(crate) fn hung_up(broker: &Arc<Broker>, id: NodeId) {
    let is_leader = broker.leadership().borrow().leader == Some(id);
    let is_watched = broker.is_active_controller();
    if id == broker.node_id() || !(is_leader || is_watched) {
        return;
    }
    if is_watched {
        broker.active_controller().broker_hung_up(id);
    }
    let broker = Arc::clone(broker);
    task::spawn(async move { look_after(&broker, id).await });
}

/// Dials every broker when this node becomes the active controller: some may have died unseen.
pub(crate) async fn watch_as_controller(broker: Arc<Broker>, stopped: watch::Receiver<bool>) {
    let mut leadership = broker.leadership().clone();
    loop {
        let Ok(led) = leadership.wait_for(|led| led.is_me).await.map(|led| *led) else { return };
        let image = broker.image();
        let others = image.alive_brokers().map(|it| it.id).filter(|id| *id != broker.node_id());
        for id in others {
            let (broker, mut stopped) = (Arc::clone(&broker), stopped.clone());
            task::spawn(async move {
                tokio::select! {
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                    () = look_after(&broker, id) => {}
                }
            });
        }
        let is_over = leadership.wait_for(|now| !now.is_me || now.epoch != led.epoch).await;
        if is_over.is_err() {
            return;
        }
    }
}

async fn look_after(broker: &Broker, id: NodeId) {
    let image = broker.image();
    let as_controller = broker.controllers().address_of(&image, id);
    let as_broker = broker.peers().address(&image, id).ok();
    if broker.leadership().borrow().leader == Some(id)
        && let Some(address) = as_controller
    {
        if is_gone(broker, &address).await {
            info!(node = %id, address, "the process of the quorum's leader is gone");
            broker.quorum().leader_is_gone(id);
        }
        return;
    }
    if let Some(address) = as_broker
        && is_gone(broker, &address).await
    {
        broker.active_controller().broker_is_gone(id).await;
    }
}

/// Whether nobody listens there any more.
async fn is_gone(broker: &Broker, address: &str) -> bool {
    for _ in 0..TRIES {
        match task::timeout(DIAL, broker.peers().links().dial(address)).await {
            Ok(Err(ConnectionError::Refused { .. })) => return true,
            Ok(Err(_)) => task::sleep(PAUSE).await,
            Ok(Ok(_)) | Err(_) => return false,
        }
    }
    false
}
