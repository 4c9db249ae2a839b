//! The view of a produce request against the generic decoder.

use millstream_wire::messages::produce::*;
use millstream_wire::produce_view::{ProducePart, ProduceView};
use millstream_wire::testing::{Case, Gen, same_produce};
use millstream_wire::{ApiKey, Encode, Encoder, Records};
use proptest::prelude::*;

use crate::counting::peak_of;

proptest! {
    #[test]
    fn the_view_finds_what_the_decoder_finds(
        noise in proptest::collection::vec(any::<u8>(), 0..600),
        cut in any::<prop::sample::Index>(),
        change in any::<(prop::sample::Index, u8)>(),
    ) {
        let case = Case::find("ProduceRequest").unwrap();
        for version in case.min..=case.max {
            let mut bytes = (case.generate)(&mut Gen::new(&noise), version).unwrap().to_vec();
            same_produce(&bytes, version);
            same_produce(&bytes[..cut.index(bytes.len())], version);
            let at = change.0.index(bytes.len());
            bytes[at] = change.1;
            same_produce(&bytes, version);
        }
    }
}

fn request(topics: usize, partitions: i32, version: i16) -> Vec<u8> {
    let partition_data = |topic: usize| {
        (0..partitions)
            .map(|index| PartitionProduceData {
                index,
                records: Some(Records::Bytes(format!("batch {topic}/{index}").into())),
            })
            .collect()
    };
    let topic = |topic: usize| TopicProduceData {
        name: if version < 13 { format!("t{topic}").into() } else { "".into() },
        partition_data: partition_data(topic),
        ..Default::default()
    };
    let request = ProduceRequest {
        transactional_id: Some("tx".into()),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: (0..topics).map(topic).collect(),
    };
    let mut e = Encoder::new();
    request.encode(&mut e, version).unwrap();
    e.into_buffer()
}

#[test]
fn partitions_come_in_the_order_of_the_request() {
    for version in ApiKey::Produce.min()..=ApiKey::Produce.max() {
        let body = request(2, 2, version);
        let mut parts = Vec::new();
        let view = ProduceView::parse(&body, version, &mut parts).unwrap();
        assert_eq!((view.transactional_id, view.acks), (Some("tx"), -1));
        let found: Vec<_> =
            parts.iter().map(|part| (part.topic_entry, part.index, part.records(&body))).collect();
        let expected: [(u32, i32, &[u8]); 4] = [
            (0, 0, b"batch 0/0"),
            (0, 1, b"batch 0/1"),
            (1, 0, b"batch 1/0"),
            (1, 1, b"batch 1/1"),
        ];
        assert_eq!(found, expected);
        assert_eq!(parts[2].topic_name(&body), (version < 13).then_some("t1"));
    }
}

#[test]
fn a_list_that_is_used_again_costs_no_allocation() {
    let body = request(3, 5, 9);
    let mut parts: Vec<ProducePart> = Vec::with_capacity(15);
    let (view, peak) = peak_of(|| ProduceView::parse(&body, 9, &mut parts).map(|view| view.acks));
    assert_eq!((view, peak, parts.len()), (Ok(-1), 0, 15));
}
