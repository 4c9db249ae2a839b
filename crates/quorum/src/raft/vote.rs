//! What a voter promised, and how far the log was known to be committed: two small files beside the log.
//!
//! Key functions: [`read_vote`], [`write_vote`]. `quorum-state` is Kafka's file (JSON) and on disk before a promise is
//! given. `quorum-committed` is a hint that may be lost or old: what lies before it is committed for certain.

use std::io;
use std::path::Path;

use millstream_env::fs::{Fs, OpenMode};
use serde::{Deserialize, Serialize};

use super::types::{LogId, Vote, log_id};
use crate::error::OpenError;
use crate::store::io_error;

const VOTE: &str = "quorum-state";
const COMMITTED: &str = "quorum-committed";
const MAX_BYTES: u64 = 1 << 16;

/// Kafka's fields; those that say nothing here keep their default.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default = "nobody")]
    leader_id: i32,
    #[serde(default)]
    leader_epoch: i32,
    #[serde(default = "nobody")]
    voted_id: i32,
    #[serde(default, rename = "data_version")]
    data_version: i16,
}

const fn nobody() -> i32 {
    -1
}

/// The vote on disk.
pub(crate) fn read_vote(fs: &dyn Fs, directory: &Path) -> Result<Option<Vote>, OpenError> {
    let path = directory.join(VOTE);
    let bytes = match fs.read(&path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error("read", &path, e)),
    };
    let file: File = serde_json::from_slice(&bytes).map_err(|e| OpenError::Corrupt {
        path,
        position: 0,
        reason: e.to_string(),
    })?;
    let mut vote = Vote::default();
    vote.leader_id.term = u64::try_from(file.leader_epoch).unwrap_or(0);
    vote.committed = file.leader_id >= 0;
    let known = if vote.committed { file.leader_id } else { file.voted_id };
    vote.leader_id.voted_for = (known >= 0).then_some(known);
    Ok(Some(vote))
}

/// Puts a vote on disk.
pub(crate) fn write_vote(fs: &dyn Fs, directory: &Path, vote: &Vote) -> io::Result<()> {
    let known = vote.leader_id.voted_for.unwrap_or(-1);
    let file = File {
        leader_id: if vote.committed { known } else { -1 },
        leader_epoch: i32::try_from(vote.leader_id.term).map_err(io::Error::other)?,
        voted_id: if vote.committed { -1 } else { known },
        data_version: 1,
    };
    let bytes = serde_json::to_vec(&file)?;
    fs.write_atomically(&directory.join(VOTE), &bytes)
}

/// The last entry that was known to be committed, if the hint is whole.
pub(crate) fn read_committed(fs: &dyn Fs, directory: &Path) -> Option<LogId> {
    let bytes = fs.read(&directory.join(COMMITTED), MAX_BYTES).ok()?;
    let (numbers, sum) = bytes.split_at_checked(16)?;
    if sum != check(numbers) {
        return None;
    }
    let (term, index) = numbers.split_at_checked(8)?;
    Some(log_id(
        u64::from_be_bytes(term.try_into().ok()?),
        u64::from_be_bytes(index.try_into().ok()?),
    ))
}

/// Notes the last entry that is known to be committed. Not synced: an older hint does no harm.
pub(crate) fn write_committed(fs: &dyn Fs, directory: &Path, last: LogId) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(24);
    bytes.extend_from_slice(&last.leader_id.term.to_be_bytes());
    bytes.extend_from_slice(&last.index.to_be_bytes());
    let sum = check(&bytes);
    bytes.extend_from_slice(&sum);
    let file = fs.open(&directory.join(COMMITTED), OpenMode::Create)?;
    file.write_all_at(&bytes, 0)
}

/// FNV-1a: enough to tell a torn write of 24 bytes.
fn check(bytes: &[u8]) -> [u8; 8] {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, step).to_be_bytes()
}
