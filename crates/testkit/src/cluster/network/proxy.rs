//! Proxies in front of the listeners, for machines where tests may not make networks.
//!
//! Key type: [`Proxies`]. A proxy finds out who connects by looking up which process holds the other end, and so
//! knows each link and direction. What goes over a cut one is held back, as a network that loses packets does until
//! it is healed; connections stay open. It never looks into what it carries.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::CLIENTS;

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Node ids to processes, and the directions that are cut.
#[derive(Debug, Default)]
struct Shared {
    processes: BTreeMap<i32, u32>,
    cuts: BTreeSet<(i32, i32)>,
    is_over: bool,
}

/// The proxies of one cluster; they end with the value.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    shared: Arc<Mutex<Shared>>,
    addresses: Vec<SocketAddr>,
}

impl Proxies {
    /// Puts a proxy before a listener of a node; where it is reached.
    pub(super) fn before(&mut self, node: i32, listener: &str) -> Result<String> {
        let entrance = TcpListener::bind("127.0.0.1:0")?;
        let address = entrance.local_addr()?;
        let (shared, listener) = (self.shared.clone(), listener.to_owned());
        thread::spawn(move || serve(&entrance, node, &listener, &shared));
        self.addresses.push(address);
        Ok(address.to_string())
    }

    pub(super) fn process(&self, node: i32, pid: u32) {
        lock(&self.shared).processes.insert(node, pid);
    }

    pub(super) fn cut(&self, from: i32, to: i32) {
        lock(&self.shared).cuts.insert((from, to));
    }

    pub(super) fn heal(&self) {
        lock(&self.shared).cuts.clear();
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        lock(&self.shared).is_over = true;
        for address in &self.addresses {
            // Wakes the one that waits for a connection.
            drop(TcpStream::connect(address));
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(entrance: &TcpListener, node: i32, listener: &str, shared: &Arc<Mutex<Shared>>) {
    while let Ok((near, peer)) = entrance.accept() {
        if lock(shared).is_over {
            return;
        }
        let (listener, shared) = (listener.to_owned(), shared.clone());
        thread::spawn(move || {
            let from = who(peer.port(), &lock(&shared).processes).unwrap_or(CLIENTS);
            wait_while_cut(&shared, from, node);
            // Where nobody listens the caller is told so, by the end of its connection.
            let Ok(far) = TcpStream::connect(listener) else { return };
            drop(near.set_nodelay(true));
            drop(far.set_nodelay(true));
            let (Ok(back_near), Ok(back_far)) = (near.try_clone(), far.try_clone()) else { return };
            let other = shared.clone();
            thread::spawn(move || carry(back_far, back_near, &other, node, from));
            carry(near, far, &shared, from, node);
        });
    }
}

fn wait_while_cut(shared: &Mutex<Shared>, from: i32, to: i32) {
    loop {
        let now = lock(shared);
        if now.is_over || !now.cuts.contains(&(from, to)) {
            return;
        }
        drop(now);
        thread::sleep(LOOK_EVERY);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, shared: &Mutex<Shared>, source: i32, target: i32) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        wait_while_cut(shared, source, target);
        let chunk = buffer.get(..count).unwrap_or_default();
        if count == 0 || to.write_all(chunk).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Write));
    drop(from.shutdown(Shutdown::Read));
}

/// The node whose process has a connection with this port on its side.
fn who(port: u16, processes: &BTreeMap<i32, u32>) -> Option<i32> {
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let local = format!(":{port:04X}");
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| line.get(1).is_some_and(|place| place.ends_with(&local)))?;
    let socket = format!("socket:[{}]", line.get(9)?);
    let holds = |pid: &u32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files
            .filter_map(|file| std::fs::read_link(file.path()).ok())
            .any(|target| target.as_os_str() == socket.as_str())
    };
    processes.iter().find(|(_, pid)| holds(pid)).map(|(&node, _)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECHO: i32 = 1;
    const OURSELVES: i32 = 2;

    /// What comes back within a moment.
    fn heard(stream: &mut TcpStream) -> String {
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut buffer = [0; 10];
        let count = stream.read(&mut buffer).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn a_cut_holds_back_one_direction_until_it_is_healed() {
        let echo = TcpListener::bind("127.0.0.1:0").unwrap();
        let listener = echo.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in echo.incoming() {
                let mut stream = stream.unwrap();
                let mut buffer = [0; 10];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..count]).unwrap();
                }
            }
        });
        let mut proxies = Proxies::default();
        let address = proxies.before(ECHO, &listener).unwrap();
        // This process is known as a node, so the proxy knows who connects.
        proxies.process(OURSELVES, std::process::id());
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"one").unwrap();
        assert_eq!(heard(&mut stream), "one");
        for (from, to) in [(OURSELVES, ECHO), (ECHO, OURSELVES)] {
            proxies.cut(from, to);
            stream.write_all(b"two").unwrap();
            assert_eq!(heard(&mut stream), "", "{from} to {to} is cut");
            proxies.heal();
            assert_eq!(heard(&mut stream), "two");
        }
        proxies.cut(3, ECHO);
        stream.write_all(b"three").unwrap();
        assert_eq!(heard(&mut stream), "three", "another link is cut");
    }
}
