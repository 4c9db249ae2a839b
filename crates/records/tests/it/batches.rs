//! Headers and batches: what is torn, short or of another format is told apart.

use millstream_records::{BatchError, BatchHeader, BatchOptions, BatchView, Batches, HEADER_LEN};

use crate::{build, some_records};

#[test]
fn a_log_cut_anywhere_ends_after_its_whole_batches() {
    let one = build(BatchOptions::default(), &some_records(3));
    let log = [one.clone(), one.clone()].concat();
    for cut in 0..log.len() {
        let mut batches = Batches::new(&log[..cut]);
        let whole = (&mut batches).filter(Result::is_ok).count();
        assert_eq!(whole, cut / one.len(), "{cut}");
        assert_eq!(batches.position(), whole * one.len());

        let last = Batches::new(&log[..cut]).last();
        let rest = cut % one.len();
        let needed = if rest < HEADER_LEN { HEADER_LEN } else { one.len() };
        match last {
            None => assert_eq!(cut, 0),
            Some(Ok(_)) => assert_eq!(rest, 0),
            Some(Err(error)) => assert_eq!(error, BatchError::Torn { needed, have: rest }),
        }
    }
}

#[test]
fn other_formats_and_short_lengths_are_named() {
    let mut bytes = build(BatchOptions::default(), &some_records(1));
    for magic in [0, 1, 3, -1] {
        bytes[16] = magic as u8;
        assert_eq!(BatchView::parse(&bytes), Err(BatchError::Magic(magic)));
        // Old formats are recognised although their messages may be shorter than a header of this one.
        assert_eq!(BatchHeader::parse(&bytes[..20]), Err(BatchError::Magic(magic)));
    }
    bytes[16] = 2;
    for length in [48, 0, -1, i32::MIN] {
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(BatchView::parse(&bytes), Err(BatchError::Length(length)));
    }
    bytes[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert!(matches!(BatchView::parse(&bytes), Err(BatchError::Torn { .. })));
    // What a preallocated file ends with.
    let zeros = Batches::new(&[0; 100]).next();
    assert_eq!(zeros, Some(Err(BatchError::Magic(0))));
}

#[test]
fn one_changed_bit_fails_the_crc() {
    let bytes = build(BatchOptions::default(), &some_records(2));
    for at in 17..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        let result = BatchView::parse(&damaged).unwrap().check_crc();
        assert!(matches!(result, Err(BatchError::Crc { .. })), "{at}");
    }
}

#[test]
fn a_header_of_extremes_saturates() {
    let bytes = build(BatchOptions::default(), &some_records(1));
    let mut header = *BatchView::parse(&bytes).unwrap().header();
    header.base_offset.0 = i64::MAX;
    header.last_offset_delta = i32::MAX;
    assert_eq!(header.next_offset().0, i64::MAX);
    header.base_sequence = i32::MAX - 1;
    header.last_offset_delta = 3;
    assert_eq!(header.last_sequence(), 1);
    header.base_sequence = -1;
    assert_eq!(header.last_sequence(), -1);
}
