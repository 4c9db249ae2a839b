//! The longest time without an acknowledgement when the leader of a partition dies or is stopped, seen by librdkafka
//! with acks=all, one record a millisecond to each of six partitions.

use super::{create, start};
use crate::Plan;
use crate::figure::{Figure, Report};
use anyhow::{Context, Result, ensure};
use millstream_testkit::TestCluster;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Message};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 6;
const TOPIC: &str = "failover";
const VALUE: [u8; 100] = [b'x'; 100];
const PACE: Duration = Duration::from_millis(1);
/// Silent brokers and leaders of the quorum are found earlier, and the client asks again sooner.
const TUNED: &[(&str, &str)] = &[
    ("broker.session.timeout.ms", "2000"),
    ("broker.heartbeat.interval.ms", "200"),
    ("controller.quorum.election.timeout.ms", "300"),
    ("controller.quorum.fetch.timeout.ms", "600"),
];
const TUNED_CLIENT: &[(&str, &str)] = &[
    ("retry.backoff.ms", "10"),
    ("reconnect.backoff.ms", "10"),
    ("topic.metadata.refresh.fast.interval.ms", "20"),
];

/// What happens to the leader.
#[derive(Clone, Copy)]
enum Harm {
    /// kill -9 of one that is not the active controller.
    Kill,
    /// kill -9 of one that is.
    KillController,
    /// A controlled stop.
    Stop,
}

/// Runs and shows.
pub(super) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    report.heading(
        "Failover of three brokers, six partitions of three replicas, acks all: longest gap in any partition's acknowledgements",
    );
    for (name, settings, client, kill, stop) in [
        ("default time-outs", &[][..], &[][..], 2_000.0, 100.0),
        ("tuned", TUNED, TUNED_CLIENT, 500.0, 100.0),
    ] {
        let mut cluster = start(plan, settings)?;
        create(&mut cluster, TOPIC, PARTITIONS)?;
        for (what, harm, target) in [
            ("kill -9 of a leader", Harm::Kill, kill),
            ("kill -9 of a leader and controller", Harm::KillController, kill),
            ("controlled stop of a leader", Harm::Stop, stop),
        ] {
            let mut gaps = Vec::new();
            // One kill says little: it meets the brokers' timers at some point.
            for _ in 0..plan.runs.max(2) * 2 - 1 {
                gaps.push(one_gap(&mut cluster, harm, client)?);
            }
            let figure = Figure::lower(format!("{what}, {name}"), "ms", gaps);
            report.add(&figure.target(target));
        }
    }
    Ok(())
}

/// Milliseconds.
fn one_gap(cluster: &mut TestCluster, harm: Harm, client: &[(&str, &str)]) -> Result<f64> {
    balance(cluster)?;
    let load = Load::start(&cluster.bootstrap(), client)?;
    std::thread::sleep(Duration::from_millis(500));
    let controller = cluster.controller().context("no controller")?;
    let victim = match harm {
        Harm::KillController => controller,
        _ => cluster.ids().into_iter().find(|&id| id != controller).context("another broker")?,
    };
    load.mark();
    match harm {
        Harm::Stop => cluster.stop(victim)?,
        _ => cluster.kill(victim)?,
    }
    let gap = load.longest_once_all_go_on()?;
    cluster.launch(victim)?;
    cluster.wait_ready(super::SOON)?;
    cluster.wait_in_sync(TOPIC, super::SOON)?;
    load.stop()?;
    Ok(gap.as_secs_f64() * 1e3)
}

/// Every broker leads its share again, so that whoever is harmed leads something.
fn balance(cluster: &mut TestCluster) -> Result<()> {
    use millstream_wire::messages::elect_leaders::ElectLeadersRequest;
    let request = ElectLeadersRequest { timeout_ms: 30_000, ..ElectLeadersRequest::default() };
    let request = ElectLeadersRequest { topic_partitions: None, ..request };
    cluster.connect(1)?.call(&request, 2)?;
    cluster.wait_for("every broker leads", super::SOON, |cluster| {
        let answer = cluster.metadata(1, &[TOPIC])?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let mut leaders: Vec<i32> = partitions.map(|each| each.leader_id).collect();
        leaders.sort_unstable();
        leaders.dedup();
        Ok(leaders.len() == 3 && leaders.iter().all(|&leader| leader > 0))
    })
}

/// When each partition was last acknowledged, and the longest gap since the mark.
#[derive(Clone, Copy)]
struct Seen {
    last: Instant,
    longest: Duration,
    count: u64,
}

/// Notes acknowledgements.
#[derive(Clone)]
struct Notes {
    partitions: Arc<Mutex<Vec<Seen>>>,
    failed: Arc<AtomicU64>,
}

impl Notes {
    fn with<R>(&self, look: impl FnOnce(&mut Vec<Seen>) -> R) -> R {
        look(&mut self.partitions.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Notes {}

impl ProducerContext for Notes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let Ok(message) = result else {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let now = Instant::now();
        let partition = usize::try_from(message.partition()).unwrap_or_default();
        self.with(|partitions| {
            if let Some(seen) = partitions.get_mut(partition) {
                seen.longest = seen.longest.max(now - seen.last);
                seen.last = now;
                seen.count += 1;
            }
        });
    }
}

/// A producer that goes on until it is stopped.
struct Load {
    notes: Notes,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<()>>,
}

impl Load {
    fn start(bootstrap: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let seen = Seen { last: Instant::now(), longest: Duration::ZERO, count: 0 };
        let notes = Notes {
            partitions: Arc::new(Mutex::new(vec![seen; PARTITIONS as usize])),
            failed: Arc::default(),
        };
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("acks", "all");
        config.set("enable.idempotence", "true").set("linger.ms", "0");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        let producer: BaseProducer<Notes> = config.create_with_context(notes.clone())?;
        let stop = Arc::new(AtomicBool::new(false));
        let halt = stop.clone();
        let thread = std::thread::spawn(move || {
            while !halt.load(Ordering::Relaxed) {
                for partition in 0..PARTITIONS {
                    let record = BaseRecord::<(), [u8]>::to(TOPIC).partition(partition);
                    let sent = producer.send(record.payload(&VALUE[..]));
                    sent.map_err(|(error, _)| error)?;
                }
                producer.poll(PACE);
            }
            Ok(producer.flush(Duration::from_secs(30))?)
        });
        Ok(Self { notes, stop, thread })
    }

    /// Gaps count from here; one that is open has begun at the last acknowledgement.
    fn mark(&self) {
        self.notes.with(|partitions| {
            for seen in partitions {
                seen.longest = Duration::ZERO;
            }
        });
    }

    /// The longest gap, when every partition has acknowledged a good many again.
    fn longest_once_all_go_on(&self) -> Result<Duration> {
        let counts = |seen: &[Seen]| seen.iter().map(|seen| seen.count).collect::<Vec<_>>();
        let before = self.notes.with(|partitions| counts(partitions));
        let began = Instant::now();
        loop {
            std::thread::sleep(Duration::from_millis(20));
            let now = self.notes.with(|partitions| counts(partitions));
            if before.iter().zip(&now).all(|(before, now)| now - before > 1_000) {
                return Ok(self.notes.with(|partitions| {
                    partitions.iter().map(|seen| seen.longest).max().unwrap_or_default()
                }));
            }
            ensure!(began.elapsed() < super::SOON, "not all partitions go on: {before:?} {now:?}");
        }
    }

    fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the producer panicked")??;
        let failed = self.notes.failed.load(Ordering::Relaxed);
        ensure!(failed == 0, "{failed} records were not acknowledged");
        Ok(())
    }
}
