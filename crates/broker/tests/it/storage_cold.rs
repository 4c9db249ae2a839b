//! A disk that is slow for what is not in memory: whoever reads that waits, and nobody else.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millstream_config::BrokerConfig;
use millstream_env::fs::{DirEntry, File, FileLock, Fs, OpenMode, OsFs, Residency, may_wait};

use crate::support::batch::{batch, big};
use crate::support::broker::{properties, runtime};
use crate::support::client::{Client, bytes, fetch, only};

/// How long each cold read takes.
const SLOW: Duration = Duration::from_millis(40);

/// Counts and slows reads of segments while `cold` is set.
#[derive(Debug, Default)]
struct Disk {
    cold: AtomicBool,
    slow_reads: AtomicUsize,
}

#[derive(Debug)]
struct SlowFs(Arc<dyn Fs>, Arc<Disk>);

#[derive(Debug)]
struct SlowFile(Arc<dyn File>, Arc<Disk>);

impl SlowFile {
    fn is_cold(&self) -> bool {
        self.1.cold.load(Ordering::Relaxed)
    }
}

impl File for SlowFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        if self.is_cold() {
            if !may_wait() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.1.slow_reads.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(SLOW);
        }
        self.0.read_at(buf, position)
    }
    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        self.0.write_at(buf, position)
    }
    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.0.write_vectored_at(bufs, position)
    }
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.truncate(size)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn cached(&self, position: u64, len: u64) -> Residency {
        if self.is_cold() { Residency::NotCached } else { self.0.cached(position, len) }
    }
    fn prefetch(&self, position: u64, len: u64) {
        self.0.prefetch(position, len);
    }
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.0.descriptor()
    }
}

impl Fs for SlowFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.0.open(path, mode)?;
        let is_log = path.extension().is_some_and(|e| e == "log");
        Ok(if is_log { Arc::new(SlowFile(file, Arc::clone(&self.1))) } else { file })
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(path)
    }
    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir_all(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.sync_dir(path)
    }
    fn sync_all(&self, path: &Path) -> io::Result<()> {
        self.0.sync_all(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(path)
    }
    fn entry(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        self.0.entry(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        self.0.lock(path)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }
    fn total_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.total_bytes(path)
    }
}

#[test]
fn cold_readers_wait_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let settings = [("log.index.interval.bytes".to_owned(), "4096".to_owned())];
    let start = || {
        let runtime = runtime();
        let fs: Arc<dyn Fs> = Arc::new(SlowFs(OsFs::shared(), Arc::clone(&disk)));
        let config = BrokerConfig::load(&properties(dir.path(), &settings)).unwrap();
        let running = runtime.block_on(millstream_broker::start_on(config, fs)).unwrap();
        let address = running.listeners()[0].address;
        (runtime, running, address)
    };
    let (rt, running, address) = start();
    let mut client = Client::connect(address);
    let topics = ["cold0", "cold1", "cold2", "cold3"].map(|name| client.create_topic(name, 1, &[]));
    let hot = client.create_topic("hot", 1, &[]);
    for topic in &topics {
        for _ in 0..12 {
            client.produce(topic, 0, big(100_000));
        }
    }
    rt.block_on(running.stop());
    drop(rt);
    // After a restart nothing is known of the bytes: they are looked up, checked and read from the disk.
    let (rt, running, address) = start();
    disk.cold.store(true, Ordering::Relaxed);
    let begin = Instant::now();
    let readers = topics.map(|topic| {
        std::thread::spawn(move || {
            let mut client = Client::connect(address);
            let data = only(client.call(17, &fetch(&topic, &[(0, 0)])));
            (bytes(&data).len(), begin.elapsed())
        })
    });
    let mut other = Client::connect(address);
    let (mut calls, mut longest) = (0, Duration::ZERO);
    while !readers.iter().all(std::thread::JoinHandle::is_finished) {
        let call = Instant::now();
        other.produce(&hot, 0, batch(&["x"]));
        other.api_versions();
        longest = longest.max(call.elapsed());
        calls += 1;
    }
    let read = readers.map(|reader| reader.join().unwrap());
    let slow_reads = disk.slow_reads.load(Ordering::Relaxed);
    println!(
        "{slow_reads} slow reads; cold fetches {read:?}; beside them {calls} calls, the longest {longest:?}"
    );
    assert!(read.iter().all(|(len, took)| *len > 900_000 && *took > SLOW));
    assert!(slow_reads >= 12, "{slow_reads}");
    assert!(calls > 10, "{calls}");
    assert!(longest < SLOW * 3, "{longest:?}");
    disk.cold.store(false, Ordering::Relaxed);
    rt.block_on(running.stop());
}
