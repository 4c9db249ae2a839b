//! Tests of whole shards.

mod classic;
mod lab;
mod model;
mod stored;
