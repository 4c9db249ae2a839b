//! What no file of the repository may say: paths of one machine, and hosts of package registries.

use super::tree::{File, Tree};
use super::{Finding, Report};

/// Beginnings of absolute paths that exist on one machine and not on the next.
const PATHS: &[&str] = &["/work/", "/tmp/", "/root/", "/home/", "/Users/"];

/// Hosts that clients of package registries find by themselves.
const HOSTS: &[&str] = &[
    "pypi.org",
    "pythonhosted.org",
    "npmjs.org",
    "npmjs.com",
    "crates.io",
    "proxy.golang.org",
    "deb.debian.org",
];

/// Files that are written by cargo, quote Kafka's own defaults, or hold the rule itself.
const EXEMPT: &[&str] = &[
    "Cargo.lock",
    "LICENSE",
    "crates/config/src/settings/facts/kafka.txt",
    "xtask/src/tidy/words.rs",
];

pub(super) fn check(tree: &Tree, report: &mut Report) {
    for file in &tree.files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if !EXEMPT.contains(&file.path.as_str()) && !EXEMPT.contains(&name) {
            check_file(file, report);
        }
    }
}

fn check_file(file: &File, report: &mut Report) {
    let mut above = "";
    for (number, line) in file.text.lines().enumerate() {
        let excused = [line, above].iter().any(|line| line.contains("tidy: allow"));
        above = line;
        if excused {
            continue;
        }
        if let Some(path) = PATHS.iter().find(|path| begins_path(line, path)) {
            report.errors.push(Finding::new(
                &file.path,
                number + 1,
                format!("names `{path}`, a path of one machine"),
                "use a relative path, a temporary directory made at run time, or a placeholder",
            ));
        }
        if let Some(host) = HOSTS.iter().find(|host| line.contains(**host)) {
            report.errors.push(Finding::new(
                &file.path,
                number + 1,
                format!("names `{host}`, a package registry"),
                "leave it out: the package manager knows where to look",
            ));
        }
    }
}

/// `path` stands in `line` and is not the tail of something longer.
fn begins_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        before.is_none_or(|c| {
            !c.is_alphanumeric() && !matches!(c, '.' | '-' | '_' | '}' | '/' | '~' | '*')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_machine_are_found() {
        let found = |line: &str| PATHS.iter().any(|path| begins_path(line, path));
        assert!(found("see /work/main/x"));
        assert!(found("dir=\"/tmp/x\""));
        assert!(!found("docs/work/x"));
        assert!(!found("{root}/tmp/x"));
    }
}
