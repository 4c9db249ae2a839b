//! What fetches remember and how they wait.

mod followers;
mod plan;
mod session;
mod throttle;

pub(crate) use followers::{FollowerFetch, FollowerSession};
pub(crate) use plan::{FetchLimits, Found, PartitionFound, collect, wait_for_more};
pub(crate) use session::{Opened, Session, SessionCache, TopicKey, Wanted};
pub(crate) use throttle::Throttle;
