//! Which crate may depend on which. The list is the design: a new edge is a decision, made here.

use super::tree::Tree;
use super::{Finding, Report};
use anyhow::Context;
use serde_json::Value;
use std::process::Command;

/// Each crate and the crates of the workspace that it may depend on, lowest layer first.
const ALLOWED: &[(&str, &[&str])] = &[
    // Values.
    ("base", &[]),
    ("wire", &["base"]),
    ("records", &["base"]),
    ("config", &["base"]),
    // Pure cores.
    ("metadata", &["base", "wire", "config"]),
    ("partition", &["base"]),
    ("groups", &["base", "wire"]),
    ("txns", &["base", "wire"]),
    // Effects.
    ("env", &["base"]),
    ("log", &["base", "records", "partition", "env"]),
    ("quorum", &["base", "wire", "records", "metadata", "env", "log"]),
    // Hosts.
    ("client", &["base", "wire", "records", "env"]),
    (
        "broker",
        &[
            "base",
            "wire",
            "records",
            "config",
            "metadata",
            "partition",
            "groups",
            "txns",
            "env",
            "log",
            "quorum",
            // Its `Connection`, to reach other brokers.
            "client",
        ],
    ),
    ("cli", &["base", "config", "env", "log", "records", "broker", "client"]),
    // The binary.
    ("millstream", &["cli"]),
    // Tests.
    ("testkit", &["base", "wire", "env"]),
    ("sim", &["base", "wire", "records", "metadata", "partition", "env", "log", "quorum"]),
];

/// Tools beside the crates, and what they may depend on.
const TOOLS: &[(&str, &[&str])] = &[("xtask", &["config"])];

pub(super) fn check(tree: &Tree, report: &mut Report) -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(&tree.root)
        .output()
        .context("running cargo metadata")?;
    anyhow::ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    for package in array(&metadata, "packages") {
        check_package(tree, package, report);
    }
    Ok(())
}

fn check_package(tree: &Tree, package: &Value, report: &mut Report) {
    let name = short(text(package, "name"));
    let manifest = text(package, "manifest_path")
        .strip_prefix(tree.root.to_string_lossy().as_ref())
        .map_or(String::new(), |path| path.trim_start_matches('/').to_owned());
    let allowed = ALLOWED.iter().chain(TOOLS).find(|(krate, _)| *krate == name);
    let Some((_, allowed)) = allowed else {
        report.errors.push(Finding::new(
            &manifest,
            0,
            format!("the crate `{name}` has no layer"),
            "add it and the crates that it may depend on to the list in xtask/src/tidy/layers.rs",
        ));
        return;
    };
    let own_folder =
        manifest == format!("crates/{name}/Cargo.toml") || TOOLS.iter().any(|(t, _)| *t == name);
    if !own_folder {
        report.errors.push(Finding::new(
            &manifest,
            0,
            format!("the crate `{name}` is not in the folder crates/{name}"),
            "name folder and crate alike",
        ));
    }
    for dependency in array(package, "dependencies").iter().filter(|d| !d["path"].is_null()) {
        let on = short(text(dependency, "name"));
        let is_dev = text(dependency, "kind") == "dev";
        if allowed.contains(&on) || (is_dev && is_dev_edge(name, on)) {
            continue;
        }
        let kind = if is_dev { "dev-depends" } else { "depends" };
        report.errors.push(Finding::new(
            &manifest,
            line_of(tree, &manifest, on),
            format!("`{name}` {kind} on `{on}`, which its layer does not allow"),
            "move the code to the lower crate, hand the value in from above, or argue for the edge in docs/decisions and list it in \
             xtask/src/tidy/layers.rs",
        ));
    }
}

/// Tests may use the test kit, any crate further down, and the crate itself.
fn is_dev_edge(name: &str, on: &str) -> bool {
    let height = |wanted: &str| ALLOWED.iter().position(|(krate, _)| *krate == wanted);
    on == "testkit" || on == name || height(on) < height(name)
}

fn line_of(tree: &Tree, manifest: &str, dependency: &str) -> usize {
    let prefix = format!("millstream-{dependency}");
    let lines = tree.file(manifest).map(|file| file.text.lines());
    lines.into_iter().flatten().position(|line| line.starts_with(&prefix)).map_or(0, |i| i + 1)
}

fn short(name: &str) -> &str {
    name.strip_prefix("millstream-").unwrap_or(name)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_point_downwards() {
        for (i, (krate, allowed)) in ALLOWED.iter().enumerate() {
            for on in *allowed {
                let below = ALLOWED.iter().take(i).any(|(lower, _)| lower == on);
                assert!(below, "{krate} -> {on} points up or nowhere");
            }
        }
    }

    #[test]
    fn a_wrong_edge_is_found() {
        let tree = Tree { root: "/x".into(), files: Vec::new() };
        let package = |name: &str, on: &str, kind: Value| {
            serde_json::json!({
                "name": format!("millstream-{name}"),
                "manifest_path": format!("/x/crates/{name}/Cargo.toml"),
                "dependencies": [{"name": format!("millstream-{on}"), "path": "p", "kind": kind}],
            })
        };
        let found = |package: Value| {
            let mut report = Report::default();
            check_package(&tree, &package, &mut report);
            report.errors.len()
        };
        assert_eq!(found(package("log", "env", Value::Null)), 0);
        assert_eq!(found(package("log", "broker", Value::Null)), 1);
        assert_eq!(found(package("base", "wire", "dev".into())), 1);
        assert_eq!(found(package("quorum", "config", "dev".into())), 0);
        assert_eq!(found(package("quorum", "config", Value::Null)), 1);
        assert_eq!(found(package("broker", "testkit", "dev".into())), 0);
        assert_eq!(found(package("broker", "testkit", Value::Null)), 1);
        assert_eq!(found(package("newcomer", "base", Value::Null)), 1);
    }
}
