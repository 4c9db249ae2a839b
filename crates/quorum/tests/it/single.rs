//! The metadata log from outside: proposals, restarts, crashes, snapshots, and a log that Kafka wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_base::{ErrorCode, NodeId, Offset, Uuid};
use millstream_config::{BrokerConfig, ServerProperties};
use millstream_env::clock::ManualClock;
use millstream_env::fs::OsFs;
use millstream_metadata::decide::{
    CreateTopics, DeleteTopics, NewTopic, RegisterBroker, TopicRef, register_broker,
};
use millstream_metadata::{ClusterImage, ImageDelta, METADATA_VERSION, SupportedFeature};
use millstream_quorum::{
    CommitError, Decision, Executor, ImageListener, METADATA_DIR, OpenError, Options, Quorum,
    Refusal,
};
use parking_lot::Mutex;

fn open_with(
    dir: &Path,
    executor: Executor,
    snapshot_after_bytes: u64,
) -> Result<Quorum, OpenError> {
    let features = vec![("group.version".into(), 1), (METADATA_VERSION.into(), 25)];
    let options =
        Options { data_dir: dir.to_owned(), features, snapshot_after_bytes, ..Options::default() };
    Quorum::open(Arc::new(OsFs), ManualClock::at(1_000), executor, &options)
}

fn open(dir: &Path) -> Quorum {
    open_with(dir, Executor::inline(), 1 << 30).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn register(quorum: &Quorum, id: i32) {
    let feature = |name: &str, max| SupportedFeature { name: name.into(), min: 1, max };
    let broker = RegisterBroker {
        id: NodeId(id),
        incarnation_id: Uuid::from_random([1; 16]),
        endpoints: Vec::new(),
        features: vec![feature(METADATA_VERSION, 30), feature("group.version", 1)],
        rack: None,
        log_dirs: vec![Uuid::from_random([2; 16])],
        unfenced: true,
        ..RegisterBroker::default()
    };
    let decide = move |image: &ClusterImage, turn: &millstream_quorum::Turn| {
        register_broker(image, &broker, turn.next_offset)
    };
    let registered = run(quorum.execute(decide)).unwrap();
    assert_eq!(registered.epoch, quorum.image().broker(NodeId(id)).unwrap().epoch);
}

fn topic(name: &str, partitions: i32) -> NewTopic {
    let mut id = [3; 16];
    for (at, byte) in id.iter_mut().zip(name.bytes()) {
        *at = byte;
    }
    NewTopic {
        name: name.to_owned(),
        id: Uuid::from_random(id),
        num_partitions: partitions,
        replication_factor: 1,
        ..NewTopic::default()
    }
}

/// Creates a topic; the code that came back.
async fn create(quorum: &Quorum, name: String) -> Result<(), ErrorCode> {
    let decide = move |image: &ClusterImage, _: &millstream_quorum::Turn| {
        let config = BrokerConfig::load(&ServerProperties::default()).unwrap();
        let command = CreateTopics { topics: vec![topic(&name, 2)], ..CreateTopics::default() };
        Ok(command.decide(image, &config))
    };
    let reply = quorum.execute(decide).await.map_err(|error| error.code())?;
    reply.into_iter().next().unwrap().1.map(|_| ()).map_err(|refusal| refusal.code)
}

fn names(quorum: &Quorum) -> Vec<String> {
    quorum.image().topics.iter().map(|topic| topic.name.to_string()).collect()
}

#[test]
fn a_new_log_begins_with_its_features_and_comes_back_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path());
    assert_eq!(quorum.image().feature_level(METADATA_VERSION), 25);
    assert_eq!(quorum.next_offset(), Offset(2));
    register(&quorum, 1);
    assert_eq!(run(create(&quorum, "orders".into())), Ok(()));
    assert_eq!(run(create(&quorum, "orders".into())), Err(ErrorCode::TopicAlreadyExists));
    let (image, end) = (quorum.image(), quorum.next_offset());
    drop(quorum);
    let quorum = open(dir.path());
    assert_eq!((quorum.image(), quorum.next_offset()), (image, end));
    let topics = vec![TopicRef::Name("orders".into())];
    let delete = DeleteTopics { topics, enabled: true };
    run(quorum.execute(move |image, _| Ok(delete.decide(image)))).unwrap();
    drop(quorum);
    assert!(open(dir.path()).image().topics.is_empty());
}

#[test]
fn commands_at_once_are_decided_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let quorum = open_with(dir.path(), Executor::blocking(), 1 << 30).unwrap();
        tokio::task::block_in_place(|| ());
        let q = quorum.clone();
        std::thread::spawn(move || register(&q, 1)).join().unwrap();
        let attempts = (0..400).map(|n| {
            let quorum = quorum.clone();
            tokio::spawn(async move { create(&quorum, format!("topic-{}", n / 2)).await })
        });
        let mut made = 0;
        for attempt in attempts.collect::<Vec<_>>() {
            match attempt.await.unwrap() {
                Ok(()) => made += 1,
                Err(code) => assert_eq!(code, ErrorCode::TopicAlreadyExists),
            }
        }
        assert_eq!((made, quorum.image().topics.len()), (200, 200));
        quorum.close().await;
        assert_eq!(create(&quorum, "late".into()).await, Err(ErrorCode::NotController));
    });
    assert_eq!(open(dir.path()).image().topics.len(), 200);
}

/// Remembers what it was told, and that the image was not yet public.
#[derive(Default)]
struct Witness {
    quorum: Mutex<Option<Quorum>>,
    created: AtomicUsize,
    calls: AtomicUsize,
}

impl ImageListener for Witness {
    fn committed(&self, image: &Arc<ClusterImage>, delta: &ImageDelta) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.created.fetch_add(delta.partitions.len(), Ordering::SeqCst);
        let public = self.quorum.lock().as_ref().unwrap().image();
        assert!(public.topics.len() < image.topics.len());
    }
}

#[test]
fn listeners_act_before_anyone_can_see_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path());
    register(&quorum, 1);
    let witness = Arc::new(Witness::default());
    *witness.quorum.lock() = Some(quorum.clone());
    quorum.add_listener(Arc::<Witness>::clone(&witness));
    let watch = quorum.watch();
    assert_eq!(run(create(&quorum, "a".into())), Ok(()));
    assert_eq!(run(create(&quorum, "a".into())), Err(ErrorCode::TopicAlreadyExists));
    let counts = (&witness.calls, &witness.created);
    assert_eq!((counts.0.load(Ordering::SeqCst), counts.1.load(Ordering::SeqCst)), (1, 2));
    assert_eq!(watch.borrow().topics.len(), 1);
}

#[test]
fn a_refusal_writes_nothing_and_a_contradiction_is_caught() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path());
    let end = quorum.next_offset();
    let refused = run(quorum.execute(|_, _| -> Result<Decision<()>, Refusal> {
        Err(Refusal::new(ErrorCode::PolicyViolation, "no"))
    }));
    assert_eq!(refused.unwrap_err().code(), ErrorCode::PolicyViolation);
    let wrong = millstream_wire::stored::RemoveTopicRecord { topic_id: Uuid([1; 16]) };
    let records = vec![millstream_metadata::MetadataRecord::RemoveTopic(wrong)];
    let result = run(quorum.execute(move |_, _| Ok(Decision { records, reply: () })));
    assert!(matches!(result, Err(CommitError::Replay(_))));
    assert_eq!(quorum.next_offset(), end);
    register(&quorum, 1);
    drop(quorum);
    open(dir.path());
}

#[test]
fn a_crash_at_any_byte_keeps_whole_commands() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path());
    register(&quorum, 1);
    let path = dir.path().join(METADATA_DIR).join(format!("{:020}.log", 0));
    let start = usize::try_from(path.metadata().unwrap().len()).unwrap();
    for name in ["a", "b", "c"] {
        run(create(&quorum, name.into())).unwrap();
    }
    drop(quorum);
    let whole = std::fs::read(&path).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for len in start..=whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let quorum = open(dir.path());
        let topics = names(&quorum);
        assert!(
            ["a", "b", "c"].starts_with(&topics.iter().map(String::as_str).collect::<Vec<_>>())
        );
        assert_eq!(
            quorum.image().topics.partition_count(),
            topics.len() * 2,
            "a command is atomic"
        );
        seen.insert(topics.len());
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn snapshots_take_the_place_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open_with(dir.path(), Executor::inline(), 2_000).unwrap();
    register(&quorum, 1);
    for n in 0..50 {
        run(create(&quorum, format!("topic-{n}"))).unwrap();
    }
    let (image, end) = (quorum.image(), quorum.next_offset());
    drop(quorum);
    let files = |suffix: &str| {
        let entries = std::fs::read_dir(dir.path().join(METADATA_DIR)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(suffix)).collect();
        names.sort();
        names
    };
    assert_eq!((files(".checkpoint").len(), files(".log").len(), files(".tmp").len()), (1, 1, 0));
    let quorum = open_with(dir.path(), Executor::inline(), 2_000).unwrap();
    assert_eq!((quorum.image(), quorum.next_offset()), (image, end));
    drop(quorum);
    let log = files(".log").remove(0);
    std::fs::remove_file(dir.path().join(METADATA_DIR).join(log)).unwrap();
    let quorum = open_with(dir.path(), Executor::inline(), 2_000).unwrap();
    assert!(quorum.image().topics.len() > 40, "the snapshot alone is good");
    drop(quorum);
    std::fs::remove_file(dir.path().join(METADATA_DIR).join(files(".checkpoint").remove(0)))
        .unwrap();
    let refused = open_with(dir.path(), Executor::inline(), 2_000);
    assert!(matches!(refused, Err(OpenError::Gap { .. })), "{refused:?}");
}

/// Kafka's data directory, if it lies beside the repository: unpacked, the one of that name.
fn kafka(name: &str, into: &Path) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let packed = std::fs::read(root.join("shared/fixtures/kafka-4.0.0-data.tar.zst")).ok()?;
    let tar = zstd::decode_all(&packed[..]).unwrap();
    let mut at = 0;
    while let Some(header) = tar.get(at..at + 512).filter(|header| header[0] != 0) {
        let text = |range: std::ops::Range<usize>| {
            let text = std::str::from_utf8(&header[range]).unwrap();
            text.trim_end_matches(['\0', ' ']).to_owned()
        };
        let (path, size) = (text(0..100), usize::from_str_radix(&text(124..136), 8).unwrap());
        let path = path.trim_start_matches("./");
        if path.starts_with(&format!("{name}/__cluster_metadata-0/")) && header[156] == b'0' {
            let file = into.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, &tar[at + 512..at + 512 + size]).unwrap();
        }
        at += 512 + size.div_ceil(512) * 512;
    }
    Some(into.join(name))
}

#[test]
fn a_metadata_log_of_kafka_is_read_and_written_on() {
    for name in ["killed", "clean"] {
        let dir = tempfile::tempdir().unwrap();
        let Some(data) = kafka(name, dir.path()) else { return };
        let quorum = open(&data);
        let image = quorum.image();
        let partitions: BTreeMap<&str, usize> =
            image.topics.iter().map(|t| (t.name.as_ref(), t.partitions.len())).collect();
        let expected = [
            ("__consumer_offsets", 4),
            ("__transaction_state", 4),
            ("logappend", 1),
            ("orders", 3),
            ("payments", 2),
            ("profiles", 1),
            ("trimmed", 1),
        ];
        assert_eq!(partitions, BTreeMap::from(expected));
        let setting = |topic: &str, name: &str| image.configs.of_topic(topic).get(name).cloned();
        assert_eq!(setting("profiles", "cleanup.policy").as_deref(), Some("compact"));
        assert_eq!(
            setting("logappend", "message.timestamp.type").as_deref(),
            Some("LogAppendTime")
        );
        assert!(image.topics.iter().all(|t| t.id != Uuid::ZERO));
        assert!(image.feature_level(METADATA_VERSION) >= 25);
        let broker = image.broker(NodeId(1)).unwrap();
        assert_eq!(broker.log_dirs.len(), 1);
        let end = quorum.next_offset();
        assert_eq!(run(create(&quorum, "new".into())).is_ok(), broker.is_active());
        drop(quorum);
        let quorum = open(&data);
        assert!(quorum.next_offset() >= end);
        assert_eq!(quorum.image().topics.len(), 7 + usize::from(broker.is_active()));
    }
}
