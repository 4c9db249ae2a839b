//! From a line to a record.
//!
//! Key type: [`LineFormat`]. Pure.

use std::sync::Arc;

use bytes::Bytes;
use millstream_client::{Header, ProducerRecord};

use crate::records::JsonRecord;

/// What a line means.
#[derive(Clone, Debug, Default)]
pub(super) struct LineFormat {
    pub(super) topic: Arc<str>,
    pub(super) json: bool,
    pub(super) key_separator: Option<Vec<u8>>,
    pub(super) key: Option<Bytes>,
    pub(super) headers: Vec<Header>,
    pub(super) inline_headers: bool,
    pub(super) null: Option<Bytes>,
    pub(super) partition: Option<i32>,
    pub(super) ignore_partitions: bool,
}

impl LineFormat {
    /// The record of a line.
    pub(super) fn parse(&self, line: &[u8]) -> Result<ProducerRecord, String> {
        let mut record = if self.json { self.json_record(line)? } else { self.text_record(line)? };
        if record.key.is_none() {
            record.key.clone_from(&self.key);
        }
        record.headers.extend(self.headers.iter().cloned());
        record.partition = self.partition.or(record.partition);
        Ok(record)
    }

    fn json_record(&self, line: &[u8]) -> Result<ProducerRecord, String> {
        let parsed: JsonRecord =
            serde_json::from_slice(line).map_err(|error| format!("not a JSON record: {error}"))?;
        let mut record = parsed.into_producer_record(&self.topic)?;
        if self.ignore_partitions {
            record.partition = None;
        }
        Ok(record)
    }

    fn text_record(&self, line: &[u8]) -> Result<ProducerRecord, String> {
        let mut record = ProducerRecord::to(self.topic.clone());
        let mut rest = line;
        if self.inline_headers {
            let (headers, after) = split_at(rest, b"\t")
                .ok_or("no headers: expected name=value,name=value and a tab before the record")?;
            record.headers = parse_headers(headers)?;
            rest = after;
        }
        if let Some(separator) = &self.key_separator {
            let (key, value) = split_at(rest, separator).ok_or_else(|| {
                format!("no key: `{}` is not in the line", String::from_utf8_lossy(separator))
            })?;
            record.key = self.field(key);
            rest = value;
        }
        record.value = self.field(rest);
        Ok(record)
    }

    fn field(&self, bytes: &[u8]) -> Option<Bytes> {
        let is_null = self.null.as_ref().is_some_and(|null| null == bytes);
        (!is_null).then(|| Bytes::copy_from_slice(bytes))
    }
}

/// What stands before and after the first `separator`.
fn split_at<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    if separator.is_empty() {
        return None;
    }
    let place = line.windows(separator.len()).position(|window| window == separator)?;
    Some((line.get(..place)?, line.get(place + separator.len()..)?))
}

/// `name=value,name=value`; nothing at all means no headers.
fn parse_headers(text: &[u8]) -> Result<Vec<Header>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split(|&byte| byte == b',')
        .map(|header| {
            let shown = String::from_utf8_lossy(header);
            let (key, value) = split_at(header, b"=")
                .ok_or_else(|| format!("header `{shown}`: expected name=value"))?;
            let key = str::from_utf8(key).map_err(|_| format!("header `{shown}`: not UTF-8"))?;
            Ok(Header { key: key.to_owned(), value: Some(Bytes::copy_from_slice(value)) })
        })
        .collect()
}

/// `\t`, `\n` and `\\` as shells rarely give them.
pub(super) fn unescape(text: &str) -> Vec<u8> {
    text.replace("\\t", "\t").replace("\\n", "\n").replace("\\\\", "\\").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &LineFormat, line: &str, expected: &str) {
        let shown = match format.parse(line.as_bytes()) {
            Err(error) => format!("error: {error}"),
            Ok(record) => {
                let text = |bytes: &Option<Bytes>| {
                    bytes
                        .as_ref()
                        .map_or("null".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
                };
                let headers: Vec<String> = record
                    .headers
                    .iter()
                    .map(|h| format!("{}={}", h.key, text(&h.value)))
                    .collect();
                format!("{} | {} | {}", text(&record.key), text(&record.value), headers.join(","))
            }
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn lines_of_text() {
        let plain = LineFormat::default();
        check(&plain, "hello", "null | hello | ");
        check(&plain, "", "null |  | ");
        let keyed = LineFormat {
            key_separator: Some(unescape("\\t")),
            null: Some("NULL".into()),
            ..LineFormat::default()
        };
        check(&keyed, "k\tv\tw", "k | v\tw | ");
        check(&keyed, "k\tNULL", "k | null | ");
        check(&keyed, "\tv", " | v | ");
        check(&keyed, "novalue", "error: no key: `\t` is not in the line");
    }

    #[test]
    fn headers_from_the_line_and_from_the_command() {
        let format = LineFormat {
            inline_headers: true,
            key_separator: Some(b":".to_vec()),
            headers: vec![Header { key: "all".to_owned(), value: Some("1".into()) }],
            ..LineFormat::default()
        };
        check(&format, "a=b,c==d\tk:v", "k | v | a=b,c==d,all=1");
        check(&format, "\tk:v", "k | v | all=1");
        check(&format, "a\tk:v", "error: header `a`: expected name=value");
        check(
            &format,
            "k:v",
            "error: no headers: expected name=value,name=value and a tab before the record",
        );
    }

    #[test]
    fn json_lines() {
        let format = LineFormat { json: true, key: Some("all".into()), ..LineFormat::default() };
        let line = r#"{"key":"k","value":"v","headers":[{"key":"h","value":null}],"partition":2}"#;
        check(&format, line, "k | v | h=null");
        assert_eq!(format.parse(line.as_bytes()).unwrap().partition, Some(2));
        check(&format, r#"{"value":"v"}"#, "all | v | ");
        assert!(format.parse(b"[1]").unwrap_err().starts_with("not a JSON record"));
        let ignoring = LineFormat { ignore_partitions: true, ..format };
        assert_eq!(ignoring.parse(line.as_bytes()).unwrap().partition, None);
    }
}
