//! The folder of a local cluster: one folder a node, with its settings, its data, its log and its process id.
//!
//! Key type: [`Folder`]. Settings are written once; what stands in the files counts from then on, so that they can be edited.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use millstream_config::ServerProperties;
use millstream_env::fs::OsFs;

use crate::failure::Failure;

/// The largest settings file that is read.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// A folder with nodes in it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

/// How to lay out nodes that are not there yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// How many nodes there are to be.
    pub(super) nodes: u16,
    /// The port of the first; each has two.
    pub(super) base_port: u16,
}

/// A node of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NodeFiles {
    pub(super) id: u16,
    /// `HOST:PORT` of its listener for clients.
    pub(super) address: String,
    pub(super) home: PathBuf,
}

impl NodeFiles {
    pub(super) fn settings(&self) -> PathBuf {
        self.home.join("server.properties")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    pub(super) fn pid(&self) -> PathBuf {
        self.home.join("pid")
    }
}

impl Layout {
    /// Of three nodes or more, three vote; of fewer one does: two voters are no safer than one.
    fn voters(self) -> u16 {
        if self.nodes >= 3 { 3 } else { 1 }
    }

    fn ports(self, id: u16) -> Option<(u16, u16)> {
        let client = self.base_port.checked_add(id.checked_sub(1)?.checked_mul(2)?)?;
        Some((client, client.checked_add(1)?))
    }

    /// The settings of node `id`. `voters` is what other nodes name, if there are any.
    fn properties(self, id: u16, data: &Path, voters: Option<&str>) -> Option<String> {
        let (client, controller) = self.ports(id)?;
        let voters = match voters {
            Some(voters) => voters.to_owned(),
            None => (1..=self.voters())
                .map(|id| Some(format!("{id}@127.0.0.1:{}", self.ports(id)?.1)))
                .collect::<Option<Vec<_>>>()?
                .join(","),
        };
        let votes = voters.split(',').any(|voter| voter.split('@').next() == Some(&id.to_string()));
        let (roles, own) = match votes {
            true => ("broker,controller", format!(",CONTROLLER://127.0.0.1:{controller}")),
            false => ("broker", String::new()),
        };
        let copies = self.nodes.min(3);
        Some(format!(
            "# Node {id} of a local cluster. Settings are Kafka's; edits count from the next start on.\n\
             node.id={id}\n\
             process.roles={roles}\n\
             listeners=PLAINTEXT://127.0.0.1:{client}{own}\n\
             controller.listener.names=CONTROLLER\n\
             controller.quorum.voters={voters}\n\
             log.dirs={data}\n\
             \n\
             # Topics survive the loss of a node.\n\
             default.replication.factor={copies}\n\
             min.insync.replicas={in_sync}\n\
             offsets.topic.replication.factor={copies}\n\
             transaction.state.log.replication.factor={copies}\n\
             transaction.state.log.min.isr={in_sync}\n",
            data = data.display(),
            in_sync = if copies >= 3 { 2 } else { 1 },
        ))
    }
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn home(&self, id: u16) -> PathBuf {
        self.path.join(format!("node{id}"))
    }

    /// The nodes that are there.
    pub(super) fn existing(&self) -> Result<BTreeMap<u16, NodeFiles>, Failure> {
        let mut found = BTreeMap::new();
        for id in 1..=u16::MAX {
            let home = self.home(id);
            if OsFs::shared().entry(&home.join("server.properties"))?.is_none() {
                break;
            }
            found.insert(id, self.read(id)?);
        }
        Ok(found)
    }

    fn read(&self, id: u16) -> Result<NodeFiles, Failure> {
        let home = self.home(id);
        let properties = read_properties(&home.join("server.properties"))?;
        let listeners = properties.get("listeners").unwrap_or_default();
        let mut addresses =
            listeners.split(',').filter_map(|listener| listener.trim().split_once("://"));
        let first = addresses.find(|(name, _)| !name.eq_ignore_ascii_case("CONTROLLER"));
        let Some((_, address)) = first else {
            let file = home.join("server.properties");
            return Err(Failure::failed(format!("{} has no listener for clients", file.display())));
        };
        Ok(NodeFiles { id, address: address.to_owned(), home })
    }

    /// Makes the nodes that `layout` has and the folder lacks; returns all.
    pub(super) fn complete(&self, layout: Layout) -> Result<Vec<NodeFiles>, Failure> {
        let mut nodes = self.existing()?;
        let voters = match nodes.get(&1) {
            Some(first) => {
                let properties = read_properties(&first.settings())?;
                properties.get("controller.quorum.voters").map(str::to_owned)
            }
            None => None,
        };
        for id in 1..=layout.nodes {
            if nodes.contains_key(&id) {
                continue;
            }
            let home = self.home(id);
            OsFs::shared().create_dir_all(&home)?;
            let data = home.join("data");
            let text = layout.properties(id, &data, voters.as_deref()).ok_or_else(|| {
                Failure::usage(format!(
                    "ports above 65535 would be needed for {} nodes",
                    layout.nodes
                ))
                .hint("choose a lower --base-port")
            })?;
            OsFs::shared().write_atomically(&home.join("server.properties"), text.as_bytes())?;
            nodes.insert(id, self.read(id)?);
        }
        Ok(nodes.into_values().collect())
    }
}

fn read_properties(path: &Path) -> Result<ServerProperties, Failure> {
    let shown = path.display();
    let bytes = OsFs::shared().read(path, MAX_CONFIG_BYTES)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::failed(format!("{shown} is not a text in UTF-8")))?;
    ServerProperties::parse(&text).map_err(|error| Failure::failed(format!("{shown}: {error}")))
}

#[cfg(test)]
mod tests {
    use millstream_config::{BrokerConfig, Formation};

    use super::*;

    fn config(node: &NodeFiles) -> BrokerConfig {
        BrokerConfig::load(&read_properties(&node.settings()).unwrap()).unwrap()
    }

    #[test]
    fn three_nodes_vote_and_a_fourth_follows() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let three = folder.complete(Layout { nodes: 3, base_port: 9092 }).unwrap();
        assert_eq!(three.len(), 3);
        assert_eq!(three[2].address, "127.0.0.1:9096");
        for node in &three {
            let config = config(node);
            assert_eq!(config.formation, Formation::Voters);
            assert!(config.is_voter() && config.notices().is_empty());
            assert_eq!(config.node.default_replication_factor, 3);
        }
        // Another layout makes only what is missing.
        let four = folder.complete(Layout { nodes: 4, base_port: 9092 }).unwrap();
        assert_eq!(four[..3], three[..]);
        let config = config(&four[3]);
        assert!(!config.roles.controller && config.voters.len() == 3);
        assert_eq!(folder.existing().unwrap().len(), 4);
    }

    #[test]
    fn one_or_two_nodes_have_one_voter() {
        let dir = tempfile::tempdir().unwrap();
        let two = Folder::new(dir.path()).complete(Layout { nodes: 2, base_port: 1000 }).unwrap();
        assert!(config(&two[0]).roles.controller);
        assert!(!config(&two[1]).roles.controller);
        let high = Layout { nodes: 3, base_port: 65_533 };
        let dir = tempfile::tempdir().unwrap();
        assert!(Folder::new(dir.path()).complete(high).is_err());
    }
}
