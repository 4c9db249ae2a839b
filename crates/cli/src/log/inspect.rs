//! `millstream log inspect`: what is in a segment, read batch by batch from the file itself.
//!
//! Nothing is changed and no lock is taken, so a broker may be at work on the same directory. Output is streamed: a segment may be
//! larger than memory.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use millstream_env::fs::{Fs, OsFs};
use millstream_log::{InspectedBatch, SegmentSummary, inspect_segment};
use millstream_records::{BatchHeader, EndTxnMarker, Record, Scratch};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::time;

/// Longer keys and values are cut where people read them.
const MOST_SHOWN: usize = 200;

/// Show the batches and records of segment files, and what is wrong with them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream log inspect data/orders-0
  millstream log inspect data/orders-0/00000000000000000000.log --depth batches
  millstream log inspect data/orders-0 --json | jq .problems

PATH is a .log file, a partition's directory or a whole data directory. CRCs are verified and the indexes
beside a log are held against it. With --json each line is one object: a batch with its records, or a
segment after its batches. The exit code is 1 when something is damaged.")]
pub(crate) struct Args {
    /// A .log file, or a directory with such files in it or one level below
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How much is shown; everything is verified at any depth
    #[arg(long, value_enum, default_value_t = Depth::Records)]
    depth: Depth,
}

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Depth {
    /// One line a segment
    Segments,
    /// And one a batch
    Batches,
    /// And one a record
    Records,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let fs = OsFs::shared();
    let mut show = Show {
        out: &mut context.out.writer(),
        json: context.out.is_json(),
        depth: args.depth,
        failed: None,
    };
    let (mut segments, mut damaged) = (0_usize, 0_usize);
    for path in &args.paths {
        for segment in segments_of(&*fs, path)? {
            let summary = show.segment(&*fs, &segment)?;
            segments += 1;
            damaged += usize::from(!summary.problems.is_empty());
        }
    }
    show.out.flush()?;
    match damaged {
        0 => Ok(()),
        _ => Err(Failure::failed(format!("{damaged} of {segments} segments are damaged"))),
    }
}

/// The `.log` files at or below a path, ordered by name.
fn segments_of(fs: &dyn Fs, path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let cannot = |error| Failure::failed(format!("cannot read {}: {error}", path.display()));
    let there = fs
        .entry(path)
        .map_err(cannot)?
        .ok_or_else(|| Failure::new(Exit::NotFound, format!("there is no {}", path.display())))?;
    if !there.is_dir {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs.list(path).map_err(cannot)? {
        let below = path.join(&entry.name);
        if is_segment(&below) {
            found.push(below);
        } else if entry.is_dir {
            let files = fs.list(&below).map_err(cannot)?.into_iter();
            found.extend(files.map(|file| below.join(file.name)).filter(|path| is_segment(path)));
        }
    }
    if found.is_empty() {
        let message = format!("there is no segment in {}", path.display());
        return Err(Failure::new(Exit::NotFound, message)
            .hint("a partition's directory has files such as 00000000000000000000.log"));
    }
    Ok(found)
}

fn is_segment(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let digits = name.strip_suffix(".log");
    digits.is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Where and how things are shown.
struct Show<'a, W> {
    out: &'a mut W,
    json: bool,
    depth: Depth,
    /// Why nothing more can be shown.
    failed: Option<std::io::Error>,
}

impl<W: Write> Show<'_, W> {
    fn segment(&mut self, fs: &dyn Fs, path: &Path) -> Result<SegmentSummary, Failure> {
        if !self.json && self.depth > Depth::Segments {
            writeln!(self.out, "{}", path.display())?;
        }
        let mut scratch = Scratch::default();
        let mut unreadable = Vec::new();
        let mut visit = |batch: &InspectedBatch<'_>| {
            let shown = self.batch(path, batch, &mut scratch, &mut unreadable);
            match shown {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    self.failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        };
        let summary = inspect_segment(fs, path, &mut visit).map_err(Failure::failed);
        if let Some(error) = self.failed.take() {
            return Err(error.into());
        }
        let mut summary = summary?;
        summary.problems.append(&mut unreadable);
        self.summary(path, &summary)?;
        Ok(summary)
    }

    fn batch(
        &mut self,
        path: &Path,
        batch: &InspectedBatch<'_>,
        scratch: &mut Scratch,
        unreadable: &mut Vec<String>,
    ) -> std::io::Result<()> {
        let header = batch.batch.header();
        let mut problems = batch.problems.clone();
        let mut records = Vec::new();
        let mut read = |record: &Record<'_>| {
            if self.depth == Depth::Records {
                let shown = if self.json { as_json(record, header) } else { Value::Null };
                let line = if self.json { String::new() } else { as_text(record, header) };
                records.push((shown, line));
            }
        };
        // A batch whose bytes are not the written ones is not taken apart.
        if problems.is_empty()
            && let Err(problem) = each_record(batch, scratch, &mut read)
        {
            unreadable.push(format!("at byte {}: {problem}", batch.position));
            problems.push(problem);
        }
        if self.depth == Depth::Segments {
            return Ok(());
        }
        if self.json {
            let mut line = batch_json(path, batch, &problems);
            if self.depth == Depth::Records {
                line["records"] = records.into_iter().map(|(json, _)| json).collect();
            }
            return writeln!(self.out, "{line}");
        }
        writeln!(self.out, "{}", batch_line(batch.position, header))?;
        for problem in &problems {
            writeln!(self.out, "  DAMAGED: {problem}")?;
        }
        records.iter().try_for_each(|(_, line)| writeln!(self.out, "  {line}"))
    }

    fn summary(&mut self, path: &Path, summary: &SegmentSummary) -> std::io::Result<()> {
        let SegmentSummary { base_offset, bytes, batches, records, next_offset, problems } =
            summary;
        if self.json {
            let line = json!({
                "segment": path, "base_offset": base_offset.get(), "next_offset": next_offset.get(),
                "bytes": bytes, "batches": batches, "records_counted": records, "problems": problems,
            });
            return writeln!(self.out, "{line}");
        }
        let sound = if problems.is_empty() { "sound" } else { "DAMAGED" };
        writeln!(
            self.out,
            "{}: {sound}, {bytes} bytes, {batches} batches, {records} records, offsets {base_offset} to {next_offset}",
            path.display()
        )?;
        problems.iter().try_for_each(|problem| writeln!(self.out, "  DAMAGED: {problem}"))
    }
}

fn each_record(
    batch: &InspectedBatch<'_>,
    scratch: &mut Scratch,
    read: &mut dyn FnMut(&Record<'_>),
) -> Result<(), String> {
    for record in batch.batch.records(scratch).map_err(|e| e.to_string())? {
        read(&record.map_err(|e| e.to_string())?);
    }
    Ok(())
}

fn codec(header: &BatchHeader) -> String {
    let codec = header.attributes.compression();
    codec.map_or_else(|unknown| unknown.to_string(), |codec| format!("{codec:?}").to_lowercase())
}

fn batch_line(position: u64, header: &BatchHeader) -> String {
    let mut line = format!(
        "{}-{} at byte {position}, {} bytes, {} records, codec {}, leader epoch {}, {}",
        header.base_offset,
        header.last_offset(),
        header.size_bytes(),
        header.records_count,
        codec(header),
        header.partition_leader_epoch,
        time::format(header.max_timestamp.get()),
    );
    if header.has_producer_id() {
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        line.push_str(&format!(", producer {id} epoch {epoch} sequence {}", header.base_sequence));
    }
    if header.attributes.is_transactional() {
        line.push_str(", transactional");
    }
    if header.attributes.is_control() {
        line.push_str(", control");
    }
    line
}

fn batch_json(path: &Path, batch: &InspectedBatch<'_>, problems: &[String]) -> Value {
    let header = batch.batch.header();
    json!({
        "file": path,
        "position": batch.position,
        "bytes": header.size_bytes(),
        "base_offset": header.base_offset.get(),
        "last_offset": header.last_offset().get(),
        "leader_epoch": header.partition_leader_epoch.get(),
        "codec": codec(header),
        "timestamp_type": format!("{:?}", header.attributes.timestamp_type()),
        "base_timestamp": header.base_timestamp.get(),
        "max_timestamp": header.max_timestamp.get(),
        "producer_id": header.producer_id.get(),
        "producer_epoch": header.producer_epoch.get(),
        "base_sequence": header.base_sequence,
        "transactional": header.attributes.is_transactional(),
        "control": header.attributes.is_control(),
        "delete_horizon": header.attributes.has_delete_horizon(),
        "crc": format!("{:08x}", header.crc),
        "problems": problems,
    })
}

/// What a control record says.
fn marker(record: &Record<'_>, header: &BatchHeader) -> Option<(&'static str, i32)> {
    let marker =
        header.attributes.is_control().then(|| EndTxnMarker::read(record.key, record.value));
    let marker = marker.flatten()?;
    Some((if marker.committed { "commit" } else { "abort" }, marker.coordinator_epoch))
}

fn as_json(record: &Record<'_>, header: &BatchHeader) -> Value {
    let mut shown = json!({ "offset": record.offset.get(), "timestamp": record.timestamp.get() });
    if let Some((marker, epoch)) = marker(record, header) {
        shown["marker"] = marker.into();
        shown["coordinator_epoch"] = epoch.into();
        return shown;
    }
    let put = |shown: &mut Value, name: &str, bytes: Option<&[u8]>| match bytes
        .map(std::str::from_utf8)
    {
        None => shown[name] = Value::Null,
        Some(Ok(text)) => shown[name] = text.into(),
        Some(Err(_)) => {
            shown[format!("{name}_base64")] = STANDARD.encode(bytes.unwrap_or_default()).into();
        }
    };
    put(&mut shown, "key", record.key);
    put(&mut shown, "value", record.value);
    let headers: Vec<Value> = record
        .headers()
        .map(|header| {
            let mut one = json!({ "key": String::from_utf8_lossy(header.key) });
            put(&mut one, "value", header.value);
            one
        })
        .collect();
    if !headers.is_empty() {
        shown["headers"] = headers.into();
    }
    shown
}

fn as_text(record: &Record<'_>, header: &BatchHeader) -> String {
    let at = format!("{}\t{}", record.offset, time::format(record.timestamp.get()));
    if let Some((marker, epoch)) = marker(record, header) {
        return format!("{at}\t{marker} marker, coordinator epoch {epoch}");
    }
    let mut line = format!("{at}\t{}\t{}", shown(record.key), shown(record.value));
    for header in record.headers() {
        line.push_str(&format!("\t{}={}", shown(Some(header.key)), shown(header.value)));
    }
    line
}

/// Bytes as one line of text, whatever they are.
fn shown(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let text = String::from_utf8_lossy(bytes.get(..MOST_SHOWN).unwrap_or(bytes));
    let mut line: String = text.escape_debug().to_string();
    if bytes.len() > MOST_SHOWN {
        line.push_str(&format!("... ({} bytes)", bytes.len()));
    }
    line
}

#[cfg(test)]
mod tests;
