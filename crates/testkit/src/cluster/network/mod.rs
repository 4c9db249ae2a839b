//! What lies between the nodes of a cluster. Key types: [`Network`], [`Net`].
//!
//! On [`Network::Loopback`] nothing can be cut. With [`Network::Namespaces`] every node has a network of its own and
//! an address of its own on a bridge; a direction is cut by telling the sender a hardware address that nobody has, so
//! that packets vanish without a word, as they do when a cable is pulled. That needs the rights of an administrator;
//! [`Network::Proxies`] does without.

mod proxy;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};
use proxy::Proxies;

/// A hardware address that nobody has.
const NOBODY: &str = "02:00:00:00:00:01";
/// The last number of the address of the machine itself, where clients are.
const CLIENTS: i32 = 254;
/// Names are `ms<process>x<number>...`; a process that died leaves them, and the next one removes them.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What lies between the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// 127.0.0.1, free ports.
    Loopback,
    /// A network namespace for each node.
    Namespaces,
    /// A proxy before each listener, which holds back what goes over a cut link.
    Proxies,
}

impl Network {
    /// The one that can be cut on this machine and is closest to a real one.
    pub fn to_cut() -> Self {
        if can_make_networks() { Self::Namespaces } else { Self::Proxies }
    }
}

/// A listener: where it listens, and where others find it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) listens: String,
    pub(super) advertised: String,
}

/// The network of one cluster; what was made goes with the value.
#[derive(Debug)]
pub(super) struct Net {
    /// Beginning of all names; none on loopback.
    name: Option<String>,
    subnet: String,
    ids: Vec<i32>,
    /// From, to.
    cuts: BTreeSet<(i32, i32)>,
    proxies: Option<Proxies>,
}

impl Net {
    pub(super) fn new(network: Network, ids: &[i32]) -> Result<Self> {
        let mut net = Self {
            name: None,
            subnet: String::new(),
            ids: ids.to_vec(),
            cuts: BTreeSet::new(),
            proxies: (network == Network::Proxies).then(Proxies::default),
        };
        if network == Network::Namespaces {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let process = std::process::id();
            remove_stale();
            net.name = Some(format!("ms{process}x{number}"));
            // Two clusters of one machine rarely meet: 60,000 subnets.
            let place = process.wrapping_mul(7).wrapping_add(number);
            net.subnet = format!("10.{}.{}", 10 + place / 250 % 240, 1 + place % 250);
            net.build()?;
        }
        Ok(net)
    }

    fn build(&self) -> Result<()> {
        let bridge = self.bridge()?;
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        ip(&["addr", "add", &format!("{}.{CLIENTS}/24", self.subnet), "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for &id in &self.ids {
            let space = self.space(id)?;
            let (outer, address) = (format!("{bridge}-{id}"), format!("{}.{id}/24", self.subnet));
            ip(&["netns", "add", &space])?;
            ip(&["link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", &space])?;
            ip(&["link", "set", &outer, "master", &bridge, "up"])?;
            ip(&["-n", &space, "addr", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
            ip(&["-n", &space, "link", "set", "eth0", "up"])?;
        }
        Ok(())
    }

    /// Short enough for a device with a node's id behind it.
    fn bridge(&self) -> Result<String> {
        self.name.clone().context("a network that can be cut is needed: Network::to_cut()")
    }

    fn space(&self, id: i32) -> Result<String> {
        Ok(format!("{}n{id}", self.bridge()?))
    }

    /// A place for a listener of a node.
    pub(super) fn place(&mut self, id: i32) -> Result<Place> {
        // In a network of its own every port is free; those of the machine are as good as any.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let host = match self.name {
            None => "127.0.0.1".to_owned(),
            Some(_) => format!("{}.{id}", self.subnet),
        };
        let listens = format!("{host}:{port}");
        let advertised = match &mut self.proxies {
            Some(proxies) => proxies.before(id, &listens)?,
            None => listens.clone(),
        };
        Ok(Place { listens, advertised })
    }

    /// Says which process a node has now.
    pub(super) fn process(&self, id: i32, pid: u32) {
        if let Some(proxies) = &self.proxies {
            proxies.process(id, pid);
        }
    }

    /// What a node's process is started under.
    pub(super) fn prefix(&self, id: i32) -> Vec<OsString> {
        let Ok(space) = self.space(id) else { return Vec::new() };
        ["ip", "netns", "exec", &space].map(OsString::from).to_vec()
    }

    pub(super) fn cut(&mut self, from: i32, to: i32) -> Result<()> {
        if let Some(proxies) = &self.proxies {
            proxies.cut(from, to);
            return Ok(());
        }
        let target = format!("{}.{to}", self.subnet);
        let space = self.space(from)?;
        ip(&[
            "-n",
            &space,
            "neigh",
            "replace",
            &target,
            "lladdr",
            NOBODY,
            "dev",
            "eth0",
            "nud",
            "permanent",
        ])?;
        self.cuts.insert((from, to));
        Ok(())
    }

    pub(super) fn cut_from_clients(&mut self, id: i32) -> Result<()> {
        self.cut(id, CLIENTS)
    }

    pub(super) fn heal(&mut self) -> Result<()> {
        if let Some(proxies) = &self.proxies {
            proxies.heal();
        }
        for (from, to) in std::mem::take(&mut self.cuts) {
            let target = format!("{}.{to}", self.subnet);
            ip(&["-n", &self.space(from)?, "neigh", "del", &target, "dev", "eth0"])?;
        }
        Ok(())
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let Some(bridge) = &self.name else { return };
        for id in &self.ids {
            drop(ip(&["netns", "del", &format!("{bridge}n{id}")]));
        }
        drop(ip(&["link", "del", bridge]));
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(args).stdin(Stdio::null());
    let output = command.output().context("ip (of the package iproute2)")?;
    if !output.status.success() {
        bail!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Whether this machine lets a test make networks.
fn can_make_networks() -> bool {
    Net::new(Network::Namespaces, &[1]).is_ok()
}

/// Removes what tests left that were killed.
fn remove_stale() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for space in names {
        let Some((process, rest)) = space.strip_prefix("ms").and_then(|n| n.split_once('x')) else {
            continue;
        };
        let Some((number, _)) = rest.split_once('n') else { continue };
        let is_ours = process.parse::<u32>().is_ok() && number.parse::<u32>().is_ok();
        if is_ours && !std::path::Path::new("/proc").join(process).exists() {
            drop(ip(&["netns", "del", &space]));
            drop(ip(&["link", "del", &format!("ms{process}x{number}")]));
        }
    }
}
