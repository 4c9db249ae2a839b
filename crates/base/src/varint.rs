//! Kafka's variable-length integers: seven bits a byte, lowest first; signed ones in zigzag.
//!
//! Reading takes a `&mut &[u8]` and moves it past the number. A number that ends too early or is longer than its
//! type holds is an error, never a panic; on an error the slice stays where it was.

/// A variable-length integer could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end within the number.
    #[error("the bytes end within a variable-length integer")]
    Truncated,
    /// The number has more bits than its type.
    #[error("a variable-length integer is longer than its type allows")]
    TooLong,
}

/// Most bytes of a 32-bit number.
pub const MAX_LEN_32: usize = 5;
/// Most bytes of a 64-bit number.
pub const MAX_LEN_64: usize = 10;

/// Reads an unsigned 32-bit number (`UNSIGNED_VARINT` of the protocol).
#[inline]
pub fn read_u32(buf: &mut &[u8]) -> Result<u32, VarintError> {
    // One and two bytes are what lengths and deltas usually have.
    match *buf {
        [first @ ..0x80, rest @ ..] => {
            *buf = rest;
            return Ok(u32::from(*first));
        }
        [first, second @ ..0x80, rest @ ..] => {
            *buf = rest;
            return Ok(u32::from(first & 0x7f) | u32::from(*second) << 7);
        }
        _ => {}
    }
    let wide = read_slow(buf, MAX_LEN_32, 0x0f)?;
    // The limit on the fifth byte keeps the number within 32 bits.
    Ok((wide & u64::from(u32::MAX)) as u32)
}

/// Reads an unsigned 64-bit number.
#[inline]
pub fn read_u64(buf: &mut &[u8]) -> Result<u64, VarintError> {
    // One and two bytes are what lengths and deltas usually have.
    match *buf {
        [first @ ..0x80, rest @ ..] => {
            *buf = rest;
            return Ok(u64::from(*first));
        }
        [first, second @ ..0x80, rest @ ..] => {
            *buf = rest;
            return Ok(u64::from(first & 0x7f) | u64::from(*second) << 7);
        }
        _ => {}
    }
    read_slow(buf, MAX_LEN_64, 0x01)
}

/// Reads a zigzag 32-bit number (`VARINT` of the protocol).
#[inline]
pub fn read_i32(buf: &mut &[u8]) -> Result<i32, VarintError> {
    read_u32(buf).map(unzigzag_32)
}

/// Reads a zigzag 64-bit number (`VARLONG` of the protocol).
#[inline]
pub fn read_i64(buf: &mut &[u8]) -> Result<i64, VarintError> {
    read_u64(buf).map(unzigzag_64)
}

/// Reads up to `max_len` bytes; the last of them may hold no more than `last_max`.
fn read_slow(buf: &mut &[u8], max_len: usize, last_max: u8) -> Result<u64, VarintError> {
    let mut value = 0u64;
    let mut shift = 0u32;
    for (index, &byte) in buf.iter().take(max_len).enumerate() {
        if index + 1 == max_len && byte > last_max {
            return Err(VarintError::TooLong);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            *buf = buf.get(index + 1..).unwrap_or_default();
            return Ok(value);
        }
        shift += 7;
    }
    Err(VarintError::Truncated)
}

/// Appends an unsigned 32-bit number.
#[inline]
pub fn write_u32(out: &mut Vec<u8>, value: u32) {
    write_u64(out, u64::from(value));
}

/// Appends an unsigned 64-bit number.
#[inline]
pub fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzag 32-bit number.
#[inline]
pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_u32(out, zigzag_32(value));
}

/// Appends a zigzag 64-bit number.
#[inline]
pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_u64(out, zigzag_64(value));
}

/// How many bytes [`write_u32`] appends.
#[inline]
pub const fn len_u32(value: u32) -> usize {
    len_u64(value as u64)
}

/// How many bytes [`write_u64`] appends.
#[inline]
pub const fn len_u64(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// How many bytes [`write_i32`] appends.
#[inline]
pub const fn len_i32(value: i32) -> usize {
    len_u32(zigzag_32(value))
}

/// How many bytes [`write_i64`] appends.
#[inline]
pub const fn len_i64(value: i64) -> usize {
    len_u64(zigzag_64(value))
}

const fn zigzag_32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

const fn zigzag_64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn unzigzag_32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

const fn unzigzag_64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_lengths_agree() {
        for shift in 0..64 {
            for around in -1i64..=1 {
                let wide = (1i64 << shift).wrapping_add(around);
                for value in [wide, wide.wrapping_neg()] {
                    let mut out = Vec::new();
                    write_i64(&mut out, value);
                    assert_eq!(out.len(), len_i64(value));
                    let mut rest = out.as_slice();
                    assert_eq!((read_i64(&mut rest), rest.len()), (Ok(value), 0));

                    let narrow = value as i32;
                    out.clear();
                    write_i32(&mut out, narrow);
                    assert_eq!(out.len(), len_i32(narrow));
                    let mut rest = out.as_slice();
                    assert_eq!((read_i32(&mut rest), rest.len()), (Ok(narrow), 0));
                }
            }
        }
    }

    #[test]
    fn known_bytes() {
        let check = |value: i32, bytes: &[u8]| {
            let mut out = Vec::new();
            write_i32(&mut out, value);
            assert_eq!(out, bytes, "{value}");
        };
        check(0, &[0]);
        check(-1, &[1]);
        check(1, &[2]);
        check(-64, &[0x7f]);
        check(64, &[0x80, 0x01]);
        check(i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]);
        check(i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    }

    #[test]
    fn hostile_bytes_are_errors_and_leave_the_slice() {
        let check = |bytes: &[u8], narrow: VarintError, wide: Option<VarintError>| {
            let mut rest = bytes;
            assert_eq!(read_u32(&mut rest), Err(narrow));
            assert_eq!(rest, bytes);
            assert_eq!(read_u64(&mut rest).err(), wide);
        };
        check(&[], VarintError::Truncated, Some(VarintError::Truncated));
        check(&[0x80; 4], VarintError::Truncated, Some(VarintError::Truncated));
        check(&[0x80, 0x80, 0x80, 0x80, 0x10], VarintError::TooLong, None);
        check(&[0xff; 20], VarintError::TooLong, Some(VarintError::TooLong));
    }
}
