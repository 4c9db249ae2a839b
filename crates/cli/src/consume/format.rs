//! How a record looks as a line.
//!
//! Key type: [`Format`].

use std::io::Write;

use bytes::Bytes;
use millstream_base::TimestampMs;
use millstream_client::ConsumerRecord;

use crate::records::JsonRecord;

/// What can stand before a value. Shown in this order, whatever order they are asked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Field {
    /// The topic
    Topic,
    /// The partition
    Partition,
    /// The offset
    Offset,
    /// The time, such as 2026-08-01T12:30:00.000Z
    Timestamp,
    /// The headers: name=value,name=value
    Headers,
    /// The key
    Key,
}

/// How records are written.
#[derive(Clone, Debug)]
pub(super) struct Format {
    json: bool,
    fields: Vec<Field>,
    separator: String,
    null: String,
}

impl Format {
    pub(super) fn new(json: bool, mut fields: Vec<Field>, separator: &str, null: &str) -> Self {
        fields.sort_unstable();
        fields.dedup();
        let separator = separator.replace("\\t", "\t").replace("\\n", "\n");
        Self { json, fields, separator, null: null.to_owned() }
    }

    /// One line, ended.
    pub(super) fn write(
        &self,
        out: &mut impl Write,
        record: &ConsumerRecord,
    ) -> std::io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *out, &JsonRecord::of(record))?;
            return out.write_all(b"\n");
        }
        for field in &self.fields {
            self.write_field(out, *field, record)?;
            out.write_all(self.separator.as_bytes())?;
        }
        self.bytes(out, record.value.as_ref())?;
        out.write_all(b"\n")
    }

    fn write_field(
        &self,
        out: &mut impl Write,
        field: Field,
        record: &ConsumerRecord,
    ) -> std::io::Result<()> {
        match field {
            Field::Topic => write!(out, "{}", record.topic),
            Field::Partition => write!(out, "{}", record.partition),
            Field::Offset => write!(out, "{}", record.offset),
            Field::Timestamp if record.timestamp == TimestampMs::NONE => {
                out.write_all(self.null.as_bytes())
            }
            Field::Timestamp => out.write_all(crate::time::format(record.timestamp.0).as_bytes()),
            Field::Key => self.bytes(out, record.key.as_ref()),
            Field::Headers => {
                for (place, header) in record.headers.iter().enumerate() {
                    if place > 0 {
                        out.write_all(b",")?;
                    }
                    write!(out, "{}=", header.key)?;
                    self.bytes(out, header.value.as_ref())?;
                }
                Ok(())
            }
        }
    }

    /// The bytes as they are: what they mean is the reader's business.
    fn bytes(&self, out: &mut impl Write, bytes: Option<&Bytes>) -> std::io::Result<()> {
        match bytes {
            Some(bytes) => out.write_all(bytes),
            None => out.write_all(self.null.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_base::{LeaderEpoch, Offset};
    use millstream_client::{Header, TimestampType};

    use super::*;

    fn check(fields: &[Field], json: bool, expected: &str) {
        let header = |key: &str, value: Option<Bytes>| Header { key: key.to_owned(), value };
        let record = ConsumerRecord {
            topic: "t".into(),
            partition: 1,
            offset: Offset(9),
            timestamp: TimestampMs(1_785_585_600_000),
            timestamp_type: TimestampType::CreateTime,
            leader_epoch: LeaderEpoch(0),
            key: Some("k".into()),
            value: None,
            headers: vec![header("a", Some("b".into())), header("c", None)],
        };
        let mut out = Vec::new();
        Format::new(json, fields.to_vec(), "\\t", "null").write(&mut out, &record).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn lines() {
        check(&[], false, "null\n");
        check(&[Field::Key, Field::Offset, Field::Key], false, "9\tk\tnull\n");
        check(
            &[Field::Headers, Field::Timestamp],
            false,
            "2026-08-01T12:00:00.000Z\ta=b,c=null\tnull\n",
        );
        let json = "{\"topic\":\"t\",\"partition\":1,\"offset\":9,\"timestamp\":1785585600000,\"key\":\"k\",\
                    \"value\":null,\"headers\":[{\"key\":\"a\",\"value\":\"b\"},{\"key\":\"c\",\"value\":null}]}\n";
        check(&[], true, json);
    }
}
