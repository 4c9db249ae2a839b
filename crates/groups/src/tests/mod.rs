//! Tests of whole shards.

mod classic;
mod lab;
mod model;
pub(crate) use model::Dice;
mod stored;
