//! Sparse indexes of one segment, in Kafka's formats.
//!
//! Key type: [`Index`]. Offset index: 8 bytes an entry (relative offset u32, position u32). Time index: 12 bytes
//! (timestamp i64, relative offset u32). Keys never sink from entry to entry. The newest entries stay in
//! memory, older ones are read from the file; no memory maps. An index is a hint: whoever uses an entry checks
//! what the log holds there.

use std::io;

use millstream_env::fs::File;

/// Entries that are written to the file at once. What is not written when the process dies is built anew.
const WRITE_BATCH: usize = 512;
/// Entries that stay in memory, at least; twice as many at most.
const KEEP: usize = 512;
/// Entries that a search on disk reads in one go once it has come this near.
const NEAR: u32 = 64;

/// One entry of an index.
pub(crate) trait Entry: Copy + std::fmt::Debug {
    /// Bytes on disk.
    const SIZE: usize;
    /// What the entries are ordered by.
    fn key(&self) -> i64;
    fn encode(&self, out: &mut Vec<u8>);
    /// `bytes` has [`Entry::SIZE`] bytes.
    fn decode(bytes: &[u8]) -> Self;
}

/// The last offset of a batch, relative to the segment's base, and where the batch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) relative: u32,
    pub(crate) position: u32,
}

/// A timestamp that all records up to and including an offset do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) relative: u32,
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    u32::from_be_bytes(field.copied().unwrap_or_default())
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;

    fn key(&self) -> i64 {
        i64::from(self.relative)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.relative.to_be_bytes());
        out.extend(self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        Self { relative: be32(bytes, 0), position: be32(bytes, 4) }
    }
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;

    fn key(&self) -> i64 {
        self.timestamp
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.relative.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Self {
        let high = u64::from(be32(bytes, 0)) << 32;
        let timestamp = i64::from_be_bytes((high | u64::from(be32(bytes, 4))).to_be_bytes());
        Self { timestamp, relative: be32(bytes, 8) }
    }
}

/// Where a looked-up entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lookup<E> {
    /// In memory.
    Found(E),
    /// Every entry's key is larger.
    Before,
    /// Among the first `entries` of the file: ask [`search_file`], without holding a lock.
    OnDisk { entries: u32 },
}

/// An index: `count` entries, the last of which are in `tail`, the first `written` of which are in the file.
#[derive(Debug)]
pub(crate) struct Index<E> {
    count: u32,
    written: u32,
    tail: Vec<E>,
}

impl<E: Entry> Index<E> {
    /// No entries.
    pub(crate) const fn new() -> Self {
        Self { count: 0, written: 0, tail: Vec::new() }
    }

    /// An index whose `count` entries are all in the file.
    pub(crate) const fn on_disk(count: u32) -> Self {
        Self { count, written: count, tail: Vec::new() }
    }

    pub(crate) const fn len(&self) -> u32 {
        self.count
    }

    pub(crate) fn last_in_memory(&self) -> Option<E> {
        self.tail.last().copied()
    }

    /// Entry `at`, if it is in memory.
    pub(crate) fn in_memory(&self, at: u32) -> Option<E> {
        let place = at.checked_sub(self.first_in_memory())?;
        self.tail.get(place as usize).copied()
    }

    fn first_in_memory(&self) -> u32 {
        self.count - u32::try_from(self.tail.len()).unwrap_or(self.count)
    }

    pub(crate) fn push(&mut self, entry: E) {
        debug_assert!(self.tail.last().is_none_or(|last| last.key() <= entry.key()));
        self.tail.push(entry);
        self.count += 1;
    }

    /// Whether so many entries wait that they should be written.
    pub(crate) fn wants_writing(&self) -> bool {
        (self.count - self.written) as usize >= WRITE_BATCH
    }

    /// Whether entries wait.
    pub(crate) const fn has_unwritten(&self) -> bool {
        self.written < self.count
    }

    /// Writes the entries that wait and forgets the oldest in memory.
    pub(crate) fn write(&mut self, file: &dyn File) -> io::Result<()> {
        let skip = (self.written - self.first_in_memory()) as usize;
        let waiting = self.tail.get(skip..).unwrap_or_default();
        if !waiting.is_empty() {
            let mut bytes = Vec::with_capacity(waiting.len() * E::SIZE);
            for entry in waiting {
                entry.encode(&mut bytes);
            }
            file.write_all_at(&bytes, u64::from(self.written) * E::SIZE as u64)?;
            self.written = self.count;
        }
        if self.tail.len() > 2 * KEEP {
            self.tail.drain(..self.tail.len() - KEEP);
        }
        Ok(())
    }

    /// Gives the memory of a segment that is no longer written to.
    pub(crate) fn seal(&mut self) {
        if self.written == self.count {
            self.tail = Vec::new();
        }
    }

    /// The last entry with a key that `fits` (fits are a prefix).
    pub(crate) fn lookup(&self, fits: impl Fn(&E) -> bool) -> Lookup<E> {
        let after = self.tail.partition_point(&fits);
        if let Some(entry) = after.checked_sub(1).and_then(|at| self.tail.get(at)) {
            return Lookup::Found(*entry);
        }
        match self.first_in_memory() {
            0 => Lookup::Before,
            entries => Lookup::OnDisk { entries },
        }
    }
}

/// Reads entry `at`.
pub(crate) fn read_entry<E: Entry>(file: &dyn File, at: u32) -> io::Result<E> {
    let mut bytes = [0; 16];
    let bytes = &mut bytes[..E::SIZE];
    file.read_exact_at(bytes, u64::from(at) * E::SIZE as u64)?;
    Ok(E::decode(bytes))
}

/// How many of the first `entries` fit (fits are a prefix), and the last of them.
pub(crate) fn search_file<E: Entry>(
    file: &dyn File,
    entries: u32,
    fits: impl Fn(&E) -> bool,
) -> io::Result<(u32, Option<E>)> {
    let (mut low, mut high) = (0, entries);
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        if fits(&read_entry::<E>(file, middle)?) {
            low = middle;
        } else {
            high = middle;
        }
    }
    let mut bytes = vec![0; (high - low) as usize * E::SIZE];
    file.read_exact_at(&mut bytes, u64::from(low) * E::SIZE as u64)?;
    let mut found = (low, None);
    for chunk in bytes.chunks_exact(E::SIZE) {
        let entry = E::decode(chunk);
        if !fits(&entry) {
            break;
        }
        found = (found.0 + 1, Some(entry));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_env::fs::{Fs as _, OpenMode, OsFs};
    use proptest::prelude::*;

    fn find<E: Entry>(index: &Index<E>, file: &dyn File, key: i64) -> Option<i64> {
        let found = match index.lookup(|e| e.key() <= key) {
            Lookup::Found(entry) => Some(entry),
            Lookup::Before => None,
            Lookup::OnDisk { entries } => {
                search_file(file, entries, |e: &E| e.key() <= key).unwrap().1
            }
        };
        found.map(|e| e.key())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_index_finds_what_a_list_finds(
            steps in prop::collection::vec(1_u32..9, 1..4000),
            write_each in 1_usize..900,
            asked in prop::collection::vec(0_i64..20_000, 50),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let file = OsFs.open(&dir.path().join("index"), OpenMode::Create).unwrap();
            let mut index = Index::<OffsetEntry>::new();
            let mut times = Index::<TimeEntry>::new();
            let mut keys = Vec::new();
            let mut key = 0;
            for (n, step) in steps.iter().enumerate() {
                key += step;
                keys.push(i64::from(key));
                index.push(OffsetEntry { relative: key, position: key * 7 });
                times.push(TimeEntry { timestamp: i64::from(key), relative: key });
                if n % write_each == 0 {
                    index.write(&*file).unwrap();
                }
            }
            let expected = |asked: i64| keys.iter().rev().find(|k| **k <= asked).copied();
            for &asked in &asked {
                prop_assert_eq!(find(&index, &*file, asked), expected(asked));
            }
            index.write(&*file).unwrap();
            prop_assert_eq!(file.size().unwrap(), keys.len() as u64 * 8);
            let stored = Index::<OffsetEntry>::on_disk(index.len());
            for &asked in &asked {
                prop_assert_eq!(find(&index, &*file, asked), expected(asked));
                prop_assert_eq!(find(&stored, &*file, asked), expected(asked));
            }
            let time_file = OsFs.open(&dir.path().join("times"), OpenMode::Create).unwrap();
            times.write(&*time_file).unwrap();
            let stored = Index::<TimeEntry>::on_disk(times.len());
            for &asked in &asked {
                prop_assert_eq!(find(&stored, &*time_file, asked), expected(asked));
            }
        }
    }
}
