//! Transactions as producers and readers see them: what is committed is seen, whole and in order; what is aborted never.

mod bad_input;
mod compacted;
mod ends;
mod faults;
mod offsets;
pub mod producer;
mod races;
mod tools;
mod visibility;

use producer::{Old, Producer};

use crate::support::broker::TestBroker;

/// A broker whose coordinators' topics are small, so that tests start fast.
fn broker() -> TestBroker {
    broker_with(&[])
}

fn broker_with(settings: &[(&str, &str)]) -> TestBroker {
    let mut all = vec![
        ("transaction.state.log.num.partitions", "2"),
        ("offsets.topic.num.partitions", "2"),
        ("group.initial.rebalance.delay.ms", "0"),
    ];
    all.extend(settings);
    TestBroker::with(&all)
}
