//! What makes several nodes one cluster: connections to the others, the way to the active controller, and this node's
//! place among them.
//!
//! Key types: [`Peers`] (calls to other brokers) and [`ControllerChannel`] (calls to the active controller, wherever it
//! is). Nothing here decides about metadata: that is the `metadata` crate's, on the active controller.

mod answer;
mod channel;
mod error;
mod links;
mod peers;

pub(crate) use answer::ControllerAnswer;
pub(crate) use channel::ControllerChannel;
pub(crate) use error::{ControllerError, PeerError};
pub(crate) use links::{Channel, Links};
pub(crate) use peers::Peers;
