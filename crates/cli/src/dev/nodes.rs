//! The processes of a local cluster.
//!
//! Key type: [`Nodes`]. Each node is this very program with `serve`; what it prints goes to a file in its folder. A node that
//! ends is not started again: whoever kills one wants to see what the others do.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use millstream_env::fs::OsFs;
use millstream_env::process::{self, Child};
use millstream_env::task::{Instant, sleep};

use super::files::NodeFiles;
use crate::failure::{Failure, Outcome};

/// How long a node may take to stop in good order.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// How much of the end of a log is looked at.
const TAIL_BYTES: usize = 4096;

/// A node and its process.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) files: NodeFiles,
    child: Option<Child>,
    /// How the process ended, and the last thing that it said.
    pub(super) ended: Option<String>,
}

/// All nodes, by id.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) all: Vec<Node>,
    program: PathBuf,
    settings: Vec<String>,
}

impl Nodes {
    /// `settings` are `NAME=VALUE`, for every node.
    pub(super) fn new(files: Vec<NodeFiles>, settings: &[String]) -> Result<Self, Failure> {
        let all = files.into_iter().map(|files| Node { files, child: None, ended: None }).collect();
        Ok(Self { all, program: process::own_program()?, settings: settings.to_vec() })
    }

    /// Starts every node that does not run.
    pub(super) fn start(&mut self) -> Outcome {
        for node in &mut self.all {
            if let Some(pid) = node.left_behind() {
                let message = format!("node {} runs already, as process {pid}", node.files.id);
                return Err(Failure::failed(message).hint(format!("`kill {pid}` stops it")));
            }
        }
        for node in &mut self.all {
            let mut args: Vec<OsString> =
                vec!["serve".into(), "--config".into(), node.files.settings().into()];
            for setting in &self.settings {
                args.extend(["--set".into(), setting.into()]);
            }
            let log = node.files.log();
            let child = Child::start(&self.program, &args, &log).map_err(|error| {
                Failure::failed(format!("cannot start node {}: {error}", node.files.id))
            })?;
            let pid = child.id().to_string();
            OsFs::shared().write_atomically(&node.files.pid(), pid.as_bytes())?;
            node.child = Some(child);
        }
        Ok(())
    }

    /// Notices who has ended.
    pub(super) fn look(&mut self) -> std::io::Result<()> {
        for node in &mut self.all {
            let Some(child) = &mut node.child else { continue };
            if let Some(status) = child.ended()? {
                let last = node.last_words().map_or_else(String::new, |last| format!(": {last}"));
                node.ended = Some(format!("{status}{last}"));
                node.child = None;
                drop(OsFs::shared().remove_file(&node.files.pid()));
            }
        }
        Ok(())
    }

    /// Whether any node's process lives.
    pub(super) fn any_runs(&self) -> bool {
        self.all.iter().any(|node| node.child.is_some())
    }

    /// Stops one after the other, those without a vote first and `last` at the end, so that each can hand over its
    /// partitions.
    pub(super) async fn stop(&mut self, last: Option<i32>) -> Outcome {
        let is_last = |node: &Node| Some(i32::from(node.files.id)) == last;
        let mut order: Vec<usize> = (0..self.all.len()).rev().collect();
        order.sort_by_key(|at| self.all.get(*at).is_some_and(is_last));
        for at in order {
            let Some(node) = self.all.get_mut(at) else { continue };
            let Some(child) = &mut node.child else { continue };
            child.terminate()?;
            let deadline = Instant::now() + STOP_WITHIN;
            while node.child.as_mut().is_some_and(|child| matches!(child.ended(), Ok(None))) {
                if Instant::now() > deadline
                    && let Some(child) = &mut node.child
                {
                    child.kill()?;
                }
                sleep(Duration::from_millis(10)).await;
            }
            node.child = None;
            drop(OsFs::shared().remove_file(&node.files.pid()));
        }
        Ok(())
    }

    /// Ends every process at once.
    pub(super) fn kill(&mut self) {
        for child in self.all.iter_mut().filter_map(|node| node.child.as_mut()) {
            // One that is gone already needs no killing.
            drop(child.kill());
        }
    }
}

impl Node {
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The process that an earlier run left behind, if it still lives.
    fn left_behind(&self) -> Option<u32> {
        let bytes = OsFs::shared().read(&self.files.pid(), 64).ok()?;
        let pid = String::from_utf8(bytes).ok()?.trim().parse().ok()?;
        process::is_alive(pid).then_some(pid)
    }

    /// The error that the node ended with, if it said one.
    fn last_words(&self) -> Option<String> {
        let bytes = OsFs::shared().read(&self.files.log(), 1 << 30).ok()?;
        let tail = bytes.get(bytes.len().saturating_sub(TAIL_BYTES)..).unwrap_or_default();
        let text = String::from_utf8_lossy(tail);
        let said = |line: &&str| line.starts_with("error:");
        text.lines().rev().find(said).map(|line| line.trim().to_owned())
    }
}
