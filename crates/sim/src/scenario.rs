//! What one run is like: drawn from its seed.
//!
//! Key types: [`Scenario`] (sizes, times, which faults) and [`Bug`] (a mistake made on purpose, which the checks must
//! find). Nothing else of a run is chosen outside its seed.

use crate::rng::Rng;

/// A mistake that the simulated host makes on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Bug {
    /// A follower cuts its log at its high watermark instead of where the epochs part.
    TruncateToHighWatermark,
    /// A leader's high watermark moves with its own log, before the ISR has it.
    EarlyHighWatermark,
    /// A leader takes followers out of the ISR by itself, and so acknowledges when it is fenced.
    ShrinkAlone,
    /// A leader proposes a follower for the ISR before that has caught up.
    EarlyExpansion,
    /// A broker acts by the metadata that it had before a crash, before it is registered again.
    RoleBeforeRegistration,
}

/// The size, the timing and the faults of a run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How many brokers.
    pub brokers: usize,
    /// How many partitions.
    pub partitions: i32,
    /// How many replicas each.
    pub replicas: usize,
    /// `min.insync.replicas`.
    pub min_insync: usize,
    /// How many producers.
    pub clients: usize,
    /// Whether eligible leader replicas are kept (KIP-966).
    pub elr: bool,
    /// Whether every append is synced before anyone hears of it.
    pub durable: bool,
    /// Whether machines lose power, and with it what is not synced.
    pub power_losses: bool,
    /// How long faults go on.
    pub faults_until_us: u64,
    /// The pause between two faults, at most.
    pub fault_every_us: u64,
    /// Messages lost, in a thousand.
    pub lost_permille: u64,
    /// Messages doubled, in a thousand.
    pub doubled_permille: u64,
    /// The usual delay of a message, at most.
    pub delay_us: u64,
    /// Messages that come very late, in a thousand.
    pub late_permille: u64,
    /// `broker.session.timeout.ms`, in microseconds.
    pub session_us: u64,
    /// `replica.lag.time.max.ms`, in microseconds.
    pub lag_us: u64,
    /// The mistake, if one is to be made.
    pub bug: Option<Bug>,
}

/// How late a message can be at most: less than a leader waits for a proposal of which it knows nothing.
pub(crate) const LATEST_US: u64 = 150_000;

impl Scenario {
    /// The scenario of a seed.
    pub fn draw(seed: u64, bug: Option<Bug>) -> Self {
        let mut rng = Rng::new(seed);
        let brokers = rng.between(3, 5);
        let replicas = rng.between(2, brokers.min(4));
        let calm = rng.percent(10);
        let noise = |rng: &mut Rng, most| if calm { 0 } else { rng.below(most) };
        Self {
            brokers: usize::try_from(brokers).unwrap_or(3),
            partitions: i32::try_from(rng.between(1, 2)).unwrap_or(1),
            replicas: usize::try_from(replicas).unwrap_or(3),
            min_insync: usize::try_from(rng.between(1, replicas.min(3))).unwrap_or(1),
            clients: usize::try_from(rng.between(1, 3)).unwrap_or(1),
            elr: rng.percent(50),
            durable: rng.percent(30),
            power_losses: rng.percent(40),
            faults_until_us: rng.between(1_500_000, 4_000_000),
            fault_every_us: rng.between(50_000, 500_000),
            lost_permille: noise(&mut rng, 60),
            doubled_permille: noise(&mut rng, 40),
            delay_us: rng.between(300, 6_000),
            late_permille: noise(&mut rng, 30),
            session_us: rng.between(200_000, 400_000),
            lag_us: rng.between(250_000, 500_000),
            bug,
        }
    }
}
