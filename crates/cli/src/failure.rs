//! How a command fails: a sentence, what to do next, and the exit code.
//!
//! Key type: [`Failure`]. Exit codes are part of the interface: see [`Exit`]. People never see a backtrace.

use std::fmt::Display;
use std::process::ExitCode;

use millstream_base::ErrorCode;
use millstream_client::{ClientError, ConnectionError, ConsumeError, ProduceError};

/// The exit codes of `millstream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something failed.
    Failure = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No broker answers.
    NoBroker = 3,
    /// A topic, partition, group or offset that was named does not exist.
    NotFound = 4,
}

/// Why a command ends without having done its work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// Standard output was closed by its reader: not worth a word.
    pub(crate) quiet: bool,
}

/// What commands return.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        Self { exit, message: message.to_string(), hint: None, quiet: false }
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn failed(message: impl Display) -> Self {
        Self::new(Exit::Failure, message)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code for the operating system.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.quiet { ExitCode::SUCCESS } else { ExitCode::from(self.exit as u8) }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// The class of Kafka's code, for the exit code and the hint.
fn classify(code: ErrorCode) -> (Exit, Option<&'static str>) {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => (
            Exit::NotFound,
            Some(
                "`millstream topic list` shows the topics; `millstream topic create NAME` makes one",
            ),
        ),
        ErrorCode::TransactionalIdNotFound => {
            (Exit::NotFound, Some("`millstream txn list` shows the transactional ids"))
        }
        ErrorCode::GroupIdNotFound => {
            (Exit::NotFound, Some("`millstream group list` shows the groups"))
        }
        ErrorCode::OffsetOutOfRange => (
            Exit::NotFound,
            Some(
                "`millstream topic describe NAME` shows the first and the next offset of each partition",
            ),
        ),
        ErrorCode::TopicAlreadyExists => {
            (Exit::Failure, Some("add `--if-not-exists` to accept a topic that exists already"))
        }
        ErrorCode::InvalidReplicationFactor => {
            (Exit::Failure, Some("a topic cannot have more replicas than the cluster has brokers"))
        }
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => (
            Exit::Failure,
            Some(
                "raise the topic's limit: `millstream topic alter NAME --set max.message.bytes=BYTES`",
            ),
        ),
        ErrorCode::NonEmptyGroup => (
            Exit::Failure,
            Some("stop the group's consumers first; `millstream group describe` shows them"),
        ),
        _ => (Exit::Failure, None),
    }
}

fn from_code(code: Option<ErrorCode>, message: &dyn Display) -> Failure {
    let (exit, hint) = code.map_or((Exit::Failure, None), classify);
    Failure { exit, message: message.to_string(), hint: hint.map(str::to_owned), quiet: false }
}

/// Whether the cause is that nobody answers.
fn is_unreachable(error: &ClientError) -> bool {
    match error {
        ClientError::NoBroker { .. } => true,
        ClientError::Connection(error) => matches!(
            error,
            ConnectionError::Refused { .. }
                | ConnectionError::Resolve { .. }
                | ConnectionError::Connect { .. }
                | ConnectionError::ConnectTimeout { .. }
        ),
        ClientError::Timeout { source, .. } => is_unreachable(source),
        _ => false,
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        if is_unreachable(&error) {
            return Self::new(Exit::NoBroker, &error).hint(
                "`--bootstrap-server HOST:PORT` or MILLSTREAM_BOOTSTRAP names another broker",
            );
        }
        from_code(error.code(), &error)
    }
}

impl From<ProduceError> for Failure {
    fn from(error: ProduceError) -> Self {
        if let ProduceError::Metadata { source, .. } = &error
            && is_unreachable(source)
        {
            return source.clone().into();
        }
        let failure = from_code(error.code(), &error);
        match &error {
            ProduceError::TooLarge { .. } => {
                failure.hint("--max-record-size BYTES allows larger records, if the topic does too")
            }
            _ => failure,
        }
    }
}

impl From<ConsumeError> for Failure {
    fn from(error: ConsumeError) -> Self {
        match error {
            ConsumeError::Client(error) => error.into(),
            other => from_code(other.code(), &other),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let quiet = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self { quiet, ..Self::failed(error) }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        if error.is_io() {
            return std::io::Error::from(error).into();
        }
        Self::failed(error)
    }
}
