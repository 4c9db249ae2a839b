//! A broker as a process of its own: to be killed, to have its memory looked at, or to run under limits.
//!
//! Key type: [`Child`]. The process is this very test binary, asked to run [`serve_as_a_child`] alone; it ends when its standard input
//! does, so that none outlives its test.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use millstream_config::{BrokerConfig, ServerProperties};

use super::broker::{assert_alive, properties, runtime};
use super::client::{Client, Topic};

/// Tells [`serve_as_a_child`] to serve: the settings, one `name=value` a line.
const SETTINGS: &str = "MILLSTREAM_TEST_CHILD";
const LISTENING: &str = "listening on ";
const REFUSED: &str = "refused to start: ";

/// A broker process.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    address: SocketAddr,
    said: PathBuf,
}

/// How to run the process.
#[derive(Debug, Clone, Copy)]
pub enum Under<'a> {
    /// As it is.
    Nothing,
    /// No file may be larger than this many blocks of 512 bytes.
    FileLimit(u32),
    /// The directory is a file system of its own, of this many KiB.
    SmallDisk(&'a Path, u32),
    /// The directory cannot be written to.
    ReadOnly(&'a Path),
    /// Its fsyncs are written to this file.
    Traced(&'a Path),
}

impl Under<'_> {
    /// Whether [`Under::Traced`] works here.
    pub fn can_trace() -> bool {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", "trace=none", "true"]).stderr(Stdio::null());
        strace.status().is_ok_and(|status| status.success())
    }
}

impl Child {
    /// Starts a broker process on `dir`; what it logs goes to a file beside it.
    pub fn start(dir: &Path, settings: &[(&str, &str)], under: Under<'_>) -> Self {
        Self::try_start(dir, settings, under).unwrap()
    }

    /// The same; an error is the text with which the start failed.
    pub fn try_start(
        dir: &Path,
        settings: &[(&str, &str)],
        under: Under<'_>,
    ) -> Result<Self, String> {
        let settings: Vec<_> =
            settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let lines = properties(dir, &settings);
        let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Self::run(&lines, &dir.with_extension("said"), under)
    }

    /// The text with which a broker on `dir`, beside which no file can be made, does not start.
    pub fn try_start_at(dir: &Path, beside: &Path) -> Result<Self, String> {
        let lines: Vec<_> =
            properties(dir, &[]).iter().map(|(name, value)| format!("{name}={value}")).collect();
        Self::run(&lines, &beside.join("said"), Under::Nothing)
    }

    fn run(lines: &[String], said: &Path, under: Under<'_>) -> Result<Self, String> {
        let mut process = command(under)
            .env(SETTINGS, lines.join("\n"))
            // Buffers that are given up are gone from the process at once, so that its memory is what the broker holds.
            .env("MALLOC_MMAP_THRESHOLD_", "32768")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(said).unwrap())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        for line in output.lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once(LISTENING) {
                let address = address.parse().unwrap();
                return Ok(Self { process, address, said: said.to_owned() });
            }
            if let Some((_, why)) = line.split_once(REFUSED) {
                let why = why.to_owned();
                process.wait().unwrap();
                return Err(why);
            }
        }
        let status = process.wait().unwrap();
        panic!("the broker process ended with {status}: {}", read(said));
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Creates a topic.
    pub fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Topic {
        self.connect().create_topic(name, partitions, settings)
    }

    /// A newcomer is served.
    pub fn assert_alive(&self) {
        assert_alive(self.address);
    }

    /// What it has logged.
    pub fn said(&self) -> String {
        read(&self.said)
    }

    /// Resident memory, in bytes.
    pub fn memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.id());
        let status = read(Path::new(&status));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
        kib * 1024
    }

    /// Stops it in order.
    pub fn stop(mut self) {
        drop(self.process.stdin.take());
        // Its test harness may complain that nobody reads what it prints.
        self.process.wait().unwrap();
    }

    /// kill -9. The process is gone when this returns.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !std::thread::panicking() {
            let said = self.said();
            let panic = said.lines().find(|line| line.contains("panicked at"));
            assert_eq!(panic, None, "the broker panicked");
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

/// The command of this binary, wrapped.
fn command(under: Under<'_>) -> Command {
    let me = std::env::current_exe().unwrap();
    let mut command = match under {
        Under::Nothing => Command::new(&me),
        // A write over the limit must fail with an error, not end the process: the signal is ignored.
        Under::FileLimit(blocks) => {
            let mut sh = Command::new("sh");
            sh.arg("-c").arg("trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"");
            sh.arg(blocks.to_string()).arg(&me);
            sh
        }
        Under::SmallDisk(dir, kib) => mounted(&format!("-t tmpfs -o size={kib}k none"), dir, &me),
        Under::Traced(file) => {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-e", "trace=fsync,fdatasync", "-o"]).arg(file).arg(&me);
            strace
        }
        Under::ReadOnly(dir) => {
            mounted("-o bind \"$0\" \"$0\" && mount -o remount,bind,ro", dir, &me)
        }
    };
    let name = "support::child::serve_as_a_child";
    command.args(["--ignored", "--exact", name, "--nocapture", "--test-threads=1"]);
    command
}

/// Runs `me` where `dir` is mounted, which nobody else sees.
fn mounted(how: &str, dir: &Path, me: &Path) -> Command {
    std::fs::create_dir_all(dir).unwrap();
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c"]).arg(format!("mount {how} \"$0\" && exec \"$@\""));
    command.arg(dir).arg(me);
    command
}

/// Whether this machine lets a test have a file system of its own.
pub fn can_mount() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["-rm", "mount", "-t", "tmpfs", "none"]).arg(dir.path());
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
#[ignore = "not a test: the process that other tests start"]
fn serve_as_a_child() {
    let Ok(settings) = std::env::var(SETTINGS) else { return };
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    let config = BrokerConfig::load(&ServerProperties::parse(&settings).unwrap()).unwrap();
    let runtime = runtime();
    match runtime.block_on(millstream_broker::start(config)) {
        Ok(running) => {
            println!("{LISTENING}{}", running.listeners()[0].address);
            // Until the parent goes away.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            runtime.block_on(running.stop());
        }
        Err(error) => println!("{REFUSED}{error}"),
    }
}
