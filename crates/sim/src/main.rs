//! Runs seeds of the simulator and shows the first that fails.

use anyhow::bail;
use clap::Parser;
use millstream_sim::{Bug, Outcome, QuorumBug, run, run_quorum};

/// Looks for seeds whose run breaks an invariant.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// A mistake to make on purpose.
    #[arg(long, value_enum)]
    bug: Option<Bug>,
    /// Run the metadata quorum itself instead of brokers.
    #[arg(long)]
    quorum: bool,
    /// With `--quorum`: votes are not synced.
    #[arg(long, requires = "quorum")]
    unsynced_vote: bool,
    /// Print the whole story of each run.
    #[arg(long)]
    trace: bool,
    /// Go on after a failure.
    #[arg(long)]
    all: bool,
}

fn run_one(seed: u64, arguments: &Arguments, verbose: bool) -> Outcome {
    match arguments.quorum {
        true => {
            run_quorum(seed, arguments.unsynced_vote.then_some(QuorumBug::UnsyncedVote), verbose)
        }
        false => run(seed, arguments.bug, verbose),
    }
}

#[allow(clippy::print_stdout)]
fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (mut failed, mut acknowledged, mut damaged, mut steps, mut hash) = (0_u64, 0, 0, 0, 0_u64);
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        let outcome = run_one(seed, &arguments, arguments.trace);
        acknowledged += outcome.acknowledged;
        damaged += outcome.damaged;
        steps += outcome.steps;
        hash = hash.rotate_left(1) ^ outcome.hash;
        if arguments.trace {
            outcome.story.iter().for_each(|line| println!("{line}"));
        }
        let Some(violation) = &outcome.violation else { continue };
        failed += 1;
        println!("seed {seed} ({:016x}): {violation}", outcome.hash);
        if !arguments.all {
            let again = run_one(seed, &arguments, true);
            let skip = again.story.len().saturating_sub(60);
            again.story.iter().skip(skip).for_each(|line| println!("  {line}"));
            println!("the whole story: millstream-sim --from {seed} --seeds 1 --trace");
            break;
        }
    }
    println!(
        "{} seeds from {}: {steps} steps, {acknowledged} writes acknowledged, {damaged} partitions \
         without a survivor, {failed} failed, hash {hash:016x}",
        arguments.seeds, arguments.from
    );
    if failed > 0 {
        bail!("{failed} seeds failed");
    }
    Ok(())
}
