//! Fixed-width big-endian fields at known places of a slice; short slices give zeros, never a panic.
//!
//! Callers check the length once, before; the zeros are only there so that no access can abort.

/// The `N` bytes at `at`.
#[inline]
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

/// Overwrites the bytes at `at`; `false` when they are not all there.
#[inline]
pub(crate) fn put<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) -> bool {
    let place = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
    place.map(|place| *place = value).is_some()
}
