//! A follower's log: equal to the leader's in all it holds, whatever is cut, torn or lost in between.

use std::sync::Arc;

use millstream_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use millstream_log::{AppendError, AppendOrigin, Log, LogConfig, OpenOptions};
use millstream_records::{BatchOptions, EndTxnMarker};

use crate::fault_fs::{Fault, FaultFs};
use crate::support::*;

const NOW: TimestampMs = TimestampMs(5);

/// Appends as leaders do: idempotent and transactional producers, markers, epochs, plain batches.
struct Leader {
    log: Log,
    rng: Rng,
    epoch: i32,
    sequences: [i32; 3],
    open: [bool; 3],
}

impl Leader {
    fn new(log: Log, seed: u64) -> Self {
        Self { log, rng: Rng::new(seed), epoch: 0, sequences: [0; 3], open: [false; 3] }
    }

    fn step(&mut self) {
        let who = self.rng.below(3) as usize;
        let id = who as i64 + 1;
        let (bytes, origin) = match self.rng.below(8) {
            0 => {
                self.epoch += 1 + self.rng.below(2) as i32;
                self.log.begin_epoch(LeaderEpoch(self.epoch));
                return;
            }
            1 | 2 if self.open[who] => {
                self.open[who] = false;
                let committed = self.rng.chance(2);
                let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
                let (id, epoch) = (ProducerId(id), ProducerEpoch(0));
                let batch = marker.batch(id, epoch, Offset(0), LeaderEpoch(0), NOW).unwrap();
                (batch, AppendOrigin::Coordinator)
            }
            3 => (batch(&["plain"], 5), AppendOrigin::Client),
            _ => {
                self.open[who] |= self.rng.chance(2);
                let transactional = self.open[who];
                let options =
                    BatchOptions { transactional, ..producer(id, 0, self.sequences[who]) };
                self.sequences[who] += 2;
                (batch_with(&["one", "two"], 5, options), AppendOrigin::Client)
            }
        };
        self.append(bytes, origin);
    }

    fn append(&mut self, mut bytes: Vec<u8>, origin: AppendOrigin) {
        self.log.append(&mut bytes, LeaderEpoch(self.epoch), origin, NOW).unwrap();
    }
}

fn bytes_of(log: &Log, from: i64, to: i64) -> Vec<u8> {
    let mut all = Vec::new();
    let mut next = from;
    while next < to {
        let Some(range) = log.read(Offset(next), Offset(to), 400, true).unwrap().range else {
            break;
        };
        let read = range.read().unwrap();
        for batch in millstream_records::Batches::new(&read) {
            let Ok(batch) = batch else { break };
            next = batch.header().next_offset().get();
            all.extend_from_slice(batch.bytes());
        }
    }
    all
}

fn aborted(log: &Log) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.end_offset() {
        let plan = log.plan_read(next, log.end_offset(), 300, true).unwrap();
        let range = plan.resolve().unwrap().range.unwrap();
        for txn in plan.aborted(next, &range).unwrap() {
            found.push((txn.producer_id.get(), txn.first_offset.get()));
        }
        let bytes = range.read().unwrap();
        let whole = millstream_records::Batches::new(&bytes).map_while(Result::ok);
        next = whole.last().unwrap().header().next_offset();
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn assert_equal(copy: &Log, leader: &Log) {
    assert_eq!(copy.end_offset(), leader.end_offset());
    let (from, to) = (copy.log_start_offset().get(), copy.end_offset().get());
    assert!(bytes_of(copy, from, to) == bytes_of(leader, from, to), "the bytes differ");
    let producers = |log: &Log| {
        let all = log.producers().iter();
        let told = all.map(|(id, s)| (id, s.epoch, s.last_sequence(), s.txn_first_offset));
        told.collect::<Vec<_>>()
    };
    assert_eq!(producers(copy), producers(leader));
    assert_eq!(aborted(copy), aborted(leader));
    for epoch in 0..40 {
        let told = |log: &Log| {
            let (epoch, end) = log.epoch_end_offset(LeaderEpoch(epoch))?;
            // An epoch without a record is not in a copy.
            log.epochs().epoch_of(Offset(end.get() - 1)).filter(|e| *e == epoch).map(|e| (e, end))
        };
        assert_eq!(told(copy).is_some(), told(leader).is_some(), "epoch {epoch}");
    }
}

fn fetch(copy: &mut Log, leader: &Log, max_bytes: u32) -> Result<(), AppendError> {
    let read = leader.read(copy.end_offset(), leader.end_offset(), max_bytes, true).unwrap();
    let Some(range) = read.range else { return Ok(()) };
    copy.append_as_follower(&range.read().unwrap(), NOW).map(drop)
}

fn catch_up(copy: &mut Log, leader: &Log, rng: &mut Rng) {
    while copy.end_offset() < leader.end_offset() {
        fetch(copy, leader, 1 + rng.below(3000) as u32).unwrap();
    }
}

fn reopen(fs: &Arc<FaultFs>, recovery_point: Offset) -> Log {
    let options = OpenOptions { recovery_point, ..options(9) };
    open_with(fs, small(), &options).0
}

/// Copies a leader that goes on, with own records that the leader lacks, cuts and crashes in between.
fn live(seed: u64) {
    let (fs, copy_fs) = (FaultFs::new(), FaultFs::new());
    let mut leader = Leader::new(open_with(&fs, LogConfig::default(), &options(0)).0, seed);
    let (mut copy, _) = open_with(&copy_fs, small(), &options(0));
    let mut rng = Rng::new(seed + 1000);
    for _ in 0..60 {
        for _ in 0..rng.below(8) {
            leader.step();
        }
        match rng.below(6) {
            0 => {
                // It led for a moment: what it wrote then is not in the new leader's log.
                let common = copy.end_offset();
                leader.epoch += 1;
                copy.begin_epoch(LeaderEpoch(leader.epoch));
                for _ in 0..rng.below(4) {
                    let epoch = LeaderEpoch(leader.epoch);
                    let mut own = batch_with(&["own"], 5, producer(9, 0, -1));
                    let _ = copy.append(&mut own, epoch, AppendOrigin::Coordinator, NOW);
                }
                leader.epoch += 1;
                leader.log.begin_epoch(LeaderEpoch(leader.epoch));
                assert_eq!(copy.truncate_to(common, NOW).unwrap(), common);
            }
            1 => {
                let point = if rng.chance(2) { copy.recovery_point() } else { Offset(0) };
                drop(copy);
                copy = reopen(&copy_fs, point);
            }
            2 => {
                copy.flush().unwrap();
            }
            3 => {
                let cut = Offset(copy.end_offset().get() - rng.below(9) as i64).max(Offset(0));
                copy.truncate_to(cut, NOW).unwrap();
            }
            _ => drop(fetch(&mut copy, &leader.log, 1 + rng.below(2500) as u32)),
        }
    }
    catch_up(&mut copy, &leader.log, &mut rng);
    assert_equal(&copy, &leader.log);
    drop(copy);
    let copy = reopen(&copy_fs, Offset(0));
    assert_equal(&copy, &leader.log);
}

#[test]
fn a_copy_equals_its_leader_in_all_it_holds() {
    for seed in 1..=150 {
        if let Err(cause) = std::panic::catch_unwind(|| live(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn a_copy_torn_at_any_byte_or_cut_at_any_change_catches_up() {
    let mut leader =
        Leader::new(open_with(&FaultFs::new(), LogConfig::default(), &options(0)).0, 7);
    for _ in 0..40 {
        leader.step();
    }
    let whole = bytes_of(&leader.log, 0, leader.log.end_offset().get()).len();
    let mut rng = Rng::new(3);
    for keep in (0..whole).step_by(3) {
        let fs = FaultFs::new();
        let (mut copy, _) = open_with(&fs, small(), &options(0));
        // The write that is torn is the first, or one after a roll.
        fs.arm(rng.below(12), Fault::Crash { keep });
        let mut cut = false;
        while copy.end_offset() < leader.log.end_offset() {
            let failed = fetch(&mut copy, &leader.log, 700).is_err();
            cut |= !failed && rng.chance(4) && copy.truncate_to(Offset(6), NOW).is_err();
            if failed || cut || rng.chance(5) {
                break;
            }
        }
        drop(copy);
        fs.restart(false);
        let mut copy = reopen(&fs, Offset(0));
        assert!(copy.end_offset() <= leader.log.end_offset());
        catch_up(&mut copy, &leader.log, &mut rng);
        assert_equal(&copy, &leader.log);
    }
}

#[test]
fn truncation_interrupted_at_any_change_leaves_a_log_that_goes_on() {
    let mut leader =
        Leader::new(open_with(&FaultFs::new(), LogConfig::default(), &options(0)).0, 4);
    for _ in 0..150 {
        leader.step();
    }
    let (end, mut rng) = (leader.log.end_offset().get(), Rng::new(5));
    for round in 0..120 {
        let fs = FaultFs::new();
        let (mut copy, _) = open_with(&fs, small(), &options(0));
        catch_up(&mut copy, &leader.log, &mut rng);
        if rng.chance(2) {
            copy.flush().unwrap();
        }
        let to = rng.below(end as u64) as i64;
        let anew = rng.chance(4);
        fs.arm(round % 30, Fault::Crash { keep: rng.below(100) as usize });
        if anew {
            let _ = copy.truncate_fully_and_start_at(Offset(to), NOW);
        } else {
            let _ = copy.truncate_to(Offset(to), NOW);
        }
        let point = copy.recovery_point();
        drop(copy);
        fs.restart(false);
        let mut copy = reopen(&fs, if rng.chance(2) { Offset(0) } else { point });
        if anew {
            copy.truncate_fully_and_start_at(Offset(0), NOW).unwrap();
        } else {
            copy.truncate_to(Offset(to.min(copy.end_offset().get())), NOW).unwrap();
        }
        catch_up(&mut copy, &leader.log, &mut rng);
        assert_equal(&copy, &leader.log);
    }
}

#[test]
fn only_sound_batches_that_go_on_are_taken() {
    let mut leader =
        Leader::new(open_with(&FaultFs::new(), LogConfig::default(), &options(0)).0, 1);
    for epoch in [3, 3, 5] {
        leader.epoch = epoch;
        leader.append(batch(&["a", "b"], 1), AppendOrigin::Client);
    }
    let all = bytes_of(&leader.log, 0, 6);
    let fresh = || open_with(&FaultFs::new(), small(), &options(0)).0;
    for at in 17..all.len() / 3 {
        let mut bad = all.clone();
        bad[at] ^= 1;
        let mut copy = fresh();
        copy.append_as_follower(&bad, NOW).unwrap_err();
        assert_eq!(copy.end_offset(), Offset(0), "byte {at}");
    }
    for len in 0..all.len() {
        let mut copy = fresh();
        copy.append_as_follower(&all[..len], NOW).unwrap();
        assert_eq!(copy.end_offset().get(), (len * 3 / all.len() * 2) as i64);
    }
    let mut copy = fresh();
    copy.append_as_follower(&all, NOW).unwrap();
    let again = copy.append_as_follower(&all, NOW).unwrap_err();
    assert!(matches!(again, AppendError::NotNext { .. }), "{again}");
    let mut older = batch(&["c"], 1);
    millstream_records::patch::base_offset(&mut older, Offset(6)).unwrap();
    millstream_records::patch::leader_epoch(&mut older, LeaderEpoch(4)).unwrap();
    let older = copy.append_as_follower(&older, NOW).unwrap_err();
    assert!(matches!(older, AppendError::EpochWentBack { .. }), "{older}");
    let mut far = batch(&["c"], 1);
    millstream_records::patch::base_offset(&mut far, Offset(i64::MAX)).unwrap();
    copy.append_as_follower(&far, NOW).unwrap_err();
}

#[test]
fn a_copy_begins_within_the_batch_in_which_the_leader_begins() {
    let mut leader =
        Leader::new(open_with(&FaultFs::new(), LogConfig::default(), &options(0)).0, 1);
    for _ in 0..5 {
        leader.append(batch(&["a", "b", "c"], 1), AppendOrigin::Client);
    }
    leader.log.delete_records(Offset(7)).unwrap();
    let fs = FaultFs::new();
    let (mut copy, _) = open_with(&fs, small(), &options(0));
    copy.truncate_fully_and_start_at(Offset(7), NOW).unwrap();
    catch_up(&mut copy, &leader.log, &mut Rng::new(1));
    assert_eq!((copy.log_start_offset(), copy.end_offset()), (Offset(7), Offset(15)));
    assert_eq!(read_all(&copy, 7, 100), read_all(&leader.log, 7, 100));
    drop(copy);
    let options = OpenOptions { log_start_offset: Offset(7), ..options(9) };
    let copy = open_with(&fs, small(), &options).0;
    assert_eq!(read_all(&copy, 7, 100), read_all(&leader.log, 7, 100));
}

#[test]
fn an_epoch_that_was_led_without_a_record_is_forgotten() {
    let (fs, copy_fs) = (FaultFs::new(), FaultFs::new());
    let mut leader = Leader::new(open_with(&fs, small(), &options(0)).0, 1);
    leader.epoch = 4;
    leader.append(batch(&["a", "b"], 1), AppendOrigin::Client);
    let (mut copy, _) = open_with(&copy_fs, small(), &options(0));
    fetch(&mut copy, &leader.log, 1000).unwrap();
    // More of epoch 4 at the leader, while the copy was elected in epoch 5 and did nothing.
    leader.append(batch(&["c"], 1), AppendOrigin::Client);
    copy.begin_epoch(LeaderEpoch(5));
    leader.epoch = 6;
    leader.append(batch(&["d"], 1), AppendOrigin::Client);
    catch_up(&mut copy, &leader.log, &mut Rng::new(1));
    assert_eq!(copy.epochs(), leader.log.epochs());
}
