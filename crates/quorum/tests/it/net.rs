//! Quorums in one process: nodes with directories of their own, and a network between them that can be told to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_base::{NodeId, Uuid};
use millstream_env::clock::SystemClock;
use millstream_env::fs::{Fs, OsFs};
use millstream_metadata::decide::Decision;
use millstream_metadata::{ClusterImage, MetadataRecord};
use millstream_quorum::{
    Call, CommitError, Executor, OpenError, Options, Peer, Quorum, Timing, Transport,
    TransportError, Voter,
};
use millstream_wire::stored::ConfigRecord;
use parking_lot::Mutex;

use crate::fault_fs::FaultFs;

/// What goes wrong on the way.
#[derive(Clone, Default)]
pub struct Weather {
    /// Messages from the first to the second are lost.
    pub cut: BTreeSet<(i32, i32)>,
    /// Of a hundred messages so many are lost, in each direction.
    pub lost: u64,
    /// Of a hundred messages so many arrive twice.
    pub doubled: u64,
    /// Each is so late at most; later ones overtake it.
    pub late: Duration,
}

/// The network: who is there, and what goes wrong.
pub struct Net {
    nodes: Mutex<BTreeMap<i32, Quorum>>,
    /// Where they listen.
    places: Mutex<BTreeMap<i32, (String, u16)>>,
    pub weather: Mutex<Weather>,
    random: Mutex<u64>,
    /// Some of the messages that went by.
    pub heard: Mutex<Vec<Bytes>>,
}

impl Net {
    fn draw(&self) -> u64 {
        let mut state = self.random.lock();
        *state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    async fn pass(&self, from: i32, to: i32) -> bool {
        let weather = self.weather.lock().clone();
        if !weather.late.is_zero() {
            let most = u64::try_from(weather.late.as_micros()).unwrap();
            tokio::time::sleep(Duration::from_micros(self.draw() % most)).await;
        }
        !weather.cut.contains(&(from, to)) && self.draw() % 100 >= weather.lost
    }
}

struct Side {
    net: Arc<Net>,
    me: i32,
}

impl Transport for Side {
    fn call<'a>(&'a self, to: &'a Peer, request: Bytes, within: Duration) -> Call<'a> {
        let (net, me, place) = (Arc::clone(&self.net), self.me, (to.host.clone(), to.port));
        let to = to.id.get();
        {
            let mut heard = net.heard.lock();
            if heard.len() < 40 {
                heard.push(request.clone());
            }
        }
        Box::pin(async move {
            let work = async {
                if !net.pass(me, to).await {
                    std::future::pending::<()>().await;
                }
                let there = net.places.lock().get(&to) == Some(&place);
                let node = net.nodes.lock().get(&to).filter(|_| there).cloned();
                let Some(node) = node else { return Err(TransportError::Refused) };
                if net.draw() % 100 < net.weather.lock().doubled {
                    let (node, request) = (node.clone(), request.clone());
                    tokio::spawn(async move { node.receive(request).await });
                }
                let answer = tokio::spawn(async move { node.receive(request).await });
                let answer = answer.await.map_err(|e| TransportError::Failed(e.to_string()))?;
                if !net.pass(to, me).await {
                    std::future::pending::<()>().await;
                }
                Ok(answer)
            };
            tokio::time::timeout(within, work).await.unwrap_or(Err(TransportError::Timeout))
        })
    }
}

pub fn peer(id: i32) -> Peer {
    Peer { id: NodeId(id), host: "host".to_owned(), port: 9000 + u16::try_from(id).unwrap() }
}

pub fn voter(id: i32, directory_id: Uuid) -> Voter {
    Voter { peer: peer(id), directory_id }
}

/// Some nodes with their directories.
pub struct Cluster {
    pub net: Arc<Net>,
    pub voters: Vec<i32>,
    pub directories: BTreeMap<i32, (tempfile::TempDir, Uuid)>,
    pub snapshot_after_bytes: u64,
    pub timing: Timing,
    /// The disks of those that do not use the machine's.
    pub disks: BTreeMap<i32, Arc<dyn Fs>>,
    pub executor: Executor,
    pub seed: u64,
}

impl Cluster {
    pub fn new(voters: &[i32], seed: u64) -> Self {
        let net = Net {
            nodes: Mutex::default(),
            places: Mutex::default(),
            weather: Mutex::default(),
            random: Mutex::new(seed),
            heard: Mutex::default(),
        };
        Self {
            net: Arc::new(net),
            voters: voters.to_vec(),
            directories: BTreeMap::new(),
            snapshot_after_bytes: 1 << 30,
            timing: Timing::of_election_timeout(Duration::from_millis(600)),
            disks: BTreeMap::new(),
            executor: Executor::blocking(),
            seed,
        }
    }

    /// Every node with a disk in memory, and all work done where it is asked for: for simulated time.
    pub fn in_memory(voters: &[i32], seed: u64) -> Self {
        let mut cluster = Self::new(voters, seed);
        cluster.executor = Executor::inline();
        for id in voters {
            cluster.disks.insert(*id, FaultFs::new());
        }
        cluster
    }

    pub fn options(&mut self, id: i32) -> Options {
        let (directory, uuid) = self.directories.entry(id).or_insert_with(|| {
            let mut bytes = [u8::try_from(id).unwrap(); 16];
            bytes[15] = 1;
            (tempfile::tempdir().unwrap(), Uuid::from_random(bytes))
        });
        Options {
            data_dir: PathBuf::from(directory.path()),
            node_id: NodeId(id),
            directory_id: *uuid,
            address: Some((peer(id).host, peer(id).port)),
            voters: self.voters.iter().map(|id| voter(*id, Uuid::ZERO)).collect(),
            is_voter: true,
            cluster_id: None,
            proposed_cluster_id: Some(format!("cluster-of-{id}")),
            features: vec![("metadata.version".into(), 25)],
            snapshot_after_bytes: self.snapshot_after_bytes,
            timing: self.timing,
            seed: self.seed,
        }
    }

    pub fn start_with(&self, options: &Options) -> Result<Quorum, OpenError> {
        let id = options.node_id.get();
        let fs = self.disks.get(&id).map_or_else(OsFs::shared, Arc::clone);
        let quorum = Quorum::open(fs, SystemClock::new(), self.executor.clone(), options)?;
        self.net.places.lock().extend(options.address.clone().map(|place| (id, place)));
        self.net.nodes.lock().insert(id, quorum.clone());
        quorum.start(Arc::new(Side { net: Arc::clone(&self.net), me: id }));
        Ok(quorum)
    }

    pub fn start(&mut self, id: i32) -> Quorum {
        let options = self.options(id);
        self.start_with(&options).unwrap()
    }

    pub fn start_all(&mut self) -> Vec<Quorum> {
        self.voters.clone().into_iter().map(|id| self.start(id)).collect()
    }

    /// As kill -9 does.
    pub fn kill(&self, id: i32) {
        if let Some(node) = self.net.nodes.lock().remove(&id) {
            node.abandon();
        }
    }

    /// As a controlled stop does.
    pub async fn stop(&self, id: i32) {
        self.node(id).close().await;
        self.net.nodes.lock().remove(&id);
    }

    pub fn node(&self, id: i32) -> Quorum {
        self.net.nodes.lock().get(&id).cloned().unwrap()
    }

    pub fn is_alive(&self, id: i32) -> bool {
        self.net.nodes.lock().contains_key(&id)
    }

    pub fn alive(&self) -> Vec<Quorum> {
        self.net.nodes.lock().values().cloned().collect()
    }

    /// Waits for the active controller among those that live.
    pub async fn leader(&self) -> (i32, Quorum) {
        wait("a leader", || {
            let nodes: Vec<(i32, Quorum)> =
                self.net.nodes.lock().iter().map(|(id, node)| (*id, node.clone())).collect();
            nodes.into_iter().find(|(_, node)| node.leadership().borrow().is_me)
        })
        .await
    }

    /// Sets a value through whoever leads, asking again as long as it takes. The value may have been set even where an attempt
    /// failed.
    pub async fn set(&self, name: &str, value: &str) {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            let (_, leader) = self.leader().await;
            match tokio::time::timeout(Duration::from_secs(5), set(&leader, name, value)).await {
                Ok(Ok(())) => return,
                Ok(Err(CommitError::NotController { .. } | CommitError::Closed)) | Err(_) => {}
                Ok(Err(error)) => panic!("{error}"),
            }
            assert!(std::time::Instant::now() < deadline, "nobody took {name}={value}");
        }
    }

    /// Waits until all that live have the same image at the same offset.
    pub async fn agree(&self) {
        wait("the nodes to agree", || {
            let nodes = self.alive();
            let first = nodes.first()?;
            let same =
                |node: &Quorum| node.applied() == first.applied() && node.image() == first.image();
            nodes.iter().all(same).then_some(())
        })
        .await;
    }
}

/// One setting of the cluster, set.
pub async fn set(quorum: &Quorum, name: &str, value: &str) -> Result<(), CommitError> {
    let record = ConfigRecord {
        resource_type: 4,
        resource_name: String::new().into(),
        name: name.to_owned().into(),
        value: Some(value.to_owned().into()),
    };
    let records = vec![MetadataRecord::Config(record)];
    quorum.execute(move |_: &ClusterImage, _| Ok(Decision { records, reply: () })).await
}

/// What a setting of the cluster is.
pub fn get(quorum: &Quorum, name: &str) -> Option<String> {
    let resource = millstream_metadata::ConfigResource::default_broker();
    let settings = quorum.image().configs.of(&resource);
    settings.get(name).map(ToString::to_string)
}

pub async fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
