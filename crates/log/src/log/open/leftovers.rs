//! Files that an interrupted deletion or compaction left.
//!
//! `.deleted` and `.tmp` were on their way out, `.cleaned` is incomplete output: both go. `.swap` is complete output
//! of a compaction: it takes the place of the segments whose offsets it covers. Those were removed oldest first,
//! so what is left of them is never older than what the output lacks.

use millstream_env::fs::{DirEntry, OpenMode};

use super::RecoveryReport;
use crate::error::StorageError;
use crate::home::Home;
use crate::names;
use crate::scan::Scanner;

/// Puts the directory right; tells whether its listing has changed.
pub(super) fn clear(
    home: &Home,
    entries: &[DirEntry],
    report: &mut RecoveryReport,
) -> Result<bool, StorageError> {
    let before = report.leftovers;
    for entry in entries.iter().filter(|e| !e.is_dir) {
        let name = entry.name.as_str();
        let ours = names::parse_offset_file(name).is_some();
        let checkpoint =
            name.starts_with(names::EPOCHS) || name.starts_with(names::PARTITION_METADATA);
        let gone = (ours && (name.ends_with(names::DELETED) || name.ends_with(names::CLEANED)))
            || ((ours || checkpoint) && name.ends_with(".tmp"));
        if gone {
            home.remove(&home.file(name))?;
            report.leftovers += 1;
        }
    }
    for entry in entries {
        if let Some((base, suffix)) = names::parse_offset_file(&entry.name)
            && suffix == format!("{}{}", names::LOG, names::SWAP)
        {
            put_in_place(home, entries, base, entry.size)?;
            report.leftovers += 1;
        }
    }
    // A compaction that was stopped before its log was announced: what it announced of indexes describes bytes that are gone.
    let unfinished: Vec<_> = entries
        .iter()
        .filter_map(|entry| names::parse_offset_file(&entry.name))
        .filter(|(_, suffix)| *suffix == format!("{}{}", names::LOG, names::CLEANED))
        .map(|(base, _)| base)
        .collect();
    // Index files of a swap whose log is in place already.
    for entry in entries {
        let Some((base, suffix)) = names::parse_offset_file(&entry.name) else { continue };
        if let Some(plain) = suffix.strip_suffix(names::SWAP).filter(|s| *s != names::LOG) {
            let from = home.file(&entry.name);
            if home.fs.entry(&from).map_err(|e| StorageError::io("look at", &from, e))?.is_some() {
                match unfinished.contains(&base) {
                    true => home.remove(&from)?,
                    false => rename(home, base, plain)?,
                }
                report.leftovers += 1;
            }
        }
    }
    Ok(report.leftovers > before)
}

/// Ends a swap: the segments that it covers go, oldest first, then it takes its name.
fn put_in_place(
    home: &Home,
    entries: &[DirEntry],
    base: i64,
    size: u64,
) -> Result<(), StorageError> {
    let path = home.offset_file(base, &format!("{}{}", names::LOG, names::SWAP));
    let file =
        home.fs.open(&path, OpenMode::Read).map_err(|e| StorageError::io("open", &path, e))?;
    let mut scanner = Scanner::new(&*file, 0, size, 64 * 1024);
    let mut end = base + 1;
    loop {
        match scanner.next() {
            Ok(Some((_, header))) => end = end.max(header.next_offset().get()),
            Ok(None) => break,
            Err(_) => {
                let problem =
                    "complete output of a compaction is damaged; remove it to keep its sources";
                return Err(StorageError::invalid(&path, problem));
            }
        }
    }
    for entry in entries {
        let Some((covered, suffix)) = names::parse_offset_file(&entry.name) else { continue };
        let segment = [names::LOG, names::INDEX, names::TIME_INDEX, names::TXN_INDEX];
        if (base..end).contains(&covered) && segment.contains(&suffix) {
            home.remove(&home.file(&entry.name))?;
        }
    }
    for suffix in [names::INDEX, names::TIME_INDEX, names::TXN_INDEX, names::LOG] {
        rename(home, base, suffix)?;
    }
    Ok(())
}

fn rename(home: &Home, base: i64, suffix: &str) -> Result<(), StorageError> {
    let from = home.offset_file(base, &format!("{suffix}{}", names::SWAP));
    match home.fs.rename(&from, &home.offset_file(base, suffix)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(StorageError::io("rename", &from, e))
        }
        _ => Ok(()),
    }
}
