//! What a log becomes after its file was hurt at any place.

use std::sync::atomic::{AtomicBool, Ordering};

use millstream_base::TimestampMs;
use millstream_env::fs::{DirEntry, FileLock, OsFs};
use millstream_records::{BatchBuilder, BatchOptions};
use proptest::prelude::*;

use super::*;

/// The machine's files, where what is done to a name can be made to fail.
#[derive(Debug, Default)]
struct Faulty {
    sync_dir: AtomicBool,
    remove: AtomicBool,
}

impl Faulty {
    fn fails(switch: &AtomicBool) -> io::Result<()> {
        if switch.load(Ordering::Relaxed) { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}

impl Fs for Faulty {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        OsFs.open(path, mode)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        OsFs.create_dir_all(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        OsFs.create_dir(path)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        Self::fails(&self.remove)?;
        OsFs.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        OsFs.remove_dir_all(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsFs.rename(from, to)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Self::fails(&self.sync_dir)?;
        OsFs.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        OsFs.list(path)
    }
    fn entry(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        OsFs.entry(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        OsFs.lock(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        OsFs.free_bytes(path)
    }
    fn total_bytes(&self, path: &Path) -> io::Result<u64> {
        OsFs.total_bytes(path)
    }
}

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
    open_after(Arc::new(OsFs), dir, 0)
}

/// Opens a log whose snapshot ends at `start`.
fn open_after(
    fs: Arc<dyn Fs>,
    dir: &Path,
    start: i64,
) -> Result<(Store, Recovered, Vec<i64>), OpenError> {
    let mut seen = Vec::new();
    let (store, recovered) = Store::open(fs, dir, Offset(start), |batch, _| {
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

#[test]
fn a_start_over_that_fails_leaves_the_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let fs = Arc::new(Faulty::default());
    let (mut store, _, _) = open_after(Arc::clone(&fs) as _, dir.path(), 0).unwrap();
    fs.sync_dir.store(true, Ordering::Relaxed);
    assert!(matches!(store.start_over(), Err((_, Left::Nothing))));
    store.append(&batch(10, 3), Offset(13), LeaderEpoch(3)).unwrap();
    let (_, _, seen) = open_after(Arc::new(OsFs), dir.path(), 10).unwrap();
    assert_eq!(seen, [0, 2, 4, 6, 8, 10]);
    // Not even the removal works: no more may be written. What is there is whole.
    fs.remove.store(true, Ordering::Relaxed);
    assert!(matches!(store.start_over(), Err((_, Left::Unknown))));
    let (_, _, seen) = open_after(Arc::new(OsFs), dir.path(), 13).unwrap();
    assert_eq!(seen, [0, 2, 4, 6, 8, 10]);
}

#[test]
fn an_empty_segment_that_a_failed_start_over_left_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = written(dir.path());
    // Its removal was not on disk when the power went; the segment before it had gone on, and is torn.
    let unused = dir.path().join(segment_name(Offset(4)));
    std::fs::write(&unused, "").unwrap();
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let (mut store, recovered, seen) = open_after(Arc::new(OsFs), dir.path(), 4).unwrap();
    assert_eq!((seen, store.next_offset()), (vec![0, 2, 4, 6], Offset(8)));
    assert_eq!(recovered.cut_bytes, (ends[5] - ends[4] - 1) as u64);
    assert!(!unused.exists());
    store.append(&batch(8, 1), Offset(9), LeaderEpoch(3)).unwrap();
    let (_, _, seen) = open_after(Arc::new(OsFs), dir.path(), 4).unwrap();
    assert_eq!(seen, [0, 2, 4, 6, 8]);
}

#[test]
fn old_segments_that_cannot_be_removed_are_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let fs = Arc::new(Faulty::default());
    let (mut store, _, _) = open_after(Arc::clone(&fs) as _, dir.path(), 0).unwrap();
    fs.remove.store(true, Ordering::Relaxed);
    assert!(matches!(store.start_over(), Err((_, Left::Nothing))));
    store.append(&batch(10, 3), Offset(13), LeaderEpoch(3)).unwrap();
    assert!(store.start_over().is_err());
    store.append(&batch(13, 1), Offset(14), LeaderEpoch(3)).unwrap();
    // After a power loss any of the removals may have come to the disk.
    std::fs::remove_file(dir.path().join(segment_name(Offset(10)))).unwrap();
    assert!(
        open_after(Arc::new(OsFs), dir.path(), 10).is_err(),
        "what no snapshot holds is missed"
    );
    let (mut store, recovered, seen) = open_after(Arc::new(OsFs), dir.path(), 13).unwrap();
    assert_eq!((recovered.start, seen.last()), (Offset(13), Some(&13)));
    store.start_over().unwrap();
    let (_, recovered, _) = open_after(Arc::new(OsFs), dir.path(), 14).unwrap();
    assert_eq!(recovered.start, Offset(14), "they are removed in the end");
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
