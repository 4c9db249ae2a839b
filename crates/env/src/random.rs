//! Random bytes: the operating system's, or a seed's for tests and simulation.

use std::sync::Arc;

use parking_lot::Mutex;

/// Where randomness comes from.
pub trait Random: Send + Sync + std::fmt::Debug {
    /// Sixteen random bytes.
    fn bytes16(&self) -> [u8; 16];

    /// A random number.
    fn next_u64(&self) -> u64 {
        let bytes = self.bytes16();
        u64::from_le_bytes([
            bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
        ])
    }
}

/// The operating system's random source, stretched by a fast generator between draws.
#[derive(Debug)]
pub struct OsRandom {
    state: Mutex<SplitMix>,
}

impl OsRandom {
    /// Seeds itself from the operating system.
    pub fn new() -> std::io::Result<Arc<Self>> {
        let mut seed = [0u8; 8];
        let mut filled = 0;
        while let Some(rest) = seed.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Arc::new(Self { state: Mutex::new(SplitMix(u64::from_le_bytes(seed))) }))
    }
}

impl Random for OsRandom {
    fn bytes16(&self) -> [u8; 16] {
        self.state.lock().bytes16()
    }
}

/// The same numbers for the same seed.
#[derive(Debug)]
pub struct SeededRandom {
    state: Mutex<SplitMix>,
}

impl SeededRandom {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(SplitMix(seed)) })
    }
}

impl Random for SeededRandom {
    fn bytes16(&self) -> [u8; 16] {
        self.state.lock().bytes16()
    }
}

/// SplitMix64: small, fast, well distributed. Not for secrets: ids only.
#[derive(Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn bytes16(&mut self) -> [u8; 16] {
        let (high, low) = (u128::from(self.next()), u128::from(self.next()));
        ((high << 64) | low).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let (a, b) = (SeededRandom::new(7), SeededRandom::new(7));
        assert_eq!(a.bytes16(), b.bytes16());
        assert_ne!(a.bytes16(), OsRandom::new().unwrap().bytes16());
    }
}
