//! Rules for Rust files: how they open, how long they are, and which effects they may name.

use super::paths::paths;
use super::source::{code_only, without_tests};
use super::tree::{File, Tree};
use super::{Finding, Report};

/// A file longer than this fails; one longer than [`LOOK_LINES`] is worth a look.
const MOST_LINES: usize = 1000;
const LOOK_LINES: usize = 600;

/// Crates whose code takes input and `now` and returns effects.
const PURE: &[&str] = &["metadata", "partition", "groups", "txns"];

/// What only `env` may name, each with what stands in for it elsewhere.
const EFFECTS: &[(&str, &str)] = &[
    ("std::fs", "use `millstream_env::fs`"),
    ("tokio::fs", "use `millstream_env::fs`"),
    ("std::net::TcpStream", "use `millstream_env::net`"),
    ("std::net::TcpListener", "use `millstream_env::net`"),
    ("std::net::UdpSocket", "use `millstream_env::net`"),
    ("std::net::ToSocketAddrs", "use `millstream_env::net`"),
    ("std::net::*", "name the address types that you need; sockets are `millstream_env::net`'s"),
    ("std::os::unix::net", "use `millstream_env::net`"),
    ("tokio::net", "use `millstream_env::net`"),
    ("socket2", "use `millstream_env::net`"),
    ("rustix", "put the call into `env` and give it a name there"),
    ("libc", "put the call into `env` and give it a name there"),
    ("tokio::spawn", "use `millstream_env::task`"),
    ("tokio::task", "use `millstream_env::task`"),
    ("tokio::runtime", "use `millstream_env::task`"),
    ("tokio::time", "use `millstream_env::task`"),
    ("std::thread::spawn", "use `millstream_env::task`"),
    ("std::thread::sleep", "use `millstream_env::task`"),
    ("std::time::Instant", "take `now` as an argument, or use `millstream_env::clock`"),
    ("std::time::SystemTime", "take `now` as an argument, or use `millstream_env::clock`"),
    ("SystemTime::now", "take `now` as an argument, or use `millstream_env::clock`"),
    ("std::time::*", "name the types that you need; clocks are `millstream_env::clock`'s"),
    ("rand", "use `millstream_env::random`"),
    ("getrandom", "use `millstream_env::random`"),
];

/// What pure cores may not name either.
const IMPURE: &[(&str, &str)] = &[
    ("async", "return the effect and let the host wait for it"),
    ("await", "return the effect and let the host wait for it"),
    ("tokio", "return the effect and let the host run it"),
    ("std::thread", "return the effect and let the host run it"),
    ("std::env", "take it as an argument"),
    ("std::sync::Mutex", "take `&mut self`; the host holds the lock"),
    ("std::sync::RwLock", "take `&mut self`; the host holds the lock"),
    ("std::sync::Condvar", "return the effect and let the host wait"),
    ("std::sync::mpsc", "return the effect and let the host send it"),
    ("std::sync::atomic", "take `&mut self`; the host shares it"),
    ("std::sync::*", "name the types that you need"),
    ("parking_lot", "take `&mut self`; the host holds the lock"),
    ("arc_swap", "return the new value and let the host publish it"),
    ("millstream_env", "take it as an argument"),
    (
        "std::collections::HashMap",
        "its order differs from run to run: use `BTreeMap`, or say with `tidy: allow` why no order gets out",
    ),
    (
        "std::collections::HashSet",
        "its order differs from run to run: use `BTreeSet`, or say with `tidy: allow` why no order gets out",
    ),
    ("std::collections::*", "name the types that you need"),
];

pub(super) fn check(tree: &Tree, report: &mut Report) {
    for file in tree.files.iter().filter(|file| file.path.ends_with(".rs")) {
        check_opening(file, report);
        check_length(file, report);
        if !is_exempt(&file.path) {
            check_effects(file, report);
        }
    }
}

/// Tests, tools and build scripts run on a developer's machine and may do as they like.
fn is_exempt(path: &str) -> bool {
    let Some(inside) = path.strip_prefix("crates/") else { return true };
    inside.starts_with("testkit/")
        || inside.starts_with("sim/")
        || !inside.contains("/src/")
        || is_test(path)
}

/// A file of tests, by its name or its folder.
pub(super) fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    path.contains("/tests/") || stem == "tests" || stem.ends_with("_tests")
}

fn check_opening(file: &File, report: &mut Report) {
    let first =
        file.text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#!["));
    if first.is_none_or(|line| !line.starts_with("//!")) {
        report.errors.push(Finding::new(
            &file.path,
            1,
            "the file does not open with a `//!` comment",
            "say what it is for, its key type, and what it never does",
        ));
    }
}

fn check_length(file: &File, report: &mut Report) {
    let lines = file.text.lines().count();
    if lines > MOST_LINES {
        report.errors.push(Finding::new(
            &file.path,
            0,
            format!("{lines} lines"),
            format!("split it by what its parts are for; {MOST_LINES} is the most"),
        ));
    } else if lines > LOOK_LINES {
        report.warnings.push(Finding::new(
            &file.path,
            0,
            format!("{lines} lines"),
            "is there a part that stands on its own?",
        ));
    }
}

fn check_effects(file: &File, report: &mut Report) {
    let krate = file.path.split('/').nth(1).unwrap_or_default();
    if krate == "env" {
        return;
    }
    let pure = PURE.contains(&krate);
    let code = without_tests(&code_only(&file.text));
    for (path, line) in paths(&code) {
        if is_allowed(&file.text, line) {
            continue;
        }
        if path == "unsafe" {
            report.errors.push(Finding::new(
                &file.path,
                line,
                "`unsafe` outside `env`",
                "put it into `env`, behind a safe function with its reasons",
            ));
        }
        let of_all = EFFECTS.iter().find(|(banned, _)| names(&path, banned));
        let of_pure = IMPURE.iter().find(|(banned, _)| pure && names(&path, banned));
        if let Some((banned, advice)) = of_all {
            let what = format!("`{banned}` outside `env`");
            report.errors.push(Finding::new(&file.path, line, what, *advice));
        } else if let Some((banned, advice)) = of_pure {
            let what = format!("`{banned}` in the pure core `{krate}`");
            report.errors.push(Finding::new(&file.path, line, what, *advice));
        }
    }
}

/// `path` is `banned` or lies below it.
fn names(path: &str, banned: &str) -> bool {
    path.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The line, or the one above it, says why it must stay.
fn is_allowed(text: &str, line: usize) -> bool {
    let from = line.saturating_sub(2);
    text.lines().skip(from).take(line - from).any(|line| line.contains("tidy: allow"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        let mut report = Report::default();
        check_opening(&file, &mut report);
        check_length(&file, &mut report);
        if !is_exempt(path) {
            check_effects(&file, &mut report);
        }
        report.errors.iter().map(|f| format!("{}: {}", f.line, f.what)).collect()
    }

    #[test]
    fn effects_are_for_env() {
        let text = "//! x\nuse std::{fs::File, io, net::IpAddr};\n// std::fs\nfn f() { tokio::spawn(g()); }\n";
        assert_eq!(
            found("crates/log/src/a.rs", text),
            ["2: `std::fs` outside `env`", "4: `tokio::spawn` outside `env`"]
        );
        for exempt in [
            "crates/env/src/a.rs",
            "crates/log/tests/it/a.rs",
            "crates/log/src/tests.rs",
            "crates/wire/build.rs",
            "xtask/src/a.rs",
        ] {
            assert!(found(exempt, text).is_empty(), "{exempt}");
        }
    }

    #[test]
    fn pure_cores_name_no_locks_clocks_or_tasks() {
        let text = "//! x\nuse std::sync::{Arc, Mutex};\nasync fn f() {}\nuse std::collections::HashMap;\n";
        assert_eq!(found("crates/log/src/a.rs", text), Vec::<String>::new());
        assert_eq!(found("crates/groups/src/a.rs", text).len(), 3);
        let excused =
            "//! x\n// tidy: allow, sorted before it is written\nuse std::collections::HashMap;\n";
        assert!(found("crates/groups/src/a.rs", excused).is_empty());
    }

    #[test]
    fn files_open_with_what_they_are_for() {
        assert_eq!(
            found("crates/log/src/a.rs", "use a;\n"),
            ["1: the file does not open with a `//!` comment"]
        );
        assert!(found("crates/log/tests/a.rs", "#![allow(missing_docs)]\n\n//! x\n").is_empty());
    }

    #[test]
    fn unsafe_is_for_env() {
        assert_eq!(
            found("crates/log/src/a.rs", "//! x\nfn f() { unsafe { g() } }\n"),
            ["2: `unsafe` outside `env`"]
        );
        assert!(found("crates/log/src/a.rs", "//! x\n#![deny(unsafe_code)]\n").is_empty());
    }
}
