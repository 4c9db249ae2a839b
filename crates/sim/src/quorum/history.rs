//! What must always hold of a quorum.
//!
//! Key type: [`History`]. Every command adds the next number to a list that is in the metadata itself, after the number
//! that it saw. So the one true list shows whether each was decided on exactly the state to which it was applied, and
//! whether all nodes, at any time, have the same one.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_env::task::Instant;
use millstream_metadata::{ClusterImage, ConfigResource, ImageDelta};
use millstream_quorum::ImageListener;
use parking_lot::Mutex;

use crate::trace::Trace;

pub(crate) const COUNT: &str = "count";

/// The list, who led when, and the first thing that was wrong.
#[derive(Debug)]
pub(crate) struct History {
    /// Which command is the so-manyth.
    list: BTreeMap<u64, String>,
    leaders: BTreeMap<i32, i32>,
    pub(crate) acknowledged: u64,
    pub(crate) violation: Option<String>,
    pub(crate) trace: Trace,
    began: Instant,
}

impl History {
    pub(crate) fn new(verbose: bool) -> Self {
        Self {
            list: BTreeMap::new(),
            leaders: BTreeMap::new(),
            acknowledged: 0,
            violation: None,
            trace: Trace::new(verbose),
            began: Instant::now(),
        }
    }

    pub(crate) fn note(&mut self, numbers: &[u64], text: impl FnOnce() -> String) {
        let now_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.trace.note(now_us, numbers, text);
    }

    pub(crate) fn fail(&mut self, what: String) {
        self.note(&[99], || what.clone());
        self.violation.get_or_insert(what);
    }

    /// A node shows that the `at`th command is this.
    fn on_shown(&mut self, node: i32, at: u64, command: &str) {
        self.note(&[20, u64::from(node.unsigned_abs()), at], || {
            format!("node {node} has applied {at}: {command}")
        });
        let known = self.list.entry(at).or_insert_with(|| command.to_owned());
        if known != command {
            let what = format!("node {node} has {command} at {at}, where {known} was");
            self.fail(what);
        }
    }

    /// The one that asked is told that its command is the `at`th.
    pub(crate) fn on_acknowledged(&mut self, at: u64, command: &str) {
        self.acknowledged += 1;
        self.note(&[21, at], || format!("{command} is acknowledged as {at}"));
        let known = self.list.get(&at);
        if known.is_none_or(|known| known != command) {
            let what = format!("{command} is acknowledged as {at}, where {known:?} is");
            self.fail(what);
        }
    }

    /// A node takes commands in an epoch.
    pub(crate) fn on_leader(&mut self, node: i32, epoch: i32) {
        let known = *self.leaders.entry(epoch).or_insert(node);
        if known != node {
            self.fail(format!("nodes {known} and {node} both lead in epoch {epoch}"));
        }
    }

    /// Holds a whole image against the list, at the end.
    pub(crate) fn check_all(&mut self, node: i32, image: &ClusterImage) {
        let count = number(image, COUNT);
        if self.list.keys().next_back().is_some_and(|last| *last > count) {
            self.fail(format!("node {node} ends at {count}, and more was there: {:?}", self.list));
        }
        for at in 1..=count {
            let command = text(image, &key(at));
            self.on_shown(node, at, &command);
        }
    }
}

pub(crate) fn key(at: u64) -> String {
    format!("w.{at}")
}

fn text(image: &ClusterImage, name: &str) -> String {
    let resource = ConfigResource::default_broker();
    let settings = image.configs.get(&resource);
    settings.and_then(|settings| settings.get(name)).cloned().unwrap_or_default()
}

pub(crate) fn number(image: &ClusterImage, name: &str) -> u64 {
    text(image, name).parse().unwrap_or(0)
}

/// Tells the history what one process shows.
pub(crate) struct Watcher {
    pub(crate) node: i32,
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) last: Mutex<u64>,
}

impl ImageListener for Watcher {
    fn committed(&self, image: &Arc<ClusterImage>, _: &ImageDelta) {
        let count = number(image, COUNT);
        let mut last = self.last.lock();
        let mut history = self.history.lock();
        if count < *last {
            history.fail(format!("node {} goes back from {last} to {count}", self.node));
        }
        for at in *last + 1..=count {
            let command = text(image, &key(at));
            history.on_shown(self.node, at, &command);
        }
        *last = count;
    }
}
