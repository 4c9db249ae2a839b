//! Tests of whole shards.

mod classic;
mod commits;
mod consumer;
mod lab;
mod mixed;
mod model;
mod offsets;
pub(crate) use model::Dice;
mod stored;
mod topics;
