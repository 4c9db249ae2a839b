//! What fetches remember and how they wait.

mod plan;
mod session;

pub(crate) use plan::{FetchLimits, Found, PartitionFound, collect, wait_for_more};
pub(crate) use session::{Opened, Session, SessionCache, TopicKey, Wanted};
