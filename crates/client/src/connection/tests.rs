//! A connection against brokers that answer well, badly, late or not at all.

use std::time::Duration;

use bytes::BytesMut;
use millstream_env::net::{ListenOptions, TcpListener, TcpStream, listen};
use millstream_env::task::{runtime, spawn};
use millstream_wire::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};
use millstream_wire::messages::metadata::{MetadataRequest, MetadataResponse};
use millstream_wire::{ApiKey, Decoder, Encode, Encoder, Request, frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

fn run<F: Future>(future: F) -> F::Output {
    runtime(Some(1)).unwrap().block_on(future)
}

async fn listener() -> (TcpListener, String) {
    let listener = listen("127.0.0.1:0".parse().unwrap(), ListenOptions { backlog: 8 }).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Reads a request: its API, version, correlation id and body.
async fn read_request(stream: &mut TcpStream) -> Option<(i16, i16, i32)> {
    let length = stream.read_i32().await.ok()?;
    let mut bytes = BytesMut::zeroed(usize::try_from(length).unwrap());
    stream.read_exact(&mut bytes).await.ok()?;
    let mut decoder = Decoder::new(bytes.freeze());
    Some((decoder.i16().unwrap(), decoder.i16().unwrap(), decoder.i32().unwrap()))
}

async fn respond(
    stream: &mut TcpStream,
    key: ApiKey,
    version: i16,
    correlation: i32,
    body: &impl Encode,
) {
    let mut encoder = Encoder::new();
    frame::write_response(&mut encoder, key, version, correlation, body).unwrap();
    stream.write_all(encoder.buffer()).await.unwrap();
}

fn speaks(ranges: &[(ApiKey, i16, i16)]) -> ApiVersionsResponse {
    let api = |&(key, min, max): &(ApiKey, i16, i16)| ApiVersion {
        api_key: key.code(),
        min_version: min,
        max_version: max,
    };
    ApiVersionsResponse {
        api_keys: ranges.iter().map(api).collect(),
        ..ApiVersionsResponse::default()
    }
}

/// A broker that knows ApiVersions and Metadata 0 to 9, and then does what `after` says.
async fn with_broker<F, T>(after: F) -> String
where
    F: FnOnce(TcpStream) -> T + Send + 'static,
    T: Future<Output = ()> + Send,
{
    let (listener, address) = listener().await;
    spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (_, version, correlation) = read_request(&mut stream).await.unwrap();
        let versions = speaks(&[(ApiKey::ApiVersions, 0, 4), (ApiKey::Metadata, 0, 9)]);
        respond(&mut stream, ApiKey::ApiVersions, version, correlation, &versions).await;
        after(stream).await;
    });
    address
}

fn config() -> ClientConfig {
    ClientConfig {
        request_timeout: Duration::from_secs(5),
        max_response_bytes: 10_000,
        ..ClientConfig::default()
    }
}

#[test]
fn pipelined_calls_get_their_own_answers() {
    run(async {
        let address = with_broker(|mut stream| async move {
            let mut asked = Vec::new();
            for _ in 0..3 {
                asked.push(read_request(&mut stream).await.unwrap());
            }
            for (place, (_, version, correlation)) in (7..).zip(asked) {
                let body = MetadataResponse { controller_id: place, ..Default::default() };
                respond(&mut stream, ApiKey::Metadata, version, correlation, &body).await;
            }
        })
        .await;
        let connection = Connection::connect(&address, &config()).await.unwrap();
        let version = connection.version_of::<MetadataRequest>(None).unwrap();
        assert_eq!(version, 9);
        let request = MetadataRequest::default();
        let call = || connection.call(&request, version, None);
        let (a, b, c) = tokio::join!(call(), call(), call());
        let ids = [a, b, c].map(|answer| answer.unwrap().controller_id);
        assert_eq!(ids, [7, 8, 9]);
    });
}

#[test]
fn an_old_broker_is_asked_again_in_its_own_version() {
    run(async {
        let (listener, address) = listener().await;
        let server = spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = Vec::new();
            while let Some((_, version, correlation)) = read_request(&mut stream).await {
                seen.push(version);
                let mut body = speaks(&[(ApiKey::ApiVersions, 0, 2)]);
                let known = version <= 2;
                body.error_code = if known { 0 } else { 35 };
                let answer_version = if known { version } else { 0 };
                respond(&mut stream, ApiKey::ApiVersions, answer_version, correlation, &body).await;
            }
            seen
        });
        let connection = Connection::connect(&address, &config()).await.unwrap();
        let error = connection.version_of::<MetadataRequest>(None).unwrap_err();
        assert!(matches!(error, ConnectionError::Unsupported { .. }), "{error}");
        assert_eq!(connection.version_of::<ApiVersionsRequest>(None).unwrap(), 2);
        assert_eq!(ApiVersionsRequest::MIN, 0);
        drop(connection);
        assert_eq!(server.await.unwrap(), [4, 2]);
    });
}

#[test]
fn nobody_at_the_address_is_said_in_words() {
    run(async {
        let (gone, address) = listener().await;
        drop(gone);
        let error = Connection::connect(&address, &config()).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "connection refused: is a broker running at {address}? Start one with `millstream serve`"
            )
        );
    });
}

#[test]
fn silence_closes_the_connection_for_everyone() {
    run(async {
        let address = with_broker(|stream| async move {
            millstream_env::task::sleep(Duration::from_secs(60)).await;
            drop(stream);
        })
        .await;
        let connection = Connection::connect(&address, &config()).await.unwrap();
        let request = MetadataRequest::default();
        let soon = Some(Duration::from_millis(30));
        let (late, other) =
            tokio::join!(connection.call(&request, 9, soon), connection.call(&request, 9, None));
        assert!(matches!(late, Err(ConnectionError::TimedOut { .. })));
        assert!(matches!(other, Err(ConnectionError::TimedOut { .. })));
        assert!(connection.is_closed());
        assert!(connection.call(&request, 9, None).await.is_err());
    });
}

/// What a client makes of `bytes` in answer to its first question.
fn check_bad_answer(bytes: &'static [u8], expected: &str) {
    run(async {
        let (listener, address) = listener().await;
        spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(bytes).await.unwrap();
        });
        let error = Connection::connect(&address, &config()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    });
}

#[test]
fn bytes_that_are_no_answer_end_in_a_clear_error() {
    check_bad_answer(b"HTTP/1.1 400 Bad Request\r\n\r\n", "not the Kafka protocol");
    check_bad_answer(&[0x7f, 0xff, 0xff, 0xff], "where 0 to 10000 are accepted");
    check_bad_answer(&[0xff, 0xff, 0xff, 0xff], "where 0 to 10000 are accepted");
    check_bad_answer(&[0, 0, 0, 2, 0, 0], "fewer than four bytes");
    check_bad_answer(&[0, 0, 0, 4, 0, 0, 0, 9], "an answer to no question");
    check_bad_answer(&[0, 0, 0, 9, 0], "closed");
    check_bad_answer(&[], "closed");
}

#[test]
fn addresses() {
    assert_eq!(split_address("broker:9092").unwrap(), ("broker", 9092));
    assert_eq!(split_address("[::1]:9092").unwrap(), ("::1", 9092));
    for wrong in ["broker", "broker:", ":9092", "broker:0", "broker:99999", "::1", ""] {
        assert!(split_address(wrong).is_err(), "{wrong}");
    }
}
