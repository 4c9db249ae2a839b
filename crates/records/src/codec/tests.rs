//! Round trips, bounds, damage and the frames that other clients write.

//! Every codec, forth and back, and against broken input.

use super::*;

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * index / 7 % 251) as u8).collect()
}

fn codecs() -> Vec<Codec> {
    let mut codecs: Vec<Codec> = Compression::ALL.into_iter().map(Codec::from).collect();
    codecs.extend([-1, 1, 9].map(|level| Codec::with_level(Compression::Gzip, level)));
    codecs.extend([1, 3, 9, 17].map(|level| Codec::with_level(Compression::Lz4, level)));
    codecs.extend([-131_072, -5, 1, 12].map(|level| Codec::with_level(Compression::Zstd, level)));
    codecs
}

fn compressed(codec: impl Into<Codec>, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Compressor::new().compress(codec.into(), input, &mut out).unwrap();
    out
}

#[test]
fn every_codec_and_level_gives_back_what_it_took() {
    let mut scratch = Scratch::new();
    for codec in codecs() {
        for len in [0, 1, 61, 4096, 65_536, 65_537, 300_000] {
            let input = sample(len);
            let packed = compressed(codec, &input);
            let unpacked = scratch.decompress(codec.compression, &packed, len).unwrap();
            assert!(unpacked == input, "{codec:?} {len}");
        }
    }
}

#[test]
fn one_byte_above_the_limit_is_too_large() {
    let mut scratch = Scratch::new();
    for compression in Compression::ALL.into_iter().skip(1) {
        for len in [100, 70_000] {
            let packed = compressed(compression, &sample(len));
            let result = scratch.decompress(compression, &packed, len - 1);
            assert!(matches!(result, Err(DecompressError::TooLarge { .. })), "{compression} {len}");
        }
    }
}

#[test]
fn a_bomb_is_refused_and_leaves_little_behind() {
    let limit = 8 << 20;
    let zeros = vec![0; 64 << 20];
    for compression in Compression::ALL.into_iter().skip(1) {
        let packed = compressed(compression, &zeros);
        let mut scratch = Scratch::new();
        let result = scratch.decompress(compression, &packed, limit);
        assert!(matches!(result, Err(DecompressError::TooLarge { .. })), "{compression}");
        assert!(scratch.buffer_bytes() <= limit + (4 << 20), "{compression}");
        scratch.give_back();
        assert!(scratch.buffer_bytes() <= 4 << 20, "{compression}");
    }
}

#[test]
fn truncated_and_damaged_bytes_never_panic() {
    let mut scratch = Scratch::new();
    let input = sample(3000);
    for codec in codecs().into_iter().skip(1) {
        let packed = compressed(codec, &input);
        for cut in 0..packed.len() {
            let result = scratch.decompress(codec.compression, &packed[..cut], 1 << 20);
            // Raw snappy aside, a cut stream is either refused or visibly shorter.
            assert!(result.is_err() || result.unwrap() != input, "{codec:?} {cut}");
        }
        for at in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 1 << (at % 8);
            let _ = scratch.decompress(codec.compression, &damaged, 1 << 20);
        }
    }
    assert!(scratch.buffer_bytes() <= 5 << 20);
}

#[test]
fn raw_snappy_is_read_and_xerial_written() {
    let input = sample(50_000);
    let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    let mut scratch = Scratch::new();
    assert_eq!(scratch.decompress(Compression::Snappy, &raw, 50_000).unwrap(), input);

    let framed = compressed(Compression::Snappy, &input);
    assert_eq!(&framed[..16], b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    // Two streams behind each other, as the Java library reads them.
    let twice = [framed.clone(), framed].concat();
    let unpacked = scratch.decompress(Compression::Snappy, &twice, 100_000).unwrap();
    assert_eq!(unpacked, [input.clone(), input].concat());
}

#[test]
fn a_snappy_block_that_lies_about_its_size_allocates_nothing() {
    // A varint of 100 MiB, then two bytes.
    let mut scratch = Scratch::new();
    let lie = [0x80, 0x80, 0x80, 0x32, 0, 0];
    let result = scratch.decompress(Compression::Snappy, &lie, 1 << 30);
    assert!(matches!(result, Err(DecompressError::Corrupt { .. })));
    assert!(scratch.buffer_bytes() < 1 << 20);
}

#[test]
fn uncommon_lz4_frames_are_read() {
    use std::io::Write as _;
    let input = sample(200_000);
    let mut scratch = Scratch::new();
    for mode in [::lz4::BlockMode::Linked, ::lz4::BlockMode::Independent] {
        for size in [None, Some(input.len() as u64)] {
            let mut encoder = ::lz4::EncoderBuilder::new()
                .block_mode(mode.clone())
                .block_size(::lz4::BlockSize::Max256KB)
                .content_size(size.unwrap_or(0))
                .build(Vec::new())
                .unwrap();
            encoder.write_all(&input).unwrap();
            let (frame, done) = encoder.finish();
            done.unwrap();
            let unpacked = scratch.decompress(Compression::Lz4, &frame, 1 << 20).unwrap();
            assert!(unpacked == input);
        }
    }
}

#[test]
fn zstd_frames_without_a_size_are_read() {
    let input = sample(3 << 20);
    let frame = ::zstd::stream::encode_all(input.as_slice(), 1).unwrap();
    let mut scratch = Scratch::new();
    assert!(scratch.decompress(Compression::Zstd, &frame, 3 << 20).unwrap() == input);
    let result = scratch.decompress(Compression::Zstd, &frame, (3 << 20) - 1);
    assert!(matches!(result, Err(DecompressError::TooLarge { .. })));
}

#[test]
fn names_and_numbers_come_back() {
    for compression in Compression::ALL {
        assert_eq!(Compression::from_id(compression.id()), Ok(compression));
        assert_eq!(Compression::from_name(compression.name()), Some(compression));
    }
    assert_eq!(Compression::from_id(5), Err(UnknownCompression(5)));
    assert_eq!(Compression::from_name("uncompressed"), Some(Compression::None));
}
