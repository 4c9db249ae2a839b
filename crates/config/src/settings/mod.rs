//! The table of all settings: one file a group, one line of facts and one of words a setting.
//!
//! A row reads: type, name, default (`null` for none), valid values, importance, when it can be changed, what it does here, its
//! doc; then `<- [...]` with the broker settings that give its default, and `@internal` where Kafka does not show it.

use crate::setting::{Scope, Setting, Synonym, Unit};
use std::collections::BTreeMap;
use std::sync::OnceLock;

mod client_metrics;
mod group;
mod groups;
mod log;
mod metrics;
mod network;
mod node;
pub(crate) mod parts;
mod quorum;
mod quotas;
mod remote;
mod replication;
mod retired;
mod security;
mod share;
mod streams;
mod topic;
mod transactions;

#[cfg(test)]
mod tests;

pub use retired::retired;

/// Declares one list of rows.
macro_rules! settings {
    ($rows:ident: $scope:ident, $section:literal;
     $($kind:ident $name:literal = $default:tt, $valid:expr, $importance:ident, $update:ident, $status:expr,
       $doc:literal $(<- [$($synonym:expr),+])? $(@$internal:ident)?;)*) => {
        pub(super) const $rows: &[$crate::setting::Setting] = &[
            $($crate::setting::Setting {
                name: $name,
                kind: $crate::setting::Type::$kind,
                default: $crate::settings::default_text!($default),
                valid: $valid,
                importance: $crate::setting::Importance::$importance,
                scope: $crate::setting::Scope::$scope,
                update: $crate::setting::Update::$update,
                status: $status,
                internal: $crate::settings::is_internal!($($internal)?),
                doc: $doc,
                synonyms: &[$($($synonym),+)?],
                section: $section,
            }),*
        ];
    };
}
macro_rules! default_text {
    (null) => {
        None
    };
    ($text:literal) => {
        Some($text)
    };
}
macro_rules! is_internal {
    () => {
        false
    };
    (internal) => {
        true
    };
}
pub(crate) use {default_text, is_internal, settings};

/// A synonym that counts what the setting itself counts.
const fn same(name: &'static str) -> Synonym {
    Synonym { name, unit: Unit::Same }
}

/// A synonym that counts minutes where the setting counts milliseconds.
const fn minutes(name: &'static str) -> Synonym {
    Synonym { name, unit: Unit::Minutes }
}

/// A synonym that counts hours where the setting counts milliseconds.
const fn hours(name: &'static str) -> Synonym {
    Synonym { name, unit: Unit::Hours }
}

/// Every setting, group by group.
#[must_use]
pub fn all() -> &'static [Setting] {
    static ALL: OnceLock<Vec<Setting>> = OnceLock::new();
    ALL.get_or_init(|| {
        [
            node::ROWS,
            network::ROWS,
            log::ROWS,
            topic::ROWS,
            groups::ROWS,
            share::ROWS,
            streams::ROWS,
            group::ROWS,
            transactions::ROWS,
            replication::ROWS,
            quorum::ROWS,
            remote::ROWS,
            remote::METADATA_ROWS,
            security::ROWS,
            quotas::ROWS,
            quotas::USER_ROWS,
            quotas::IP_ROWS,
            metrics::ROWS,
            client_metrics::ROWS,
        ]
        .concat()
    })
}

/// The setting called `name` on resources of `scope`.
#[must_use]
pub fn find(scope: Scope, name: &str) -> Option<&'static Setting> {
    static INDEX: OnceLock<BTreeMap<(Scope, &str), &Setting>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        all().iter().map(|setting| ((setting.scope, setting.name), setting)).collect()
    });
    index.get(&(scope, name)).copied()
}
