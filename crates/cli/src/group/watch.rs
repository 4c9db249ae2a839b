//! `--watch`: the same look again and again, until the command is stopped.
//!
//! Key type: [`Watch`]. On a terminal each look replaces the one before; in a pipe and as JSON they follow one
//! another. A look that fails is said on standard error, and the next one is made all the same: whoever watches a
//! cluster wants to see it come back.

use std::time::Duration;

use crate::args::span;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Style, say};

/// Clears the terminal and goes to its first place.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// The option.
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// Look again every TIME, such as 500ms or 5s, until stopped
    #[arg(
        short,
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        value_parser = span
    )]
    watch: Option<Duration>,
}

impl Watch {
    /// Looks once, or for ever.
    pub(crate) async fn run(&self, context: &Context, look: impl AsyncFn() -> Outcome) -> Outcome {
        let Some(pause) = self.watch else { return look().await };
        loop {
            if context.out.style == Style::Table {
                context.out.line(CLEAR)?;
            }
            if let Err(failure) = look().await {
                if ends(&failure) {
                    return Err(failure);
                }
                say(&failure.to_string());
            }
            millstream_env::task::sleep(pause).await;
        }
    }
}

/// A closed output, or words that no later look will understand better.
fn ends(failure: &Failure) -> bool {
    failure.quiet || failure.exit == Exit::Usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waiting_cannot_mend_ends_it() {
        assert!(ends(&Failure::usage("x")));
        assert!(ends(&std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()));
        assert!(!ends(&Failure::new(Exit::NoBroker, "x")));
        assert!(!ends(&Failure::new(Exit::NotFound, "x")));
    }
}
