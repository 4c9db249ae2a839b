//! What the brokers of this process have logged, so that a test can ask whether an operator was told.

use std::io;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use super::eventually;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static ONCE: Once = Once::new();

struct Sink;

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lines().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

fn lines() -> MutexGuard<'static, Vec<u8>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Panics on a broker's threads, which end a connection and nothing else: no test may pass over one.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// No thread of a broker in this process has panicked.
pub fn assert_no_panic() {
    let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(panics.is_empty(), "a broker's thread panicked: {panics:?}");
}

fn note_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name().is_some_and(|name| name.starts_with("tokio")) {
            PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(panic.to_string());
        }
        usual(panic);
    }));
}

/// Keeps what is logged from now on.
pub fn keep() {
    ONCE.call_once(|| {
        note_panics();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Sink).finish();
        tracing_subscriber::util::SubscriberInitExt::try_init(subscriber).unwrap();
    });
}

/// Waits for a line that has all of `parts`, and gives it.
pub fn wait_for(parts: &[&str]) -> String {
    eventually(&format!("a log line with {parts:?}"), || find(parts))
}

/// A line that has all of `parts`.
pub fn find(parts: &[&str]) -> Option<String> {
    let kept = lines();
    let text = String::from_utf8_lossy(&kept);
    let fits = |line: &&str| parts.iter().all(|part| line.contains(part));
    text.lines().find(fits).map(ToOwned::to_owned)
}

/// Everything that was logged in this process: for a test that gives up.
pub fn all() -> String {
    String::from_utf8_lossy(&lines()).into_owned()
}
