//! A broker as a process of its own: started, watched, killed, started again.
//!
//! Key type: [`BrokerProcess`]. The process is killed when the value goes, and its directory removed, unless the test
//! is panicking: then its log is printed and the directory stays to be looked at.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::RawClient;

/// How long a broker may take to start. Slow machines build while they test.
const START_WITHIN: Duration = Duration::from_secs(60);

/// How to start a broker.
#[derive(Debug, Default)]
pub struct BrokerOptions {
    /// `--set` of the command line.
    pub settings: Vec<(String, String)>,
    /// Further arguments of `serve`.
    pub args: Vec<String>,
    /// Where the data lies; a new directory that goes with the broker if not given.
    pub data_dir: Option<PathBuf>,
    /// `HOST:PORT`; a free port of 127.0.0.1 if not given.
    pub listener: Option<String>,
    /// Environment variables.
    pub env: Vec<(String, String)>,
}

impl BrokerOptions {
    /// With one more setting.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.push((name.to_owned(), value.into()));
        self
    }
}

/// A running broker.
#[derive(Debug)]
pub struct BrokerProcess {
    child: Child,
    address: String,
    data_dir: PathBuf,
    options: BrokerOptions,
    scratch: Option<TempDir>,
    log: PathBuf,
}

impl BrokerProcess {
    /// Starts a broker with default settings.
    ///
    /// # Errors
    /// When it does not answer in time; its log is in the error.
    pub fn start() -> Result<Self> {
        Self::start_with(BrokerOptions::default())
    }

    /// Starts a broker and waits until it answers.
    ///
    /// # Errors
    /// When it does not answer in time; its log is in the error.
    pub fn start_with(options: BrokerOptions) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("millstream-test-").tempdir()?;
        let data_dir = options.data_dir.clone().unwrap_or_else(|| scratch.path().join("data"));
        let log = scratch.path().join("broker.log");
        let listener = options.listener.clone().unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let (child, address) = spawn(&options, &data_dir, &listener, &log)?;
        Ok(Self { child, address, data_dir, options, scratch: Some(scratch), log })
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its data lies.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A raw connection to it.
    ///
    /// # Errors
    /// When it does not accept one.
    pub fn connect(&self) -> Result<RawClient> {
        RawClient::connect(&self.address)
    }

    /// Whether the process still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends the process at this instant, as a crash does (`kill -9`).
    ///
    /// # Errors
    /// When the process cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill")?;
        self.child.wait().context("wait")?;
        Ok(())
    }

    /// Asks the process to stop (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// When it does not end within `within`, or not with success.
    pub fn stop(&mut self, within: Duration) -> Result<()> {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().context("kill -TERM")?;
        if !asked.success() {
            bail!("kill -TERM {pid} failed");
        }
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the broker stopped with {status}; its log:\n{}", self.log());
            }
            if Instant::now() > deadline {
                bail!("the broker did not stop within {within:?}; its log:\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts the broker again after [`BrokerProcess::kill`] or [`BrokerProcess::stop`]: same data, same port.
    ///
    /// # Errors
    /// As [`BrokerProcess::start_with`].
    pub fn restart(&mut self) -> Result<()> {
        let (child, address) = spawn(&self.options, &self.data_dir, &self.address, &self.log)?;
        self.child = child;
        self.address = address;
        Ok(())
    }

    /// Runs `millstream` with `args` against this broker.
    ///
    /// # Errors
    /// When the binary cannot be run.
    pub fn cli<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        stdin: &[u8],
    ) -> Result<Output> {
        run_cli(Some(&self.address), args, stdin)
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- log of the broker at {}\n{}---", self.address, self.log());
            if let Some(kept) = self.scratch.take() {
                eprintln!("its directory is kept: {}", kept.keep().display());
            }
        }
    }
}

/// Runs `millstream` with `args` and `stdin` and waits for its end.
///
/// # Errors
/// When the binary cannot be run.
pub fn run_cli<S: AsRef<OsStr>>(
    server: Option<&str>,
    args: impl IntoIterator<Item = S>,
    stdin: &[u8],
) -> Result<Output> {
    let mut command = Command::new(millstream_binary()?);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("MILLSTREAM_BOOTSTRAP").env_remove("RUST_LOG");
    if let Some(server) = server {
        command.env("MILLSTREAM_BOOTSTRAP", server);
    }
    let mut child = command.spawn().context("millstream")?;
    let mut input = child.stdin.take().context("stdin")?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that ends early does not read it all.
            drop(std::io::Write::write_all(&mut input, stdin));
        });
        child.wait_with_output().context("wait")
    })
}

/// The `millstream` binary: `MILLSTREAM_BIN`, else the one beside the running test.
///
/// # Errors
/// When there is none.
pub fn millstream_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MILLSTREAM_BIN") {
        return Ok(path.into());
    }
    // .../target/debug/deps/it-0123 -> .../target/debug/millstream
    let test = std::env::current_exe()?;
    let built = test.ancestors().skip(1).take(2).map(|dir| dir.join("millstream"));
    match built.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("no `millstream` beside {}: run `cargo build -p millstream`", test.display()),
    }
}

/// Starts the process and waits for the line with its address, then for its first answer.
fn spawn(
    options: &BrokerOptions,
    data_dir: &Path,
    listener: &str,
    log: &Path,
) -> Result<(Child, String)> {
    let log_file = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(millstream_binary()?);
    command.arg("serve").arg("--data-dir").arg(data_dir).args(["--listener", listener]);
    for (name, value) in &options.settings {
        command.arg("--set").arg(format!("{name}={value}"));
    }
    command.args(&options.args).envs(options.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
    let mut child = command.spawn().context("millstream serve")?;
    match address_of(&mut child) {
        Ok(address) => Ok((child, address)),
        Err(error) => {
            drop(child.kill());
            drop(child.wait());
            let said = std::fs::read_to_string(log).unwrap_or_default();
            Err(error.context(format!("the broker did not start; its log:\n{said}")))
        }
    }
}

fn address_of(child: &mut Child) -> Result<String> {
    let output = child.stdout.take().context("stdout")?;
    let (sender, receiver) = mpsc::channel();
    // A thread, because a pipe cannot be read with a time limit; it ends with the process.
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("ready ") {
                drop(sender.send(address.to_owned()));
            }
        }
    });
    let address =
        receiver.recv_timeout(START_WITHIN).context("no `ready` line on its standard output")?;
    RawClient::connect(&address)?.api_versions().context("ApiVersions")?;
    Ok(address)
}
