//! Looks into a consumer's join metadata, just far enough to know its topics.
//!
//! The bytes come from clients: every length is checked, and anything odd means "not known" rather than an error.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The topics of an embedded `ConsumerProtocolSubscription` of any version; `None` when it cannot be read.
pub(crate) fn topics(metadata: &[u8]) -> Option<Vec<Arc<str>>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    // Each name takes two bytes at least, so the count cannot make us reserve more than came in.
    if count > rest.len() / 2 {
        return None;
    }
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, tail) = tail.split_at_checked(length)?;
        topics.push(std::str::from_utf8(name).ok()?.into());
        rest = tail;
    }
    Some(topics)
}

/// The union over all members; `None` as soon as one cannot be read.
pub(crate) fn union<'a>(metadata: impl Iterator<Item = &'a [u8]>) -> Option<BTreeSet<Arc<str>>> {
    let mut all = BTreeSet::new();
    for bytes in metadata {
        all.extend(topics(bytes)?);
    }
    Some(all)
}
