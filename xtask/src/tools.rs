//! Installs the foreign clients of `compat/` into `compat/.tools`: a Python environment and a
//! `node_modules` folder, at the exact versions of `requirements.txt` and `package-lock.json`.
//!
//! A stamp beside each holds what was installed from; when it is the same, nothing is done. It never
//! touches anything outside `compat/.tools`, and it names what the machine lacks instead of trying.

use crate::test_step::{root, run_logged};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs the verb.
pub(crate) fn run(_args: &[String]) -> Result<()> {
    require_machine()?;
    install()?;
    println!("the foreign clients are installed in {}", tools_dir().display());
    Ok(())
}

/// Where the clients are installed.
pub(crate) fn tools_dir() -> PathBuf {
    root().join("compat/.tools")
}

/// The Python of the clients' environment.
pub(crate) fn python() -> PathBuf {
    tools_dir().join("venv/bin/python")
}

/// Fails with one line that names every missing program and how it is installed.
pub(crate) fn require_machine() -> Result<()> {
    let wanted = [
        ("python3", &["-c", "import venv, ensurepip"][..], "python3 python3-venv"),
        ("node", &["--version"][..], "nodejs"),
        ("npm", &["--version"][..], "npm"),
    ];
    let lacking: Vec<_> =
        wanted.iter().filter(|(program, args, _)| !works(program, args)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = lacking.iter().map(|(program, ..)| *program).collect();
    let packages: Vec<_> = lacking.iter().map(|(.., package)| *package).collect();
    bail!(
        "missing on this machine: {} (on Debian: apt-get install {}); without them: cargo xtask test \
         --quick",
        names.join(", "),
        packages.join(" ")
    )
}

fn works(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Installs what is not there yet; says whether anything had to be done.
pub(crate) fn install() -> Result<bool> {
    let compat = root().join("compat");
    let tools = tools_dir();
    fs::create_dir_all(&tools)?;
    let python = install_python(&compat, &tools)?;
    let node = install_node(&compat, &tools)?;
    Ok(python || node)
}

fn install_python(compat: &Path, tools: &Path) -> Result<bool> {
    let requirements = compat.join("requirements.txt");
    let venv = tools.join("venv");
    let stamp = Stamp::new(tools.join("venv.stamp"), &[&requirements])?;
    if stamp.fresh() && python().exists() {
        return Ok(false);
    }
    run_logged("tools-venv", Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    let mut pip = Command::new(python());
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--only-binary", ":all:"]);
    run_logged("tools-pip", pip.arg("--requirement").arg(&requirements))?;
    stamp.write()?;
    Ok(true)
}

fn install_node(compat: &Path, tools: &Path) -> Result<bool> {
    let files = ["package.json", "package-lock.json", ".npmrc"].map(|name| compat.join(name));
    let node = tools.join("node");
    let stamp = Stamp::new(tools.join("node.stamp"), &[&files[0], &files[1], &files[2]])?;
    if stamp.fresh() && node.join("node_modules").is_dir() {
        return Ok(false);
    }
    fs::create_dir_all(&node)?;
    for file in &files {
        let name = file.file_name().context("a file name")?;
        fs::copy(file, node.join(name))?;
    }
    // No package's own install scripts: each is either plain JavaScript or ships its binary.
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&node);
    run_logged("tools-npm", &mut npm)?;
    stamp.write()?;
    Ok(true)
}

/// What an installation was made from, and where that is noted once it is done.
struct Stamp {
    path: PathBuf,
    content: Vec<u8>,
}

impl Stamp {
    fn new(path: PathBuf, sources: &[&Path]) -> Result<Self> {
        let mut content = Vec::new();
        for source in sources {
            content.extend(fs::read(source).with_context(|| source.display().to_string())?);
        }
        Ok(Self { path, content })
    }

    fn fresh(&self) -> bool {
        fs::read(&self.path).is_ok_and(|found| found == self.content)
    }

    fn write(&self) -> Result<()> {
        Ok(fs::write(&self.path, &self.content)?)
    }
}
