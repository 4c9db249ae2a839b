//! What a process asks of its operating system: signals, limits on open files, other processes.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

/// A program that this one started. It goes on when this value is dropped.
#[derive(Debug)]
pub struct Child {
    inner: std::process::Child,
}

impl Child {
    /// Starts `program` with `args`. What it prints is appended to `log`. It has a process group of its own, so that a
    /// Ctrl-C at the terminal reaches only the program that started it.
    pub fn start(program: &Path, args: &[OsString], log: &Path) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self { inner: command.process_group(0).spawn()? })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// How it ended, once it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.inner.try_wait()
    }

    /// Asks it to stop in good order.
    pub fn terminate(&mut self) -> io::Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        Ok(kill_process(Pid::from_child(&self.inner), Signal::TERM)?)
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> io::Result<()> {
        self.inner.kill()
    }
}

/// Whether a process with this id lives.
pub fn is_alive(id: u32) -> bool {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    id.is_some_and(|id| rustix::process::test_kill_process(id).is_ok())
}

/// The file of the program that runs.
pub fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Catches SIGINT and SIGTERM from now on; the future completes at the first of them.
///
/// The signals are caught when this returns and not when the future is first polled: one that comes while a program
/// starts must not end it halfway.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Catches SIGHUP, which comes when the terminal of a program is closed; the future completes at the first one.
pub fn hangup_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        hangup.recv().await;
    })
}

/// Raises the limit on open files to what the system allows this process, and returns it.
///
/// A broker holds a few files per partition and one per connection; the usual soft limit of 1,024 is for
/// programs that use `select`.
pub fn raise_open_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// What this machine calls itself; `None` where that is no text or nothing.
pub fn host_name() -> Option<String> {
    let name = rustix::system::uname();
    name.nodename().to_str().ok().filter(|name| !name.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_never_sinks() {
        let first = super::raise_open_file_limit();
        assert!(first >= 256);
        assert_eq!(super::raise_open_file_limit(), first);
    }
}
