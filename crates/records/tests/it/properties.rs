//! Round trips of random batches.

use millstream_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use millstream_records::{
    BatchBuilder, BatchOptions, BatchView, Batches, Codec, Compression, Compressor, RecordHeader,
    Scratch, TimestampType, patch, recompress,
};
use proptest::prelude::*;

use crate::{Owned, build, read};

pub fn codec() -> impl Strategy<Value = Compression> {
    prop::sample::select(Compression::ALL.to_vec())
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    // Runs of few letters, so that codecs have something to do.
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..most),
        prop::collection::vec(0u8..3, 0..most * 4),
    ]
}

/// A record; its offset is set by whoever uses it.
pub fn record() -> impl Strategy<Value = Owned> {
    let header = ("[a-zé]{0,6}", prop::option::of(bytes(10)));
    (
        any::<i64>().prop_map(|timestamp| timestamp / 2),
        prop::option::of(bytes(40)),
        prop::option::of(bytes(200)),
        prop::collection::vec(header, 0..4),
    )
        .prop_map(|(timestamp, key, value, headers)| Owned {
            offset: 0,
            timestamp,
            key,
            value,
            headers: headers.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect(),
        })
}

/// Records at growing offsets with gaps.
fn records(base: i64) -> impl Strategy<Value = Vec<Owned>> {
    prop::collection::vec((record(), 1i64..5), 0..25).prop_map(move |records| {
        let mut offset = base - 1;
        let place = |(record, gap): (Owned, i64)| {
            offset += gap;
            Owned { offset, ..record }
        };
        records.into_iter().map(place).collect()
    })
}

fn options(base: i64) -> impl Strategy<Value = BatchOptions> {
    let times = (prop::option::of(0i64..1 << 50), prop::option::of(0i64..1 << 50));
    let producer = (-1i64..1000, any::<i16>(), any::<i32>());
    (codec(), times, producer, any::<bool>(), any::<bool>(), any::<i32>()).prop_map(
        move |(codec, (append, horizon), (id, epoch, sequence), transactional, control, leader)| {
            BatchOptions {
                base_offset: Offset(base),
                leader_epoch: LeaderEpoch(leader),
                codec: Codec::from(codec),
                log_append_time: append.map(TimestampMs),
                delete_horizon: horizon.map(TimestampMs),
                producer_id: ProducerId(id),
                producer_epoch: ProducerEpoch(epoch),
                base_sequence: sequence,
                transactional,
                control,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_built_is_read(options in options(50), records in records(50)) {
        let bytes = build(options, &records);
        let batch = BatchView::parse(&bytes).unwrap();
        prop_assert_eq!(batch.bytes().len(), bytes.len());
        prop_assert_eq!(batch.check_crc(), Ok(()));
        let header = batch.header();
        prop_assert_eq!(&header.encode()[..], &bytes[..61]);
        prop_assert_eq!(header.records_count, records.len() as i32);
        prop_assert_eq!(header.last_offset().0, records.last().map_or(50, |last| last.offset));
        prop_assert_eq!(header.producer_id, options.producer_id);
        prop_assert_eq!(header.producer_epoch, options.producer_epoch);
        prop_assert_eq!(header.base_sequence, options.base_sequence);
        prop_assert_eq!(header.attributes.is_transactional(), options.transactional);
        prop_assert_eq!(header.attributes.is_control(), options.control);
        prop_assert_eq!(header.attributes.has_delete_horizon(), options.delete_horizon.is_some());
        let mut expected = records;
        if let Some(now) = options.log_append_time {
            prop_assert_eq!(header.max_timestamp, now);
            expected.iter_mut().for_each(|record| record.timestamp = now.0);
        } else {
            let largest = expected.iter().map(|record| record.timestamp).max();
            prop_assert_eq!(header.max_timestamp.0, largest.unwrap_or(-1).max(-1));
        }
        prop_assert_eq!(read(&bytes), expected);
    }

    #[test]
    fn sizes_are_exact(records in records(0)) {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for record in &records {
            let headers: Vec<RecordHeader<'_>> = record.headers.iter()
                .map(|(key, value)| RecordHeader { key, value: value.as_deref() })
                .collect();
            let (timestamp, key, value) =
                (TimestampMs(record.timestamp), record.key.as_deref(), record.value.as_deref());
            let estimate = builder.size_with(timestamp, key, value, &headers);
            builder.append(timestamp, key, value, &headers).unwrap();
            prop_assert_eq!(builder.size_bytes(), estimate);
        }
        prop_assert_eq!(builder.build().unwrap().len(), builder.size_bytes());
    }

    #[test]
    fn patches_keep_the_crc(
        options in options(9),
        records in records(9),
        offset in any::<i64>(),
        epoch in any::<i32>(),
        now in any::<i64>(),
    ) {
        let before = build(options, &records);
        let mut bytes = before.clone();
        patch::base_offset(&mut bytes, Offset(offset)).unwrap();
        patch::leader_epoch(&mut bytes, LeaderEpoch(epoch)).unwrap();
        let batch = BatchView::parse(&bytes).unwrap();
        prop_assert_eq!(batch.header().base_offset, Offset(offset));
        prop_assert_eq!(batch.header().partition_leader_epoch, LeaderEpoch(epoch));
        prop_assert_eq!(batch.check_crc(), Ok(()));
        prop_assert_eq!(&bytes[16..], &before[16..]);

        patch::log_append_time(&mut bytes, TimestampMs(now)).unwrap();
        let batch = BatchView::parse(&bytes).unwrap();
        prop_assert_eq!(batch.header().max_timestamp, TimestampMs(now));
        prop_assert_eq!(batch.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
        prop_assert_eq!(batch.check_crc(), Ok(()));
        prop_assert_eq!(&bytes[61..], &before[61..]);

        // A damaged batch stays a damaged one.
        if let Some(last) = bytes.get_mut(61..).and_then(<[u8]>::last_mut) {
            *last ^= 1;
            patch::log_append_time(&mut bytes, TimestampMs(now.wrapping_add(1))).unwrap();
            prop_assert!(BatchView::parse(&bytes).unwrap().check_crc().is_err());
        }
    }

    #[test]
    fn another_codec_changes_nothing_else(
        options in options(3),
        records in records(3),
        target in codec(),
    ) {
        let bytes = build(options, &records);
        let batch = BatchView::parse(&bytes).unwrap();
        let mut out = vec![9];
        recompress(&batch, target.into(), 1 << 20, &mut Scratch::new(), &mut Compressor::new(), &mut out)
            .unwrap();
        let again = BatchView::parse(&out[1..]).unwrap();
        prop_assert_eq!(again.check_crc(), Ok(()));
        prop_assert_eq!(again.header().attributes.compression(), Ok(target));
        prop_assert_eq!(read(&out[1..]), read(&bytes));
        let mut header = *again.header();
        header.attributes = batch.header().attributes;
        header.batch_length = batch.header().batch_length;
        header.crc = batch.header().crc;
        prop_assert_eq!(&header, batch.header());
    }

    #[test]
    fn batches_follow_each_other(
        all in prop::collection::vec((options(0), records(0)), 0..5),
        tail in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let parts: Vec<Vec<u8>> = all.iter().map(|(options, records)| build(*options, records)).collect();
        let whole = parts.concat();
        let mut log = whole.clone();
        log.extend(&tail);
        let mut batches = Batches::new(&log);
        for part in &parts {
            prop_assert_eq!(batches.next().unwrap().unwrap().bytes(), part.as_slice());
        }
        prop_assert_eq!(batches.position(), whole.len());
        if tail.is_empty() {
            prop_assert!(batches.next().is_none());
        } else if let Some(Err(_)) = batches.next() {
            prop_assert_eq!(batches.position(), whole.len());
            prop_assert!(batches.next().is_none());
        }
    }
}
