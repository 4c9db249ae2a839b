//! Rules for documents: the map lists what exists, links lead somewhere, generated pages are up to date.

use super::tree::{File, Tree};
use super::{Finding, Report};
use crate::docs::PAGES;
use std::collections::BTreeSet;

const MAP: &str = "ARCHITECTURE.md";

/// Documents that are read in one go, and how long they may be.
const SHORT: &[(&str, usize)] = &[(MAP, 200), ("README.md", 100)];

pub(super) fn check(tree: &Tree, report: &mut Report) {
    for (path, most) in SHORT {
        check_short(tree, path, *most, report);
    }
    check_map(tree, report);
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        check_links(tree, file, report);
    }
    for page in PAGES {
        if tree.file(page.path).is_none_or(|file| file.text != (page.text)()) {
            report.errors.push(Finding::new(
                page.path,
                0,
                "the page is stale",
                "run `cargo xtask docs` and commit what it wrote",
            ));
        }
    }
}

fn check_short(tree: &Tree, path: &str, most: usize, report: &mut Report) {
    let Some(file) = tree.file(path) else {
        report.errors.push(Finding::new(path, 0, "the file is missing", "write it"));
        return;
    };
    let lines = file.text.lines().count();
    if lines >= most {
        report.errors.push(Finding::new(
            path,
            most,
            format!("{lines} lines; fewer than {most} are read"),
            "move what is for few readers to docs/",
        ));
    }
}

/// The table of crates in the map names each crate that exists, and none that does not.
fn check_map(tree: &Tree, report: &mut Report) {
    let Some(map) = tree.file(MAP) else { return };
    let exist: BTreeSet<&str> = tree
        .files
        .iter()
        .filter_map(|file| file.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"))
        .filter(|name| !name.contains('/'))
        .collect();
    let listed = listed_crates(&map.text);
    for (name, line) in &listed {
        if !exist.contains(name.as_str()) {
            report.errors.push(Finding::new(
                MAP,
                *line,
                format!("lists the crate `{name}`, which is gone"),
                "take it off the table",
            ));
        }
    }
    for name in exist {
        if !listed.iter().any(|(listed, _)| listed == name) {
            report.errors.push(Finding::new(
                MAP,
                0,
                format!("does not list the crate `{name}`"),
                "add it to the table of crates",
            ));
        }
    }
}

/// Crates in the second column of the table whose head is `| layer | crate |`; a cell may name several.
fn listed_crates(text: &str) -> Vec<(String, usize)> {
    let rows = text
        .lines()
        .enumerate()
        .skip_while(|(_, line)| !line.starts_with("| layer | crate |"))
        .skip(2)
        .take_while(|(_, line)| line.starts_with('|'));
    rows.flat_map(|(number, line)| {
        let cell = line.split('|').nth(2).unwrap_or_default();
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(|name| (name.to_owned(), number + 1))
            .collect::<Vec<_>>()
    })
    .collect()
}

/// Links to files of the repository lead to files that exist.
fn check_links(tree: &Tree, file: &File, report: &mut Report) {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut in_code = false;
    for (number, line) in file.text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for target in links(line) {
            if !tree.root.join(folder).join(target).exists() {
                report.errors.push(Finding::new(
                    &file.path,
                    number + 1,
                    format!("links to `{target}`, which does not exist"),
                    "mend the link; it counts from the file's own folder",
                ));
            }
        }
    }
}

/// The file part of each Markdown link of a line that leads into the repository.
fn links(line: &str) -> Vec<&str> {
    line.match_indices("](")
        .filter_map(|(at, open)| {
            let target = line.get(at + open.len()..)?;
            let target = target.split([')', ' ']).next()?;
            let file = target.split('#').next()?;
            (!file.is_empty() && !file.contains("://") && !file.starts_with("mailto:"))
                .then_some(file)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_into_the_repository_are_found() {
        assert_eq!(
            links("[a](b.md#c) [d](https://e) [f](#g) ![h](i.png \"t\")"),
            ["b.md", "i.png"]
        );
    }

    #[test]
    fn the_table_of_crates_is_read() {
        let text = "x\n| layer | crate | job |\n|---|---|---|\n| 0 | `a` | j |\n| | `b`, `c` | `d` |\n\n| e | `f` |\n";
        let expected: Vec<(String, usize)> =
            vec![("a".into(), 4), ("b".into(), 5), ("c".into(), 5)];
        assert_eq!(listed_crates(text), expected);
    }
}
