//! Records that Apache Kafka 4.0.0 wrote into its logs: read, and written again to the same bytes.

use bytes::Bytes;
use millstream_wire::stored::{ConsumerGroupMemberMetadataValue, MetadataRecord, value_from_bytes};
use millstream_wire::testing::Case;
use millstream_wire::{Decoder, Encoder};

fn bytes(hex: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(hex.get(at..at + 2).unwrap(), 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// The fields of `name` without what says their type and version.
fn check(name: &str, version: i16, hex: &str) {
    let bytes = bytes(hex);
    let again = (Case::find(name).unwrap().recode)(bytes.clone(), version);
    assert_eq!(again, Ok(bytes), "{name}");
}

#[test]
fn coordinator_records() {
    check("OffsetCommitKey", 0, "000964617368626f617264000870726f66696c657300000000");
    check("OffsetCommitValue", 3, "000000000000002affffffff000862792068616e6400000001a1fcbde6d0");
    check("GroupMetadataKey", 0, "000762696c6c696e67");
    check("GroupMetadataValue", 3, "0008636f6e73756d657200000002ffffffff000001a1fcbde5b900000000");
    check("ConsumerGroupMetadataValue", 0, "0000000100");
    check(
        "ConsumerGroupTargetAssignmentMemberValue",
        0,
        "03a488b20479004d7c9892f613bd6de098040000000000000001000000020016247c1af8ea4d9384cab8bc8bb9a07c02\
         000000000000",
    );
    check(
        "ConsumerGroupCurrentMemberAssignmentValue",
        0,
        "0000000100000000000316247c1af8ea4d9384cab8bc8bb9a07c020000000000a488b20479004d7c9892f613bd6de0\
         9804000000000000000100000002000100",
    );
    check(
        "TransactionLogValue",
        1,
        "000000000000000500000000ea600103097061796d656e747303000000000000000100135f5f636f6e73756d65725f6f\
         666673657473020000000100000001a1fcbde090000001a1fcbde03900",
    );
}

#[test]
fn control_records() {
    check("EndTxnMarker", 0, "00000000");
    check("LeaderChangeMessage", 0, "00000000000102000000010002000000010000");
}

#[test]
fn metadata_records() {
    for hex in [
        "0100030000000100cc1924403aab45f7a3c1ef8649057d230000000000000007020a504c41494e544558540a\
         3132372e302e302e315a34000000060e67726f75702e76657273696f6e0000000100147472616e7361637469\
         6f6e2e76657273696f6e000000020021656c696769626c652e6c65616465722e7265706c696361732e766572\
         73696f6e00000001000e6b726166742e76657273696f6e0000000100116d657461646174612e76657273696f\
         6e00070019000001000100110253cb1cd1b889278f9101f45f5207d686",
        "010200145f5f7472616e73616374696f6e5f73746174658030af6ad9d94f53afa797458175d88e00",
        "01030200000000a488b20479004d7c9892f613bd6de09802000000010200000001010100000001000000000000000002\
         53cb1cd1b889278f9101f45f5207d68600",
        "01040002145f5f7472616e73616374696f6e5f73746174651f756e636c65616e2e6c65616465722e656c656374696f6e\
         2e656e61626c650666616c736500",
        "010502000000003c06532f6aa2469c975d27783795a5cf010104ffffffff",
        "010c00147472616e73616374696f6e2e76657273696f6e000200",
        "010f0000000001000000000000000700000000000003e800",
        "01110100000001000000000000010201010101",
        "01140000",
        "01170001001212426f6f747374726170207265636f726473",
    ] {
        let bytes = bytes(hex);
        let mut d = Decoder::new(bytes.clone());
        let record = MetadataRecord::decode(&mut d).unwrap();
        d.finish().unwrap();
        let mut e = Encoder::new();
        record.encode(&mut e, i16::from(bytes[2])).unwrap();
        assert_eq!(e.into_bytes(), bytes, "{record:?}");
    }
}

/// Kafka 4.0.0 writes a tagged field whose value is null; this table leaves it out, as null is its default.
#[test]
fn a_tagged_struct_that_says_that_it_is_null() {
    let value: ConsumerGroupMemberMetadataValue = value_from_bytes(bytes(
        "0000\
         00000872646b61666b610b2f3132372e302e302e3103076f72646572730970726f66696c657301000493e00001000100",
    ))
    .unwrap();
    assert_eq!((value.classic_member_metadata, value.rebalance_timeout_ms), (None, 300_000));
    assert_eq!(value.subscribed_topic_names, ["orders", "profiles"]);
}
