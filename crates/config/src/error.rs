//! [`ConfigError`]: why a setting was refused, in words that say what to do.

use crate::setting::Scope;
use thiserror::Error;

/// Why one setting was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The name is none that Kafka or Millstream knows.
    #[error("unknown {scope} setting `{name}`{hint}")]
    Unknown {
        /// What it was set on.
        scope: Scope,
        /// The name as given.
        name: String,
        /// What was probably meant; starts with punctuation, or is empty.
        hint: String,
    },
    /// The text is not of the setting's type or outside its bounds.
    #[error("`{name}={value}` is not valid: it takes {allowed}")]
    Invalid {
        /// The setting.
        name: String,
        /// The value as given; hidden for passwords.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The setting asks for a part that does not exist yet.
    #[error("`{name}={value}` cannot act yet: Millstream has no {part}. Leave it out{or_default}")]
    NotYet {
        /// The setting.
        name: String,
        /// The value as given; hidden for passwords.
        value: String,
        /// The missing part.
        part: &'static str,
        /// ` or set it to ...`, or empty where the default is null.
        or_default: String,
    },
    /// A setting that acts on nothing here was changed at run time.
    #[error("`{name}` cannot be changed: {reason}")]
    Ineffective {
        /// The setting.
        name: String,
        /// Why changing it would do nothing.
        reason: String,
    },
    /// The setting is read once, at start.
    #[error("`{name}` cannot be changed while the broker runs: {advice}")]
    ReadOnly {
        /// The setting.
        name: String,
        /// What to do instead.
        advice: &'static str,
    },
    /// The same, with the line of the file that says it.
    #[error("line {line}: {error}")]
    AtLine {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        #[source]
        error: Box<ConfigError>,
    },
    /// Two settings contradict each other, or a value fits its bounds but cannot work.
    #[error("{0}")]
    Conflict(String),
}

/// All that was wrong with a configuration, so that it can be mended in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}
