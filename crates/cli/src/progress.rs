//! Showing that long work goes on: on standard error, and only to people.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A counter of records, or nothing where nobody watches.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Shown when standard error is a terminal and records do not go past on it: `beside_terminal` tells whether
    /// standard output is one as well and carries records.
    pub(crate) fn records(beside_terminal: bool) -> Self {
        let watched = std::io::stderr().is_terminal() && !beside_terminal;
        let target = if watched {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} records, {per_sec}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    pub(crate) fn add(&self, records: usize) {
        self.bar.inc(records as u64);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Work in steps of which the number is known, or nothing where nobody watches.
#[derive(Debug)]
pub(crate) struct Steps {
    bar: ProgressBar,
}

impl Steps {
    /// A bar that is called `what` and full at `count`.
    pub(crate) fn new(what: &str, count: usize) -> Self {
        let template = "{spinner} {prefix} [{bar:30}] {pos}/{len} {msg} {elapsed}";
        let steps = Self::drawn(template);
        steps.bar.set_length(count as u64);
        steps.bar.set_prefix(what.to_owned());
        steps
    }

    /// A wait for something that has no steps.
    pub(crate) fn waiting(what: &str) -> Self {
        let steps = Self::drawn("{spinner} {msg} {elapsed}");
        steps.bar.set_message(what.to_owned());
        steps
    }

    fn drawn(template: &str) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    pub(crate) fn set(&self, done: usize, message: &str) {
        self.bar.set_position(done as u64);
        self.bar.set_message(message.to_owned());
    }

    /// Nobody watches.
    pub(crate) fn is_hidden(&self) -> bool {
        self.bar.is_hidden()
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
