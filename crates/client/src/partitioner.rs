//! Which partition a record goes to: Java's murmur2 for keys, sticky for records without one.
//!
//! Key types: [`murmur2`], [`StickyPartitions`]. The same key lands on the same partition as with Kafka's own
//! client; that is a promise to everyone who joins topics by key. No I/O, no clock.

use std::collections::HashMap;
use std::sync::Arc;

/// Kafka's murmur2 of `data`: 32 bits, its own seed.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;

    // The length takes part modulo 2^32, as in Java where it is an int.
    #[allow(clippy::cast_possible_truncation)]
    let mut hash = SEED ^ (data.len() as u32);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> R)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !tail.is_empty() {
        for (index, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    (hash ^ (hash >> 15)).cast_signed()
}

/// The partition of a record with `key` in a topic of `partitions` partitions (at least one).
pub fn partition_for_key(key: &[u8], partitions: i32) -> i32 {
    let positive = murmur2(key) & i32::MAX;
    positive % partitions.max(1)
}

/// The partition that keyless records of each topic currently go to.
///
/// A topic stays on one partition until about one batch of bytes has gone there, so that keyless records make
/// few large batches rather than many small ones (KIP-480, KIP-794).
#[derive(Debug)]
pub struct StickyPartitions {
    switch_after_bytes: usize,
    topics: HashMap<Arc<str>, Sticky>,
}

#[derive(Debug)]
struct Sticky {
    partition: i32,
    bytes: usize,
}

impl StickyPartitions {
    /// Changes the partition of a topic after `switch_after_bytes` bytes.
    pub fn new(switch_after_bytes: usize) -> Self {
        Self { switch_after_bytes, topics: HashMap::new() }
    }

    /// The partition for a keyless record of `size_bytes`. `random` picks the next partition when it is time
    /// to change; `partitions` is the topic's partition count (at least one).
    pub fn choose(
        &mut self,
        topic: &Arc<str>,
        partitions: i32,
        size_bytes: usize,
        random: impl FnOnce() -> u64,
    ) -> i32 {
        let partitions = partitions.max(1);
        if let Some(sticky) = self.topics.get_mut(topic) {
            let full = sticky.bytes >= self.switch_after_bytes;
            if full || sticky.partition >= partitions {
                sticky.partition = next_partition(sticky.partition, partitions, random());
                sticky.bytes = 0;
            }
            sticky.bytes = sticky.bytes.saturating_add(size_bytes);
            return sticky.partition;
        }
        let partition = pick(partitions, random());
        self.topics.insert(topic.clone(), Sticky { partition, bytes: size_bytes });
        partition
    }
}

/// A partition in `0..partitions`, drawn with `random`.
fn pick(partitions: i32, random: u64) -> i32 {
    let count = u64::from(partitions.unsigned_abs().max(1));
    i32::try_from(random % count).unwrap_or(0)
}

/// A partition other than `current`, where there is another.
fn next_partition(current: i32, partitions: i32, random: u64) -> i32 {
    if partitions <= 1 || current >= partitions {
        return pick(partitions, random);
    }
    let step = 1 + pick(partitions - 1, random);
    (current + step) % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_gives_kafkas_numbers() {
        // The vectors of Kafka's own test of its hash.
        for (text, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_key_always_lands_inside_the_topic() {
        for n in 0..5_000u32 {
            let partition = partition_for_key(&n.to_be_bytes(), 7);
            assert!((0..7).contains(&partition));
        }
        assert_eq!(partition_for_key(b"x", 0), 0);
        assert_eq!(partition_for_key(b"foobar", 6), ((-790_332_482i32) & i32::MAX) % 6);
    }

    #[test]
    fn keyless_records_stay_until_a_batch_is_full_then_move() {
        let mut sticky = StickyPartitions::new(100);
        let topic: Arc<str> = "t".into();
        let first = sticky.choose(&topic, 4, 60, || 2);
        assert_eq!(sticky.choose(&topic, 4, 60, || 9), first);
        let second = sticky.choose(&topic, 4, 60, || 0);
        assert_ne!(first, second);
        // A topic of one partition has nowhere to go.
        let lone: Arc<str> = "one".into();
        assert_eq!(sticky.choose(&lone, 1, 1_000, || 5), 0);
        assert_eq!(sticky.choose(&lone, 1, 1_000, || 5), 0);
    }
}
