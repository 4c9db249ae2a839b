//! All automation of the workspace: `cargo xtask tidy | test | bench | docs | tools`.
//!
//! A thin dispatcher: each verb is a module with `run(&[String]) -> anyhow::Result<()>`, and nothing
//! else belongs here. The verbs print for people, so standard output is theirs.

#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::disallowed_types)]

mod bench;
mod docs;
mod test;
mod test_step;
mod tidy;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <verb>

  tidy                          layering, docs and file checks
  test [--quick] [--only NAME]  every check and test, foreign clients included
  bench [--quick] [--only NAME] [--sendfile]
                                speed beside the bare loops of the same machine
  docs                          write the reference pages made from tables in the code
  tools                         install the foreign clients into compat/.tools";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((verb, rest)) = args.split_first() else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    let outcome = match verb.as_str() {
        "tidy" => tidy::run(rest),
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "docs" => docs::run(rest),
        "tools" => tools::run(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("no such verb: {other}\n\n{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
