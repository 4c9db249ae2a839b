//! A produce request read in place: what the broker's hottest path needs, without a copy and without
//! an allocation beyond a list that the caller keeps. Key types: [`ProduceView`], [`ProducePart`].
//!
//! It finds exactly what `messages::produce::ProduceRequest` finds in the same bytes (a property test holds them
//! together); the list grows only by partitions that were really there.

use millstream_base::Uuid;

use crate::cursor::{Cursor, Span};
use crate::{ApiKey, DecodeError, DecodeErrorKind};

/// The fields before the topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceView<'a> {
    /// The transactional id.
    pub transactional_id: Option<&'a str>,
    /// How many acknowledgements the producer waits for: 0, 1, or -1 for all. Not checked here.
    pub acks: i16,
    /// How long the broker may wait for them, in milliseconds.
    pub timeout_ms: i32,
}

/// The most partitions that one request may name. A frame of empty partitions would otherwise take many times its size in
/// memory; no producer comes near.
pub const MAX_PARTS: usize = 100_000;

/// The topic of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProduceTopic {
    /// Up to version 12: where its name is. See [`ProducePart::topic_name`].
    Name(Span),
    /// From version 13 on: its id.
    Id(Uuid),
}

/// One partition's part of a produce request. Parts of one topic entry follow each other, and only they have
/// an equal `topic` at an equal place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducePart {
    /// The number of the topic's entry in the request, from 0.
    pub topic_entry: u32,
    /// The topic.
    pub topic: ProduceTopic,
    /// The partition's number.
    pub index: i32,
    /// Where the record batches are.
    pub records: Option<Span>,
}

// A partition takes at least 5 bytes of the request: this bounds the list against the frame.
const _: () = assert!(size_of::<ProducePart>() == 40);

impl ProducePart {
    /// The topic's name out of the bytes that were parsed; `None` when the request has an id instead.
    pub fn topic_name<'a>(&self, body: &'a [u8]) -> Option<&'a str> {
        match self.topic {
            ProduceTopic::Name(span) => std::str::from_utf8(span.of(body)).ok(),
            ProduceTopic::Id(_) => None,
        }
    }

    /// The topic's id; `None` when the request has a name instead.
    pub const fn topic_id(&self) -> Option<Uuid> {
        match self.topic {
            ProduceTopic::Name(_) => None,
            ProduceTopic::Id(id) => Some(id),
        }
    }

    /// The record batches out of the bytes that were parsed; empty when they are null.
    pub fn records<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        self.records.map_or(&[], |span| span.of(body))
    }
}

impl<'a> ProduceView<'a> {
    /// Reads a request of `version` from `body`, the bytes after the request header. `parts` is emptied first and then holds
    /// every partition in the order of the request; its spans count from the start of `body`.
    pub fn parse(
        body: &'a [u8],
        version: i16,
        parts: &mut Vec<ProducePart>,
    ) -> Result<Self, DecodeError> {
        parts.clear();
        let mut c = Cursor::new(body, "ProduceRequest");
        if !ApiKey::Produce.has_version(version) {
            let (min, max) = (ApiKey::Produce.min(), ApiKey::Produce.max());
            return Err(c.error(DecodeErrorKind::UnsupportedVersion { version, min, max }));
        }
        let flex = ApiKey::Produce.is_flexible(version);
        let transactional_id = c.nullable_string(flex)?.map(|(_, text)| text);
        let view = Self { transactional_id, acks: c.i16()?, timeout_ms: c.i32()? };
        let by_id = version >= 13;
        // The least that a topic takes: its name's length or its id, and its partitions' number.
        let least_topic = if by_id { 17 } else { 2 };
        for topic_entry in 0..c.array_length(flex, least_topic)? {
            let topic = if by_id {
                ProduceTopic::Id(c.uuid()?)
            } else {
                ProduceTopic::Name(c.string(flex)?.0)
            };
            for _ in 0..c.array_length(flex, 5)? {
                let (index, records) = (c.i32()?, c.nullable_bytes(flex)?);
                if flex {
                    c.skip_tags()?;
                }
                if parts.len() >= MAX_PARTS {
                    return Err(c.error(DecodeErrorKind::OverBudget));
                }
                parts.push(ProducePart { topic_entry, topic, index, records });
            }
            if flex {
                c.skip_tags()?;
            }
        }
        if flex {
            c.skip_tags()?;
        }
        Ok(view)
    }
}
