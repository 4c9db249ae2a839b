//! How messages travel: late, out of order, twice or never.

use millstream_base::NodeId;

use super::{Event, World, number};
use crate::controller::partition_of;
use crate::message::{Address, Message};
use crate::scenario::LATEST_US;

impl World {
    /// Sends a message into the network.
    pub(super) fn send(&mut self, from: Address, to: Address, message: Message) {
        if self.is_blocked(from, to) {
            return;
        }
        let quiet = self.healed;
        if !quiet && self.rng.below(1000) < self.scenario.lost_permille {
            return;
        }
        let doubles =
            !quiet && can_double(&message) && self.rng.below(1000) < self.scenario.doubled_permille;
        if doubles {
            let delay = self.delay();
            self.after(delay, Event::Deliver { to, message: message.clone() });
        }
        let delay = self.delay();
        self.after(delay, Event::Deliver { to, message });
    }

    fn delay(&mut self) -> u64 {
        if !self.healed && self.rng.below(1000) < self.scenario.late_permille {
            return self.rng.between(self.scenario.delay_us, LATEST_US);
        }
        self.rng.between(50, self.scenario.delay_us)
    }

    fn is_blocked(&self, from: Address, to: Address) -> bool {
        match (place(from), place(to)) {
            (Some(from), Some(to)) => self.blocked.contains(&(from, to)),
            _ => false,
        }
    }

    pub(super) fn deliver(&mut self, to: Address, message: Message) {
        if let Address::Node(id) = to
            && let Some(until) = self.nodes.get(&id).map(|node| node.stalled_until_us)
            && self.now_us < until
        {
            let wait = until - self.now_us;
            return self.after(wait, Event::Deliver { to, message });
        }
        let [kind, a, b] = message.tag();
        let place = place(to).map_or(1000, number);
        self.note(&[place, kind, a, b], || format!("to {to:?}: {message:?}"));
        match (to, message) {
            (Address::Client(number), Message::Produced { request, answer }) => {
                if let Some(client) = self.clients.get_mut(number) {
                    client.on_answer(request, answer, self.now_us, &mut self.rng);
                }
            }
            (Address::Node(id), Message::Metadata { upto }) => {
                let image = self.controller.image_at(upto);
                self.with_node(id, |node, ctx| node.on_metadata(upto, image, ctx));
            }
            (Address::Node(id), message) => {
                self.with_node(id, |node, ctx| node.receive(message, ctx));
            }
            (Address::Controller, message) => self.control(message),
            (Address::Client(_), _) => {}
        }
    }

    /// What the controller answers, if somebody is the controller.
    fn control(&mut self, message: Message) {
        let now_us = self.now_us;
        if now_us < self.controller.away_until_us {
            return;
        }
        let controller = &mut self.controller;
        let (to, answer) = match message {
            Message::Register { from, incarnation, previous } => {
                let answer = controller.register(from, incarnation, previous, now_us);
                (from, Message::Registered { incarnation, answer })
            }
            Message::Heartbeat { from, epoch, applied, stopping } => {
                let answer = controller.heartbeat(from, epoch, applied, stopping, now_us);
                (from, Message::HeartbeatAnswer { epoch, answer })
            }
            Message::GetMetadata { from } => {
                (from, Message::Metadata { upto: controller.applied() })
            }
            Message::Alter { from, epoch, partition, request, proposal } => {
                let answer = controller.alter(from, epoch, partition, &proposal);
                (from, Message::Altered { partition, request, answer })
            }
            _ => return,
        };
        self.send(Address::Controller, Address::Node(to), answer);
    }

    /// Whether the metadata has changed since this was last asked.
    pub(super) fn metadata_changed(&mut self) -> bool {
        let applied = self.controller.applied();
        let before = std::mem::replace(&mut self.checked_upto, applied);
        if before == applied {
            return false;
        }
        let (old, new) = (self.controller.image_at(before), self.controller.image_at(applied));
        for partition in 0..self.scenario.partitions {
            let (old, new) = (partition_of(&old, partition), partition_of(&new, partition));
            if old != new {
                let new = new.cloned();
                self.note(&[93, applied as u64], || format!("partition {partition} is {new:?}"));
            }
        }
        true
    }
}

/// TCP doubles nothing; a request is there twice only where its sender asks again. What is asked again with other
/// numbers (a proposal) or not at all (a write without a producer id) comes once.
const fn can_double(message: &Message) -> bool {
    !matches!(message, Message::Alter { .. } | Message::Produce { all: false, .. })
}

/// The controller is 0; clients reach everybody.
const fn place(address: Address) -> Option<NodeId> {
    match address {
        Address::Node(id) => Some(id),
        Address::Controller => Some(NodeId(0)),
        Address::Client(_) => None,
    }
}
