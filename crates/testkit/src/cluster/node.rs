//! One node of a cluster: its folder and its process. Key type: [`Node`].

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::disk::Disk;

const TAIL_LINES: usize = 40;

/// A node, running or not.
#[derive(Debug)]
pub(super) struct Node {
    home: PathBuf,
    data: PathBuf,
    /// Where clients reach it; none where it is no broker.
    address: Option<String>,
    /// The binary, and before it whatever it is started under.
    command: Vec<OsString>,
    disk: Option<Disk>,
    child: Option<Child>,
}

impl Node {
    pub(super) const fn new(
        home: PathBuf,
        data: PathBuf,
        address: Option<String>,
        command: Vec<OsString>,
        disk: Option<Disk>,
    ) -> Self {
        Self { home, data, address, command, disk, child: None }
    }

    pub(super) fn data_dir(&self) -> &Path {
        &self.data
    }

    pub(super) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    pub(super) const fn is_broker(&self) -> bool {
        self.address.is_some()
    }

    pub(super) fn disk(&self) -> Result<&Disk> {
        self.disk.as_ref().context("the node has no disk of its own")
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Starts the process.
    pub(super) fn launch(&mut self) -> Result<()> {
        if self.is_running() {
            bail!("the node runs already");
        }
        let log = File::options().create(true).append(true).open(self.home.join("log"))?;
        let mut words = self.command.iter();
        let mut command = Command::new(words.next().context("a command")?);
        command.args(words).arg("serve");
        command.arg("--config").arg(self.home.join("server.properties"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.env_remove("MILLSTREAM_BOOTSTRAP");
        self.child = Some(command.spawn().context("millstream serve")?);
        Ok(())
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the node does not run")?;
        child.kill().context("kill")?;
        child.wait().context("wait")?;
        Ok(())
    }

    pub(super) fn stop(&mut self, within: Duration) -> Result<()> {
        self.signal("TERM")?;
        let child = self.child.as_mut().context("the node does not run")?;
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            let Some(status) = child.try_wait()? else {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            };
            self.child = None;
            if status.success() {
                return Ok(());
            }
            bail!("the node stopped with {status}; its log ends with\n{}", self.tail());
        }
        bail!("the node did not stop within {within:?}; its log ends with\n{}", self.tail())
    }

    pub(super) fn signal(&self, name: &str) -> Result<()> {
        let pid = self.pid().context("the node does not run")?.to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status()?;
        if !sent.success() {
            bail!("kill -{name} {pid} failed");
        }
        Ok(())
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.home.join("log")).unwrap_or_default()
    }

    pub(super) fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let first = lines.len().saturating_sub(TAIL_LINES);
        lines.get(first..).unwrap_or_default().join("\n")
    }
}
