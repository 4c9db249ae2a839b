//! This broker's life in the cluster after it has registered: heartbeats, registering anew where it was forgotten, and
//! leaving in good order.
//!
//! Key type: [`Lifecycle`]. A broker that is fenced and wants to serve, or that wants to stop, asks often; one that serves
//! asks every `broker.heartbeat.interval.ms`, and at once when another controller becomes the active one.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::{BrokerEpoch, ErrorCode};
use millstream_env::task::{self, Instant, JoinHandle};
use millstream_wire::messages::broker_heartbeat::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse,
};
use tokio::sync::watch;
use tracing::{info, warn};

use super::error::ControllerError;
use super::registration::Registration;
use crate::broker::Broker;

/// The pause between heartbeats of a broker that waits for the controller's leave.
const EAGER: Duration = Duration::from_millis(10);
/// The same when it has waited for long.
const LESS_EAGER: Duration = Duration::from_millis(100);
/// After this many eager heartbeats the less eager ones begin.
const EAGER_TRIES: u32 = 50;
/// How long one heartbeat is tried.
const TRY: Duration = Duration::from_secs(3);
/// How long a broker that stops waits for its leaders to be moved while the controller answers.
const LONGEST_STOP: Duration = Duration::from_secs(30);
/// The same while no controller answers.
const LONGEST_SILENCE: Duration = Duration::from_secs(3);
/// The same when the other brokers have stopped or do so as well: the last node of a cluster has nobody to wait for.
const LAST_SILENCE: Duration = Duration::from_millis(300);

/// A registered broker.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    broker: Arc<Broker>,
    leaving: watch::Sender<bool>,
    /// When the controller last answered, and whether it lets the broker stop.
    heard: watch::Receiver<Heard>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    last: Instant,
    may_stop: bool,
}

/// The task.
struct Heart {
    broker: Arc<Broker>,
    registration: Registration,
    epoch: BrokerEpoch,
    leaving: watch::Receiver<bool>,
    heard: watch::Sender<Heard>,
    eager_tries: u32,
    silent: bool,
}

impl Lifecycle {
    /// Begins to send heartbeats for a broker that is registered at `epoch`.
    pub(crate) fn start(
        broker: &Arc<Broker>,
        registration: Registration,
        epoch: BrokerEpoch,
    ) -> Self {
        let leaving = watch::Sender::new(false);
        let (heard, hears) = watch::channel(Heard { last: Instant::now(), may_stop: false });
        let heart = Heart {
            broker: Arc::clone(broker),
            registration,
            epoch,
            leaving: leaving.subscribe(),
            heard,
            eager_tries: 0,
            silent: false,
        };
        let broker = Arc::clone(broker);
        Self { broker, leaving, heard: hears, task: task::spawn(heart.run()) }
    }

    /// Has everything moved away that this broker leads, where `in_order` wants that. Returns when the controller says so,
    /// or when that takes too long.
    pub(crate) async fn leave(mut self, in_order: bool) {
        if !in_order {
            return self.task.abort();
        }
        self.leaving.send_replace(true);
        let began = Instant::now();
        loop {
            let Heard { last, may_stop } = *self.heard.borrow_and_update();
            if may_stop {
                info!(after = ?began.elapsed(), "others lead what this broker led");
                break;
            }
            let silence = last.max(began).elapsed();
            if silence > LAST_SILENCE && self.is_last() {
                info!("no other broker is left to lead what this broker led");
                break;
            }
            if began.elapsed() > LONGEST_STOP || silence > LONGEST_SILENCE {
                warn!("the broker stops although the controller has not moved all its leaders");
                break;
            }
            drop(task::timeout(Duration::from_millis(100), self.heard.changed()).await);
        }
        self.task.abort();
    }

    /// Whether every other broker is gone or stops too, and so no leader can be moved.
    fn is_last(&self) -> bool {
        let image = self.broker.quorum().image();
        let me = self.broker.node_id();
        let mut others = image.brokers.values().filter(|broker| broker.id != me);
        others.all(|broker| broker.fenced || broker.in_controlled_shutdown)
    }
}

impl Heart {
    async fn run(mut self) {
        let mut leadership = self.broker.leadership().clone();
        let mut images = self.broker.quorum().watch();
        loop {
            leadership.mark_unchanged();
            let pause = self.beat().await;
            let mut leaving = self.leaving.clone();
            let leaves = *leaving.borrow_and_update();
            let (me, epoch) = (self.broker.node_id(), self.epoch);
            let is_fenced = |image: &Arc<millstream_metadata::ClusterImage>| {
                image.broker(me).is_some_and(|it| it.fenced && it.epoch == epoch)
            };
            let was_fenced = is_fenced(&images.borrow_and_update());
            tokio::select! {
                () = task::sleep(pause) => {}
                _ = leadership.changed() => {}
                _ = leaving.wait_for(|now| *now != leaves) => {}
                _ = images.wait_for(is_fenced), if !was_fenced => {}
            }
        }
    }

    /// One heartbeat; how long to wait before the next.
    async fn beat(&mut self) -> Duration {
        let wants_to_stop = *self.leaving.borrow();
        let request = BrokerHeartbeatRequest {
            broker_id: self.broker.node_id().get(),
            broker_epoch: self.epoch.get(),
            current_metadata_offset: self.broker.quorum().applied().get() - 1,
            want_fence: false,
            want_shut_down: wants_to_stop,
            offline_log_dirs: self.broker.replicas().logs().offline_ids(),
            ..Default::default()
        };
        let answer = self.broker.controller().call_within(request, TRY).await;
        match answer {
            Ok(answer) if answer.error_code == 0 => self.heard(&answer, wants_to_stop),
            Ok(answer) => self.refused(answer.error_code, wants_to_stop).await,
            Err(error) => self.unanswered(&error),
        }
    }

    fn heard(&mut self, answer: &BrokerHeartbeatResponse, wants_to_stop: bool) -> Duration {
        if std::mem::take(&mut self.silent) {
            info!("the controller answers heartbeats again");
        }
        let may_stop = wants_to_stop && answer.should_shut_down;
        self.heard.send_replace(Heard { last: Instant::now(), may_stop });
        if !answer.is_fenced && !wants_to_stop {
            self.eager_tries = 0;
            let ms = self.broker.config().cluster.broker_heartbeat_interval_ms;
            return Duration::from_millis(u64::try_from(ms).unwrap_or(1).max(1));
        }
        self.eager()
    }

    fn eager(&mut self) -> Duration {
        self.eager_tries = self.eager_tries.saturating_add(1);
        if self.eager_tries > EAGER_TRIES { LESS_EAGER } else { EAGER }
    }

    /// A controller that does not know this registration gets it anew.
    async fn refused(&mut self, code: i16, wants_to_stop: bool) -> Duration {
        let code = ErrorCode::from_code(code);
        let is_forgotten =
            matches!(code, Some(ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered));
        if !is_forgotten {
            let code = code.map_or("an unknown error", ErrorCode::name);
            warn!(code, "the controller does not take the broker's heartbeat");
            return LESS_EAGER;
        }
        if wants_to_stop {
            // Nobody counts on it any more.
            self.heard.send_replace(Heard { last: Instant::now(), may_stop: true });
            return LESS_EAGER;
        }
        match self.registration.register(&self.broker).await {
            Ok(epoch) => {
                info!(%epoch, "the broker registered anew: the controller did not know it any more");
                self.epoch = epoch;
                self.broker.replicas().logs().set_broker_epoch(epoch.get());
            }
            Err(error) => warn!(%error, "the broker cannot register anew; it goes on trying"),
        }
        self.eager()
    }

    fn unanswered(&mut self, error: &ControllerError) -> Duration {
        if !std::mem::replace(&mut self.silent, true) {
            warn!(%error, "no controller answers heartbeats; they go on");
        }
        LESS_EAGER
    }
}
