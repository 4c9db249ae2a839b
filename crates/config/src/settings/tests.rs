//! The table against Kafka's own declarations, and against itself.

use super::*;
use crate::setting::{Status, Type};
use crate::value::Value;
use std::collections::BTreeSet;

/// Scope, name, type and default of every setting that Kafka declares.
const FACTS: &str = include_str!("facts/kafka.txt");

/// Where the defaults differ, so that a node works that was told nothing.
const DIFFERENT: &[(&str, &str)] = &[
    ("controller.listener.names", "CONTROLLER"),
    ("log.dir", "data"),
    ("node.id", "1"),
    ("process.roles", "broker,controller"),
];

fn scope_of(word: &str) -> Scope {
    match word {
        "broker" => Scope::Broker,
        "topic" => Scope::Topic,
        "group" => Scope::Group,
        "client-metrics" => Scope::ClientMetrics,
        "user" => Scope::User,
        "ip" => Scope::Ip,
        "remote-metadata" => Scope::RemoteMetadata,
        other => panic!("no scope {other}"),
    }
}

fn shown_default(setting: &Setting) -> String {
    match setting.default {
        None => "null".to_owned(),
        Some("") => "\"\"".to_owned(),
        Some(text) => text.to_owned(),
    }
}

#[test]
fn every_setting_of_kafka_is_declared_with_its_type_and_default() {
    let mut missing = Vec::new();
    let mut count = 0;
    for line in FACTS.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap();
        let (scope, name, kind, default) = (word(), word(), word(), word());
        count += 1;
        let Some(setting) = find(scope_of(scope), name) else {
            missing.push(line);
            continue;
        };
        assert_eq!(setting.kind.to_string(), kind, "type of {name}");
        let ours = shown_default(setting);
        let stated = DIFFERENT.contains(&(name, ours.as_str()));
        assert!(stated != (ours == default), "default of {name}: ours {ours}, Kafka's {default}");
    }
    assert!(missing.is_empty(), "not declared: {missing:#?}");
    assert_eq!(all().len(), count, "settings that Kafka does not declare");
}

#[test]
fn rows_are_sound() {
    let mut seen = BTreeSet::new();
    for setting in all() {
        let name = setting.name;
        assert!(seen.insert((setting.scope, name)), "{name} is declared twice");
        assert!(
            setting.doc.ends_with('.') && setting.doc.len() < 140,
            "doc of {name}: {}",
            setting.doc
        );
        assert!(!setting.doc.contains('|'), "doc of {name} breaks the table of the reference page");
        // Kafka has defaults outside its own bounds (an empty list of voters), but none that its type cannot hold.
        match setting.default {
            Some(_) => assert_ne!(Value::default_of(setting), Value::Null, "default of {name}"),
            None => assert_eq!(Value::default_of(setting), Value::Null),
        }
        if let Some(text) = setting.default {
            Value::parse(setting, text).unwrap_or_else(|e| panic!("default: {e}"));
        }
        for synonym in setting.synonyms {
            let giver =
                find(Scope::Broker, synonym.name).unwrap_or_else(|| panic!("{name}: {synonym:?}"));
            let kinds = [giver.kind, setting.kind];
            assert!(
                giver.kind == setting.kind
                    || kinds.iter().all(|k| matches!(k, Type::Int | Type::Long)),
                "{name} is given by {synonym:?}"
            );
            let acts = |s: &Setting| matches!(s.status, Status::Acts | Status::ActsAtStart);
            assert!(!acts(setting) || acts(giver), "{name} acts and {synonym:?} does not");
        }
        assert!(retired(name).is_none(), "{name} is declared and retired");
    }
}
