//! One step of a run: a command whose output goes to a log file, with the time that it took.
//!
//! A step that fails shows the end of its log and where the whole of it is. Nothing is retried.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TAIL_LINES: usize = 80;

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A cargo command in the workspace's root, by the cargo that runs this.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command.env("CARGO_TERM_COLOR", "never").env("CARGO_BUILD_JOBS", jobs().to_string());
    command
}

/// Compiler processes at a time: as many as there are cores, but no more than memory allows.
fn jobs() -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next());
    let gib = kib.and_then(|kib| kib.parse::<u64>().ok()).map_or(cores * 2, |kib| kib >> 20);
    cores.min(gib / 2).max(1)
}

/// Runs a command with its output in a log file and returns that output; fails with the log's end.
pub(crate) fn run_logged(name: &str, command: &mut Command) -> Result<String> {
    let folder = target_dir().join("xtask");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.log"));
    let log = File::create(&path)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let shown = format!("{command:?}");
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    let output = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
    if !status.success() {
        let lines: Vec<_> = output.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        bail!("{tail}\n{shown}\nended with {status}; the whole log: {}", path.display());
    }
    Ok(output)
}
