//! Tests of whole shards.

mod classic;
mod consumer;
mod lab;
mod mixed;
mod model;
pub(crate) use model::Dice;
mod stored;
mod topics;
