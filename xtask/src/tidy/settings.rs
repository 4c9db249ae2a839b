//! A setting that is said to act is read by someone.
//!
//! Whether code acts rightly is for tests to show; that nobody reads a setting at all is seen in the text. Checked are the fields
//! of the typed views, which is how code outside `config` reads settings, and the names that `config` itself reads.

use super::rust::is_test;
use super::source::{code_only, without_tests};
use super::tree::Tree;
use super::{Finding, Report};
use millstream_config::{Scope, Setting, Status};

const VIEWS: &str = "crates/config/src/broker/views.rs";
const TOPIC: &str = "crates/config/src/topic.rs";
const BROKER: &str = "crates/config/src/broker/";
const GROUP: &str = "crates/config/src/group.rs";

/// Settings whose only value that works is enforced when they are judged.
const ENFORCED: &[&str] =
    &["process.roles", "controller.quorum.voters", "controller.quorum.bootstrap.servers"];

/// Settings that code reads by a method of the configuration in place of the field.
const METHODS: &[(&str, &str)] = &[("max.connections.per.ip.overrides", "ip_overrides")];

pub(super) fn check(tree: &Tree, report: &mut Report) {
    let readers = readers(tree);
    let by_config = by_config(tree);
    for setting in millstream_config::all().iter().filter(|setting| acts(setting)) {
        let read = match setting.scope {
            Scope::Broker => is_broker_setting_read(tree, &readers, &by_config, setting.name),
            Scope::Topic => is_topic_field_read(&readers, setting.name),
            Scope::Group => is_group_field_read(&readers, setting.name),
            _ => false,
        };
        if !read {
            let (file, line) = declared(tree, setting);
            report.errors.push(Finding::new(
                &file,
                line,
                format!(
                    "the {} setting `{}` is said to act, and no code reads it",
                    setting.scope, setting.name
                ),
                "read it where it is to act, or say in its row what it does instead",
            ));
        }
    }
}

fn acts(setting: &Setting) -> bool {
    matches!(setting.status, Status::Acts | Status::ActsAtStart)
}

fn is_broker_setting_read(tree: &Tree, readers: &str, by_config: &str, name: &str) -> bool {
    if ENFORCED.contains(&name) || gives_default(name) || by_config.contains(&format!("\"{name}\""))
    {
        return true;
    }
    let Some(field) = field_of(tree, name) else { return false };
    let field =
        METHODS.iter().find(|(setting, _)| *setting == name).map_or(field, |(_, method)| method);
    is_read(readers, field) || is_read(by_config, field)
}

/// A broker setting that only gives the default of topics acts through them.
fn gives_default(name: &str) -> bool {
    millstream_config::all().iter().any(|setting| setting.synonyms.iter().any(|s| s.name == name))
}

/// The code of every crate that could read settings, tests left out.
fn readers(tree: &Tree) -> String {
    tree.files
        .iter()
        .filter(|file| file.path.starts_with("crates/") && file.path.ends_with(".rs"))
        .filter(|file| !file.path.starts_with("crates/config/") && !is_test(&file.path))
        .map(|file| without_tests(&code_only(&file.text)))
        .collect()
}

/// What `config` reads on its own account: listeners, directories and the bounds of groups. A check that reads a setting does not make it act.
fn by_config(tree: &Tree) -> String {
    tree.files
        .iter()
        .filter(|file| {
            (file.path.starts_with(BROKER) || file.path == GROUP) && !is_test(&file.path)
        })
        .filter(|file| !file.path.ends_with("/views.rs") && !file.path.ends_with("/checks.rs"))
        .map(|file| file.text.as_str())
        .collect()
}

/// The field of a view that holds the setting: `field: type = "name",`.
fn field_of<'a>(tree: &'a Tree, name: &str) -> Option<&'a str> {
    let end = format!("= \"{name}\"");
    let line =
        tree.file(VIEWS)?.text.lines().find(|line| line.trim_end_matches(',').ends_with(&end))?;
    line.trim().split(':').next()
}

fn is_read(code: &str, field: &str) -> bool {
    code.match_indices(field).any(|(at, _)| {
        let before = code.get(..at).and_then(|head| head.chars().next_back());
        let after = code.get(at + field.len()..).and_then(|tail| tail.chars().next());
        before == Some('.') && after.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    })
}

/// Fields of a topic's configuration are called like their settings, but for these.
fn is_topic_field_read(code: &str, name: &str) -> bool {
    match name {
        "cleanup.policy" => is_read(code, "cleanup_delete") && is_read(code, "cleanup_compact"),
        "internal.segment.bytes" => is_read(code, "segment_bytes"),
        // A view of its own, as these are lists.
        "leader.replication.throttled.replicas" | "follower.replication.throttled.replicas" => {
            code.contains("TopicThrottles::of")
        }
        _ => is_read(code, &name.replace('.', "_")),
    }
}

/// Fields of a group's configuration are called like their settings, less the kind of group.
fn is_group_field_read(code: &str, name: &str) -> bool {
    name.split_once('.').is_some_and(|(_, field)| is_read(code, &field.replace('.', "_")))
}

/// Where the row of a setting stands.
fn declared(tree: &Tree, setting: &Setting) -> (String, usize) {
    let quoted = format!(" \"{}\" = ", setting.name);
    let rows =
        tree.files.iter().filter(|file| file.path.starts_with("crates/config/src/settings/"));
    let mut places = rows.filter_map(|file| {
        let is_topic = file.path.ends_with("/topic.rs");
        let line = file.text.lines().position(|line| line.contains(&quoted))?;
        (is_topic == (setting.scope == Scope::Topic)).then(|| (file.path.clone(), line + 1))
    });
    places.next().unwrap_or_else(|| (TOPIC.to_owned(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_as_a_whole_word() {
        assert!(is_read("config.node.rack;", "rack"));
        assert!(!is_read("config.node.rack_id;", "rack"));
        assert!(!is_read("let rack = 1;", "rack"));
    }
}
