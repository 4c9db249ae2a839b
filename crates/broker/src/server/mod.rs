//! Listeners, connections and the order of requests on them.
//!
//! A connection is one task: it reads frames, hands each to [`crate::dispatch`] and sends the answers in the order of
//! the requests. No request moves to another task unless it has to wait for a disk.

mod connection;
mod foreign;
mod input;
mod listener;
mod memory;
mod outgoing;

pub(crate) use listener::{Listener, ListenerLimits, bind};
pub(crate) use memory::RequestMemory;
pub(crate) use outgoing::Outgoing;
