//! What a process asks of its operating system: signals, limits on open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Catches SIGINT and SIGTERM from now on; the future completes at the first of them.
///
/// The signals are caught when this returns and not when the future is first polled: one that comes while a program
/// starts must not end it halfway.
pub fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
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
