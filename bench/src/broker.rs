//! The broker under load: [`Broker`], a process with a data directory of its own, and its accounts.

use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running broker. Dropping it kills the process and removes the directory.
#[derive(Debug)]
pub struct Broker {
    binary: PathBuf,
    folder: TempDir,
    address: SocketAddr,
    process: Option<Child>,
    first_start: Duration,
    settings: Vec<String>,
}

impl Broker {
    /// Starts a broker on an empty directory and waits for its first answer.
    pub fn start(binary: &Path, parent: &Path) -> Result<Self> {
        Self::start_with(binary, parent, &[])
    }

    /// The same with settings, each `name=value`.
    pub fn start_with(binary: &Path, parent: &Path, settings: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("millstream-bench-").tempdir_in(parent)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let binary = binary.to_owned();
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let first_start = Duration::ZERO;
        let mut broker = Self { binary, folder, address, process: None, first_start, settings };
        broker.first_start = broker.launch()?;
        Ok(broker)
    }

    /// Starts the process; the time to its first answer.
    pub fn launch(&mut self) -> Result<Duration> {
        let log = fs::File::create(self.folder.path().join("log"))?;
        let began = Instant::now();
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--data-dir").arg(self.folder.path().join("data"));
        command.arg("--listener").arg(self.address.to_string());
        command.args(["--set", "group.initial.rebalance.delay.ms=0"]);
        for setting in &self.settings {
            command.args(["--set", setting]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| self.binary.display().to_string())?;
        self.process = Some(child);
        while !answers(self.address) {
            if began.elapsed() > START_LIMIT || self.ended() {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("the broker does not answer\n{log}");
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(began.elapsed())
    }

    fn ended(&mut self) -> bool {
        self.process.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// The time from the first start of the process to its first answer.
    pub fn first_start(&self) -> Duration {
        self.first_start
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A controlled stop, and the wait for its end.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut child) = self.process.take() {
            Command::new("kill").arg(child.id().to_string()).status()?;
            child.wait()?;
        }
        Ok(())
    }

    /// kill -9.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.process.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the broker runs")?.id())
    }

    /// User and system time of the process since it began, threads that have ended included.
    pub fn cpu(&self) -> Result<Duration> {
        process_cpu(self.pid()?)
    }

    /// Resident memory in MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        resident_mib(self.pid()?)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // Best effort: the process may be gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether an ApiVersions request is answered.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        Ok(i32::from_be_bytes(length) > 6)
    };
    ask().unwrap_or(false)
}

/// Resident memory of a process in MiB.
pub fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// The CPU clock of another process, in nanoseconds; `/proc/PID/stat` has only hundredths of a second.
pub fn process_cpu(pid: u32) -> Result<Duration> {
    // The kernel's number of a process's clock: its id inverted, and 2 for scheduled time.
    let clock = (!pid << 3).cast_signed() | 2;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer, and an unknown clock is answered with an error.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(std::io::Error::last_os_error()).context("the broker's CPU clock");
    }
    Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
}
