//! A small disk of a node's own, which can be filled: a file system in memory, where the machine lets tests mount one.
//!
//! Key type: [`Disk`].

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

const FILLER: &str = "filler";
const BLOCK: [u8; 4096] = [0xee; 4096];

/// A mounted disk; it is unmounted when the value goes.
#[derive(Debug)]
pub(super) struct Disk {
    at: PathBuf,
}

impl Disk {
    /// Mounts one of so many MiB over an empty folder. The filler lies at its top; a node's data belongs into a folder below.
    pub(super) fn mount(at: &Path, mib: u32) -> Result<Self> {
        let size = format!("size={mib}m");
        if !run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], at) {
            bail!("cannot mount a disk of {mib} MiB at {}", at.display());
        }
        Ok(Self { at: at.to_owned() })
    }

    /// Writes until nothing more goes in.
    pub(super) fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.at.join(FILLER))?;
        loop {
            match file.write(&BLOCK) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes back what [`Disk::fill`] wrote.
    pub(super) fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.at.join(FILLER))?)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a process that was just killed may still hold files.
        run("umount", &["-l"], &self.at);
    }
}

fn run(command: &str, args: &[&str], at: &Path) -> bool {
    let mut command = Command::new(command);
    command.args(args).arg(at).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Whether this machine lets a test mount a disk.
pub fn can_limit_disks() -> bool {
    tempfile::tempdir().is_ok_and(|folder| Disk::mount(folder.path(), 1).is_ok())
}
