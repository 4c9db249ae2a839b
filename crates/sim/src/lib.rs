//! Whole clusters in one thread, under a seed.
//!
//! Key types: [`Scenario`] (what a run is like), [`run`] (one run), [`Outcome`]. Nodes, disks, network and clocks are
//! simulated; what decides is the product's: the replica cores of `millstream_partition` and the controller's decisions of
//! `millstream_metadata`. Messages are lost, doubled, late and out of order; links fail, also in one direction; processes
//! are killed, hang, or lose power with what was not synced; clocks run apart; leaders are elected, ISRs change,
//! partitions move and brokers join meanwhile. After every step the checks of `checker` hold the product's
//! invariants against what is there; at the end everything is healed and has to come to rest.
//!
//! A seed is the whole run: the same seed gives the same trace, whose hash is printed. To look for more than the tests
//! do, and to see a failing seed's story:
//!
//! ```text
//! cargo run -p millstream-sim -- --seeds 100000 --from 1
//! cargo run -p millstream-sim -- --seeds 1 --from 4711 --trace
//! cargo run -p millstream-sim -- --seeds 500 --bug truncate-to-high-watermark
//! ```
//!
//! A mistake can be made on purpose ([`Bug`]): the tests show that the checks find each of them. The simulator never
//! runs a real clock, thread, socket or file.

mod checker;
mod client;
mod controller;
pub mod disk;
mod message;
mod node;
mod quorum;
pub mod rng;
mod scenario;
mod trace;
mod world;

pub use quorum::{QuorumBug, run_quorum};
pub use scenario::{Bug, Scenario};

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Which run.
    pub seed: u64,
    /// The hash of everything that happened.
    pub hash: u64,
    /// How many steps there were.
    pub steps: u64,
    /// How many writes were acknowledged with acks=all.
    pub acknowledged: u64,
    /// How many partitions lost every replica that was in sync, by power losses: nothing is said of those.
    pub damaged: u64,
    /// What was wrong, if anything.
    pub violation: Option<String>,
    /// The last steps, where asked for.
    pub story: Vec<String>,
}

/// Runs a seed's scenario.
pub fn run(seed: u64, bug: Option<Bug>, verbose: bool) -> Outcome {
    let mut world = World::new(seed, Scenario::draw(seed, bug), verbose);
    // An assertion of the product that fails is a violation like any other.
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match ran {
        Ok(result) => result.err(),
        Err(panic) => Some(what_panicked(panic.as_ref())),
    };
    Outcome {
        seed,
        hash: world.trace.hash(),
        steps: world.trace.steps(),
        acknowledged: world.checker.acknowledged,
        damaged: world.checker.damaged,
        violation,
        story: world.trace.lines().map(str::to_owned).collect(),
    }
}

fn what_panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    format!("an assertion failed: {}", text.unwrap_or_default())
}
