//! What is logged: to standard error, as `RUST_LOG` says.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// What a broker says without `RUST_LOG`. The library beneath the quorum tells of each step and each failed try; what matters of it
/// the quorum and its connections say themselves.
const OF_BROKER: &str = "info,openraft=off";

/// Starts logging: without `RUST_LOG`, a broker says what it does and a client only what is wrong.
pub(crate) fn start(is_broker: bool) {
    let default = if is_broker { OF_BROKER } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(is_broker);
    // Only one logger can be set; a second one, in a test, is not needed.
    drop(if is_broker { builder.try_init() } else { builder.without_time().try_init() });
}
