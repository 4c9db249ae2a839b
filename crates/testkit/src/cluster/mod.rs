//! Several brokers as processes, and everything that can happen to them.
//!
//! Key type: [`TestCluster`]. Every node runs `millstream serve --config server.properties` with its data, its settings and
//! its log in a folder of its own below one folder; the folder goes with the value, unless the test is panicking: then
//! the ends of the logs are printed and it stays. Faults are injected from outside of the processes only: signals, the
//! network between them ([`Network`]), the size of their disks. Nothing here judges what the brokers do.

mod disk;
mod look;
mod network;
mod node;
mod options;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use millstream_wire::messages::metadata::MetadataResponse;
use tempfile::TempDir;

use crate::{RawClient, millstream_binary};
pub use disk::can_limit_disks;
use network::Net;
pub use network::Network;
use node::Node;
pub use options::ClusterOptions;
use options::Places;

/// How long a cluster may take to come up. Slow machines build while they test.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a node may take to stop when asked to; it first hands over what it leads.
const STOP_WITHIN: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running cluster. Node ids begin with 1.
#[derive(Debug)]
pub struct TestCluster {
    nodes: BTreeMap<i32, Node>,
    net: Net,
    places: Places,
    options: ClusterOptions,
    folder: Option<TempDir>,
}

impl TestCluster {
    /// Starts three nodes that are brokers and controllers, with default settings.
    ///
    /// # Errors
    /// When they do not come up; the ends of their logs are in the error.
    pub fn start() -> Result<Self> {
        Self::start_with(&ClusterOptions::default())
    }

    /// Starts all nodes and waits until every broker is known to every other.
    ///
    /// # Errors
    /// As [`TestCluster::start`].
    pub fn start_with(options: &ClusterOptions) -> Result<Self> {
        let mut cluster = Self::prepare(options)?;
        let ids: Vec<i32> = cluster.nodes.keys().copied().collect();
        for &id in &ids {
            cluster.launch(id)?;
        }
        cluster.wait_ready(READY_WITHIN)?;
        Ok(cluster)
    }

    /// Writes every node's settings, and starts none.
    ///
    /// # Errors
    /// When files, disks or networks cannot be made.
    pub fn prepare(options: &ClusterOptions) -> Result<Self> {
        let parent = options.parent.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new().prefix("millstream-cluster-").tempdir_in(parent)?;
        let binary = options.binary.clone().map_or_else(millstream_binary, Ok)?;
        let mut net = Net::new(options.network, &options.ids())?;
        let places = options.places(&mut net)?;
        let mut nodes = BTreeMap::new();
        for id in options.ids() {
            let home = folder.path().join(format!("node-{id}"));
            let (data, disk) = make_data_dir(&home, options.disk_mib.get(&id).copied())?;
            let lines = options.properties(id, &places, &data);
            std::fs::write(home.join("server.properties"), options::text_of(lines))?;
            let address = places.broker(id)?;
            let mut command = net.prefix(id);
            command.push(binary.clone().into());
            nodes.insert(id, Node::new(home, data, address, command, disk));
        }
        Ok(Self { nodes, net, places, options: options.clone(), folder: Some(folder) })
    }

    /// Prepares one more broker that knows the cluster, on loopback only, and starts it not yet. `settings` win over what
    /// it would be given, so that it can be made a wrong one.
    ///
    /// # Errors
    /// When there is such a node, or its files cannot be made.
    pub fn add_broker(&mut self, key: i32, settings: &[(&str, &str)]) -> Result<()> {
        if self.nodes.contains_key(&key) || self.options.network != Network::Loopback {
            bail!("node {key} cannot be added");
        }
        let home = self.folder().context("a folder")?.join(format!("node-{key}"));
        let (data, _) = make_data_dir(&home, None)?;
        self.places.add_broker(key, self.net.place(key)?);
        let mut lines = self.options.properties(key, &self.places, &data);
        lines.extend(settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        std::fs::write(home.join("server.properties"), options::text_of(lines))?;
        let binary = self.options.binary.clone().map_or_else(millstream_binary, Ok)?;
        let node = Node::new(home, data, self.places.broker(key)?, vec![binary.into()], None);
        self.nodes.insert(key, node);
        Ok(())
    }

    /// The folder of all nodes.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_ref().map(TempDir::path)
    }

    /// All node ids.
    pub fn ids(&self) -> Vec<i32> {
        self.nodes.keys().copied().collect()
    }

    /// `HOST:PORT` of all brokers with commas between.
    pub fn bootstrap(&self) -> String {
        let brokers = self.nodes.values().filter_map(Node::address);
        brokers.collect::<Vec<_>>().join(",")
    }

    /// `HOST:PORT` of a broker.
    ///
    /// # Errors
    /// When there is no such broker.
    pub fn address(&self, id: i32) -> Result<&str> {
        self.node(id)?.address().context("not a broker")
    }

    /// What a node has logged.
    pub fn log(&self, id: i32) -> String {
        self.nodes.get(&id).map(Node::log).unwrap_or_default()
    }

    /// The folder of a node's data.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn data_dir(&self, id: i32) -> Result<&Path> {
        Ok(self.node(id)?.data_dir())
    }

    /// The process id of a running node.
    pub fn pid(&self, id: i32) -> Option<u32> {
        self.nodes.get(&id).and_then(Node::pid)
    }

    /// Starts a node that does not run, and does not wait for it.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn launch(&mut self, id: i32) -> Result<()> {
        let node = self.node_mut(id)?;
        node.launch()?;
        if let Some(pid) = node.pid() {
            self.net.process(id, pid);
        }
        Ok(())
    }

    /// Starts a node that does not run, and waits until it takes part.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub fn restart(&mut self, id: i32) -> Result<()> {
        self.launch(id)?;
        self.wait_ready(READY_WITHIN)
    }

    /// kill -9, and the wait for its end.
    ///
    /// # Errors
    /// When the node does not run.
    pub fn kill(&mut self, id: i32) -> Result<()> {
        self.node_mut(id)?.kill()
    }

    /// A controlled stop: SIGTERM, and the wait for its end.
    ///
    /// # Errors
    /// When it does not end in time, or not with success.
    pub fn stop(&mut self, id: i32) -> Result<()> {
        self.node_mut(id)?.stop(STOP_WITHIN)
    }

    /// Stops the process where it stands (SIGSTOP): connections stay, nobody answers.
    ///
    /// # Errors
    /// When the node does not run.
    pub fn pause(&mut self, id: i32) -> Result<()> {
        self.node(id)?.signal("STOP")
    }

    /// Lets a stopped process go on (SIGCONT).
    ///
    /// # Errors
    /// When the node does not run.
    pub fn resume(&mut self, id: i32) -> Result<()> {
        self.node(id)?.signal("CONT")
    }

    /// Stops and starts one node after the other, each as soon as the one before takes part again.
    ///
    /// # Errors
    /// When one does not stop or come back.
    pub fn rolling_restart(&mut self) -> Result<()> {
        for id in self.ids() {
            self.stop(id)?;
            self.restart(id)?;
        }
        Ok(())
    }

    /// Whether a node's process runs.
    pub fn is_running(&mut self, id: i32) -> bool {
        self.nodes.get_mut(&id).is_some_and(Node::is_running)
    }

    /// Cuts a node off from all others; clients still reach it.
    ///
    /// # Errors
    /// When the network does not allow it.
    pub fn cut_off(&mut self, id: i32) -> Result<()> {
        for other in self.ids().into_iter().filter(|&other| other != id) {
            self.cut(id, other)?;
            self.cut(other, id)?;
        }
        Ok(())
    }

    /// Drops, without a word, whatever `from` sends to `to`. What `to` sends to `from` goes through.
    ///
    /// # Errors
    /// When the network does not allow it.
    pub fn cut(&mut self, from: i32, to: i32) -> Result<()> {
        self.net.cut(from, to)
    }

    /// Drops, without a word, whatever a node sends to clients.
    ///
    /// # Errors
    /// When the network does not allow it.
    pub fn cut_from_clients(&mut self, id: i32) -> Result<()> {
        self.net.cut_from_clients(id)
    }

    /// Takes back every cut.
    ///
    /// # Errors
    /// When the network does not allow it.
    pub fn heal(&mut self) -> Result<()> {
        self.net.heal()
    }

    /// Leaves no room on a node's disk, which must have been given a size.
    ///
    /// # Errors
    /// When it has none.
    pub fn fill_disk(&mut self, id: i32) -> Result<()> {
        self.node(id)?.disk()?.fill()
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// As [`TestCluster::fill_disk`].
    pub fn free_disk(&mut self, id: i32) -> Result<()> {
        self.node(id)?.disk()?.free()
    }

    /// A raw connection to a broker.
    ///
    /// # Errors
    /// When it does not accept one.
    pub fn connect(&self, id: i32) -> Result<RawClient> {
        RawClient::connect(self.address(id)?)
    }

    /// What a broker says of the cluster and of these topics; of all of them if none are named.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn metadata(&self, id: i32, topics: &[&str]) -> Result<MetadataResponse> {
        look::metadata(self.address(id)?, topics)
    }

    /// The broker that leads a partition, as any running broker knows it; `None` while there is none.
    pub fn leader(&mut self, topic: &str, partition: i32) -> Option<i32> {
        let answers = self.running().into_iter().filter_map(|id| self.metadata(id, &[topic]).ok());
        look::newest_leader(answers, topic, partition)
    }

    /// The active controller, as any running broker knows it.
    pub fn controller(&mut self) -> Option<i32> {
        let answers = self.running().into_iter().filter_map(|id| self.address(id).ok());
        answers.filter_map(|address| look::controller(address).ok()).max().map(|(_, leader)| leader)
    }

    /// The in-sync replicas of a partition, as its leader knows them.
    ///
    /// # Errors
    /// When nobody leads it, or the leader does not answer.
    pub fn isr(&mut self, topic: &str, partition: i32) -> Result<Vec<i32>> {
        let leader = self.leader(topic, partition).context("no leader")?;
        look::isr(&self.metadata(leader, &[topic])?, topic, partition)
    }

    /// Waits until every replica of every partition of a topic is in sync, and all running brokers know it: one that was
    /// away may still take itself for a leader.
    ///
    /// # Errors
    /// When it is not within this time.
    pub fn wait_in_sync(&mut self, topic: &str, within: Duration) -> Result<()> {
        self.wait_for(&format!("{topic} in sync"), within, |cluster| {
            let mut states = Vec::new();
            for id in cluster.running() {
                let Ok(answer) = cluster.metadata(id, &[topic]) else { return Ok(false) };
                states.push(look::states(&answer, topic));
            }
            let Some(first) = states.first() else { bail!("no broker runs") };
            let is_whole = !first.is_empty() && first.iter().all(look::State::is_whole);
            Ok(is_whole && states.iter().all(|state| state == first))
        })
    }

    /// Waits until every running broker knows every running broker, and a controller.
    ///
    /// # Errors
    /// When they do not within this time, or one of them ends.
    pub fn wait_ready(&mut self, within: Duration) -> Result<()> {
        self.wait_for("all brokers ready", within, |cluster| {
            let wanted = cluster.running();
            for id in cluster.launched() {
                if !cluster.is_running(id) {
                    bail!("node {id} has ended");
                }
            }
            let knows_all = |&id: &i32| {
                let answer = cluster.metadata(id, &["-"]);
                answer.is_ok_and(|answer| look::knows(&answer, &wanted))
            };
            Ok(wanted.iter().all(knows_all))
        })
    }

    /// Waits until something is so. An error of `is_so` ends the wait.
    ///
    /// # Errors
    /// When it is not within this time; the ends of the logs are in the error.
    pub fn wait_for(
        &mut self,
        what: &str,
        within: Duration,
        mut is_so: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let error = match is_so(self) {
                Ok(true) => return Ok(()),
                Ok(false) if Instant::now() < deadline => {
                    std::thread::sleep(LOOK_EVERY);
                    continue;
                }
                Ok(false) => format!("not within {within:?}"),
                Err(error) => format!("{error:#}"),
            };
            bail!("{what}: {error}\n{}", self.tails());
        }
    }

    /// Ids of brokers whose process runs.
    pub fn running(&mut self) -> Vec<i32> {
        let nodes = self.nodes.iter_mut();
        nodes
            .filter_map(|(&id, node)| (node.is_broker() && node.is_running()).then_some(id))
            .collect()
    }

    fn launched(&self) -> Vec<i32> {
        self.nodes.iter().filter_map(|(&id, node)| node.pid().map(|_| id)).collect()
    }

    fn node(&self, id: i32) -> Result<&Node> {
        self.nodes.get(&id).with_context(|| format!("no node {id}"))
    }

    fn node_mut(&mut self, id: i32) -> Result<&mut Node> {
        self.nodes.get_mut(&id).with_context(|| format!("no node {id}"))
    }

    /// The ends of all logs.
    pub fn tails(&self) -> String {
        let tail = |(id, node): (&i32, &Node)| format!("--- node {id}\n{}\n", node.tail());
        self.nodes.iter().map(tail).collect()
    }
}

/// The folder of a node's data, on a disk of its own if it is to have one.
fn make_data_dir(home: &Path, disk_mib: Option<u32>) -> Result<(PathBuf, Option<disk::Disk>)> {
    let Some(mib) = disk_mib else {
        let data = home.join("data");
        std::fs::create_dir_all(&data)?;
        return Ok((data, None));
    };
    let at = home.join("disk");
    std::fs::create_dir_all(&at)?;
    let disk = disk::Disk::mount(&at, mib)?;
    let data = at.join("data");
    std::fs::create_dir(&data)?;
    Ok((data, Some(disk)))
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            drop(node.kill());
        }
        if std::thread::panicking() {
            eprintln!("{}", self.tails());
            if let Some(kept) = self.folder.take() {
                eprintln!("the cluster's folder is kept: {}", kept.keep().display());
            }
        }
    }
}
