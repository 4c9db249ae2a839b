//! The bare loops: what this machine can do at all with a socket, a checksum and a file.
//!
//! One thread is measured by its own CPU clock while another one feeds or drains it.

use crate::Plan;
use crate::figure::{Figure, Report, median};
use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::time::Instant;

const CHUNK: usize = 1 << 20;
const FILE_BYTES: u64 = 256 << 20;

/// CPU seconds a GB of each loop, the median of its runs.
#[derive(Clone, Copy, Debug)]
pub struct Yardsticks {
    /// Receive into one buffer, CRC32C, and append to a file whose pages are backed.
    pub receive_crc_append: f64,
    /// `sendfile` of hot pages to a loopback socket.
    pub sendfile: f64,
}

/// What a loop does with each chunk that it received.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Nothing,
    Crc,
    CrcOverwrite,
    CrcAppend,
}

/// Runs every loop and shows it.
pub fn measure(plan: &Plan, report: &mut Report) -> Result<Yardsticks> {
    report.heading("Bare loops, one thread, loopback");
    let total = plan.bytes;
    let mut run = |name: &str, one: &mut dyn FnMut() -> Result<(f64, f64)>| -> Result<f64> {
        let mut cpu = Vec::new();
        let mut rate = Vec::new();
        for _ in 0..plan.runs {
            let (seconds_per_gb, gb_per_s) = one()?;
            cpu.push(seconds_per_gb);
            rate.push(gb_per_s);
        }
        let middle = median(&cpu);
        report.add(&Figure::lower(format!("{name}, CPU"), "s a GB", cpu));
        report.add(&Figure::higher(format!("{name}, rate"), "GB/s", rate));
        Ok(middle)
    };
    let folder = tempfile::tempdir_in(&plan.data_dir)?;
    let path = folder.path().join("pages");
    let backed = backed_file(&path)?;
    run("receive into 1 MiB", &mut || receiving(total, Then::Nothing, None))?;
    run("receive, CRC32C", &mut || receiving(total, Then::Crc, None))?;
    let receive_crc_append = run("receive, CRC32C, append, pages backed", &mut || {
        receiving(total, Then::CrcOverwrite, Some(&backed))
    })?;
    run("receive, CRC32C, append, new pages", &mut || {
        let new = folder.path().join("new");
        let outcome = receiving(total, Then::CrcAppend, Some(&File::create(&new)?));
        std::fs::remove_file(&new)?;
        outcome
    })?;
    let sendfile = run("sendfile of hot pages", &mut || sending(total, &File::open(&path)?))?;
    Ok(Yardsticks { receive_crc_append, sendfile })
}

/// A file whose pages are all in the page cache.
fn backed_file(path: &std::path::Path) -> Result<File> {
    let mut file = File::options().create(true).truncate(true).read(true).write(true).open(path)?;
    let chunk = noise();
    for _ in 0..FILE_BYTES / CHUNK as u64 {
        file.write_all(&chunk)?;
    }
    Ok(file)
}

/// A chunk that does not compress.
fn noise() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chunk = Vec::with_capacity(CHUNK);
    while chunk.len() < CHUNK {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.extend_from_slice(&state.to_le_bytes());
    }
    chunk
}

fn thread_cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    Ok((near, far))
}

/// CPU seconds a GB and GB/s of the receiving thread.
fn receiving(total: u64, then: Then, file: Option<&File>) -> Result<(f64, f64)> {
    let (mut near, mut far) = pair()?;
    let feeder = std::thread::spawn(move || -> Result<()> {
        let chunk = noise();
        for _ in 0..total / CHUNK as u64 {
            near.write_all(&chunk)?;
        }
        Ok(())
    });
    let mut buffer = vec![0; CHUNK];
    let (mut received, mut sum) = (0_u64, 0_u32);
    let (wall, cpu) = (Instant::now(), thread_cpu());
    loop {
        let count = far.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        let chunk = buffer.get(..count).context("within the buffer")?;
        if then != Then::Nothing {
            sum ^= crc32c::crc32c(chunk);
        }
        match (then, file) {
            (Then::CrcOverwrite, Some(file)) => {
                let at = received % (FILE_BYTES - CHUNK as u64);
                file.write_all_at(chunk, at)?;
            }
            (Then::CrcAppend, Some(file)) => file.write_all_at(chunk, received)?,
            _ => {}
        }
        received += count as u64;
    }
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), thread_cpu() - cpu);
    std::hint::black_box(sum);
    feeder.join().map_err(|_| anyhow::anyhow!("the feeding thread"))??;
    let gb = received as f64 / 1e9;
    Ok((cpu / gb, gb / wall))
}

/// CPU seconds a GB and GB/s of the sending thread.
fn sending(total: u64, file: &File) -> Result<(f64, f64)> {
    let (near, mut far) = pair()?;
    let drain = std::thread::spawn(move || -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        while far.read(&mut buffer)? > 0 {}
        Ok(())
    });
    let mut sent = 0_u64;
    let (wall, cpu) = (Instant::now(), thread_cpu());
    while sent < total {
        let mut at = sent % FILE_BYTES;
        let wanted = (FILE_BYTES - at).min(CHUNK as u64);
        sent += rustix::fs::sendfile(&near, file, Some(&mut at), usize::try_from(wanted)?)? as u64;
    }
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), thread_cpu() - cpu);
    drop(near);
    drain.join().map_err(|_| anyhow::anyhow!("the draining thread"))??;
    let gb = sent as f64 / 1e9;
    Ok((cpu / gb, gb / wall))
}
