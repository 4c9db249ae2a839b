//! Fetch sessions (KIP-227): a client names its partitions once, and then hears only of what changes.

use millstream_base::ErrorCode;
use millstream_wire::messages::fetch::{FetchRequest, FetchResponse, ForgottenTopic};

use crate::support::batch::{batch, values};
use crate::support::broker::TestBroker;
use crate::support::client::{Client, FETCH, Topic, bytes, code, fetch, fetch_topic};

/// A client in a session.
struct Sessioned {
    client: Client,
    id: i32,
    epoch: i32,
    version: i16,
}

impl Sessioned {
    /// Opens a session on these partitions.
    fn open(broker: &TestBroker, topic: &Topic, parts: &[(i32, i64)]) -> (Self, FetchResponse) {
        Self::open_at(broker, FETCH, topic, parts)
    }

    fn open_at(
        broker: &TestBroker,
        version: i16,
        topic: &Topic,
        parts: &[(i32, i64)],
    ) -> (Self, FetchResponse) {
        let mut client = broker.connect();
        let request = FetchRequest { session_epoch: 0, ..fetch(topic, parts) };
        let answer = client.call(version, &request);
        assert_eq!(code(answer.error_code), ErrorCode::None);
        (Self { client, id: answer.session_id, epoch: 0, version }, answer)
    }

    /// The next request of the session, which changes this.
    fn request(&mut self, changed: &[(&Topic, &[(i32, i64)])]) -> FetchRequest {
        self.epoch += 1;
        FetchRequest {
            max_bytes: 50 << 20,
            min_bytes: 1,
            session_id: self.id,
            session_epoch: self.epoch,
            topics: changed.iter().map(|(topic, parts)| fetch_topic(topic, parts)).collect(),
            ..Default::default()
        }
    }

    fn next(&mut self, changed: &[(&Topic, &[(i32, i64)])]) -> FetchResponse {
        let request = self.request(changed);
        let answer = self.client.call(self.version, &request);
        assert_eq!(code(answer.error_code), ErrorCode::None);
        assert_eq!(answer.session_id, self.id);
        answer
    }

    fn refused(&mut self, id: i32, epoch: i32) -> ErrorCode {
        let request = FetchRequest { session_id: id, session_epoch: epoch, ..self.request(&[]) };
        let answer = self.client.call(self.version, &request);
        assert_eq!(answer.session_id, 0);
        assert!(answer.responses.is_empty());
        code(answer.error_code)
    }
}

/// Partitions and values of an answer.
fn heard(answer: &FetchResponse) -> Vec<(i32, Vec<String>)> {
    let mut heard: Vec<_> = answer
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|part| {
            assert_eq!(code(part.error_code), ErrorCode::None);
            (part.partition_index, values(bytes(part), 0))
        })
        .collect();
    heard.sort();
    heard
}

fn text(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn a_session_tells_all_at_first_and_then_only_what_is_new() {
    let broker = TestBroker::start();
    let topic = broker.topic("news", 3, &[]);
    let mut writer = broker.connect();
    writer.produce(&topic, 0, batch(&["a"]));
    let (mut session, answer) = Sessioned::open(&broker, &topic, &[(0, 0), (1, 0), (2, 0)]);
    assert_ne!(session.id, 0);
    assert_eq!(heard(&answer), [(0, text(&["a"])), (1, vec![]), (2, vec![])]);
    // Gone past what was read: nothing is new.
    assert_eq!(heard(&session.next(&[(&topic, &[(0, 1)])])), []);
    assert_eq!(heard(&session.next(&[])), []);
    // New records of one partition, which was not named again.
    writer.produce(&topic, 2, batch(&["b"]));
    assert_eq!(heard(&session.next(&[])), [(2, text(&["b"]))]);
    // Until the client says that it has them, they are there still.
    assert_eq!(heard(&session.next(&[])), [(2, text(&["b"]))]);
    assert_eq!(heard(&session.next(&[(&topic, &[(2, 1)])])), []);
}

#[test]
fn partitions_are_added_and_forgotten() {
    for version in [7, 12, FETCH] {
        let broker = TestBroker::start();
        let topic = broker.topic("changing", 3, &[]);
        let other = broker.topic("another", 1, &[]);
        let mut writer = broker.connect();
        let (mut session, _) = Sessioned::open_at(&broker, version, &topic, &[(0, 0), (1, 0)]);
        for partition in 0..3 {
            writer.produce(&topic, partition, batch(&["x"]));
        }
        writer.produce(&other, 0, batch(&["y"]));
        let answer = session.next(&[(&topic, &[(2, 0)]), (&other, &[(0, 0)])]);
        assert_eq!(heard(&answer).len(), 4, "v{version}");
        let mut request = session.request(&[]);
        request.forgotten_topics_data = vec![
            ForgottenTopic {
                topic: topic.name.as_str().into(),
                topic_id: topic.id,
                partitions: vec![0, 2],
            },
            // What was never there is no error.
            ForgottenTopic {
                topic: other.name.as_str().into(),
                topic_id: other.id,
                partitions: vec![5],
            },
        ];
        let answer = session.client.call(version, &request);
        let parts = heard(&answer);
        assert_eq!(parts, [(0, text(&["y"])), (1, text(&["x"]))], "v{version}");
        assert_eq!(heard(&session.next(&[])), parts);
    }
}

#[test]
fn wrong_ids_and_epochs_have_their_codes() {
    let broker = TestBroker::start();
    let topic = broker.topic("wrong", 1, &[]);
    let (mut session, _) = Sessioned::open(&broker, &topic, &[(0, 0)]);
    let id = session.id;
    assert_eq!(session.refused(id, 2), ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(session.refused(id, 0x7fff_ffff), ErrorCode::InvalidFetchSessionEpoch);
    assert_eq!(session.refused(id ^ 1, 1), ErrorCode::FetchSessionIdNotFound);
    assert_eq!(session.refused(0, 1), ErrorCode::FetchSessionIdNotFound);
    assert_eq!(session.refused(-7, 1), ErrorCode::FetchSessionIdNotFound);
    // An error changes nothing: the right epoch is served.
    session.epoch = 0;
    assert_eq!(heard(&session.next(&[])), []);
    // The same epoch twice is wrong.
    assert_eq!(session.refused(id, 1), ErrorCode::InvalidFetchSessionEpoch);
    broker.assert_alive();
}

#[test]
fn a_session_by_name_is_not_continued_by_id() {
    let broker = TestBroker::start();
    let topic = broker.topic("both", 1, &[]);
    for (first, then) in [(12, 13), (13, 12)] {
        let (mut session, _) = Sessioned::open_at(&broker, first, &topic, &[(0, 0)]);
        session.version = then;
        let id = session.id;
        assert_eq!(
            session.refused(id, 1),
            ErrorCode::FetchSessionTopicIdError,
            "v{first} then v{then}"
        );
    }
}

#[test]
fn the_final_epoch_ends_a_session_and_a_new_one_replaces_it() {
    let broker = TestBroker::start();
    let topic = broker.topic("ending", 1, &[]);
    let (mut session, _) = Sessioned::open(&broker, &topic, &[(0, 0)]);
    let id = session.id;
    // The end of the session is a whole fetch of its own.
    let last = FetchRequest { session_id: id, session_epoch: -1, ..fetch(&topic, &[(0, 0)]) };
    let answer = session.client.call(FETCH, &last);
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    assert_eq!(heard(&answer), [(0, vec![])]);
    assert_eq!(session.refused(id, 1), ErrorCode::FetchSessionIdNotFound);

    // Epoch 0 with an id gives that session up for a new one.
    let (mut session, _) = Sessioned::open(&broker, &topic, &[(0, 0)]);
    let id = session.id;
    let again = FetchRequest { session_id: id, session_epoch: 0, ..fetch(&topic, &[(0, 0)]) };
    let answer = session.client.call(FETCH, &again);
    assert_eq!(answer.error_code, 0);
    assert!(answer.session_id != 0 && answer.session_id != id);
    assert_eq!(session.refused(id, 1), ErrorCode::FetchSessionIdNotFound);
}

#[test]
fn no_more_sessions_than_slots_and_the_others_are_served_without() {
    let broker = TestBroker::with(&[("max.incremental.fetch.session.cache.slots", "2")]);
    let topic = broker.topic("slots", 1, &[]);
    broker.connect().produce(&topic, 0, batch(&["x"]));
    let sessions: Vec<_> = (0..4).map(|_| Sessioned::open(&broker, &topic, &[(0, 0)])).collect();
    let with = sessions.iter().filter(|(session, _)| session.id != 0).count();
    assert_eq!(with, 2);
    for (_, answer) in &sessions {
        assert_eq!(heard(answer), [(0, text(&["x"]))]);
    }
}

#[test]
fn an_unknown_partition_is_told_each_time_and_the_others_are_served() {
    let broker = TestBroker::start();
    let topic = broker.topic("some", 1, &[]);
    let unknown = Topic { name: "none".into(), id: millstream_base::Uuid([3; 16]) };
    let mut writer = broker.connect();
    let (mut session, _) = Sessioned::open(&broker, &topic, &[(0, 0)]);
    let codes = |answer: &FetchResponse| -> Vec<_> {
        let parts = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let mut codes: Vec<_> = parts.map(|part| code(part.error_code).name()).collect();
        codes.sort_unstable();
        codes
    };
    let answer = session.next(&[(&topic, &[(9, 0)]), (&unknown, &[(0, 0)])]);
    let wanted = ["UNKNOWN_TOPIC_ID", "UNKNOWN_TOPIC_OR_PARTITION"];
    assert_eq!(codes(&answer), wanted);
    writer.produce(&topic, 0, batch(&["x"]));
    let answer = session.next(&[]);
    assert_eq!(codes(&answer), [&["NONE"][..], &wanted].concat());
}

#[test]
fn a_deleted_topic_turns_up_as_an_error_in_a_waiting_session() {
    let broker = TestBroker::start();
    let topic = broker.topic("doomed", 1, &[]);
    let (mut session, _) = Sessioned::open(&broker, &topic, &[(0, 0)]);
    let mut request = session.request(&[]);
    request.max_wait_ms = 30_000;
    let sent = session.client.send(FETCH, &request);
    let delete = millstream_wire::messages::delete_topics::DeleteTopicsRequest {
        topics: vec![millstream_wire::messages::delete_topics::DeleteTopicState {
            name: Some(topic.name.as_str().into()),
            ..Default::default()
        }],
        timeout_ms: 30_000,
        ..Default::default()
    };
    assert_eq!(broker.connect().call(6, &delete).responses[0].error_code, 0);
    let started = std::time::Instant::now();
    let answer = session.client.receive::<FetchRequest>(sent);
    assert!(started.elapsed().as_secs() < 20, "the wait was not ended by the deletion");
    let error = code(answer.responses[0].partitions[0].error_code);
    assert_eq!(error, ErrorCode::UnknownTopicId);
    // A topic of the same name is another one for a session by id.
    broker.topic("doomed", 1, &[]);
    let answer = session.next(&[]);
    assert_eq!(code(answer.responses[0].partitions[0].error_code), ErrorCode::UnknownTopicId);
}
