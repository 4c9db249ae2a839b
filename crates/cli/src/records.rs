//! Records as JSON lines: what `consume --json` writes, `produce --input json` reads.
//!
//! Key type: [`JsonRecord`]. Text is shown as text; bytes that are not UTF-8 go as base64 under another name, so
//! that every record survives the way out and in again.

use bytes::Bytes;
use millstream_base::TimestampMs;
use millstream_client::{ConsumerRecord, Header, ProducerRecord};
use serde::{Deserialize, Serialize};

/// A record as one JSON object.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JsonRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<JsonHeader>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonHeader {
    key: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl JsonRecord {
    pub(crate) fn of(record: &ConsumerRecord) -> Self {
        let (key, key_base64) = split(record.key.as_ref());
        let (value, value_base64) = split(record.value.as_ref());
        let header = |header: &Header| {
            let (value, value_base64) = split(header.value.as_ref());
            JsonHeader { key: header.key.clone(), value, value_base64 }
        };
        Self {
            topic: Some(record.topic.to_string()),
            partition: Some(record.partition),
            offset: Some(record.offset.get()),
            timestamp: (record.timestamp != TimestampMs::NONE).then(|| record.timestamp.get()),
            key,
            key_base64,
            value,
            value_base64,
            headers: record.headers.iter().map(header).collect(),
        }
    }

    /// The record to send to `topic`. Topic and offset of the object say where it came from and do not count;
    /// partition and timestamp are kept.
    pub(crate) fn into_producer_record(self, topic: &str) -> Result<ProducerRecord, String> {
        let headers: Result<Vec<Header>, String> = self
            .headers
            .into_iter()
            .map(|header| {
                let value = join("header", header.value, header.value_base64)?;
                Ok(Header { key: header.key, value })
            })
            .collect();
        Ok(ProducerRecord {
            partition: self.partition,
            key: join("key", self.key, self.key_base64)?,
            value: join("value", self.value, self.value_base64)?,
            headers: headers?,
            timestamp: self.timestamp.map(TimestampMs),
            ..ProducerRecord::to(topic)
        })
    }
}

/// As text if it is text, else as base64.
fn split(bytes: Option<&Bytes>) -> (Option<String>, Option<String>) {
    let Some(bytes) = bytes else { return (None, None) };
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(base64::encode(bytes))),
    }
}

fn join(
    what: &str,
    text: Option<String>,
    encoded: Option<String>,
) -> Result<Option<Bytes>, String> {
    match (text, encoded) {
        (Some(_), Some(_)) => Err(format!("`{what}` and `{what}_base64` exclude each other")),
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(encoded)) => {
            let decoded = base64::decode(&encoded);
            decoded.map(|bytes| Some(bytes.into())).ok_or_else(|| {
                format!(
                    "`{what}_base64` is not base64: `{}`",
                    encoded.chars().take(40).collect::<String>()
                )
            })
        }
        (None, None) => Ok(None),
    }
}

/// Standard base64 with padding.
mod base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    pub(super) fn encode(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }

    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use millstream_base::{LeaderEpoch, Offset};

    use super::*;

    fn record() -> ConsumerRecord {
        ConsumerRecord {
            topic: "t".into(),
            partition: 3,
            offset: Offset(17),
            timestamp: TimestampMs(1_000),
            timestamp_type: millstream_client::TimestampType::CreateTime,
            leader_epoch: LeaderEpoch(0),
            key: Some("k".into()),
            value: Some(Bytes::from_static(&[0xff, 0x00])),
            headers: vec![Header { key: "h".to_owned(), value: Some("v".into()) }],
        }
    }

    #[test]
    fn a_record_survives_the_way_out_and_in() {
        let text = serde_json::to_string(&JsonRecord::of(&record())).unwrap();
        assert_eq!(
            text,
            "{\"topic\":\"t\",\"partition\":3,\"offset\":17,\"timestamp\":1000,\"key\":\"k\",\"value\":null,\
             \"value_base64\":\"/wA=\",\"headers\":[{\"key\":\"h\",\"value\":\"v\"}]}"
        );
        let read: JsonRecord = serde_json::from_str(&text).unwrap();
        let again = read.into_producer_record("u").unwrap();
        let original = record();
        assert_eq!((&*again.topic, again.partition), ("u", Some(3)));
        assert_eq!((again.key, again.value), (original.key, original.value));
        assert_eq!((again.headers, again.timestamp), (original.headers, Some(TimestampMs(1_000))));
    }

    #[test]
    fn a_mistyped_field_is_an_error_and_not_dropped() {
        assert!(serde_json::from_str::<JsonRecord>("{\"vaule\":\"x\"}").is_err());
        let both: JsonRecord =
            serde_json::from_str("{\"value\":\"x\",\"value_base64\":\"eA==\"}").unwrap();
        assert!(both.into_producer_record("t").is_err());
        let null: JsonRecord = serde_json::from_str("{\"key\":\"k\"}").unwrap();
        assert_eq!(null.into_producer_record("t").unwrap().value, None);
    }
}
