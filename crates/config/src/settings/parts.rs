//! Names of the parts that do not exist yet, as messages put them after "Millstream has no".

pub(crate) const AUTO_JOIN: &str = "controllers that add themselves to the voters";
pub(crate) const CORDON: &str = "cordoning of log directories";
pub(crate) const DEAD_LETTERS: &str = "dead letter queues";
pub(crate) const GROUP_LINGER: &str = "delayed writing of group records";
pub(crate) const INTERNAL_CODEC: &str = "compression of internal topics";
pub(crate) const MOVING_LOGS: &str = "moving of logs between directories";
pub(crate) const PER_LISTENER: &str = "settings of single listeners";
pub(crate) const PREALLOCATION: &str = "preallocation of segments";
pub(crate) const PROVIDERS: &str = "configuration providers";
pub(crate) const QUOTAS: &str = "quotas";
pub(crate) const SECURITY: &str = "TLS, SASL and access control";
pub(crate) const SHARE: &str = "share groups";
pub(crate) const STREAMS: &str = "streams groups";
pub(crate) const TELEMETRY: &str = "client telemetry";
pub(crate) const TIERED: &str = "tiered storage";
pub(crate) const TWO_PHASE: &str = "outside two-phase commit";
