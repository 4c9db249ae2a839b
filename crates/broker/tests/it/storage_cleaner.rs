//! Compaction in a serving broker: the last values stay, at their offsets, while clients write and over restarts.

use std::collections::BTreeMap;

use millstream_base::ErrorCode;
use millstream_wire::messages::find_coordinator::FindCoordinatorRequest;
use millstream_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use millstream_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};

use crate::support::batch::{Read, timed};
use crate::support::broker::Stopped;
use crate::support::client::{Client, Topic, code};
use crate::support::{eventually, logs, now_ms};

const COMPACTED: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("internal.segment.bytes", "2000"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("file.delete.delay.ms", "100"),
];

fn quick() -> Stopped {
    Stopped::new(&[("log.cleaner.backoff.ms", "50"), ("log.cleaner.threads", "2")])
}

/// Writes `rounds` values for each of five keys.
fn write(client: &mut Client, topic: &Topic, from: i32, rounds: i32) {
    for round in from..from + rounds {
        let records: Vec<_> = (0..5).map(|k| (format!("k{k}"), format!("{round}-{k}"))).collect();
        let records: Vec<_> =
            records.iter().map(|(k, v)| (Some(k.as_str()), v.as_str(), now_ms())).collect();
        client.produce(topic, 0, timed(Default::default(), &records));
    }
}

fn last_values(read: &[Read]) -> BTreeMap<String, (i64, String)> {
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap()).unwrap();
    read.iter().map(|r| (text(&r.key), (r.offset, text(&r.value)))).collect()
}

#[test]
fn only_the_last_values_stay_at_their_offsets() {
    let broker = quick().start();
    let topic = broker.topic("latest", 1, COMPACTED);
    let plain = broker.topic("all", 1, &[("internal.segment.bytes", "2000")]);
    let mut client = broker.connect();
    write(&mut client, &topic, 0, 100);
    write(&mut client, &plain, 0, 100);
    let before = last_values(&client.read_all(&topic, 0, 0));
    eventually("it is compacted", || (client.read_all(&topic, 0, 0).len() < 200).then_some(()));
    assert_eq!(last_values(&client.read_all(&topic, 0, 0)), before);
    assert_eq!(client.read_all(&plain, 0, 0).len(), 500);
    let checkpoint = broker.place().path().join("cleaner-offset-checkpoint");
    eventually("the cleaner remembers", || {
        std::fs::read_to_string(&checkpoint).ok().filter(|text| text.contains("latest 0 "))
    });
    let files = || std::fs::read_dir(broker.place().partition(&topic, 0)).unwrap().count();
    eventually("old files are removed", || (files() < 20).then_some(()));
    // Both ways of stopping; new values win.
    let broker = broker.crash().start();
    let mut client = broker.connect();
    assert_eq!(last_values(&client.read_all(&topic, 0, 0)), before);
    write(&mut client, &topic, 100, 60);
    let after = last_values(&client.read_all(&topic, 0, 0));
    assert!(after.values().all(|(offset, value)| *offset >= 795 && value.starts_with("159-")));
    let broker = broker.stop().start();
    let mut client = broker.connect();
    eventually("it is compacted again", || {
        (client.read_all(&topic, 0, 0).len() < 200).then_some(())
    });
    assert_eq!(last_values(&client.read_all(&topic, 0, 0)), after);
}

#[test]
fn a_log_that_cannot_be_cleaned_is_named_and_the_others_go_on() {
    let place = quick().set("log.cleaner.backoff.ms", "600000");
    let broker = place.start();
    let (bad, good) = (broker.topic("bad", 1, COMPACTED), broker.topic("good", 1, COMPACTED));
    let mut client = broker.connect();
    write(&mut client, &bad, 0, 60);
    write(&mut client, &good, 0, 60);
    let place = broker.stop().set("log.cleaner.backoff.ms", "50");
    let file = place.partition(&bad, 0).join("00000000000000000000.log");
    let mut stored = std::fs::read(&file).unwrap();
    stored[200] ^= 0x40;
    std::fs::write(&file, stored).unwrap();
    let broker = place.start();
    let mut client = broker.connect();
    eventually("the other is compacted", || {
        (client.read_all(&good, 0, 0).len() < 150).then_some(())
    });
    logs::wait_for(&["bad-0", "cannot be compacted"]);
    // It still takes records.
    client.produce(&bad, 0, timed(Default::default(), &[(Some("k"), "v", now_ms())]));
}

#[test]
fn committed_offsets_are_compacted_too() {
    let place = quick().set("offsets.topic.num.partitions", "1");
    let place = place.set("log.cleaner.min.cleanable.ratio", "0.01");
    let broker = place.start();
    let topic = broker.topic("t", 1, &[]);
    let mut client = broker.connect();
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    eventually("the coordinator is there", || {
        let found = client.call(4, &find).coordinators.remove(0);
        (code(found.error_code) == ErrorCode::None).then_some(())
    });
    let small = AlterableConfig {
        name: "internal.segment.bytes".into(),
        value: Some("4096".into()),
        ..Default::default()
    };
    let offsets = AlterConfigsResource {
        resource_type: 2,
        resource_name: "__consumer_offsets".into(),
        configs: vec![small],
    };
    let alter = IncrementalAlterConfigsRequest { resources: vec![offsets], ..Default::default() };
    assert_eq!(code(client.call(1, &alter).responses[0].error_code), ErrorCode::None);
    let commit = |client: &mut Client, offset: i64| {
        let partition = OffsetCommitRequestPartition {
            committed_offset: offset,
            committed_leader_epoch: -1,
            ..Default::default()
        };
        let named = OffsetCommitRequestTopic {
            name: topic.name.as_str().into(),
            partitions: vec![partition],
            ..Default::default()
        };
        let request = OffsetCommitRequest {
            group_id: "g".into(),
            generation_id_or_member_epoch: -1,
            topics: vec![named],
            ..Default::default()
        };
        code(client.call(8, &request).topics[0].partitions[0].error_code)
    };
    eventually("the group is loaded", || (commit(&mut client, 0) == ErrorCode::None).then_some(()));
    for offset in 1..400 {
        assert_eq!(commit(&mut client, offset), ErrorCode::None);
    }
    let dir = broker.place().path().join("__consumer_offsets-0");
    let size = || -> u64 {
        let files = std::fs::read_dir(&dir).unwrap().map(Result::unwrap);
        let logs = files.filter(|f| f.file_name().to_string_lossy().ends_with(".log"));
        logs.map(|f| f.metadata().map_or(0, |m| m.len())).sum()
    };
    eventually("it is compacted", || (size() < 16_000).then_some(()));
    let broker = broker.crash().start();
    let mut client = broker.connect();
    let fetched = eventually("the offset is there again", || {
        let named = OffsetFetchRequestTopics {
            name: topic.name.as_str().into(),
            partition_indexes: vec![0],
            ..Default::default()
        };
        let group = OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_epoch: -1,
            topics: Some(vec![named]),
            ..Default::default()
        };
        let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
        let mut answer = client.call(9, &request).groups.remove(0);
        (code(answer.error_code) == ErrorCode::None).then(|| answer.topics.remove(0))
    });
    assert_eq!(fetched.partitions[0].committed_offset, 399);
}
