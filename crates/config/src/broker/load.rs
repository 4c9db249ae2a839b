//! From names and texts to judged layers: what is unknown, what is refused, and what is only worth a notice.

use crate::alter::ChangeTarget;
use crate::error::{ConfigError, ConfigErrors};
use crate::layers::Overrides;
use crate::nearest::nearest;
use crate::properties::ServerProperties;
use crate::setting::{Scope, Setting, Status};
use crate::settings::{self, find, parts};
use crate::value::{Value, shown};
use std::fmt;

/// A setting that was set at start and acts on nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The setting.
    pub name: String,
    /// Why it acts on nothing.
    pub kind: NoticeKind,
}

/// Why a setting acts on nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// It steers something that Millstream is not made of.
    NoMeaning,
    /// It fine-tunes a part that does not exist yet.
    Idle(&'static str),
    /// It acts, but for one member of its list: the member, and the part that does not exist yet.
    IdleMember(&'static str, &'static str),
    /// Kafka itself dropped it; with what to know about that.
    Retired(&'static str),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            NoticeKind::NoMeaning => write!(f, "{}: has no meaning here", self.name),
            NoticeKind::Idle(part) => {
                write!(f, "{}: unused, Millstream has no {part} yet", self.name)
            }
            NoticeKind::IdleMember(member, part) => {
                write!(f, "{}: `{member}` is unused, Millstream has no {part} yet", self.name)
            }
            NoticeKind::Retired(advice) => write!(f, "{}: {advice}", self.name),
        }
    }
}

/// What a broker is started with, judged setting by setting.
pub(super) struct Loaded {
    pub values: Overrides,
    pub notices: Vec<Notice>,
}

/// Judges every name and text of `properties`.
pub(super) fn judge_static(properties: &ServerProperties) -> Result<Loaded, ConfigErrors> {
    let mut loaded = Loaded { values: Overrides::new(), notices: Vec::new() };
    let mut errors = Vec::new();
    for (name, text) in properties.iter() {
        if let Err(error) = judge_one(name, text, &mut loaded) {
            errors.push(match properties.line(name) {
                Some(line) => ConfigError::AtLine { line, error: Box::new(error) },
                None => error,
            });
        }
    }
    if errors.is_empty() { Ok(loaded) } else { Err(ConfigErrors(errors)) }
}

fn judge_one(name: &str, text: &str, loaded: &mut Loaded) -> Result<(), ConfigError> {
    let mut notice = |kind| loaded.notices.push(Notice { name: name.to_owned(), kind });
    if let Some(setting) = find(Scope::Broker, name) {
        let value = Value::parse(setting, text)?;
        match setting.status {
            Status::NoMeaning => notice(NoticeKind::NoMeaning),
            Status::Idle(part) => notice(NoticeKind::Idle(part)),
            Status::NotYet(part) if value != Value::default_of(setting) => {
                return Err(not_yet(setting, text, part));
            }
            Status::Acts | Status::ActsAtStart | Status::NotYet(_) => {
                idle_members(name, &value).for_each(notice);
            }
        }
        loaded.values.insert(name.to_owned(), text.trim().to_owned());
        return Ok(());
    }
    if let Some(advice) = settings::retired(name) {
        notice(NoticeKind::Retired(advice));
        return Ok(());
    }
    match judge_prefixed(name, text)? {
        Some(kind) => {
            notice(kind);
            Ok(())
        }
        None => Err(unknown(Scope::Broker, name)),
    }
}

/// Members of a list that act on nothing where the others do.
fn idle_members(name: &str, value: &Value) -> impl Iterator<Item = NoticeKind> {
    const PROTOCOLS: &str = "group.coordinator.rebalance.protocols";
    let idle = [("share", parts::SHARE), ("streams", parts::STREAMS)];
    let listed = move |member: &str| match value {
        Value::List(members) => name == PROTOCOLS && members.iter().any(|it| it == member),
        _ => false,
    };
    let named = idle.into_iter().filter(move |(member, _)| listed(member));
    named.map(|(member, part)| NoticeKind::IdleMember(member, part))
}

/// Families of names that are not in the table one by one.
fn judge_prefixed(name: &str, text: &str) -> Result<Option<NoticeKind>, ConfigError> {
    if let Some(rest) = name.strip_prefix("rlmm.config.") {
        if let Some(setting) = find(Scope::RemoteMetadata, rest) {
            Value::parse(setting, text)?;
        }
        return Ok(Some(NoticeKind::Idle(parts::TIERED)));
    }
    if name.starts_with("rsm.config.") {
        return Ok(Some(NoticeKind::Idle(parts::TIERED)));
    }
    let for_listener = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.'));
    let is_family = match for_listener {
        Some((_, setting)) => settings::all().iter().any(|known| {
            known.scope == Scope::Broker
                && setting
                    .strip_suffix(known.name)
                    .is_some_and(|m| m.is_empty() || m.ends_with('.'))
        }),
        None => name.starts_with("config.providers."),
    };
    if !is_family {
        return Ok(None);
    }
    let part = if for_listener.is_some() { parts::PER_LISTENER } else { parts::PROVIDERS };
    Err(ConfigError::NotYet {
        name: name.to_owned(),
        value: "[hidden]".to_owned(),
        part,
        or_default: String::new(),
    })
}

/// Keeps what can be used of settings made at run time; the rest goes to `errors`.
pub(super) fn judge_dynamic(
    target: ChangeTarget,
    overrides: &Overrides,
    errors: &mut Vec<ConfigError>,
) -> Overrides {
    let mut kept = Overrides::new();
    for (name, text) in overrides {
        match target.judge(name, text) {
            Ok(_) => {
                kept.insert(name.clone(), text.trim().to_owned());
            }
            Err(error) => errors.push(error),
        }
    }
    kept
}

/// The error for a setting of a part that does not exist yet.
pub(crate) fn not_yet(setting: &Setting, text: &str, part: &'static str) -> ConfigError {
    let or_default = match setting.default {
        Some("") => " or set it to nothing".to_owned(),
        Some(default) => format!(" or set it to {default}"),
        None => String::new(),
    };
    ConfigError::NotYet {
        name: setting.name.to_owned(),
        value: shown(setting, text),
        part,
        or_default,
    }
}

/// The error for a name that is not in the table, with the name that was probably meant.
pub(crate) fn unknown(scope: Scope, name: &str) -> ConfigError {
    ConfigError::Unknown { scope, name: name.to_owned(), hint: hint(scope, name) }
}

fn hint(scope: Scope, name: &str) -> String {
    if scope == Scope::Broker
        && let Some(topic) = find(Scope::Topic, name)
    {
        return match topic.synonyms.first() {
            Some(synonym) => {
                format!(": it is set on topics; for all topics set `{}`", synonym.name)
            }
            None => ": it is set on topics, not on brokers".to_owned(),
        };
    }
    let known =
        settings::all().iter().filter(|setting| setting.scope == scope && !setting.internal);
    match nearest(name, known.map(|setting| setting.name)) {
        Some(meant) => format!(". Did you mean `{meant}`?"),
        None => ". docs/reference/settings.md lists all".to_owned(),
    }
}
