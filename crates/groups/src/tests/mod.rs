//! Tests of whole shards.
