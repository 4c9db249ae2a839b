//! The consumer protocol (KIP-848): the broker assigns, members follow one by one.
//!
//! Key types: [`ConsumerGroup`] with its members, [`MemberState`]. `state` holds the group, `replay` its records. The group
//! epoch grows when members or topics change; the target assignment is made for a group epoch; each member moves from its
//! own epoch to that of the target on its own, giving back before others get.

#![allow(dead_code)]

mod assign;
mod checks;
mod regex;
mod replay;
mod state;
mod topics;

pub(crate) use state::ConsumerGroup;
pub use state::{Assignment, ClassicMetadata, EpochAssignment, MemberState, ResolvedRegex};
