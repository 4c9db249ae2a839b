//! The replicas that this broker hosts: their logs, high watermarks and who waits on them.

mod acks;
mod complaint;
mod flush;
mod logs;
mod partition;
mod replicas;
mod transactional;
mod waiter;

pub(crate) use acks::{CommitFailure, Durable};
pub(crate) use logs::Logs;
pub(crate) use partition::{AppendFailure, Appended, Isolation, Partition};
pub(crate) use replicas::{Lookup, Replicas};
pub(crate) use transactional::{TxnMarker, Verification};
pub(crate) use waiter::FetchWaiter;
