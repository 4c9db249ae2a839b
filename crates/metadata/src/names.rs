//! Which names a topic may have.
//!
//! Key functions: [`check_topic_name`], [`collision_key`], [`is_internal_topic`]. The rules are Kafka's: 1 to 249
//! characters out of `a-z A-Z 0-9 . _ -`, neither `.` nor `..`; two names that differ only in `.` against `_`
//! may not exist side by side, because metric names replace the one by the other.

use std::borrow::Cow;

/// The most characters of a topic's name: with `-` and a partition number it still fits a folder's name.
pub const MAX_TOPIC_NAME_LEN: usize = 249;

/// The topic of the group coordinator.
pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// The topic of the transaction coordinator.
pub const TRANSACTION_STATE: &str = "__transaction_state";
/// The topic of the share coordinator.
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
/// The metadata log: a folder on disk, never a topic that a client may name.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// What is wrong with a topic's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No character at all.
    #[error("a topic name must not be empty")]
    Empty,
    /// `.` or `..`, which mean something else as a folder's name.
    #[error("`{0}` cannot be a topic name")]
    Dots(String),
    /// More than [`MAX_TOPIC_NAME_LEN`] characters.
    #[error("the topic name has {0} characters; at most {MAX_TOPIC_NAME_LEN} are allowed")]
    TooLong(usize),
    /// A character outside the allowed set.
    #[error("the topic name `{0}` may only have ASCII letters, digits, `.`, `_` and `-`")]
    Character(String),
}

/// Whether `name` may be a topic's name.
pub fn check_topic_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(NameError::Dots(name.to_owned()));
    }
    if name.len() > MAX_TOPIC_NAME_LEN {
        return Err(NameError::TooLong(name.chars().count()));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
        return Err(NameError::Character(name.to_owned()));
    }
    Ok(())
}

/// The form under which names that must not exist side by side are equal; `None` when the name has neither `.`
/// nor `_` and so collides with nothing.
pub fn collision_key(name: &str) -> Option<Cow<'_, str>> {
    if name.contains('.') {
        Some(Cow::Owned(name.replace('.', "_")))
    } else if name.contains('_') {
        Some(Cow::Borrowed(name))
    } else {
        None
    }
}

/// Whether the topic belongs to a coordinator of the broker itself.
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_rules() {
        let long = "x".repeat(249);
        for good in ["a", "orders", "A.b_c-9", "...", "-", "_", "__consumer_offsets", &long] {
            assert_eq!(check_topic_name(good), Ok(()), "{good}");
        }
        let too_long = "x".repeat(250);
        for bad in ["", ".", "..", "a b", "a/b", "a\\b", "a:b", "ä", "a\0", "a\n", "a,b", &too_long]
        {
            assert!(check_topic_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_that_differ_only_in_dot_and_underscore_collide() {
        assert_eq!(collision_key("a.b"), collision_key("a_b"));
        assert_ne!(collision_key("a.b"), collision_key("a-b"));
        assert_eq!(collision_key("ab-c"), None);
    }

    #[test]
    fn internal_topics() {
        assert!(
            is_internal_topic("__consumer_offsets") && is_internal_topic("__transaction_state")
        );
        assert!(!is_internal_topic("__cluster_metadata") && !is_internal_topic("orders"));
    }
}
