//! What can go wrong between a client and its brokers.
//!
//! Key types: [`ConnectionError`] (one connection), [`ClientError`] (a call on a cluster). Both are cheap to
//! clone, because one failure often answers many waiting records. Each says what to look at next.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::ErrorCode;

/// A connection could not be made, or a call on it failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The address is not `host:port`.
    #[error("`{address}` is not an address: expected HOST:PORT, such as `localhost:9092`")]
    Address {
        /// What was given.
        address: String,
    },
    /// The host's name has no address.
    #[error("cannot find the host of {address}: {source}")]
    Resolve {
        /// The broker's address.
        address: Arc<str>,
        /// What the resolver said.
        source: Arc<io::Error>,
    },
    /// Nothing listens there.
    #[error(
        "connection refused: is a broker running at {address}? Start one with `millstream serve`"
    )]
    Refused {
        /// The broker's address.
        address: Arc<str>,
    },
    /// The connection could not be made for another reason.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The broker's address.
        address: Arc<str>,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// No connection in time.
    #[error(
        "no connection to {address} after {after:?}: is the address right, and is it reachable?"
    )]
    ConnectTimeout {
        /// The broker's address.
        address: Arc<str>,
        /// How long was waited.
        after: Duration,
    },
    /// The other side closed the connection, or it broke.
    #[error("the connection to {address} closed{}", detail(.source.as_deref()))]
    Closed {
        /// The broker's address.
        address: Arc<str>,
        /// What broke, if it was not a plain close.
        source: Option<Arc<io::Error>>,
    },
    /// No answer in time. The connection is given up: later answers would queue behind the missing one.
    #[error("{address} did not answer {api} within {after:?}")]
    TimedOut {
        /// The broker's address.
        address: Arc<str>,
        /// The request's name.
        api: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The broker and this client have no version of a request in common.
    #[error(
        "{address} does not speak {api} in a version that this client knows ({ours}; broker: {theirs})"
    )]
    Unsupported {
        /// The broker's address.
        address: Arc<str>,
        /// The request's name.
        api: &'static str,
        /// Our range.
        ours: String,
        /// The broker's range, or `none`.
        theirs: String,
    },
    /// A request cannot be expressed in the version that both sides speak.
    #[error("cannot write {api} version {version} for {address}: {message}")]
    Encode {
        /// The broker's address.
        address: Arc<str>,
        /// The request's name.
        api: &'static str,
        /// The version chosen.
        version: i16,
        /// What does not fit.
        message: String,
    },
    /// What came back is not an answer in the Kafka protocol.
    #[error("{address} answered something that is not the Kafka protocol: {message}")]
    Protocol {
        /// The broker's address.
        address: Arc<str>,
        /// What was wrong with it.
        message: String,
    },
}

/// `: why` when there is a why.
fn detail(source: Option<&io::Error>) -> String {
    source.map_or_else(String::new, |source| format!(": {source}"))
}

impl ConnectionError {
    /// Whether the same call may work on a new connection or a little later.
    pub const fn is_retriable(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Closed { .. }
            | Self::Resolve { .. }
            | Self::TimedOut { .. } => true,
            Self::Address { .. }
            | Self::Unsupported { .. }
            | Self::Encode { .. }
            | Self::Protocol { .. } => false,
        }
    }
}

/// A call on a cluster failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// No bootstrap server was given.
    #[error("no bootstrap server given: expected HOST:PORT[,HOST:PORT...]")]
    NoServers,
    /// None of the known brokers answered.
    #[error("no broker answers at {servers}: {source}")]
    NoBroker {
        /// Everything that was tried.
        servers: String,
        /// Why the last one failed.
        source: ConnectionError,
    },
    /// A broker answered with an error.
    #[error("{}", broker_message(*.code, .what, .message.as_deref()))]
    Broker {
        /// Kafka's error code.
        code: ErrorCode,
        /// What was asked for, such as ``topic `orders` ``.
        what: String,
        /// The broker's own words, if any.
        message: Option<String>,
    },
    /// A number that this client's table of error codes lacks.
    #[error("{what}: error code {code}, which this client does not know")]
    UnknownCode {
        /// The number.
        code: i16,
        /// What was asked for.
        what: String,
    },
    /// Retried until the time was up.
    #[error("{what}: not done within {after:?}; the last failure was: {source}")]
    Timeout {
        /// What was asked for.
        what: String,
        /// How long was tried.
        after: Duration,
        /// The last failure.
        source: Box<ClientError>,
    },
    /// The answer lacks what was asked for.
    #[error("the broker's answer does not speak of {0}")]
    Missing(String),
    /// The caller asked for something that cannot be.
    #[error("{0}")]
    Invalid(String),
}

/// The broker's words if it said any, and the code; with `what` before them unless they name it themselves.
fn broker_message(code: ErrorCode, what: &str, message: Option<&str>) -> String {
    match message {
        Some(message) if message.contains(what) => format!("{message} ({code})"),
        Some(message) if !message.is_empty() => format!("{what}: {message} ({code})"),
        _ => format!("{what}: {code}"),
    }
}

impl ClientError {
    /// The error of a code on the wire, or `Ok` for "no error".
    pub fn check(code: i16, what: impl FnOnce() -> String) -> Result<(), Self> {
        Self::check_with(code, None, what)
    }

    /// The same, with the broker's message.
    pub fn check_with(
        code: i16,
        message: Option<&str>,
        what: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => Ok(()),
            Some(code) => {
                Err(Self::Broker { code, what: what(), message: message.map(str::to_owned) })
            }
            None => Err(Self::UnknownCode { code, what: what() }),
        }
    }

    /// Kafka's error code, where a broker gave one.
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            Self::Timeout { source, .. } => source.code(),
            _ => None,
        }
    }

    /// Whether the same call may work a little later.
    pub const fn is_retriable(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_retriable(),
            Self::NoBroker { source, .. } => source.is_retriable(),
            Self::Broker { code, .. } => code.is_retriable(),
            _ => false,
        }
    }
}
