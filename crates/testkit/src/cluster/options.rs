//! What a cluster is made of, and the `server.properties` of its nodes. Key type: [`ClusterOptions`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::network::{Net, Network, Place};

/// How to start a cluster.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Nodes that are brokers and controllers.
    pub combined: i32,
    /// Nodes beside them that are controllers only.
    pub controllers: i32,
    /// Nodes beside them that are brokers only.
    pub brokers: i32,
    /// Settings of all nodes.
    pub settings: Vec<(String, String)>,
    /// Settings of single nodes, by their id.
    pub node_settings: BTreeMap<i32, Vec<(String, String)>>,
    /// What lies between the nodes.
    pub network: Network,
    /// The size in MiB of nodes' disks, by their id; others share the machine's.
    pub disk_mib: BTreeMap<i32, u32>,
    /// The binary, where it is not the one that [`crate::millstream_binary`] finds.
    pub binary: Option<PathBuf>,
    /// Where the cluster's folder is made; in the machine's place for such if not given.
    pub parent: Option<PathBuf>,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            combined: 3,
            controllers: 0,
            brokers: 0,
            settings: Vec::new(),
            node_settings: BTreeMap::new(),
            network: Network::Loopback,
            disk_mib: BTreeMap::new(),
            binary: None,
            parent: None,
        }
    }
}

impl ClusterOptions {
    /// With one more setting of all nodes.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.settings.push((name.to_owned(), value.into()));
        self
    }

    /// With one more setting of one node.
    #[must_use]
    pub fn set_on(mut self, id: i32, name: &str, value: impl Into<String>) -> Self {
        let settings = self.node_settings.entry(id).or_default();
        settings.push((name.to_owned(), value.into()));
        self
    }

    /// With another network between the nodes.
    #[must_use]
    pub const fn on(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// With a disk of its own for one node.
    #[must_use]
    pub fn disk(mut self, id: i32, mib: u32) -> Self {
        self.disk_mib.insert(id, mib);
        self
    }

    /// Ids of all nodes: combined ones first, then controllers, then brokers.
    pub fn ids(&self) -> Vec<i32> {
        (1..=self.combined + self.controllers + self.brokers).collect()
    }

    fn is_broker(&self, id: i32) -> bool {
        id <= self.combined || id > self.combined + self.controllers
    }

    fn is_controller(&self, id: i32) -> bool {
        id <= self.combined + self.controllers
    }

    /// Finds an address for every listener.
    pub(super) fn places(&self, net: &mut Net) -> Result<Places> {
        let mut places = Places::default();
        for id in self.ids() {
            if self.is_broker(id) {
                places.brokers.insert(id, net.place(id)?);
            }
            if self.is_controller(id) {
                places.controllers.insert(id, net.place(id)?);
            }
        }
        Ok(places)
    }

    /// A node's settings.
    pub(super) fn properties(
        &self,
        id: i32,
        places: &Places,
        data: &Path,
    ) -> Vec<(String, String)> {
        let (mut roles, mut listeners) = (Vec::new(), Vec::new());
        let mut advertised = None;
        if let Some(place) = places.brokers.get(&id) {
            roles.push("broker");
            listeners.push(format!("PLAINTEXT://{}", place.listens));
            advertised = Some(format!("PLAINTEXT://{}", place.advertised));
        }
        if let Some(place) = places.controllers.get(&id) {
            roles.push("controller");
            listeners.push(format!("CONTROLLER://{}", place.listens));
        }
        let voter = |(id, place): (&i32, &Place)| format!("{id}@{}", place.advertised);
        let voters = places.controllers.iter().map(voter);
        let mut lines = vec![
            ("node.id".to_owned(), id.to_string()),
            ("process.roles".to_owned(), roles.join(",")),
            ("listeners".to_owned(), listeners.join(",")),
            ("controller.listener.names".to_owned(), "CONTROLLER".to_owned()),
            ("controller.quorum.voters".to_owned(), voters.collect::<Vec<_>>().join(",")),
            ("log.dirs".to_owned(), data.display().to_string()),
        ];
        if self.network == Network::Proxies {
            lines.extend(advertised.map(|address| ("advertised.listeners".to_owned(), address)));
        }
        lines.extend(self.settings.iter().cloned());
        lines.extend(self.node_settings.get(&id).into_iter().flatten().cloned());
        lines
    }
}

/// The text of a file of Kafka's; of two settings with one name the last counts.
pub(super) fn text_of(lines: Vec<(String, String)>) -> String {
    let settings: BTreeMap<String, String> = lines.into_iter().collect();
    let mut text = String::new();
    for (name, value) in settings {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}={value}");
    }
    text
}

/// Where every listener is.
#[derive(Debug, Default)]
pub(super) struct Places {
    brokers: BTreeMap<i32, Place>,
    controllers: BTreeMap<i32, Place>,
}

impl Places {
    /// One more broker.
    pub(super) fn add_broker(&mut self, id: i32, place: Place) {
        self.brokers.insert(id, place);
    }

    /// Where clients reach a node; `None` where it is no broker.
    pub(super) fn broker(&self, id: i32) -> Result<Option<String>> {
        let known = self.brokers.contains_key(&id) || self.controllers.contains_key(&id);
        known.then_some(()).context("no such node")?;
        Ok(self.brokers.get(&id).map(|place| place.advertised.clone()))
    }
}
