//! What a version cannot carry is refused, or dropped where the table says so; defaults and tagged fields.

use bytes::Bytes;
use millstream_wire::messages::consumer_group_heartbeat as heartbeat;
use millstream_wire::messages::fetch::*;
use millstream_wire::messages::metadata::*;
use millstream_wire::messages::offset_fetch::OffsetFetchRequest;
use millstream_wire::stored::*;
use millstream_wire::{
    Decode, DecodeErrorKind, Decoder, Encode, EncodeError, Encoder, NotUtf8, Str,
};

fn to_bytes(value: &impl Encode, version: i16) -> Result<Bytes, EncodeError> {
    let mut e = Encoder::new();
    value.encode(&mut e, version).map(|()| e.into_bytes())
}

fn from_bytes<T: Decode>(bytes: impl Into<Bytes>, version: i16) -> Result<T, DecodeErrorKind> {
    Decoder::new(bytes.into()).read(version).map_err(|error| error.kind)
}

#[test]
fn a_field_that_must_not_be_dropped_is_refused() {
    let request = FetchRequest { replica_id: 3, ..Default::default() };
    assert!(to_bytes(&request, 14).is_ok());
    let refused = EncodeError::FieldNotInVersion { field: "FetchRequest.replica_id", version: 15 };
    assert_eq!(to_bytes(&request, 15), Err(refused));
    // A tagged field in a version before its own.
    let replica_state = ReplicaState { replica_id: 1, ..Default::default() };
    let request = FetchRequest { replica_state, ..Default::default() };
    let field = "FetchRequest.replica_state";
    assert_eq!(to_bytes(&request, 14), Err(EncodeError::FieldNotInVersion { field, version: 14 }));
}

#[test]
fn an_ignorable_field_is_dropped() {
    let request = FetchRequest { rack_id: "r1".into(), session_id: 9, ..Default::default() };
    let back: FetchRequest = from_bytes(to_bytes(&request, 4).unwrap(), 4).unwrap();
    assert_eq!(back, FetchRequest::default());
}

#[test]
fn null_only_where_the_version_has_it() {
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert!(to_bytes(&all, 1).is_ok());
    let refused = EncodeError::NullNotAllowed { field: "MetadataRequest.topics", version: 0 };
    assert_eq!(to_bytes(&all, 0), Err(refused));
    assert_eq!(
        from_bytes::<MetadataRequest>(vec![0xff; 4], 0),
        Err(DecodeErrorKind::NullNotAllowed)
    );
    assert_eq!(from_bytes::<MetadataRequest>(vec![0xff; 4], 1).unwrap().topics, None);
    assert_eq!(
        from_bytes::<MetadataRequest>(vec![0xff, 0xff, 0xff, 0xfe], 1),
        Err(DecodeErrorKind::NegativeLength(-2))
    );
}

#[test]
fn the_defaults_are_the_tables() {
    assert_eq!(FetchRequest::default().max_bytes, i32::MAX);
    assert_eq!(FetchPartition::default().high_watermark, i64::MAX);
    assert_eq!(PartitionChangeRecord::default().leader, -2);
    assert!(RegisterBrokerRecord::default().fenced);
    // Nullable, but not null by default.
    assert_eq!(MetadataRequest::default().topics, Some(Vec::new()));
    assert_eq!(PartitionData::default().records, None);
    assert!(OffsetFetchRequest::default().groups.is_empty());
}

#[test]
fn a_nullable_struct_has_a_byte_before_it() {
    let mut response = heartbeat::ConsumerGroupHeartbeatResponse::default();
    let without = to_bytes(&response, 0).unwrap();
    assert_eq!(without.last_chunk::<2>(), Some(&[0xff, 0]));
    response.assignment = Some(heartbeat::Assignment::default());
    let with = to_bytes(&response, 0).unwrap();
    // Present; no partitions; no tagged fields, twice.
    assert_eq!(with.last_chunk::<4>(), Some(&[1, 1, 0, 0]));
}

#[test]
fn a_tagged_nullable_struct_counts_its_byte() {
    let classic = ClassicMemberMetadata { session_timeout_ms: 7, ..Default::default() };
    let value = ConsumerGroupMemberMetadataValue {
        classic_member_metadata: Some(classic),
        ..Default::default()
    };
    let bytes = to_bytes(&value, 0).unwrap();
    // One tagged field: tag 0, 7 bytes: present, the timeout, no protocols, no tagged fields.
    assert_eq!(bytes.last_chunk::<10>(), Some(&[1, 0, 7, 1, 0, 0, 0, 7, 1, 0]));
    assert_eq!(from_bytes::<ConsumerGroupMemberMetadataValue>(bytes, 0), Ok(value));
}

#[test]
fn unknown_tagged_fields_are_passed_over() {
    // Nothing but tagged fields: one unknown, of two bytes.
    assert!(from_bytes::<NoOpRecord>(&[1u8, 9, 2, 0xaa, 0xbb][..], 0).is_ok());
    let truncated = from_bytes::<NoOpRecord>(&[1u8, 9, 3, 0xaa, 0xbb][..], 0);
    assert_eq!(truncated, Err(DecodeErrorKind::Truncated { needed: 3, remaining: 2 }));
    // More fields than there are bytes.
    let endless = from_bytes::<NoOpRecord>(&[0xff, 0xff, 0xff, 0xff, 0x0f, 9, 0][..], 0);
    assert_eq!(endless, Err(DecodeErrorKind::Truncated { needed: 1, remaining: 0 }));
    // A known field (`Reason`, one byte: null) that says it has two.
    let short = from_bytes::<AbortTransactionRecord>(&[1u8, 0, 2, 0, 0][..], 0);
    assert_eq!(short, Err(DecodeErrorKind::TagSize(1)));
}

#[test]
fn tagged_fields_are_written_in_the_order_of_their_tags() {
    let record = PartitionChangeRecord {
        directories: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        leader_recovery_state: 0,
        ..Default::default()
    };
    let bytes = to_bytes(&record, 2).unwrap();
    let fixed = 4 + 16;
    assert_eq!(bytes[fixed..], [3, 5, 1, 0, 7, 1, 1, 8, 1, 1]);
}

#[test]
fn a_tagged_field_is_there_from_its_tagged_version_on() {
    let mut value = TransactionLogValue { producer_id: 1, ..Default::default() };
    assert_eq!(to_bytes(&value, 0).unwrap().len(), 8 + 2 + 4 + 1 + 4 + 8 + 8);
    value.previous_producer_id = 5;
    let field = "TransactionLogValue.previous_producer_id";
    assert_eq!(to_bytes(&value, 0), Err(EncodeError::FieldNotInVersion { field, version: 0 }));
    assert_eq!(from_bytes(to_bytes(&value, 1).unwrap(), 1), Ok(value));
}

#[test]
fn an_error_names_the_struct_and_the_place() {
    let mut d = Decoder::new(Bytes::from_static(&[0, 0, 0, 1, 0, 9, b'x']));
    let error = d.read::<MetadataRequest>(0).unwrap_err();
    assert_eq!((error.context, error.offset), ("MetadataRequestTopic", 6));
    let text = "9 bytes are needed and 1 are left (in MetadataRequestTopic, at byte 6)";
    assert_eq!(error.to_string(), text);
}

#[test]
fn strings_must_be_utf8_and_can_leave_their_frame() {
    assert_eq!(Str::try_from(Bytes::from_static(&[0xff])), Err(NotUtf8));
    let frame = Bytes::from(b"orders and much more".to_vec());
    let name = Str::try_from(frame.slice(..6)).unwrap();
    let own = name.detach();
    assert_eq!((own.as_str(), own == name), ("orders", true));
    assert_ne!(own.as_ptr(), name.as_ptr());
    let too_long = OffsetCommitKey { group: "g".repeat(40_000).into(), ..Default::default() };
    assert_eq!(to_bytes(&too_long, 0), Err(EncodeError::TooLong { len: 40_000 }));
}

#[test]
fn stored_keys_values_and_metadata_records_have_their_prefixes() {
    let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 };
    let bytes = key_to_bytes(&key).unwrap();
    assert_eq!(bytes[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3]);
    let (record_type, mut d) = open_key(bytes).unwrap();
    assert_eq!((record_type, d.read(0)), (1, Ok(key)));

    let value = OffsetCommitValue { offset: 8, ..Default::default() };
    let bytes = value_to_bytes(&value, 3).unwrap();
    assert_eq!(bytes[..2], [0, 3]);
    assert_eq!(value_from_bytes(bytes), Ok(value));

    let record = MetadataRecord::from(FeatureLevelRecord { name: "f".into(), feature_level: 2 });
    let mut e = Encoder::new();
    record.encode(&mut e, record.latest_version()).unwrap();
    assert_eq!(e.buffer(), [1, 12, 0, 2, b'f', 0, 2, 0]);
    assert_eq!(MetadataRecord::decode(&mut Decoder::new(e.into_bytes())), Ok(record));
    for (bytes, kind) in [
        ([2, 12, 0], DecodeErrorKind::UnknownFrameVersion(2)),
        ([1, 99, 0], DecodeErrorKind::UnknownRecordType(99)),
        ([1, 12, 1], DecodeErrorKind::UnsupportedVersion { version: 1, min: 0, max: 0 }),
    ] {
        let error = MetadataRecord::decode(&mut Decoder::new(bytes.to_vec().into())).unwrap_err();
        assert_eq!(error.kind, kind);
    }
}

#[test]
fn a_newer_subscription_is_read_as_the_newest_known() {
    let subscription = ConsumerProtocolSubscription {
        topics: vec!["t".into()],
        rack_id: Some("r".into()),
        ..Default::default()
    };
    let mut bytes = value_to_bytes(&subscription, 3).unwrap().to_vec();
    bytes[1] = 9;
    bytes.extend_from_slice(b"what came later");
    assert_eq!(embedded_from_bytes(bytes.into()), Ok(subscription));
}
