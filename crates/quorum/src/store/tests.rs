//! What a log becomes after its file was hurt at any place.

use millstream_base::TimestampMs;
use millstream_env::fs::OsFs;
use millstream_records::{BatchBuilder, BatchOptions};
use proptest::prelude::*;

use super::*;

fn batch(base: i64, records: i64) -> Vec<u8> {
    let options = BatchOptions {
        base_offset: Offset(base),
        leader_epoch: LeaderEpoch(3),
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    for n in 0..records {
        builder
            .append(TimestampMs(5), None, Some(&[7; 40][..usize::try_from(n).unwrap() % 40]), &[])
            .unwrap();
    }
    builder.build().unwrap()
}

fn open(dir: &Path) -> Result<(Store, Recovered, Vec<i64>), OpenError> {
    let mut seen = Vec::new();
    let (store, recovered) = Store::open(Arc::new(OsFs), dir, Offset::ZERO, |batch| {
        seen.push(batch.header().base_offset.get());
        Ok(())
    })?;
    Ok((store, recovered, seen))
}

/// A log of batches at 0, 2, 4, 6, 8 and where each of them ends in the file.
fn written(dir: &Path) -> (PathBuf, Vec<usize>) {
    let (mut store, _, _) = open(dir).unwrap();
    let mut ends = vec![0];
    for base in [0, 2, 4, 6, 8] {
        let bytes = batch(base, 2);
        store.append(&bytes, Offset(base + 2), LeaderEpoch(3)).unwrap();
        ends.push(ends.last().unwrap() + bytes.len());
    }
    store.sync().unwrap();
    (dir.join(segment_name(Offset::ZERO)), ends)
}

#[test]
fn a_log_that_was_cut_anywhere_keeps_all_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = written(dir.path());
    let whole = std::fs::read(&path).unwrap();
    for len in 0..=whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let (mut store, recovered, seen) = open(dir.path()).unwrap();
        let kept = ends.iter().filter(|end| **end <= len).count() - 1;
        assert_eq!(seen.len(), kept, "{len} bytes");
        assert_eq!(recovered.cut_bytes, (len - ends[kept]) as u64);
        let next = store.next_offset();
        assert_eq!(next, Offset(i64::try_from(kept).unwrap() * 2));
        store.append(&batch(next.get(), 1), next.plus(1), LeaderEpoch(3)).unwrap();
        let (store, recovered, seen) = open(dir.path()).unwrap();
        assert_eq!((seen.len(), recovered.cut_bytes), (kept + 1, 0));
        assert_eq!((store.next_offset(), store.last_epoch()), (next.plus(1), LeaderEpoch(3)));
    }
}

#[test]
fn zeros_at_the_end_are_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _) = written(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend([0; 5000]);
    std::fs::write(&path, &bytes).unwrap();
    let (_, recovered, seen) = open(dir.path()).unwrap();
    assert_eq!((seen.len(), recovered.cut_bytes), (5, 5000));
}

#[test]
fn segments_that_do_not_follow_each_other_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    std::fs::write(dir.path().join(segment_name(Offset(12))), "").unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Corrupt { .. })));
}

#[test]
fn starting_over_leaves_one_empty_segment() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let (mut store, _, _) = open(dir.path()).unwrap();
    store.start_over().unwrap();
    store.start_over().unwrap();
    store.append(&batch(10, 3), Offset(13), LeaderEpoch(3)).unwrap();
    let (store, recovered, seen) = open(dir.path()).unwrap();
    assert_eq!((recovered.start, seen, store.next_offset()), (Offset(10), vec![10], Offset(13)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// A flipped byte is either in the last batch, which is then cut as torn, or it is refused; never is a batch
    /// that follows lost in silence, and never is a damaged one taken.
    #[test]
    fn a_flipped_byte_is_cut_at_the_end_and_refused_elsewhere(at in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let dir = tempfile::tempdir().unwrap();
        let (path, ends) = written(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        std::fs::write(&path, &bytes).unwrap();
        let hurt = ends.iter().filter(|end| **end <= at).count() - 1;
        // The leader epoch (bytes 12 to 15 of a batch) is not under the CRC.
        let epoch = (12..16).contains(&(at - ends[hurt]));
        match open(dir.path()) {
            Ok((_, _, seen)) if epoch => prop_assert_eq!(seen.len(), 5),
            Ok((_, _, seen)) => prop_assert_eq!((hurt, seen.len()), (4, 4)),
            Err(error) => {
                let corrupt = matches!(error, OpenError::Corrupt { .. });
                prop_assert!(hurt < 4 && corrupt);
            }
        }
    }
}
