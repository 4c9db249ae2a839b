//! What a local cluster shows: a table that stays on a terminal, and a line for each change in a pipe.
//!
//! Key type: [`Screen`].

use std::path::PathBuf;

use super::nodes::Nodes;
use crate::cluster::picture::{Node, Picture, Trouble};
use crate::cluster::problems;
use crate::output::{Output, Style, say, table};

/// Goes to the first place of the terminal.
const HOME: &str = "\x1b[H";
/// Clears the rest of the line, and of the terminal.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const CLEAR_ALL: &str = "\x1b[2J";

/// What was seen of the cluster, if anything answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) cluster: String,
    pub(super) controller: Option<i32>,
    pub(super) topics: usize,
    pub(super) partitions: usize,
    pub(super) trouble: Trouble,
    pub(super) nodes: Vec<Node>,
}

impl Seen {
    pub(super) fn of(picture: &Picture) -> Self {
        Self {
            cluster: picture.cluster.cluster_id.clone(),
            controller: picture.controller().map(|node| node.0),
            topics: picture.topics.len(),
            partitions: picture.partitions(),
            trouble: picture.trouble(),
            nodes: picture.nodes(),
        }
    }

    fn node(&self, id: u16) -> Option<&Node> {
        self.nodes.iter().find(|node| node.node == i32::from(id))
    }

    /// Every one of `count` brokers is alive, and nothing is wrong.
    pub(super) fn is_well(&self, count: usize) -> bool {
        let alive = self.nodes.iter().filter(|node| node.state == "alive").count();
        alive >= count && self.controller.is_some() && self.trouble.is_none()
    }
}

/// Draws, or tells of changes.
#[derive(Debug)]
pub(super) struct Screen {
    out: Output,
    folder: PathBuf,
    states: Vec<String>,
    drawn: bool,
}

impl Screen {
    pub(super) const fn new(out: Output, folder: PathBuf) -> Self {
        Self { out, folder, states: Vec::new(), drawn: false }
    }

    /// Shows how it is now.
    pub(super) fn show(&mut self, nodes: &Nodes, seen: Option<&Seen>) -> std::io::Result<()> {
        if self.out.style == Style::Table {
            let clear = if self.drawn { "" } else { CLEAR_ALL };
            self.drawn = true;
            let lines = lines(&self.folder.display().to_string(), nodes, seen);
            let end = format!("{CLEAR_LINE}\n");
            return self.out.line(&format!("{clear}{HOME}{}{end}{CLEAR_BELOW}", lines.join(&end)));
        }
        let states: Vec<String> = nodes.all.iter().map(|node| state(node, seen)).collect();
        for (place, (node, now)) in nodes.all.iter().zip(&states).enumerate() {
            if self.states.get(place) != Some(now) {
                say(&format!("node {} at {}: {now}", node.files.id, node.files.address));
            }
        }
        self.states = states;
        Ok(())
    }
}

fn lines(folder: &str, nodes: &Nodes, seen: Option<&Seen>) -> Vec<String> {
    let mut lines = vec![format!("A local cluster in {folder}; Ctrl-C stops it"), String::new()];
    match seen {
        Some(seen) => lines.push(format!(
            "cluster {}, controller {}, {} topics, {} partitions",
            seen.cluster,
            crate::cluster::shown(seen.controller),
            seen.topics,
            seen.partitions
        )),
        None => lines.push("no node answers yet".to_owned()),
    }
    lines.push(String::new());
    let rows: Vec<Vec<String>> = nodes.all.iter().map(|node| row(node, seen)).collect();
    let headings = ["node", "address", "state", "leaders", "replicas", "behind", "pid"];
    lines.extend(table(&headings, &rows).lines().map(str::to_owned));
    lines.push(String::new());
    match seen.map(|seen| problems(&seen.trouble)) {
        Some(problems) if problems.is_empty() => {
            lines.push("every partition has a leader, every replica is in sync".to_owned());
        }
        Some(problems) => {
            lines.extend(problems.into_iter().map(|problem| format!("WRONG  {problem}")));
        }
        None => {}
    }
    lines.extend(advice(nodes));
    lines
}

fn advice(nodes: &Nodes) -> Vec<String> {
    let mut lines = Vec::new();
    for node in nodes.all.iter().filter(|node| node.ended.is_some()) {
        let settings = node.files.settings();
        lines.push(format!(
            "node {} ended; `millstream serve --config {}` starts it again",
            node.files.id,
            settings.display()
        ));
    }
    if let Some(first) = nodes.all.iter().find(|node| node.ended.is_none()) {
        let server = &first.files.address;
        lines.push(format!("try    echo hello | millstream produce greetings -b {server}"));
        lines.push(format!("       millstream cluster status -b {server}"));
        lines.push("       kill -9 PID of a node, and watch".to_owned());
    }
    lines
}

fn row(node: &super::nodes::Node, seen: Option<&Seen>) -> Vec<String> {
    let known = seen.and_then(|seen| seen.node(node.files.id));
    let count = |get: fn(&Node) -> usize| crate::cluster::shown(known.map(get));
    vec![
        node.files.id.to_string(),
        node.files.address.clone(),
        state(node, seen),
        count(|node| node.leaders),
        count(|node| node.replicas),
        count(|node| node.behind),
        crate::cluster::shown(node.pid()),
    ]
}

fn state(node: &super::nodes::Node, seen: Option<&Seen>) -> String {
    let known = seen.and_then(|seen| seen.node(node.files.id));
    let is_controller = seen.is_some_and(|seen| seen.controller == Some(i32::from(node.files.id)));
    match (known.map(|known| known.state), &node.ended) {
        // Someone may have started it again by hand.
        (Some("alive"), _) if is_controller => "alive, controller".to_owned(),
        (Some("alive"), _) => "alive".to_owned(),
        (_, Some(ended)) => ended.clone(),
        (Some(other), None) => other.to_owned(),
        (None, None) => "starting".to_owned(),
    }
}
