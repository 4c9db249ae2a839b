//! The consumer protocol (KIP-848): the broker assigns, members follow one by one.
//!
//! Key types: [`ConsumerGroup`] with its members, [`MemberState`]. `state` holds the group, `replay` its records. The group
//! epoch grows when members or topics change; the target assignment is made for a group epoch; each member moves from its
//! own epoch to that of the target on its own, giving back before others get.

mod assign;
mod change;
mod checks;
mod classic_member;
mod heartbeat;
mod migrate;
mod reconcile;
mod regex;
mod replay;
mod state;
mod topics;

pub use change::GroupError;
pub(crate) use heartbeat::plain;
pub use heartbeat::{ConsumerHeartbeat, ConsumerHeartbeatReply};
pub(crate) use migrate::from_classic;
pub use state::{Assignment, ClassicMetadata, EpochAssignment, MemberState, ResolvedRegex};
pub(crate) use state::{ConsumerGroup, ConsumerMember, LEAVE_EPOCH};
pub(crate) use topics::NoTopics;
pub use topics::{TopicView, Topics};
