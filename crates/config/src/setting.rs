//! [`Setting`]: one row of the table of settings, and the words its columns are made of.
//!
//! Rows are plain constants, so that the table costs nothing at start. What a row says is all there is to know about a
//! setting; nothing about a setting is declared anywhere else.

use std::fmt;

/// One setting, as it is declared in the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Kafka's name.
    pub name: &'static str,
    /// How its text is read.
    pub kind: Type,
    /// The text of its default; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// Which values it may take.
    pub valid: Valid,
    /// How much it matters, in Kafka's judgement.
    pub importance: Importance,
    /// What it is set on.
    pub scope: Scope,
    /// When it can be changed.
    pub update: Update,
    /// What it does in Millstream.
    pub status: Status,
    /// Not shown when configurations are described, as in Kafka.
    pub internal: bool,
    /// One sentence.
    pub doc: &'static str,
    /// The broker settings that give the default of a topic or group setting, most specific first.
    pub synonyms: &'static [Synonym],
    /// The heading under which the reference page lists it.
    pub section: &'static str,
}

impl Setting {
    /// A password: its value is never shown.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.kind == Type::Password
    }
}

/// How the text of a setting is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Boolean,
    /// Any text.
    String,
    /// 32-bit integer.
    Int,
    /// 16-bit integer.
    Short,
    /// 64-bit integer.
    Long,
    /// Floating point number.
    Double,
    /// Texts separated by commas.
    List,
    /// The name of a Java class; kept as text.
    Class,
    /// Text that is never shown.
    Password,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int => "int",
            Self::Short => "short",
            Self::Long => "long",
            Self::Double => "double",
            Self::List => "list",
            Self::Class => "class",
            Self::Password => "password",
        })
    }
}

/// Which values a setting may take, beyond those of its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Valid {
    /// Whatever its type can hold.
    Any,
    /// A whole number of at least this.
    AtLeast(i64),
    /// A whole number from the first to the second, both included.
    Between(i64, i64),
    /// A number from the first to the second, both included.
    Fraction(f64, f64),
    /// -1 or 1 to 9.
    GzipLevel,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A list whose members are among these, each once at most.
    Members(&'static [&'static str]),
    /// The same, with at least one member.
    SomeMembers(&'static [&'static str]),
    /// Null or a text that is not empty.
    NonEmpty,
    /// `*`, or `partition:broker` pairs separated by commas.
    ThrottledReplicas,
    /// `latest`, `earliest`, or `by_duration:` and a duration of ISO 8601.
    OffsetReset,
}

impl fmt::Display for Valid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any value"),
            Self::AtLeast(low) => write!(f, "at least {low}"),
            Self::Between(low, high) => write!(f, "{low} to {high}"),
            Self::Fraction(low, high) => write!(f, "{low} to {high}"),
            Self::GzipLevel => f.write_str("1 to 9, or -1"),
            Self::OneOf(words) | Self::OneOfAnyCase(words) => {
                write!(f, "one of {}", words.join(", "))
            }
            Self::Members(words) => write!(f, "any of {}", words.join(", ")),
            Self::SomeMembers(words) => write!(f, "at least one of {}", words.join(", ")),
            Self::NonEmpty => f.write_str("a text that is not empty"),
            Self::OffsetReset => f.write_str(
                "latest, earliest, or by_duration:PnDTnHnMn.nS such as by_duration:PT1H",
            ),
            Self::ThrottledReplicas => f.write_str("* or partition:broker,partition:broker,..."),
        }
    }
}

/// How much a setting matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Most installations think about it.
    High,
    /// Some do.
    Medium,
    /// Few do.
    Low,
}

impl fmt::Display for Importance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        })
    }
}

/// What a setting is set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A broker, or all brokers.
    Broker,
    /// A topic.
    Topic,
    /// A consumer, share or streams group.
    Group,
    /// A client metrics subscription.
    ClientMetrics,
    /// A user or a client id.
    User,
    /// An address that clients connect from.
    Ip,
    /// The store of the metadata of remote segments, under the prefix `rlmm.config.`.
    RemoteMetadata,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broker => "broker",
            Self::Topic => "topic",
            Self::Group => "group",
            Self::ClientMetrics => "client metrics",
            Self::User => "user",
            Self::Ip => "IP address",
            Self::RemoteMetadata => "remote metadata",
        })
    }
}

/// When a setting can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Only in the configuration that a broker starts with.
    ReadOnly,
    /// At run time, for one broker at a time.
    PerBroker,
    /// At run time, for one broker or for all.
    ClusterWide,
    /// At run time, on its topic, group or other resource.
    Resource,
}

impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
            Self::Resource => "any time",
        })
    }
}

/// What a setting does in Millstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what its doc says.
    Acts,
    /// The same, but Kafka could change it at run time and Millstream cannot yet: it is set at start, and refused later.
    ActsAtStart,
    /// It steers something that Millstream is not made of (a JVM, a thread pool). Accepted in `server.properties` and
    /// listed once at start; refused at run time.
    NoMeaning,
    /// It fine-tunes a part that does not exist yet and cannot mislead before then. Treated like [`Status::NoMeaning`], so
    /// that a Kafka `server.properties` works as it stands; the notice names the part.
    Idle(&'static str),
    /// It asks for a part that does not exist yet, and going without it would surprise: any value but the default is
    /// refused with the name of the part.
    NotYet(&'static str),
}

/// A broker setting that gives the default of a topic or group setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synonym {
    /// The broker setting.
    pub name: &'static str,
    /// What its value is counted in.
    pub unit: Unit,
}

/// What the value of a synonym is counted in, where the setting itself counts milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The same as the setting itself.
    Same,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
}

impl Unit {
    /// Milliseconds in one; 1 where nothing is converted.
    #[must_use]
    pub fn factor(self) -> i64 {
        match self {
            Self::Same => 1,
            Self::Minutes => 60_000,
            Self::Hours => 3_600_000,
        }
    }
}
