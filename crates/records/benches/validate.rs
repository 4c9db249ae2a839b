//! What validating a produced batch costs, for the batch and record sizes of usual clients.
//!
//! `cargo bench -p millstream-records`; the figures are MB/s of the batch as it comes (compressed where it is).

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millstream_base::TimestampMs;
use millstream_records::{
    BatchBuilder, BatchOptions, BatchView, Compression, ProduceRules, Validator,
};

/// A batch of as many records of `record_bytes` as `batch_bytes` hold before compression.
fn batch(codec: Compression, batch_bytes: usize, record_bytes: usize) -> Vec<u8> {
    let options = BatchOptions { codec: codec.into(), ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    let mut seed = 1u32;
    while builder.size_bytes() + record_bytes < batch_bytes {
        // Half noise, half text, so that codecs find something, but not everything.
        let noise = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        });
        let mut value: Vec<u8> = noise.take(record_bytes / 2).collect();
        value.resize(record_bytes, b'x');
        if builder.append(TimestampMs(1_700_000_000_000), None, Some(&value), &[]).is_err() {
            break;
        }
    }
    builder.build().unwrap_or_default()
}

fn validate(criterion: &mut Criterion) {
    let now = TimestampMs(1_700_000_000_000);
    let rules = ProduceRules { max_message_bytes: 2 << 20, ..ProduceRules::default() };
    let mut validator = Validator::new();
    for codec in Compression::ALL {
        let mut group = criterion.benchmark_group(format!("validate/{codec}"));
        for (name, batch_bytes) in [("16KiB", 16 << 10), ("1MB", 1_000_000)] {
            for record_bytes in [1000, 100] {
                let mut bytes = batch(codec, batch_bytes, record_bytes);
                group.throughput(Throughput::Bytes(bytes.len() as u64));
                group.bench_function(format!("{name} of {record_bytes}B"), |bencher| {
                    bencher.iter(|| validator.validate_produce(black_box(&mut bytes), &rules, now));
                });
            }
        }
    }
    let bytes = batch(Compression::None, 1_000_000, 1000);
    let mut group = criterion.benchmark_group("yardstick");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("CRC32C of 1MB", |bencher| {
        bencher.iter(|| BatchView::parse(black_box(&bytes)).map(|batch| batch.computed_crc()));
    });
}

criterion_group!(benches, validate);
criterion_main!(benches);
