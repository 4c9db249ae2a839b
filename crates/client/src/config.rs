//! What every client needs to know before it connects.
//!
//! Key type: [`ClientConfig`]. Names, meanings and defaults are Kafka's where Kafka has the setting.

use std::time::Duration;

/// How to find and talk to a cluster.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `bootstrap.servers`: `HOST:PORT` of some brokers; one that answers is enough.
    pub bootstrap_servers: Vec<String>,
    /// `client.id`: the name that the broker's logs and quotas know this client by.
    pub client_id: String,
    /// `request.timeout.ms`: how long one answer may take.
    pub request_timeout: Duration,
    /// `default.api.timeout.ms`: how long a call may take with all its retries.
    pub api_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub connect_timeout: Duration,
    /// `metadata.max.age.ms`: after this the topics and leaders are asked for again without a cause.
    pub metadata_max_age: Duration,
    /// `retry.backoff.ms`: the wait before the first retry; doubles from there.
    pub retry_backoff: Duration,
    /// `retry.backoff.max.ms`: the longest wait between retries.
    pub retry_backoff_max: Duration,
    /// `send.buffer.bytes`; `None` leaves it to the operating system, which is best for throughput.
    pub send_buffer_bytes: Option<usize>,
    /// `receive.buffer.bytes`, likewise.
    pub receive_buffer_bytes: Option<usize>,
    /// The largest answer that is accepted. A longer one closes the connection.
    pub max_response_bytes: usize,
    /// How many requests may wait for an answer on one connection.
    pub max_in_flight_per_connection: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            bootstrap_servers: vec!["localhost:9092".to_owned()],
            client_id: "millstream".to_owned(),
            request_timeout: Duration::from_secs(30),
            api_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            metadata_max_age: Duration::from_secs(300),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            max_response_bytes: 128 << 20,
            max_in_flight_per_connection: 256,
        }
    }
}

impl ClientConfig {
    /// The defaults for the brokers in `servers`: `HOST:PORT`, several with commas between.
    pub fn for_servers(servers: &str) -> Self {
        let bootstrap_servers = servers
            .split(',')
            .map(str::trim)
            .filter(|server| !server.is_empty())
            .map(str::to_owned)
            .collect();
        Self { bootstrap_servers, ..Self::default() }
    }
}
