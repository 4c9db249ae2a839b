//! [`Layers`]: where the value of a broker setting comes from.
//!
//! Three layers lie over the default: what the broker started with, what was set for all brokers at run time, and what was set
//! for this one. A text enters a layer only after it was judged, so reading one does not fail.

use crate::describe::ConfigSource;
use crate::setting::{Scope, Setting};
use crate::settings::find;
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names and texts that were set on one resource.
pub type Overrides = BTreeMap<String, String>;

/// The layers of broker settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Layers {
    pub statics: Arc<Overrides>,
    pub cluster: Arc<Overrides>,
    pub node: Arc<Overrides>,
}

impl Layers {
    /// The layers, the one that wins first.
    pub fn ordered(&self) -> [(&Overrides, ConfigSource); 3] {
        [
            (&*self.node, ConfigSource::DynamicBroker),
            (&*self.cluster, ConfigSource::DynamicDefaultBroker),
            (&*self.statics, ConfigSource::StaticBroker),
        ]
    }

    /// The text that is set for `name` in the uppermost layer that has one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.ordered().into_iter().find_map(|(layer, _)| layer.get(name)).map(String::as_str)
    }

    /// The value of a broker setting.
    pub fn value(&self, setting: &Setting) -> Value {
        self.text(setting.name)
            .and_then(|text| Value::parse(setting, text).ok())
            .unwrap_or_else(|| Value::default_of(setting))
    }

    /// The value of the broker setting called `name`; null when there is none of that name.
    pub fn named(&self, name: &str) -> Value {
        find(Scope::Broker, name).map_or(Value::Null, |setting| self.value(setting))
    }

    /// What a topic or group setting is when nothing is set on the topic or group itself.
    pub fn inherited(&self, setting: &Setting) -> Value {
        let inherited = setting.synonyms.iter().find_map(|synonym| {
            let value = self.named(synonym.name);
            (value != Value::Null).then(|| value.scaled(synonym.unit.factor()))
        });
        inherited.unwrap_or_else(|| Value::default_of(setting))
    }
}

/// A field of a typed view: how it is made of a value.
pub(crate) trait FromValue {
    /// Null and values of another type give the type's zero; a test holds every view against the types of the table.
    fn from_value(value: Value) -> Self;
}

impl FromValue for bool {
    fn from_value(value: Value) -> Self {
        matches!(value, Value::Boolean(true))
    }
}

impl FromValue for i64 {
    fn from_value(value: Value) -> Self {
        if let Value::Number(n) = value { n } else { 0 }
    }
}

impl FromValue for i32 {
    fn from_value(value: Value) -> Self {
        Self::try_from(i64::from_value(value)).unwrap_or(Self::MAX)
    }
}

impl FromValue for i16 {
    fn from_value(value: Value) -> Self {
        Self::try_from(i64::from_value(value)).unwrap_or(Self::MAX)
    }
}

impl FromValue for f64 {
    fn from_value(value: Value) -> Self {
        if let Value::Double(d) = value { d } else { 0.0 }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Self {
        if let Value::Text(text) = value { text } else { Self::new() }
    }
}

impl FromValue for Vec<String> {
    fn from_value(value: Value) -> Self {
        if let Value::List(members) = value { members } else { Self::new() }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Self {
        if value == Value::Null { None } else { Some(T::from_value(value)) }
    }
}

/// Declares a typed view: one line a field, `field: type = "setting"`.
macro_rules! view {
    ($(#[$meta:meta])* $view:ident { $($field:ident: $kind:ty = $name:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $view {
            $(
                #[doc = concat!("`", $name, "`.")]
                pub $field: $kind,
            )*
        }

        impl $view {
            pub(crate) fn read(layers: &$crate::layers::Layers) -> Self {
                Self {
                    $($field: <$kind as $crate::layers::FromValue>::from_value(layers.named($name)),)*
                }
            }

            /// Each setting that the view reads, and the Rust type of its field.
            #[cfg(test)]
            pub(crate) const FIELDS: &[(&str, &str)] = &[$(($name, stringify!($kind))),*];
        }
    };
}
pub(crate) use view;
