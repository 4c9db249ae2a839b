//! The reference page of settings, written from the table alone.

use crate::setting::{Setting, Status, Type, Update, Valid};
use crate::settings;
use std::fmt::Write;

const INTRO: &str = "# Settings

Every setting carries Kafka's name, type, default and bounds. This page is written from the table in `crates/config` by
`cargo xtask docs`; change it there.

Broker settings stand in `server.properties` (Kafka's format, `serve --config`) or in `--set name=value`. None is needed: a
node that is told nothing is broker and controller of a cluster of its own. What each does here:

- **acts**: it does what the text says;
- **no meaning**: it steers something that Millstream is not made of; accepted at start and listed once;
- **unused**: it fine-tunes a part that does not exist yet; accepted at start and listed once;
- **refused**: it asks for a part that does not exist yet; any value but the default is refused with the reason.

At run time only settings that act can be changed. An unknown name stops the start, and the nearest known name is shown.
";

/// The text of `docs/reference/settings.md`.
#[must_use]
pub fn reference_page() -> String {
    let mut page = INTRO.to_owned();
    let mut sections: Vec<&str> = Vec::new();
    for setting in settings::all() {
        if sections.last() != Some(&setting.section) {
            sections.push(setting.section);
        }
    }
    for section in sections {
        let mut rows: Vec<&Setting> = settings::all()
            .iter()
            .filter(|setting| setting.section == section && !setting.internal)
            .collect();
        rows.sort_unstable_by_key(|setting| setting.name);
        write_section(&mut page, section, &rows);
    }
    page
}

/// Writing to a `String` cannot fail, so the results are dropped here and nowhere else.
fn write_section(page: &mut String, section: &str, rows: &[&Setting]) {
    let inherits = rows.iter().any(|setting| !setting.synonyms.is_empty());
    let _ = writeln!(page, "\n## {section}\n");
    if inherits {
        page.push_str("| name | type, default | values | here | broker default | |\n|---|---|---|---|---|---|\n");
    } else {
        page.push_str(
            "| name | type, default | values | here | changed | |\n|---|---|---|---|---|---|\n",
        );
    }
    for setting in rows {
        let last = if inherits { givers(setting) } else { changed(setting) };
        let _ = writeln!(
            page,
            "| `{}` | {}, {} | {} | {} | {last} | {} |",
            setting.name,
            setting.kind,
            default(setting),
            values(setting),
            status(setting),
            setting.doc,
        );
    }
}

fn default(setting: &Setting) -> String {
    match setting.default {
        None => "none".to_owned(),
        Some("") => "empty".to_owned(),
        Some(text) => format!("`{text}`"),
    }
}

fn values(setting: &Setting) -> String {
    match setting.valid {
        Valid::Any if setting.kind == Type::Boolean => "true, false".to_owned(),
        Valid::Any => String::new(),
        valid => valid.to_string(),
    }
}

fn status(setting: &Setting) -> String {
    match setting.status {
        Status::Acts | Status::ActsAtStart => "acts".to_owned(),
        Status::NoMeaning => "no meaning".to_owned(),
        Status::Idle(part) => format!("unused: no {part} yet"),
        Status::NotYet(part) => format!("refused: no {part} yet"),
    }
}

fn changed(setting: &Setting) -> String {
    match (setting.status, setting.update) {
        (Status::Acts, Update::PerBroker) => "any time, by broker".to_owned(),
        (Status::Acts, Update::ClusterWide | Update::Resource) => "any time".to_owned(),
        (Status::NotYet(_), update) if update != Update::ReadOnly => String::new(),
        _ => "at start".to_owned(),
    }
}

fn givers(setting: &Setting) -> String {
    let names: Vec<String> = setting.synonyms.iter().map(|s| format!("`{}`", s.name)).collect();
    names.join(", ")
}
