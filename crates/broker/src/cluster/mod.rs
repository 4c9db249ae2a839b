//! What makes several nodes one cluster: connections to the others, the way to the active controller, and this node's
//! place among them.
//!
//! Key types: [`Peers`] (calls to other brokers) and [`ControllerChannel`] (calls to the active controller, wherever it
//! is). Nothing here decides about metadata: that is the `metadata` crate's, on the active controller.

mod answer;
mod channel;
mod controller_registration;
mod controllers;
mod discover;
mod error;
mod forward;
mod hosting;
mod lifecycle;
mod links;
mod peers;
mod registration;
mod topics;
mod transport;
mod watch;

pub(crate) use channel::ControllerChannel;
pub(crate) use controller_registration::keep_registered;
pub(crate) use controllers::Controllers;
pub(crate) use discover::voters;
pub(crate) use forward::forward;
pub(crate) use hosting::Hosting;
pub(crate) use lifecycle::Lifecycle;
pub(crate) use links::{Channel, Links};
pub(crate) use peers::Peers;
pub use registration::JoinError;
pub(crate) use registration::Registration;
pub(crate) use transport::QuorumTransport;
pub(crate) use watch::{hung_up, watch_as_controller};
