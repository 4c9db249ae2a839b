//! Who of the registered brokers is heard from: the active controller's memory of heartbeats.
//!
//! Key type: [`BrokerHeartbeats`]. It lives on the active controller alone and is lost with it: the next one gives every
//! broker a fresh session. Time comes in with every call, from a clock that never goes back. It decides nothing about
//! metadata; [`crate::decide`] does, from what it says.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_base::{BrokerEpoch, NodeId, Offset};

use crate::image::ClusterImage;

/// A node that has records of the metadata log on disk has applied them after this time, unless it stands still.
const TIME_TO_APPLY: Duration = Duration::from_millis(200);

/// The sessions of all registered brokers.
#[derive(Debug, Clone)]
pub struct BrokerHeartbeats {
    session_timeout: Duration,
    /// How long after its start this controller takes a broker that it has not heard yet for alive.
    grace: Duration,
    sessions: BTreeMap<NodeId, Session>,
}

/// One broker's session.
#[derive(Debug, Clone, Copy)]
struct Session {
    epoch: BrokerEpoch,
    /// The last sign of life; the start of the session where there was none.
    last_contact: Duration,
    /// Whether there was a sign of life at all.
    heard: bool,
    /// The connection over which its heartbeats came is closed.
    hung_up: bool,
    /// The last offset of the metadata log that it has applied.
    applied: Offset,
    /// The last offset of the metadata log that it has on disk.
    replicated: Offset,
    /// What every broker must have applied before this one may stop, and since when.
    stops_after: Option<(Offset, Duration)>,
}

impl Session {
    const fn new(epoch: BrokerEpoch, now: Duration, heard: bool) -> Self {
        Self {
            epoch,
            last_contact: now,
            heard,
            hung_up: false,
            applied: Offset(-1),
            replicated: Offset(-1),
            stops_after: None,
        }
    }
}

impl BrokerHeartbeats {
    /// Knows nobody. `session_timeout` is `broker.session.timeout.ms`, `heartbeat_interval`
    /// `broker.heartbeat.interval.ms`.
    pub const fn new(session_timeout: Duration, heartbeat_interval: Duration) -> Self {
        Self { session_timeout, grace: heartbeat_interval, sessions: BTreeMap::new() }
    }

    /// A controller begins: every registered broker gets a fresh session.
    pub fn begin(&mut self, image: &ClusterImage, now: Duration) {
        let session = |b: &std::sync::Arc<crate::BrokerRegistration>| {
            let mut session = Session::new(b.epoch, now, false);
            // Who was stopping when the last controller ended waits for nothing that this one knows of.
            session.stops_after = b.in_controlled_shutdown.then_some((Offset(-1), now));
            (b.id, session)
        };
        self.sessions = image.brokers.values().map(session).collect();
    }

    /// A controller ends: what it knew does not count any more.
    pub fn end(&mut self) {
        self.sessions.clear();
    }

    /// A broker was registered: its session begins.
    pub fn registered(&mut self, id: NodeId, epoch: BrokerEpoch, now: Duration) {
        match self.sessions.get_mut(&id).filter(|session| session.epoch == epoch) {
            Some(session) => (session.last_contact, session.heard) = (now, true),
            None => drop(self.sessions.insert(id, Session::new(epoch, now, true))),
        }
    }

    /// A heartbeat came.
    pub fn heard(&mut self, id: NodeId, epoch: BrokerEpoch, applied: Offset, now: Duration) {
        let session = self.sessions.entry(id).or_insert_with(|| Session::new(epoch, now, true));
        if session.epoch != epoch {
            *session = Session::new(epoch, now, true);
        }
        (session.last_contact, session.heard, session.hung_up) = (now, true, false);
        session.applied = session.applied.max(applied);
    }

    /// A broker has the metadata log up to and with that offset on disk, as the quorum knows.
    pub fn replicated(&mut self, id: NodeId, last: Offset) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.replicated = session.replicated.max(last);
        }
    }

    /// The connection over which the broker's heartbeats came is closed: another process may have its id at once.
    pub fn hung_up(&mut self, id: NodeId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.hung_up = true;
        }
    }

    /// The broker is known to be gone, or was unregistered.
    pub fn forget(&mut self, id: NodeId) {
        self.sessions.remove(&id);
    }

    /// The broker begins to stop; everyone else must have applied the log up to and with `last` before it may end.
    pub fn stops_after(&mut self, id: NodeId, last: Offset, now: Duration) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.stops_after = Some((last, now));
        }
    }

    /// Whether the process registered under that epoch is taken for alive when another one asks for its id.
    pub fn is_alive(&self, id: NodeId, epoch: BrokerEpoch, now: Duration) -> bool {
        self.sessions.get(&id).is_some_and(|session| {
            let within = if session.heard { self.session_timeout } else { self.grace };
            let silent_for = now.saturating_sub(session.last_contact);
            session.epoch == epoch && !session.hung_up && silent_for < within
        })
    }

    /// The unfenced brokers whose session is over.
    pub fn stale(&self, image: &ClusterImage, now: Duration) -> Vec<(NodeId, BrokerEpoch)> {
        let unfenced = image.brokers.values().filter(|broker| !broker.fenced);
        let is_stale = |broker: &&std::sync::Arc<crate::BrokerRegistration>| {
            let session = self.sessions.get(&broker.id).filter(|s| s.epoch == broker.epoch);
            session.is_none_or(|s| now.saturating_sub(s.last_contact) >= self.session_timeout)
        };
        unfenced.filter(is_stale).map(|broker| (broker.id, broker.epoch)).collect()
    }

    /// When the next session of an unfenced broker ends if nothing is heard: when to look again.
    pub fn next_stale(&self, image: &ClusterImage) -> Option<Duration> {
        let unfenced = image.brokers.values().filter(|broker| !broker.fenced);
        let ends = unfenced.filter_map(|broker| self.sessions.get(&broker.id));
        ends.map(|session| session.last_contact.saturating_add(self.session_timeout)).min()
    }

    /// Whether a broker that stops may end now, as far as the others are concerned: those that are active know who
    /// leads in its place. They say so in their heartbeats; what they have had on disk for a moment counts as well, since
    /// heartbeats are far apart.
    pub fn may_end(&self, image: &ClusterImage, id: NodeId, now: Duration) -> bool {
        let Some((last, since)) = self.sessions.get(&id).and_then(|session| session.stops_after)
        else {
            return false;
        };
        let had_time = now.saturating_sub(since) >= TIME_TO_APPLY;
        let knows =
            |session: &Session| session.applied >= last || (had_time && session.replicated >= last);
        let mut others =
            image.brokers.values().filter(|broker| broker.is_active() && broker.id != id);
        others.all(|broker| self.sessions.get(&broker.id).is_some_and(knows))
    }
}

#[cfg(test)]
mod tests {
    use millstream_base::{BrokerEpoch, NodeId, Offset};

    use super::*;
    use crate::decide::{BrokerChange, ElectionDefaults, change_broker};
    use crate::tests::{cluster, replay};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Three brokers at epochs 0 to 2, heard from at 0 ms; sessions of 9 s, heartbeats every 2 s.
    fn tracker(image: &ClusterImage) -> BrokerHeartbeats {
        let mut tracker = BrokerHeartbeats::new(ms(9000), ms(2000));
        tracker.begin(image, ms(0));
        for id in 0..3 {
            tracker.heard(NodeId(id), BrokerEpoch(id.into()), Offset(5), ms(0));
        }
        tracker
    }

    #[test]
    fn the_silent_are_stale_and_the_fenced_are_not_looked_at() {
        let image = cluster(3);
        let mut tracker = tracker(&image);
        assert_eq!(
            (tracker.stale(&image, ms(8999)), tracker.next_stale(&image)),
            (vec![], Some(ms(9000)))
        );
        tracker.heard(NodeId(1), BrokerEpoch(1), Offset(6), ms(4000));
        let silent = [(NodeId(0), BrokerEpoch(0)), (NodeId(2), BrokerEpoch(2))];
        assert_eq!(tracker.stale(&image, ms(9000)), silent);
        let fence = change_broker(
            &image,
            ElectionDefaults::default(),
            NodeId(0),
            BrokerEpoch(0),
            BrokerChange::Fence,
        );
        let image = replay(&image, &fence.unwrap().records).0;
        assert_eq!(tracker.stale(&image, ms(9000)), silent[1..]);
        tracker.forget(NodeId(1));
        assert_eq!(tracker.stale(&image, ms(1)), [(NodeId(1), BrokerEpoch(1))], "known to be gone");
    }

    #[test]
    fn a_new_controller_gives_everyone_a_session_but_protects_no_id_for_long() {
        let image = cluster(3);
        let mut tracker = BrokerHeartbeats::new(ms(9000), ms(2000));
        assert_eq!(tracker.stale(&image, ms(100_000)).len(), 3, "one that leads knows its brokers");
        tracker.begin(&image, ms(100_000));
        assert_eq!(tracker.stale(&image, ms(108_999)), []);
        let alive =
            |tracker: &BrokerHeartbeats, at| tracker.is_alive(NodeId(1), BrokerEpoch(1), ms(at));
        assert_eq!((alive(&tracker, 101_999), alive(&tracker, 102_000)), (true, false));
        tracker.heard(NodeId(1), BrokerEpoch(1), Offset(1), ms(102_000));
        assert_eq!((alive(&tracker, 110_999), alive(&tracker, 111_000)), (true, false));
        tracker.heard(NodeId(1), BrokerEpoch(1), Offset(1), ms(111_000));
        tracker.hung_up(NodeId(1));
        assert!(!alive(&tracker, 111_000), "its connection is closed");
        tracker.heard(NodeId(1), BrokerEpoch(1), Offset(1), ms(111_001));
        assert!(alive(&tracker, 111_001), "it has a new one");
        assert!(!tracker.is_alive(NodeId(1), BrokerEpoch(9), ms(111_001)), "another process");
    }

    #[test]
    fn a_broker_ends_when_the_active_ones_know_who_leads_in_its_place() {
        let image = cluster(3);
        let mut tracker = tracker(&image);
        assert!(!tracker.may_end(&image, NodeId(0), ms(0)), "it has not begun to stop");
        tracker.stops_after(NodeId(0), Offset(7), ms(10));
        tracker.heard(NodeId(1), BrokerEpoch(1), Offset(7), ms(20));
        assert!(!tracker.may_end(&image, NodeId(0), ms(20)));
        tracker.replicated(NodeId(2), Offset(7));
        assert!(!tracker.may_end(&image, NodeId(0), ms(209)), "it has it, and may not have looked");
        assert!(tracker.may_end(&image, NodeId(0), ms(210)));
        let mut others_know = tracker.clone();
        others_know.heard(NodeId(2), BrokerEpoch(2), Offset(8), ms(30));
        assert!(others_know.may_end(&image, NodeId(0), ms(30)));
    }
}
