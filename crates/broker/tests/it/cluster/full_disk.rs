//! A node whose disk is full: others that are in sync lead on, and it comes back when there is room.
//!
//! Key type: [`FullFs`], a file system on which a topic's files take no more bytes while it is told so.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use millstream_base::ErrorCode;
use millstream_env::fs::{DirEntry, File, FileLock, Fs, OpenMode, OsFs, Residency};

use super::support::{Node, Plan, Role};
use crate::support::batch::batch;
use crate::support::client::{Topic, code};
use crate::support::eventually;

/// The system's files, those of one topic on a disk that can be full.
#[derive(Debug)]
struct FullFs {
    system: Arc<dyn Fs>,
    topic: &'static str,
    full: Arc<AtomicBool>,
}

/// A file of the topic.
#[derive(Debug)]
struct FullFile {
    file: Arc<dyn File>,
    full: Arc<AtomicBool>,
}

impl FullFile {
    fn room(&self) -> io::Result<()> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl File for FullFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buf, position)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        self.room().and_then(|()| self.file.write_at(buf, position))
    }

    fn write_vectored_at(&self, bufs: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.room().and_then(|()| self.file.write_vectored_at(bufs, position))
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.file.truncate(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn cached(&self, position: u64, len: u64) -> Residency {
        self.file.cached(position, len)
    }

    fn prefetch(&self, position: u64, len: u64) {
        self.file.prefetch(position, len);
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.descriptor()
    }
}

impl Fs for FullFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.system.open(path, mode)?;
        let dir = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let is_probe = path.ends_with("room.probe");
        match is_probe || dir.is_some_and(|dir| dir.starts_with(self.topic)) {
            true => Ok(Arc::new(FullFile { file, full: Arc::clone(&self.full) })),
            false => Ok(file),
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.system.create_dir_all(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.system.create_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.system.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.system.remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.system.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.system.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.system.list(path)
    }

    fn entry(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        self.system.entry(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        self.system.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.system.free_bytes(path)
    }

    fn total_bytes(&self, path: &Path) -> io::Result<u64> {
        self.system.total_bytes(path)
    }
}

#[test]
fn a_leader_without_room_lets_others_lead_until_there_is_room_again() {
    let plan = Plan::new(&[Role::Combined, Role::Combined, Role::Combined])
        .set("replica.fetch.backoff.ms", "100")
        .set("leader.imbalance.check.interval.seconds", "1");
    let full = Arc::new(AtomicBool::new(false));
    let fs: Arc<dyn Fs> =
        Arc::new(FullFs { system: OsFs::shared(), topic: "bulk", full: Arc::clone(&full) });
    let nodes = plan.start_with(&[1, 2, 3], 1, &fs);
    plan.create_topic(1, "bulk", 3, 3);
    let id = plan.topic(1, "bulk").topic_id;
    let topic = Topic { name: "bulk".into(), id };
    let led = || plan.topic(2, "bulk").partitions.into_iter().find(|it| it.leader_id == 1);
    let at = led().unwrap().partition_index;
    let state = || {
        let partitions = plan.topic(2, "bulk").partitions;
        partitions.into_iter().find(|it| it.partition_index == at).unwrap()
    };
    let started = Instant::now();
    let mut sent = Vec::new();
    let mut send = |what: &str| {
        let value = format!("{what}-{}", sent.len());
        eventually("somebody takes the record", || {
            let leader = state().leader_id;
            if leader < 1 {
                return None;
            }
            let answer = plan.client(leader).try_produce(&topic, at, -1, batch(&[&value]));
            let code = code(answer.error_code);
            println!("{:?} {code:?} of {leader}", started.elapsed());
            let again = [ErrorCode::KafkaStorageError, ErrorCode::NotLeaderOrFollower];
            assert!(code == ErrorCode::None || again.contains(&code), "{code:?}");
            (code == ErrorCode::None).then_some(())
        });
        sent.push(value);
    };
    send("before");
    full.store(true, Ordering::SeqCst);
    let began = Instant::now();
    send("meanwhile");
    println!("a record was taken {:?} after the leader's disk was full", began.elapsed());
    send("meanwhile");
    let now = state();
    assert!(now.leader_id != 1 && !now.isr_nodes.contains(&1), "{now:?}");
    full.store(false, Ordering::SeqCst);
    eventually("node 1 is in sync and leads again", || {
        let now = state();
        (now.leader_id == 1 && now.isr_nodes.len() == 3).then_some(())
    });
    send("after");
    assert_eq!(plan.client(1).read_values(&topic, at), sent);
    nodes.into_iter().for_each(Node::end);
}
