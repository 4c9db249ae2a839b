//! The last offset of each key, in a fixed amount of memory.
//!
//! Key type: [`OffsetMap`]. Keys are kept as 128-bit hashes, keyed with a random seed; that two keys of a log share
//! one is less likely than that the memory fails.

use std::hash::{DefaultHasher, Hasher as _};

/// Words a slot: the hash and the offset + 1 (0: the slot is free).
const SLOT: usize = 3;

/// Keys and offsets, by open addressing.
#[derive(Debug)]
pub(super) struct OffsetMap {
    slots: Vec<u64>,
    capacity: usize,
    limit: usize,
    len: usize,
    seed: u64,
}

impl OffsetMap {
    /// A map in at most `bytes` bytes, no larger than `keys` keys need, filled to `load_factor` at most.
    pub(super) fn new(bytes: usize, keys: u64, load_factor: f64, seed: u64) -> Self {
        let load = if load_factor > 0.1 { load_factor.min(0.95) } else { 0.9 };
        let wanted = (keys as f64 / load) as usize + 2;
        let capacity = (bytes / (SLOT * 8)).min(wanted);
        let limit = (capacity as f64 * load) as usize;
        Self { slots: vec![0; capacity * SLOT], capacity, limit, len: 0, seed }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let half = |which: u64| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(self.seed ^ which);
            hasher.write(key);
            hasher.finish()
        };
        (half(0), half(0x9E37_79B9_7F4A_7C15))
    }

    /// The slot of a key: its own or the free one where it would go.
    fn slot(&self, hash: (u64, u64)) -> Option<usize> {
        let start = usize::try_from(hash.0 % (self.capacity.max(1) as u64)).unwrap_or(0);
        for step in 0..self.capacity {
            let at = (start + step) % self.capacity * SLOT;
            if let Some([a, b, offset]) = self.slots.get(at..at + SLOT)
                && (*offset == 0 || (*a, *b) == hash)
            {
                return Some(at);
            }
        }
        None
    }

    /// Notes that `key` was written at `offset`, which is larger than any before; `false` when the map is full.
    pub(super) fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        let Some(at) = self.slot(hash) else { return false };
        let Some([a, b, place]) = self.slots.get_mut(at..at + SLOT) else { return false };
        if *place == 0 {
            if self.len >= self.limit {
                return false;
            }
            self.len += 1;
            (*a, *b) = hash;
        }
        *place = offset.unsigned_abs() + 1;
        true
    }

    /// The last offset of `key`; -1 for none.
    pub(super) fn get(&self, key: &[u8]) -> i64 {
        let found = self.slot(self.hash(key)).and_then(|at| self.slots.get(at + 2));
        found.map_or(-1, |offset| i64::try_from(*offset).unwrap_or(0) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_of_each_key_is_kept_until_the_map_is_full() {
        let mut map = OffsetMap::new(24 * 100, 1000, 0.9, 7);
        for round in 0..3 {
            for key in 0..90_i64 {
                assert!(map.put(&key.to_be_bytes(), round * 100 + key));
            }
        }
        assert_eq!(map.len(), 90);
        assert!(!map.put(b"one more", 1000));
        assert!(map.put(&5_i64.to_be_bytes(), 1001));
        for key in 0..90_i64 {
            let expected = if key == 5 { 1001 } else { 200 + key };
            assert_eq!(map.get(&key.to_be_bytes()), expected);
        }
        assert_eq!(map.get(b"one more"), -1);
        assert_eq!(OffsetMap::new(0, 10, 0.9, 0).get(b"x"), -1);
    }
}
