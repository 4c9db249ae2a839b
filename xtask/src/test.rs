//! `cargo xtask test`: every check and test of the project, one named step after the other.
//!
//! `--quick` leaves out what needs the foreign clients; `--only NAME` runs one step. Steps go on after
//! a failure, so that one run tells all; the exit code and the last line say how it went.

use crate::test_step::{cargo, root, run_logged, target_dir};
use crate::{tidy, tools};
use anyhow::{Result, bail};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// What a step found.
#[derive(Default)]
struct Outcome {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// Shown under the step's line.
    report: String,
}

struct Step {
    name: &'static str,
    /// Needs the foreign clients, or takes long.
    slow: bool,
    run: fn() -> Result<Outcome>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", slow: false, run: fmt },
    Step { name: "clippy", slow: false, run: clippy },
    Step { name: "tidy", slow: false, run: tidy_step },
    Step { name: "cargo-test", slow: false, run: cargo_test },
    Step { name: "build", slow: false, run: build },
    Step { name: "tools", slow: true, run: tools_step },
    Step { name: "compat", slow: true, run: compat },
    Step { name: "compat-cluster", slow: true, run: compat_cluster },
    Step { name: "real-input", slow: true, run: real_input },
    Step { name: "takeover", slow: true, run: takeover },
    Step { name: "sendfile", slow: true, run: sendfile },
    Step { name: "bench-check", slow: true, run: bench_check },
];

/// Runs the verb.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let (quick, only) = parse(args)?;
    let chosen: Vec<_> = STEPS
        .iter()
        .filter(|step| match &only {
            Some(name) => step.name == name || (step.name == "tools" && needs_tools(name)),
            None => !(quick && step.slow),
        })
        .collect();
    if chosen.iter().any(|step| step.name == "tools") {
        tools::require_machine()?;
    }
    let began = Instant::now();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for step in chosen {
        let outcome = run_step(step);
        passed += outcome.passed;
        failed += outcome.failed;
        skipped += outcome.skipped;
    }
    println!("\nall steps took {:.0} s", began.elapsed().as_secs_f64());
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 {
        bail!("{failed} failed");
    }
    Ok(())
}

fn parse(args: &[String]) -> Result<(bool, Option<String>)> {
    let (mut quick, mut only) = (false, None);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match (arg.as_str(), arg.strip_prefix("--only=")) {
            ("--quick", _) => quick = true,
            ("--only", _) => only = rest.next().cloned(),
            (_, Some(name)) => only = Some(name.to_owned()),
            _ => bail!("unknown argument {arg}; there are --quick and --only NAME"),
        }
    }
    if let Some(name) = &only
        && !STEPS.iter().any(|step| step.name == name)
    {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        bail!("no step {name}; there are {}", names.join(", "));
    }
    Ok((quick, only))
}

fn needs_tools(name: &str) -> bool {
    matches!(name, "compat" | "compat-cluster" | "real-input" | "takeover" | "sendfile")
}

fn run_step(step: &Step) -> Outcome {
    print!("{:<15}", step.name);
    let _ = std::io::stdout().flush();
    let began = Instant::now();
    let result = (step.run)();
    let seconds = began.elapsed().as_secs_f64();
    match result {
        Ok(outcome) => {
            println!("ok    {seconds:>6.1} s  {}", counts(&outcome));
            if !outcome.report.is_empty() {
                println!("{}\n", outcome.report.trim_end());
            }
            outcome
        }
        Err(error) => {
            println!("FAIL  {seconds:>6.1} s");
            println!("{error:#}\n");
            Outcome { failed: 1, ..Outcome::default() }
        }
    }
}

fn counts(outcome: &Outcome) -> String {
    match (outcome.passed, outcome.skipped) {
        (1, 0) => String::new(),
        (passed, 0) => format!("{passed} passed"),
        (passed, skipped) => format!("{passed} passed, {skipped} skipped"),
    }
}

fn one() -> Outcome {
    Outcome { passed: 1, ..Outcome::default() }
}

fn fmt() -> Result<Outcome> {
    run_logged("fmt", &mut cargo(&["fmt", "--all", "--check"]))?;
    let bench = ["fmt", "--manifest-path", "bench/Cargo.toml", "--check"];
    run_logged("fmt-bench", &mut cargo(&bench))?;
    Ok(one())
}

fn clippy() -> Result<Outcome> {
    let args = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    run_logged("clippy", &mut cargo(&args))?;
    Ok(one())
}

fn tidy_step() -> Result<Outcome> {
    println!();
    tidy::run(&[])?;
    print!("{:<15}", "");
    Ok(one())
}

fn cargo_test() -> Result<Outcome> {
    let output = run_logged("cargo-test", &mut cargo(&["test", "--workspace"]))?;
    let mut outcome = Outcome::default();
    for line in output.lines().filter(|line| line.starts_with("test result:")) {
        outcome.passed += count_before(line, " passed");
        outcome.failed += count_before(line, " failed");
        outcome.skipped += count_before(line, " ignored");
    }
    Ok(outcome)
}

fn build() -> Result<Outcome> {
    // With the whole workspace, so that features are those of the tests and nothing is compiled twice.
    run_logged("build", &mut cargo(&["build", "--workspace", "--bins"]))?;
    Ok(one())
}

fn binary() -> PathBuf {
    target_dir().join("debug/millstream")
}

fn tools_step() -> Result<Outcome> {
    let report = if tools::install()? { "" } else { "already installed" };
    Ok(Outcome { passed: 1, report: report.to_owned(), ..Outcome::default() })
}

fn compat() -> Result<Outcome> {
    script("compat", "run.py", &[])
}

/// The same clients against three brokers that are killed in turn.
fn compat_cluster() -> Result<Outcome> {
    script("compat-cluster", "cluster.py", &[])
}

fn real_input() -> Result<Outcome> {
    script("real-input", "real_input.py", &[])
}

/// Directories that Kafka wrote, where they lie beside the checkout.
fn takeover() -> Result<Outcome> {
    script("takeover", "takeover.py", &[])
}

fn sendfile() -> Result<Outcome> {
    script("sendfile", "sendfile.py", &[])
}

/// A script of `compat/` against the debug build; its output is the report, its last line the counts.
fn script(name: &str, file: &str, more: &[&str]) -> Result<Outcome> {
    if !binary().exists() {
        build()?;
    }
    let mut command = Command::new(tools::python());
    command.arg(root().join("compat").join(file)).arg("--broker").arg(binary()).args(more);
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(root());
    let output = run_logged(name, &mut command)?;
    let last = output.trim_end().lines().last().unwrap_or_default();
    let outcome = Outcome {
        passed: count_before(last, " passed"),
        failed: count_before(last, " failed"),
        skipped: count_before(last, " skipped"),
        report: output.trim_end().trim_end_matches(last).to_owned(),
    };
    Ok(outcome)
}

/// The load generator is a workspace of its own, so nothing else would notice that it broke.
fn bench_check() -> Result<Outcome> {
    let args = ["clippy", "--manifest-path", "bench/Cargo.toml", "--quiet", "--", "-D", "warnings"];
    run_logged("bench-check", &mut cargo(&args))?;
    Ok(one())
}

/// The number that stands before a word: `12` for ` passed` in `ok. 12 passed; 0 failed`.
fn count_before(line: &str, word: &str) -> u64 {
    let Some((before, _)) = line.split_once(word) else { return 0 };
    let digits = before.rsplit(' ').next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::count_before;

    #[test]
    fn counts_are_found_in_closing_lines() {
        let cargo = "test result: ok. 12 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out";
        assert_eq!(count_before(cargo, " passed"), 12);
        assert_eq!(count_before(cargo, " ignored"), 3);
        assert_eq!(count_before("140 passed, 0 failed, 9 skipped", " passed"), 140);
        assert_eq!(count_before("", " passed"), 0);
    }
}
