//! [`Value`]: the text of a setting, read by its type and checked against its bounds.
//!
//! Reading follows Kafka: surrounding blanks do not count, booleans are of any case, lists are cut at commas.

use crate::error::ConfigError;
use crate::setting::{Setting, Type, Valid};
use std::collections::BTreeSet;

/// The value of a setting.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Kafka's null: nothing is set and there is no default.
    Null,
    /// Of a boolean.
    Boolean(bool),
    /// Of a short, an int or a long; bounds are those of the type.
    Number(i64),
    /// Of a double.
    Double(f64),
    /// Of a string, a class or a password.
    Text(String),
    /// Of a list.
    List(Vec<String>),
}

impl Value {
    /// Reads `text` as a value of `setting`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when the text is not of the setting's type or outside its bounds.
    pub fn parse(setting: &Setting, text: &str) -> Result<Self, ConfigError> {
        let value = read(setting.kind, text.trim()).ok_or_else(|| invalid(setting, text))?;
        if allows(&setting.valid, &value) { Ok(value) } else { Err(invalid(setting, text)) }
    }

    /// The default of `setting`. Defaults are checked by a test, so reading one does not fail.
    #[must_use]
    pub fn default_of(setting: &Setting) -> Self {
        setting.default.and_then(|text| read(setting.kind, text)).unwrap_or(Self::Null)
    }

    /// The text that Kafka shows for it; `None` for null.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(b) => b.to_string(),
            Self::Number(n) => n.to_string(),
            Self::Double(d) => double_text(*d),
            Self::Text(s) => s.clone(),
            Self::List(members) => members.join(","),
        })
    }

    /// The number, multiplied by `factor` unless it is negative (which stands for "no limit" in every unit).
    pub(crate) fn scaled(self, factor: i64) -> Self {
        match self {
            Self::Number(n) if n >= 0 => Self::Number(n.saturating_mul(factor)),
            other => other,
        }
    }
}

fn read(kind: Type, text: &str) -> Option<Value> {
    Some(match kind {
        Type::Boolean if text.eq_ignore_ascii_case("true") => Value::Boolean(true),
        Type::Boolean if text.eq_ignore_ascii_case("false") => Value::Boolean(false),
        Type::Boolean => return None,
        Type::Short => Value::Number(text.parse::<i16>().ok()?.into()),
        Type::Int => Value::Number(text.parse::<i32>().ok()?.into()),
        Type::Long => Value::Number(text.parse::<i64>().ok()?),
        Type::Double => Value::Double(text.parse::<f64>().ok().filter(|d| d.is_finite())?),
        Type::String | Type::Class | Type::Password => Value::Text(text.to_owned()),
        Type::List if text.is_empty() => Value::List(Vec::new()),
        Type::List => Value::List(text.split(',').map(|part| part.trim().to_owned()).collect()),
    })
}

fn allows(valid: &Valid, value: &Value) -> bool {
    match (valid, value) {
        (Valid::Any, _) => true,
        (Valid::AtLeast(low), Value::Number(n)) => n >= low,
        (Valid::AtLeast(low), Value::Double(d)) => *d >= *low as f64,
        (Valid::Between(low, high), Value::Number(n)) => (low..=high).contains(&n),
        (Valid::Fraction(low, high), Value::Double(d)) => (low..=high).contains(&d),
        (Valid::GzipLevel, Value::Number(n)) => *n == -1 || (1..=9).contains(n),
        (Valid::OneOf(words), Value::Text(text)) => words.contains(&text.as_str()),
        (Valid::OneOfAnyCase(words), Value::Text(text)) => {
            words.iter().any(|word| word.eq_ignore_ascii_case(text))
        }
        (Valid::Members(words), Value::List(members)) => distinct_among(words, members),
        (Valid::SomeMembers(words), Value::List(members)) => {
            !members.is_empty() && distinct_among(words, members)
        }
        (Valid::NonEmpty, Value::Text(text)) => !text.is_empty(),
        (Valid::NonEmpty, Value::List(members)) => !members.is_empty(),
        (Valid::ThrottledReplicas, Value::List(members)) => throttled_replicas(members),
        (Valid::OffsetReset, Value::Text(text)) => offset_reset(text),
        _ => false,
    }
}

fn offset_reset(text: &str) -> bool {
    let duration = text.strip_prefix("by_duration:").and_then(|rest| rest.strip_prefix('P'));
    match duration {
        Some(rest) => {
            rest.ends_with(['D', 'H', 'M', 'S'])
                && rest.chars().all(|c| c.is_ascii_digit() || "DTHMS.".contains(c))
        }
        None => matches!(text, "latest" | "earliest"),
    }
}

fn distinct_among(words: &[&str], members: &[String]) -> bool {
    let mut seen = BTreeSet::new();
    members.iter().all(|member| words.contains(&member.as_str()) && seen.insert(member.as_str()))
}

fn throttled_replicas(members: &[String]) -> bool {
    let is_pair = |member: &String| {
        member.split_once(':').is_some_and(|(partition, broker)| {
            partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
        })
    };
    matches!(members, [one] if one == "*") || members.iter().all(is_pair)
}

fn invalid(setting: &Setting, text: &str) -> ConfigError {
    ConfigError::Invalid {
        name: setting.name.to_owned(),
        value: shown(setting, text),
        allowed: allowed(setting),
    }
}

/// The text as it may appear in a message: passwords do not.
pub(crate) fn shown(setting: &Setting, text: &str) -> String {
    if setting.is_sensitive() { "[hidden]".to_owned() } else { text.trim().to_owned() }
}

fn allowed(setting: &Setting) -> String {
    let article = if setting.kind == Type::Int { "an" } else { "a" };
    match setting.valid {
        Valid::Any if setting.kind == Type::Boolean => "true or false".to_owned(),
        Valid::Any => format!("{article} {}", setting.kind),
        Valid::AtLeast(_) | Valid::Between(..) | Valid::Fraction(..) | Valid::GzipLevel => {
            format!("{article} {}, {}", setting.kind, setting.valid)
        }
        _ => setting.valid.to_string(),
    }
}

/// A double as Java writes it, which is what Kafka's tools compare with: `0.5`, `1.0`, `2.147483647E9`.
fn double_text(d: f64) -> String {
    let size = d.abs();
    if size != 0.0 && !(1e-3..1e7).contains(&size) {
        let text = format!("{d:E}");
        match text.split_once('E') {
            Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
            _ => text,
        }
    } else {
        format!("{d:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Scope, find};

    fn check(name: &str, text: &str, expected: &str) {
        let setting = find(Scope::Topic, name).or_else(|| find(Scope::Broker, name)).unwrap();
        let got = match Value::parse(setting, text) {
            Ok(value) => value.text().unwrap_or_else(|| "null".into()),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn values_are_read_and_bounded() {
        check("retention.ms", " 60000 ", "60000");
        check("preallocate", "TRUE", "true");
        check("cleanup.policy", "compact , delete", "compact,delete");
        check("cleanup.policy", "", "");
        check("min.cleanable.dirty.ratio", "0.50", "0.5");
        check("min.cleanable.dirty.ratio", "1", "1.0");
        check("leader.replication.throttled.replicas", "0:1,1:2", "0:1,1:2");
        check("leader.replication.throttled.replicas", "*", "*");
        check("retention.ms", "-2", "`retention.ms=-2` is not valid: it takes a long, at least -1");
        check("retention.ms", "1d", "`retention.ms=1d` is not valid: it takes a long, at least -1");
        check(
            "segment.bytes",
            "9999999999",
            "`segment.bytes=9999999999` is not valid: it takes an int, at least 1048576",
        );
        check(
            "cleanup.policy",
            "delete,delete",
            "`cleanup.policy=delete,delete` is not valid: it takes any of compact, delete",
        );
        check(
            "compression.type",
            "lzma",
            "`compression.type=lzma` is not valid: it takes one of uncompressed, zstd, lz4, snappy, gzip, producer",
        );
        check(
            "compression.gzip.level",
            "0",
            "`compression.gzip.level=0` is not valid: it takes an int, 1 to 9, or -1",
        );
        check("preallocate", "yes", "`preallocate=yes` is not valid: it takes true or false");
    }

    #[test]
    fn doubles_are_written_like_java() {
        assert_eq!(double_text(f64::MAX), "1.7976931348623157E308");
        assert_eq!(double_text(2_147_483_647.0), "2.147483647E9");
        assert_eq!(double_text(1e7), "1.0E7");
        assert_eq!(double_text(0.05), "0.05");
        assert_eq!(double_text(0.0), "0.0");
    }
}
