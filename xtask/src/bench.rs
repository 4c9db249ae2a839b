//! `cargo xtask bench`: builds the broker as it ships and the load generator, and runs the one with the
//! other. What is measured and how is written in `bench/`.

use crate::test_step::{cargo, root, run_logged, target_dir};
use crate::tools;
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// Runs the verb.
pub(crate) fn run(args: &[String]) -> Result<()> {
    println!("building the broker and the load generator as they ship ...");
    run_logged("bench-broker", &mut cargo(&["build", "--release", "--package", "millstream"]))?;
    let broker = target_dir().join("release/millstream");
    if args.iter().any(|arg| arg == "--sendfile") {
        return sendfile(&broker);
    }
    let build = ["build", "--release", "--manifest-path", "bench/Cargo.toml"];
    run_logged("bench-load", &mut cargo(&build))?;
    let load = load_dir().join("release/millstream-bench");
    let status = Command::new(load).arg("--broker").arg(&broker).args(args).status()?;
    if !status.success() {
        bail!("the load generator ended with {status}");
    }
    Ok(())
}

/// The load generator is a workspace of its own and has its own target folder.
fn load_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("bench/target"), PathBuf::from)
}

fn sendfile(broker: &PathBuf) -> Result<()> {
    tools::require_machine()?;
    tools::install()?;
    let mut command = Command::new(tools::python());
    command.arg(root().join("compat/sendfile.py")).arg("--broker").arg(broker);
    let output = run_logged("sendfile", command.args(["--mb", "200"]))?;
    print!("{output}");
    Ok(())
}
