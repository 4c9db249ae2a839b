//! Where members of the quorum are reached.
//!
//! Key type: [`Place`]. A node that moved tells where it is; the settings say it, or the log remembers it. Whichever of these
//! answers is kept to; where one does not, the next one is tried.

use std::collections::BTreeMap;

use millstream_base::NodeId;

use super::node::Node;
use super::types::Member;
use crate::transport::Peer;

/// What is known of where a member is.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// What it said itself.
    told: Option<Peer>,
    /// Where it answered last, unless that failed since.
    good: Option<Peer>,
    /// How often it was not reached: which of the places is next.
    failures: usize,
}

impl Node {
    /// All places where a node may be, the likeliest first.
    fn candidates(&self, id: i32, member: &Member, place: Option<&Place>) -> Vec<Peer> {
        let configured = self.options.voters.iter().find(|voter| voter.peer.id == NodeId(id));
        let configured = configured.map(|voter| voter.peer.clone());
        let told = place.and_then(|place| place.told.clone());
        let mut all = Vec::with_capacity(3);
        for peer in [told, configured, Some(member.peer(id))].into_iter().flatten() {
            if !peer.host.is_empty() && !all.contains(&peer) {
                all.push(peer);
            }
        }
        all
    }

    /// Where a node is to be asked.
    pub(crate) fn peer(&self, id: i32, member: &Member) -> Peer {
        let places = self.places.lock();
        let place = places.get(&id);
        if let Some(good) = place.and_then(|place| place.good.clone()) {
            return good;
        }
        let all = self.candidates(id, member, place);
        let next = place.map_or(0, |place| place.failures) % all.len().max(1);
        all.get(next).cloned().unwrap_or_else(|| member.peer(id))
    }

    /// Whether a node answered there. Says whether it is known to have been there.
    pub(crate) fn is_reached(&self, id: i32, peer: &Peer, answered: bool) -> bool {
        let mut places = self.places.lock();
        let place = places.entry(id).or_default();
        if answered {
            place.good = Some(peer.clone());
            return true;
        }
        let was_there = place.good.as_ref() == Some(peer);
        if was_there || place.good.is_none() {
            place.good = None;
            place.failures = place.failures.wrapping_add(1);
        }
        was_there
    }

    /// Another node answers where that one was expected.
    pub(crate) fn is_elsewhere(&self, id: i32) {
        if let Some(place) = self.places.lock().get_mut(&id) {
            place.good = None;
            place.failures = place.failures.wrapping_add(1);
        }
    }

    /// A member says where it is.
    pub(crate) fn is_at(&self, peer: Peer) {
        let id = peer.id.get();
        if peer.host.is_empty() || self.membership().get_node(&id).is_none() {
            return;
        }
        let mut places = self.places.lock();
        let place = places.entry(id).or_default();
        if place.told.as_ref() != Some(&peer) {
            *place = Place { told: Some(peer), good: None, failures: 0 };
        }
    }

    /// Where members are for certain.
    pub(crate) fn known_places(&self) -> BTreeMap<i32, Peer> {
        let places = self.places.lock();
        places.iter().filter_map(|(id, place)| Some((*id, place.good.clone()?))).collect()
    }
}
